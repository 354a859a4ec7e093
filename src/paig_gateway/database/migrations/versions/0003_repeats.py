"""Answers of creates that may be sent again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "repeats",
        sa.Column("id", sa.String(), nullable=False, primary_key=True),
        sa.Column("request", sa.String(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_repeats_created_at", "repeats", ["created_at"])
