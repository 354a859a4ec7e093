"""Objects of the catalogue keep what a person wrote of them as JSON; the audit log gets its chain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_STORED = "value:<stored>"
_OLD_COLUMNS = {
    "providers": ("kind", "base_url", "credential", "secret", "credentials", "options"),
    "routes": ("members", "options"),
    "projects": ("telemetry",),
    "users": (),
    "keys": ("secret", "expires_at", "routes", "models"),
    "admins": ("grants", "active"),
}


def upgrade() -> None:
    """To this revision."""
    connection = op.get_bind()
    rows = {table: _read(connection, table) for table in _OLD_COLUMNS}
    names = {row["id"]: row["name"] for table in ("projects", "users") for row in rows[table]}
    for table, old in _OLD_COLUMNS.items():
        op.add_column(table, sa.Column("spec", sa.JSON(), nullable=False, server_default="{}"))
        if table == "providers":
            op.add_column(table, sa.Column("sealed", sa.JSON(), nullable=False, server_default="{}"))
        for row in rows[table]:
            spec, sealed = _SPECS[table](row, names)
            _write(connection, table, row["id"], {"spec": spec, **({} if sealed is None else {"sealed": sealed})})
        for column in old:
            op.drop_column(table, column)
    op.add_column("keys", sa.Column("old_hash", sa.String(), nullable=True))
    op.add_column("keys", sa.Column("old_until", sa.BigInteger(), nullable=True))
    op.add_column("meta", sa.Column("text", sa.String(), nullable=True))
    op.add_column("audit", sa.Column("mac", sa.String(), nullable=True))


def _read(connection: sa.Connection, table: str) -> list[dict[str, Any]]:
    whole = sa.Table(table, sa.MetaData(), autoload_with=connection)
    return [dict(row._mapping) for row in connection.execute(sa.select(whole))]


def _write(connection: sa.Connection, table: str, id: str, values: dict[str, Any]) -> None:
    columns = [sa.column("id"), *(sa.column(name, sa.JSON()) for name in values)]
    whole = sa.table(table, *columns)
    connection.execute(sa.update(whole).where(whole.c.id == id).values(values))


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _provider(row: dict[str, Any], names: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    sealed: dict[str, str] = {}

    def seal(ciphertext: bytes) -> str:
        # The id by which the ledger has known it so far.
        id = sha256(row["id"].encode() + b"\n" + ciphertext).hexdigest()[:8]
        sealed[id] = ciphertext.decode()
        return id

    credential, credentials = row["credential"], None
    if row["credentials"] is not None:
        credential = None
        credentials = [
            one["reference"] if "reference" in one else f"value:<stored:{seal(one['secret'].encode())}>"
            for one in row["credentials"]
        ]
    elif row["secret"] is not None:
        seal(bytes(row["secret"]))
        credential = _STORED
    fields = _given(kind=row["kind"], base_url=row["base_url"], credential=credential, credentials=credentials)
    return {**fields, **row["options"]}, sealed


def _route(row: dict[str, Any], names: dict[str, str]) -> tuple[dict[str, Any], None]:
    return {"members": row["members"], **row["options"]}, None


def _project(row: dict[str, Any], names: dict[str, str]) -> tuple[dict[str, Any], None]:
    return _given(telemetry=row["telemetry"]), None


def _user(row: dict[str, Any], names: dict[str, str]) -> tuple[dict[str, Any], None]:
    return {}, None


def _key(row: dict[str, Any], names: dict[str, str]) -> tuple[dict[str, Any], None]:
    at = row["expires_at"]
    expires = None if at is None else _moment(at)
    return (
        _given(
            project=names.get(row["project_id"] or ""),
            user=names.get(row["user_id"] or ""),
            routes=row["routes"],
            models=row["models"],
            expires_at=expires,
            secret=row["secret"],
        ),
        None,
    )


def _admin(row: dict[str, Any], names: dict[str, str]) -> tuple[dict[str, Any], None]:
    grants = [
        _given(role=grant["role"], project=names.get(grant["project_id"] or ""))
        for grant in row["grants"]
        if not grant["project_id"] or grant["project_id"] in names
    ]
    return {**({"grants": grants} if grants else {}), **({} if row["active"] else {"active": False})}, None


def _moment(milliseconds: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)).isoformat().replace("+00:00", "Z")


_SPECS = {
    "providers": _provider,
    "routes": _route,
    "projects": _project,
    "users": _user,
    "keys": _key,
    "admins": _admin,
}
