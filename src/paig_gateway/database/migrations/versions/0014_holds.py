"""Requests in flight get a table of their own, and rollups steps of a quarter of an hour.

A node of an older version finds no column `requests.node_id` after this, and so can reserve nothing. What its requests
in flight hold is in `holds`, and is charged at its ceiling once that node has stopped.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0011"
branch_labels = None
depends_on = None

QUARTER_MS, HOUR_MS = 900_000, 3_600_000
KEY = ("key_id", "project_id", "user_id", "route", "provider", "model")
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
SUMS = ("requests", "errors", *TOKENS, "cost")
REQUEST = ("key", "route", "model", "format", "project", "user", "provider", "stream", "tags", "run", "trace_id")


def upgrade() -> None:
    """To this revision."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":  # readers of the schema number wait until the new one is there
        connection.execute(sa.text("LOCK TABLE requests, rollups IN ACCESS EXCLUSIVE MODE"))
    op.create_table(
        "holds",
        sa.Column("id", sa.String(), nullable=False, primary_key=True),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
    )
    _move_open_rows(connection)
    op.drop_index("ix_requests_open", "requests")
    op.drop_index("ix_requests_work", "requests")
    op.execute("ALTER TABLE requests RENAME COLUMN node_id TO node")
    op.add_column("requests", sa.Column("refusal", sa.JSON(), nullable=True))
    op.add_column("requests", sa.Column("session", sa.String(), nullable=True))
    for name, column, condition in (
        ("ix_requests_work", "work_id", "work_id IS NOT NULL"),
        ("ix_requests_unsure", "state", "state IN ('swept', 'pending')"),
    ):
        where = sa.text(condition)
        op.create_index(name, "requests", [column], sqlite_where=where, postgresql_where=where)
    op.execute("ALTER TABLE rollups RENAME COLUMN hour TO start")
    _split_hours(connection)
    connection.execute(sa.text("INSERT INTO meta (name, value) VALUES ('ledger_schema', 2)"))


def _move_open_rows(connection: sa.Connection) -> None:
    names = ", ".join(f'"{name}"' for name in ("id", "node_id", "time", "key_id", "project_id", "user_id", "reserved"))
    rest = ", ".join(f'"{name}"' for name in (*REQUEST, "holds"))
    found = connection.execute(sa.text(f"SELECT {names}, {rest} FROM requests WHERE state = 'open'")).mappings()
    holds = [_hold(row) for row in found]
    if holds:
        documents = ("limits", "request")
        table = sa.table("holds", *(sa.column(n, sa.JSON() if n in documents else None) for n in holds[0]))
        connection.execute(table.insert(), holds)
        connection.execute(sa.text("DELETE FROM requests WHERE state = 'open'"))


def _hold(row: sa.RowMapping) -> dict[str, Any]:
    request = {name: _value(row[name]) if name == "tags" else row[name] for name in REQUEST}
    request["stream"] = bool(request["stream"])
    own = {name: row[name] for name in ("id", "node_id", "time", "key_id", "project_id", "user_id", "reserved")}
    known = {name: value for name, value in request.items() if value is not None}
    return {**own, "limits": _value(row["holds"]) or [], "request": known}


def _value(document: Any) -> Any:
    return json.loads(document) if isinstance(document, str) else document


def _split_hours(connection: sa.Connection) -> None:
    """Split the hours whose rows are all still there into quarters; others stay in the quarter that they began in."""
    sqlite = connection.dialect.name == "sqlite"
    token = "CAST(json_extract(usage, '$.{0}') AS INTEGER)" if sqlite else "(usage ->> '{0}')::bigint"
    sums = ", ".join(f"coalesce(sum({token.format(name)}), 0) AS {name}" for name in TOKENS)
    connection.execute(
        sa.text(
            f"CREATE TEMPORARY TABLE quarters AS SELECT time - time % {QUARTER_MS} AS start, "
            "key_id, project_id, user_id, route, coalesce(provider, '') AS provider, model, count(*) AS requests, "
            "sum(CASE WHEN status >= 400 OR error IS NOT NULL THEN 1 ELSE 0 END) AS errors, "
            f"{sums}, sum(cost) AS cost FROM requests GROUP BY 1, 2, 3, 4, 5, 6, 7"
        )
    )
    key = ", ".join(KEY)
    same = " AND ".join(f"r.{name} = q.{name}" for name in KEY)
    agree = " AND ".join(f"r.{name} = sum(q.{name})" for name in SUMS)
    whole = (
        f"SELECT q.start - q.start % {HOUR_MS} AS start, {', '.join(f'q.{name}' for name in KEY)} FROM quarters AS q "
        f"JOIN rollups AS r ON r.start = q.start - q.start % {HOUR_MS} AND {same} "
        f"GROUP BY q.start - q.start % {HOUR_MS}, {', '.join(f'q.{name}' for name in KEY)}, "
        f"{', '.join(f'r.{name}' for name in SUMS)} HAVING {agree}"
    )
    connection.execute(sa.text(f"CREATE TEMPORARY TABLE whole AS {whole}"))
    connection.execute(sa.text(f"CREATE INDEX {'temp.' if sqlite else ''}ix_whole ON whole (start, {key})"))
    connection.execute(
        sa.text(f"DELETE FROM rollups AS r WHERE EXISTS (SELECT 1 FROM whole AS q WHERE q.start = r.start AND {same})")
    )
    connection.execute(
        sa.text(
            f"INSERT INTO rollups (start, {key}, {', '.join(SUMS)}) "
            f"SELECT r.start, {', '.join(f'r.{name}' for name in (*KEY, *SUMS))} FROM quarters AS r JOIN whole AS q "
            f"ON q.start = r.start - r.start % {HOUR_MS} AND {same}"
        )
    )
    for table in ("quarters", "whole"):
        connection.execute(sa.text(f"DROP TABLE {table}"))
