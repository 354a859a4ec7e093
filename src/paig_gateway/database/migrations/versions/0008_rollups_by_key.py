"""An index of the totals by key, which is how most are asked for."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_index("ix_rollups_key", "rollups", ["key_id", "hour"])
