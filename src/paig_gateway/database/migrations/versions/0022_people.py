"""Users and keys of people who log in by single sign-on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    with op.batch_alter_table("users") as table:
        table.add_column(sa.Column("subject", sa.String(), nullable=True))
        table.create_unique_constraint("uq_users_subject", ["subject"])
    with op.batch_alter_table("keys") as table:
        table.add_column(sa.Column("login", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """From this revision."""
    with op.batch_alter_table("keys") as table:
        table.drop_column("login")
    with op.batch_alter_table("users") as table:
        table.drop_constraint("uq_users_subject", type_="unique")
        table.drop_column("subject")
