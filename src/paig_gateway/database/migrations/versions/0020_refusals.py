"""Requests refused before they could be in the ledger, and an index of rows that have a charge of the provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0015"
branch_labels = None
depends_on = None

_CHARGED = sa.text("list_price IS NOT NULL")


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "refusals",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
    )
    op.create_index("ix_refusals_time", "refusals", ["time", "id"])
    op.create_index("ix_requests_charged", "requests", ["time"], sqlite_where=_CHARGED, postgresql_where=_CHARGED)


def downgrade() -> None:
    """From this revision."""
    op.drop_index("ix_requests_charged", "requests")
    op.drop_table("refusals")
