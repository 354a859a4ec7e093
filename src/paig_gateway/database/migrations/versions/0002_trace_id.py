"""The trace that a request belongs to, on its row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.add_column("requests", sa.Column("trace_id", sa.String(), nullable=True))
