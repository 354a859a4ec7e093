"""The ledger's transactions on PostgreSQL: rows and counters locked in order of ids, two pipelined round trips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
import psycopg
from psycopg.rows import TupleRow
from sqlalchemy import BigInteger, Boolean, Column, Engine, Float, Integer, Table
from sqlalchemy.types import JSON

from paig_gateway.ledger.statements import (
    ADD_METRICS,
    CLOCK,
    LIMIT_COLUMNS,
    READ,
    ROLLUP,
    ROLLUP_KEY,
    TABLES,
    ReadSet,
    RowsRead,
    counter_changes,
    limit,
    quoted,
    rollup_changes,
    row,
)
from paig_gateway.ledger.transitions import CORRECTED, RESERVED, SETTLED, Counter, LedgerBatch, Value

REQUESTS, COUNTERS_TABLE, ROLLUPS, RUNS_TABLE = (TABLES[name] for name in ("requests", "counters", "rollups", "runs"))
_TYPES = ((JSON, "json"), (BigInteger, "bigint"), (Integer, "bigint"), (Float, "float8"), (Boolean, "boolean"))
_encode = msgspec.json.Encoder().encode

SETTINGS = (
    "SET synchronous_commit = on",  # what a reservation promises; a server may have it off
    "SET lock_timeout = '2s'",  # a node that stalls inside a transaction may hold others up for so long …
    "SET idle_in_transaction_session_timeout = '4s'",  # … and then loses it
    # Plans for a table that is empty now and has a million rows in an hour: by index, whatever the statistics say.
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET plan_cache_mode = force_generic_plan",
    "SET jit = off",
)


def _type(column: Column[Any]) -> str:
    return next((name for kind, name in _TYPES if isinstance(column.type, kind)), "text")


def _recordset(table: Table, columns: Iterable[str]) -> str:
    """A batch's parameter: one JSON array of objects, read as rows of the table's own types."""
    typed = ", ".join(f'"{name}" {_type(table.c[name])}' for name in columns)
    return f"json_to_recordset(%s::json) AS d({typed})"


def _update(columns: Sequence[str], *, finished: bool) -> str:
    changes = ", ".join(f'"{name}" = d."{name}"' for name in columns)
    if finished:
        changes += f", finished_at = (SELECT value FROM meta WHERE name = '{CLOCK}')"
    return f"UPDATE requests AS r SET {changes} FROM {_recordset(REQUESTS, ('id', *columns))} WHERE r.id = d.id"


_COUNTER = ("limit_id", "window_start", "spent", "held")
_COUNTER_KEY = _COUNTER[:2]
_RUN = ("id", "amount", "created_at")
_READ = ", ".join(f'"{name}"::text' if name in ("holds", "usage") else f'"{name}"' for name in READ)

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
NODE = "SELECT 1 FROM nodes WHERE id = %s FOR KEY SHARE"
WORK_LOCKS = (
    "SELECT pg_advisory_xact_lock(hashtextextended(w.id, 0)) FROM (SELECT unnest(%s::text[]) AS id ORDER BY 1) AS w"
)
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
RUNS = "SELECT id, amount FROM runs WHERE id = ANY(%s::text[])"
LIMITS = f"SELECT {LIMIT_COLUMNS} FROM limits WHERE id = ANY(%s::text[])"

OPEN = f"INSERT INTO requests ({quoted(RESERVED)}) SELECT {quoted(RESERVED)} FROM {_recordset(REQUESTS, RESERVED)}"
COUNT = (
    "UPDATE counters AS c SET spent = c.spent + d.spent, held = c.held + d.held "
    f"FROM {_recordset(COUNTERS_TABLE, _COUNTER)} WHERE c.limit_id = d.limit_id AND c.window_start = d.window_start"
)
ROLL = (
    f"INSERT INTO rollups ({quoted(ROLLUP)}) SELECT {quoted(ROLLUP)} FROM {_recordset(ROLLUPS, ROLLUP)} "
    f"ORDER BY {quoted(ROLLUP_KEY)} ON CONFLICT ({quoted(ROLLUP_KEY)}) DO UPDATE SET {ADD_METRICS}"
)
STAMP = (
    f"INSERT INTO meta (name, value) VALUES ('{CLOCK}', %s) "
    "ON CONFLICT (name) DO UPDATE SET value = greatest(meta.value + 1, excluded.value)"
)
SETTLE = _update(SETTLED, finished=True)
CORRECT = _update(CORRECTED, finished=True)
REHOLD = _update(("holds", "reserved"), finished=False)
BUDGET = (
    f"INSERT INTO runs ({quoted(_RUN)}) SELECT {quoted(_RUN)} FROM {_recordset(RUNS_TABLE, _RUN)} "
    "ON CONFLICT DO NOTHING"
)

_JSON_COLUMNS = frozenset(column.name for column in REQUESTS.columns if isinstance(column.type, JSON))


def _document(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    """Rows as the JSON parameter of a statement; values that are JSON already go in as they are."""
    nested = [name in _JSON_COLUMNS for name in columns]
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

    def __init__(self, engine: Engine) -> None:
        pooled = engine.raw_connection()
        self._raw = cast("psycopg.Connection[TupleRow]", pooled.driver_connection)
        pooled.detach()
        self._raw.rollback()
        self._raw.autocommit = True  # BEGIN and COMMIT are ours to say
        for setting in SETTINGS:
            self._raw.execute(setting)

    def read(self, wanted: ReadSet) -> RowsRead | None:
        """Begin, lock, read; counters that must exist and do not are made apart, so that others need not wait."""
        keys = wanted.keys | wanted.create
        with self._raw.pipeline():
            self._say(BEGIN)
            node = self._say(NODE, wanted.node_id) if wanted.node_id is not None else None
            if wanted.works:
                self._say(WORK_LOCKS, list(wanted.works))
            rows = self._say(ROWS, list(wanted.ids)) if wanted.ids else None
            works = self._say(WORKS, list(wanted.works)) if wanted.works else None
            counters = self._say(COUNTERS, _document(_COUNTER_KEY, keys)) if keys else None
            runs = self._say(RUNS, list(wanted.runs)) if wanted.runs else None
            limits = self._say(LIMITS, list(wanted.limits)) if wanted.limits else None
        found = RowsRead(
            {found.id: found for cursor in (rows, works) if cursor for found in map(row, cursor.fetchall())},
            {(id, start): Counter(spent, held) for id, start, spent, held in counters.fetchall()} if counters else {},
            dict(runs.fetchall()) if runs else {},
            {found.id: found for found in map(limit, limits.fetchall())} if limits else {},
            node is None or node.fetchone() is not None,
        )
        missing = wanted.create - found.counters.keys()
        if missing:
            self.rollback()
            self._say(MAKE_COUNTERS, _document(_COUNTER_KEY, sorted(missing)))
            return None
        return found

    def write(self, sheet: LedgerBatch) -> None:
        """Write the changes, and commit."""
        with self._raw.pipeline():
            if sheet.opened:
                self._say(OPEN, _document(RESERVED, sheet.opened))
            if counters := counter_changes(sheet):
                self._say(COUNT, _document(_COUNTER, counters))
            if rollups := rollup_changes(sheet):
                self._say(ROLL, _document(ROLLUP, rollups))
            if sheet.settled or sheet.corrected:
                self._say(STAMP, sheet.now)
            if sheet.settled:
                self._say(SETTLE, _document(("id", *SETTLED), _with_id(sheet.settled)))
            if sheet.corrected:
                self._say(CORRECT, _document(("id", *CORRECTED), _with_id(sheet.corrected)))
            if sheet.reheld:
                self._say(REHOLD, _document(("id", "holds", "reserved"), _with_id(sheet.reheld)))
            if sheet.budgets:
                self._say(BUDGET, _document(_RUN, [(*budget, sheet.now) for budget in sheet.budgets]))
            self._say("COMMIT")

    def rollback(self) -> None:
        """Drop every lock."""
        self._raw.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; an open transaction is undone."""
        self._raw.close()

    def _say(self, sql: str, *values: object) -> psycopg.Cursor[TupleRow]:
        return self._raw.execute(sql.encode(), values, prepare=True)


def _with_id(changes: dict[str, tuple[Value, ...]]) -> list[tuple[Value, ...]]:
    return [(id, *values) for id, values in sorted(changes.items())]
