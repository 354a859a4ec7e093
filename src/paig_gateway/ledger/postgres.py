"""The ledger's transactions on PostgreSQL: rows and counters locked in order of ids, two pipelined round trips.

They work behind a pooler in transaction mode, too: settings are set within the transaction, and statements are prepared
only where the connection leads straight to the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
import psycopg
from psycopg.rows import TupleRow
from sqlalchemy import BigInteger, Boolean, Column, Engine, Float, Integer, Table
from sqlalchemy.types import JSON

from paig_gateway.database.bounded import set_bound
from paig_gateway.ledger.statements import (
    ADD_METRICS,
    CLOCK,
    LIMIT_COLUMNS,
    MEMBERS,
    READ,
    ROLLUP,
    ROLLUP_KEY,
    SCHEMA,
    TABLES,
    ReadSet,
    RowsRead,
    check_schema,
    counter_changes,
    fitting,
    hold,
    limit,
    quoted,
    rollup_changes,
    row,
)
from paig_gateway.ledger.transitions import CORRECTED, FINISHED, HELD, SETTLED, Counter, CounterKey, LedgerBatch, Value

HOLDS_TABLE, REQUESTS, COUNTERS_TABLE, ROLLUPS, RUNS_TABLE = (
    TABLES[name] for name in ("holds", "requests", "counters", "rollups", "runs")
)
_TYPES = ((JSON, "json"), (BigInteger, "bigint"), (Integer, "bigint"), (Float, "float8"), (Boolean, "boolean"))
_encode = msgspec.json.Encoder().encode

SETTINGS: Mapping[str, str] = {
    "synchronous_commit": "on",  # a reservation must be durable, whatever the server's default
    "statement_timeout": "10s",
    "lock_timeout": "2s",  # a node that stalls inside a transaction holds others up for at most this long …
    "idle_in_transaction_session_timeout": "4s",  # … and then loses the transaction
    # A table may grow from empty to a million rows within an hour, so plans must use indexes despite the statistics.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
"""Set within each transaction, so that nothing is left behind on a connection that a pooler gives to others."""


def _type(column: Column[Any]) -> str:
    return next((name for kind, name in _TYPES if isinstance(column.type, kind)), "text")


def _recordset(table: Table, columns: Iterable[str]) -> str:
    """A batch's parameter: one JSON array of objects, read as rows of the table's own types."""
    typed = ", ".join(f'"{name}" {_type(table.c[name])}' for name in columns)
    return f"json_to_recordset(%s::json) AS d({typed})"


_STAMP = f"(SELECT value FROM meta WHERE name = '{CLOCK}')"


def _insert(table: Table, columns: Sequence[str], *, stamped: bool = False) -> str:
    into, values = (', "finished_at"', f", {_STAMP}") if stamped else ("", "")
    return (
        f"INSERT INTO {table.name} ({quoted(columns)}{into}) "
        f"SELECT {quoted(columns)}{values} FROM {_recordset(table, columns)}"
    )


def _update(columns: Sequence[str]) -> str:
    changes = ", ".join(f'"{name}" = d."{name}"' for name in columns)
    recordset = _recordset(REQUESTS, ("id", *columns))
    return f"UPDATE requests AS r SET {changes}, finished_at = {_STAMP} FROM {recordset} WHERE r.id = d.id"


def _read(columns: Iterable[str], documents: Iterable[str]) -> str:
    return ", ".join(f'"{name}"::text' if name in documents else f'"{name}"' for name in columns)


_COUNTER = ("limit_id", "window_start", "spent", "held")
_COUNTER_KEY = _COUNTER[:2]
_RUN = ("id", "amount", "created_at")
_EXTENDED = ("limits", "reserved")

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
SET = "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in SETTINGS.items())
SHARE = "LOCK TABLE holds IN ROW EXCLUSIVE MODE"  # a migration takes it exclusively before it changes the number
SCHEMA_QUERY = f"SELECT value FROM meta WHERE name = '{SCHEMA}'"
HOLDS = f"SELECT {_read(HELD, ('limits', 'request'))} FROM holds WHERE id = ANY(%s::text[]) ORDER BY id FOR UPDATE"
NODE = "SELECT 1 FROM nodes WHERE id = %s FOR KEY SHARE"
WORK_LOCKS = (
    "SELECT pg_advisory_xact_lock(hashtextextended(w.id, 0)) FROM (SELECT unnest(%s::text[]) AS id ORDER BY 1) AS w"
)
_READ = _read(READ, ("holds", "usage"))
ROWS = f"SELECT {_READ} FROM requests WHERE id = ANY(%s::text[]) ORDER BY id FOR UPDATE"
WORKS = f"SELECT {_READ} FROM requests WHERE work_id = ANY(%s::text[]) ORDER BY id FOR UPDATE"
COUNTERS = (
    f"SELECT {quoted(_COUNTER, 'c.')} FROM {_recordset(COUNTERS_TABLE, _COUNTER_KEY)} "
    "JOIN counters AS c USING (limit_id, window_start) ORDER BY c.limit_id, c.window_start FOR UPDATE OF c"
)
MAKE_COUNTERS = (
    f"INSERT INTO counters ({quoted(_COUNTER)}) SELECT limit_id, window_start, 0, 0 "
    f"FROM {_recordset(COUNTERS_TABLE, _COUNTER_KEY)} ORDER BY 1, 2 ON CONFLICT DO NOTHING"
)
LOCK_MEMBERS = "SELECT pg_advisory_xact_lock(hashtextextended('members', 0))"
COUNT_MEMBERS = (
    f"SELECT count(*) FROM (SELECT 1 FROM counters WHERE {MEMBERS} = %s AND window_start = %s LIMIT %s) AS m"
)
RUNS = "SELECT id, amount FROM runs WHERE id = ANY(%s::text[])"
LIMITS = f"SELECT {LIMIT_COLUMNS} FROM limits WHERE id = ANY(%s::text[])"

OPEN = _insert(HOLDS_TABLE, HELD)
CLOSE = "DELETE FROM holds WHERE id = ANY(%s::text[])"
EXTEND = (
    f"UPDATE holds AS h SET limits = d.limits, reserved = d.reserved "
    f"FROM {_recordset(HOLDS_TABLE, ('id', *_EXTENDED))} WHERE h.id = d.id"
)
COUNT = (
    "UPDATE counters AS c SET spent = c.spent + d.spent, held = c.held + d.held "
    f"FROM {_recordset(COUNTERS_TABLE, _COUNTER)} WHERE c.limit_id = d.limit_id AND c.window_start = d.window_start"
)
ROLL = (
    f"{_insert(ROLLUPS, ROLLUP)} "
    f"ORDER BY {quoted(ROLLUP_KEY)} ON CONFLICT ({quoted(ROLLUP_KEY)}) DO UPDATE SET {ADD_METRICS}"
)
STAMP = (
    f"INSERT INTO meta (name, value) VALUES ('{CLOCK}', %s) "
    "ON CONFLICT (name) DO UPDATE SET value = greatest(meta.value + 1, excluded.value)"
)
FINISH = _insert(REQUESTS, FINISHED, stamped=True)
SETTLE = _update(SETTLED)
CORRECT = _update(CORRECTED)
BUDGET = f"{_insert(RUNS_TABLE, _RUN)} ON CONFLICT DO NOTHING"


def _document(table: Table, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    """Rows as the JSON parameter of a statement; values that are already JSON are inserted unchanged."""
    nested = [isinstance(table.c[name].type, JSON) for name in columns]
    return _encode(
        [
            {
                name: msgspec.Raw(value.encode()) if is_json and isinstance(value, str) else value
                for name, is_json, value in zip(columns, nested, values, strict=True)
            }
            for values in rows
        ]
    ).decode()


class PostgresConnection:
    """See `LedgerConnection`."""

    def __init__(self, engine: Engine, answer_seconds: float) -> None:
        """Open it.

        Args:
            answer_seconds: How long the server may take for each of the two round trips.
        """
        pooled = engine.raw_connection()
        self._raw = cast("psycopg.Connection[TupleRow]", pooled.driver_connection)
        pooled.detach()
        set_bound(self._raw, answer_seconds)
        try:
            self._raw.rollback()
            self._raw.autocommit = True  # this module sends BEGIN and COMMIT itself
            self._prepare = not _is_pooled(self._raw)
        except BaseException:
            self._raw.close()
            raise

    def read(self, wanted: ReadSet) -> RowsRead | None:
        """Begin, lock, read; missing counters are created in a separate transaction, so that others need not wait."""
        keys = wanted.keys | wanted.create
        with self._raw.pipeline():
            self._say(BEGIN)
            self._say(SET)
            self._say(SHARE)
            schema = self._say(SCHEMA_QUERY)
            holds = self._say(HOLDS, list(wanted.holds)) if wanted.holds else None
            node = self._say(NODE, wanted.node_id) if wanted.node_id is not None else None
            if wanted.works:
                self._say(WORK_LOCKS, list(wanted.works))
            rows = self._say(ROWS, list(wanted.rows)) if wanted.rows else None
            works = self._say(WORKS, list(wanted.works)) if wanted.works else None
            counters = self._say(COUNTERS, _document(COUNTERS_TABLE, _COUNTER_KEY, keys)) if keys else None
            runs = self._say(RUNS, list(wanted.runs)) if wanted.runs else None
            limits = self._say(LIMITS, list(wanted.limits)) if wanted.limits else None
        check_schema(schema.fetchone())
        found = RowsRead(
            {found.id: found for found in map(hold, holds.fetchall())} if holds else {},
            {found.id: found for cursor in (rows, works) if cursor for found in map(row, cursor.fetchall())},
            {(id, start): Counter(spent, held) for id, start, spent, held in counters.fetchall()} if counters else {},
            dict(runs.fetchall()) if runs else {},
            {found.id: found for found in map(limit, limits.fetchall())} if limits else {},
            node is None or node.fetchone() is not None,
        )
        missing = wanted.create - found.counters.keys() - wanted.crowded
        if missing:
            self.rollback()
            self._make_counters(missing, wanted)
            return None
        return found

    def _make_counters(self, missing: Iterable[CounterKey], wanted: ReadSet) -> None:
        self._say(BEGIN)
        if any(key in wanted.members for key in missing):  # no two nodes count members at the same time
            self._say(LOCK_MEMBERS)
        made = fitting(missing, wanted, self._count_members)
        self._say(MAKE_COUNTERS, _document(COUNTERS_TABLE, _COUNTER_KEY, made))
        self._say("COMMIT")

    def _count_members(self, limit_id: str, start: int, most: int) -> int:
        found = self._say(COUNT_MEMBERS, limit_id, start, most).fetchone()
        return int(found[0]) if found else 0

    def write(self, batch: LedgerBatch) -> None:
        with self._raw.pipeline():
            if batch.opened:
                self._say(OPEN, _document(HOLDS_TABLE, HELD, batch.opened))
            if batch.closed:
                self._say(CLOSE, batch.closed)
            if batch.extended:
                self._say(EXTEND, _document(HOLDS_TABLE, ("id", *_EXTENDED), _with_id(batch.extended)))
            if counters := counter_changes(batch):
                self._say(COUNT, _document(COUNTERS_TABLE, _COUNTER, counters))
            if rollups := rollup_changes(batch):
                self._say(ROLL, _document(ROLLUPS, ROLLUP, rollups))
            if batch.finishes:
                self._say(STAMP, batch.now)
            if inserted := batch.inserted:
                self._say(FINISH, _document(REQUESTS, FINISHED, inserted))
            if updated := batch.updated:
                self._say(SETTLE, _document(REQUESTS, ("id", *SETTLED), _with_id(updated)))
            if batch.corrected:
                self._say(CORRECT, _document(REQUESTS, ("id", *CORRECTED), _with_id(batch.corrected)))
            if batch.budgets:
                self._say(BUDGET, _document(RUNS_TABLE, _RUN, [(*budget, batch.now) for budget in batch.budgets]))
            self._say("COMMIT")

    def rollback(self) -> None:
        self._raw.execute("ROLLBACK")

    def close(self) -> None:
        self._raw.close()

    def _say(self, sql: str, *values: object) -> psycopg.Cursor[TupleRow]:
        return self._raw.execute(sql.encode(), values, prepare=self._prepare)


def _is_pooled(connection: psycopg.Connection[TupleRow]) -> bool:
    """Whether a pooler such as pgbouncer stands before the server.

    Then the process that answers is not the one that the connection was told of when it was opened.
    """
    found = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    return found is None or found[0] != connection.info.backend_pid


def _with_id(changes: Mapping[str, tuple[Value, ...]]) -> list[tuple[Value, ...]]:
    return [(id, *values) for id, values in sorted(changes.items())]
