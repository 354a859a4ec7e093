"""Admins, their tokens, and the projects of what the audit log tells."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def text(name: str, *, null: bool = False, key: bool = False) -> sa.Column[str]:
    """A column of text."""
    return sa.Column(name, sa.String(), nullable=null, primary_key=key)


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "admins",
        text("id", key=True),
        text("name"),
        sa.Column("grants", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        text("subject", null=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("subject"),
    )
    op.create_table(
        "admin_tokens",
        text("id", key=True),
        text("admin_id"),
        text("name"),
        text("hash"),
        text("hint"),
        sa.Column("session", sa.Boolean(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("hash"),
    )
    op.create_index("ix_admin_tokens_admin_id", "admin_tokens", ["admin_id"])
    op.add_column("audit", text("project_id", null=True))
    op.add_column("audit", text("old_project_id", null=True))
