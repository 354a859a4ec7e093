"""The first schema: the catalogue and the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def text(name: str, *, null: bool = False, key: bool = False) -> sa.Column[str]:
    """A column of text."""
    return sa.Column(name, sa.String(), nullable=null, primary_key=key)


def big(name: str, *, null: bool = False, key: bool = False) -> sa.Column[int]:
    """A column of 64-bit integers: times in milliseconds, money in nanodollars."""
    return sa.Column(name, sa.BigInteger(), nullable=null, primary_key=key)


def document(name: str, *, null: bool = True) -> sa.Column[object]:
    """A column of JSON."""
    return sa.Column(name, sa.JSON(), nullable=null)


def stamp() -> tuple[sa.Column[int], ...]:
    """The columns that every object of the catalogue ends with."""
    return sa.Column("version", sa.Integer(), nullable=False), big("created_at"), big("updated_at")


def upgrade() -> None:
    """To this revision."""
    _catalogue()
    _ledger()


def _catalogue() -> None:
    op.create_table(
        "providers",
        text("id", key=True),
        text("name"),
        text("kind"),
        text("base_url", null=True),
        text("credential", null=True),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        document("options", null=False),
        *stamp(),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "routes",
        text("id", key=True),
        text("name"),
        document("members", null=False),
        document("options", null=False),
        *stamp(),
        sa.UniqueConstraint("name"),
    )
    for owners in ("projects", "users"):
        op.create_table(owners, text("id", key=True), text("name"), *stamp(), sa.UniqueConstraint("name"))
    op.create_table(
        "keys",
        text("id", key=True),
        text("name"),
        text("hash"),
        text("hint"),
        text("secret", null=True),
        text("project_id", null=True),
        text("user_id", null=True),
        text("state"),
        big("expires_at", null=True),
        document("routes"),
        document("models"),
        *stamp(),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("hash"),
    )
    op.create_index("ix_keys_project_id", "keys", ["project_id"])
    op.create_index("ix_keys_user_id", "keys", ["user_id"])
    op.create_table(
        "limits",
        text("id", key=True),
        text("owner_kind"),
        text("owner_id"),
        text("unit"),
        text("window"),
        big("amount"),
        sa.Column("soft", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("owner_kind", "owner_id", "unit", "window"),
    )
    op.create_table("meta", text("name", key=True), big("value"))
    op.create_table(
        "audit",
        text("id", key=True),
        big("time"),
        text("actor"),
        text("action"),
        text("kind"),
        text("name"),
        document("before"),
        document("after"),
    )


def _ledger() -> None:
    op.create_table(
        "nodes",
        text("id", key=True),
        text("host"),
        sa.Column("pid", sa.Integer(), nullable=False),
        big("started_at"),
        big("beat_at"),
    )
    op.create_table(
        "requests",
        text("id", key=True),
        text("node_id"),
        text("state"),
        big("time"),
        big("finished_at", null=True),
        text("key_id"),
        text("key"),
        text("project_id"),
        text("project", null=True),
        text("user_id"),
        text("user", null=True),
        text("route"),
        text("provider", null=True),
        text("model"),
        text("format"),
        sa.Column("stream", sa.Boolean(), nullable=False),
        document("tags"),
        text("run", null=True),
        document("holds"),
        big("reserved"),
        big("cost", null=True),
        text("certainty", null=True),
        document("usage"),
        document("raw_usage"),
        text("price", null=True),
        sa.Column("status", sa.Integer(), nullable=True),
        text("error", null=True),
        document("attempts"),
        text("work_id", null=True),
        sa.Column("ms_total", sa.Float(), nullable=True),
        sa.Column("ms_first_byte", sa.Float(), nullable=True),
        sa.Column("ms_gateway", sa.Float(), nullable=True),
    )
    op.create_index("ix_requests_open", "requests", ["state", "node_id"])
    op.create_index("ix_requests_time", "requests", ["time", "id"])
    op.create_index("ix_requests_finished", "requests", ["finished_at", "id"])
    op.create_index("ix_requests_key", "requests", ["key_id", "time"])
    op.create_index("ix_requests_work", "requests", ["work_id"])
    op.create_table("counters", text("limit_id", key=True), big("window_start", key=True), big("spent"), big("held"))
    op.create_table("runs", text("id", key=True), big("amount"), big("created_at"))
    op.create_table(
        "rollups",
        big("hour", key=True),
        *(text(name, key=True) for name in ("key_id", "project_id", "user_id", "route", "provider", "model")),
        *(big(name) for name in ("requests", "errors", "input_tokens", "output_tokens")),
        *(big(name) for name in ("cache_read_tokens", "cache_write_tokens", "cost")),
    )
