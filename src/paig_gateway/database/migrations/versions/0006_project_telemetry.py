"""What a project has set of telemetry of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.add_column("projects", sa.Column("telemetry", sa.JSON(), nullable=True))
