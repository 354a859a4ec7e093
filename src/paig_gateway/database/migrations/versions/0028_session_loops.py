"""Sessions that look like loops are remembered, so that every screen can say so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "session_loops",
        sa.Column("key_id", sa.String(), nullable=False, primary_key=True),
        sa.Column("session", sa.String(), nullable=False, primary_key=True),
        sa.Column("kind", sa.String(), nullable=False, primary_key=True),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
    )
