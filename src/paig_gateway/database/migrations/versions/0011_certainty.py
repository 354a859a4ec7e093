"""Why a cost is not exact, whose word it is, and what the price list says beside the provider's own charge."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    with op.batch_alter_table("requests") as table:
        table.add_column(sa.Column("certainty_reason", sa.String(), nullable=True))
        table.add_column(sa.Column("cost_source", sa.String(), nullable=True))
        table.add_column(sa.Column("list_price", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """From this revision."""
    with op.batch_alter_table("requests") as table:
        for name in ("certainty_reason", "cost_source", "list_price"):
            table.drop_column(name)
