"""Named limits, time zones of limits, raises, and requests for more.

A node of an older version does not know named limits, so it may reserve nothing from here on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":  # a node that reads the schema number waits until the new one is there
        connection.execute(sa.text("LOCK TABLE holds IN ACCESS EXCLUSIVE MODE"))
    op.create_table(
        "named_limits",
        sa.Column("id", sa.String(), nullable=False, primary_key=True),
        sa.Column("name", sa.String(), nullable=False, unique=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
    )
    op.add_column("limits", sa.Column("zone", sa.String(), nullable=False, server_default="UTC"))
    op.add_column("limits", sa.Column("old_zone", sa.String(), nullable=True))
    op.add_column("limits", sa.Column("zone_since", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "raises",
        sa.Column("id", sa.String(), nullable=False, primary_key=True),
        sa.Column("limit_id", sa.String(), nullable=False, index=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "limit_requests",
        sa.Column("id", sa.String(), nullable=False, primary_key=True),
        sa.Column("limit_id", sa.String(), nullable=False, index=True),
        sa.Column("key_id", sa.String(), nullable=False, index=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
    )
    op.create_index("ix_counters_members", "counters", [sa.text("substr(limit_id, 1, 20)"), "window_start"])
    connection.execute(sa.text("UPDATE meta SET value = 3 WHERE name = 'ledger_schema'"))
