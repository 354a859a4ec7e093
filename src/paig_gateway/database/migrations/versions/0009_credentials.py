"""Several credentials of one provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.add_column("providers", sa.Column("credentials", sa.JSON(), nullable=True))
