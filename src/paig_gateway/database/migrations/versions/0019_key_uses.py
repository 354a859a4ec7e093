"""When each key was last used, and from where."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "key_uses",
        sa.Column("key_id", sa.String(), primary_key=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
    )


def downgrade() -> None:
    """From this revision."""
    op.drop_table("key_uses")
