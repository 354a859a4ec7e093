"""Requests say which agent of a session sent them, and sessions can be stopped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0020"
branch_labels = None
depends_on = None

COLUMNS = ("agent", "agent_parent", "agent_name")


def upgrade() -> None:
    """To this revision."""
    for name in COLUMNS:
        op.add_column("requests", sa.Column(name, sa.String(), nullable=True))
    where = sa.text("session IS NOT NULL")
    columns = ["session", "key_id", "time"]
    op.create_index("ix_requests_session", "requests", columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "stopped_sessions",
        sa.Column("key_id", sa.String(), nullable=False, primary_key=True),
        sa.Column("session", sa.String(), nullable=False, primary_key=True),
        sa.Column("stopped_by", sa.String(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=False),
    )
