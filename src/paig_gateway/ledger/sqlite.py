"""The ledger's transactions on SQLite, where `BEGIN IMMEDIATE` is the only lock, and its checkpoints."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from sqlalchemy import Engine

from paig_gateway.ledger.statements import (
    ADD_METRICS,
    BUSY_MS,
    CLOCK,
    LIMIT_COLUMNS,
    MEMBERS,
    READ,
    ROLLUP,
    ROLLUP_KEY,
    SCHEMA,
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
from paig_gateway.ledger.transitions import CORRECTED, FINISHED, HELD, SETTLED, Counter, LedgerBatch

_encode = msgspec.json.Encoder().encode


def _insert(table: str, columns: Iterable[str]) -> str:
    names = list(columns)
    return f"INSERT INTO {table} ({quoted(names)}) VALUES ({', '.join('?' * len(names))})"


def _update(columns: Iterable[str]) -> str:
    changes = ", ".join(f'"{name}" = ?' for name in columns)
    return f"UPDATE requests SET {changes} WHERE id = ?"


BEGUN = f"SELECT (SELECT value FROM meta WHERE name = '{SCHEMA}'), EXISTS (SELECT 1 FROM nodes WHERE id = ?)"
HOLDS = f"SELECT {quoted(HELD)} FROM holds WHERE id IN (SELECT value FROM json_each(?))"
ROWS = f"SELECT {quoted(READ)} FROM requests WHERE id IN (SELECT value FROM json_each(?))"
WORKS = f"SELECT {quoted(READ)} FROM requests WHERE work_id IN (SELECT value FROM json_each(?))"
COUNTERS = (
    "SELECT limit_id, window_start, spent, held FROM json_each(?) AS w CROSS JOIN counters "
    "ON limit_id = json_extract(w.value, '$[0]') AND window_start = json_extract(w.value, '$[1]')"
)
COUNT_MEMBERS = f"SELECT count(*) FROM (SELECT 1 FROM counters WHERE {MEMBERS} = ? AND window_start = ? LIMIT ?)"
RUNS = "SELECT id, amount FROM runs WHERE id IN (SELECT value FROM json_each(?))"
LIMITS = f"SELECT {LIMIT_COLUMNS} FROM limits WHERE id IN (SELECT value FROM json_each(?))"

OPEN = _insert("holds", HELD)
CLOSE = "DELETE FROM holds WHERE id IN (SELECT value FROM json_each(?))"
EXTEND = "UPDATE holds SET limits = ?, reserved = ? WHERE id = ?"
COUNT = (
    "INSERT INTO counters (limit_id, window_start, spent, held) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET spent = spent + excluded.spent, held = held + excluded.held"
)
ROLL = f"{_insert('rollups', ROLLUP)} ON CONFLICT ({quoted(ROLLUP_KEY)}) DO UPDATE SET {ADD_METRICS}"
STAMP = (
    f"INSERT INTO meta (name, value) VALUES ('{CLOCK}', ?) "
    "ON CONFLICT (name) DO UPDATE SET value = max(value + 1, excluded.value) RETURNING value"
)
FINISH = _insert("requests", (*FINISHED, "finished_at"))
SETTLE = _update((*SETTLED, "finished_at"))
CORRECT = _update((*CORRECTED, "finished_at"))
BUDGET = "INSERT INTO runs (id, amount, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class SqliteConnection:
    """See `LedgerConnection`."""

    def __init__(self, engine: Engine) -> None:
        pooled = engine.raw_connection()
        self._raw = cast(sqlite3.Connection, pooled.driver_connection)
        pooled.detach()
        self._raw.execute(f"PRAGMA busy_timeout={BUSY_MS}")

    def read(self, wanted: ReadSet) -> RowsRead | None:
        self._raw.execute("BEGIN IMMEDIATE")
        schema, known = self._raw.execute(BEGUN, (wanted.node_id,)).fetchone()
        check_schema((schema,))
        registered = wanted.node_id is None or bool(known)
        holds = {found.id: found for found in map(hold, self._in(HOLDS, wanted.holds))} if wanted.holds else {}
        rows = {found.id: found for found in map(row, self._in(ROWS, wanted.rows))} if wanted.rows else {}
        if wanted.works:
            rows |= {found.id: found for found in map(row, self._in(WORKS, wanted.works))}
        counters = {}
        keys = wanted.keys | wanted.create
        if keys:
            counters = {(id, start): Counter(spent, held) for id, start, spent, held in self._in(COUNTERS, keys)}
            for key in fitting(wanted.create - counters.keys(), wanted, self._count_members):
                counters[key] = Counter(0, 0, is_new=True)
        runs = dict(self._in(RUNS, wanted.runs)) if wanted.runs else {}
        limits = {found.id: found for found in map(limit, self._in(LIMITS, wanted.limits))} if wanted.limits else {}
        return RowsRead(holds, rows, counters, runs, limits, registered)

    def write(self, batch: LedgerBatch) -> None:
        many = self._raw.executemany
        if batch.opened:
            many(OPEN, batch.opened)
        if batch.closed:
            self._raw.execute(CLOSE, (_encode(batch.closed).decode(),))
        if batch.extended:
            many(EXTEND, [(*values, id) for id, values in batch.extended.items()])
        if counters := counter_changes(batch):
            many(COUNT, counters)
        if rollups := rollup_changes(batch):
            many(ROLL, rollups)
        if batch.finishes:
            stamp = self._all(STAMP, batch.now)[0][0]
            for statement, rows in (
                (FINISH, [(*values, stamp) for values in batch.inserted]),
                (SETTLE, [(*values, stamp, id) for id, values in batch.updated.items()]),
                (CORRECT, [(*values, stamp, id) for id, values in batch.corrected.items()]),
            ):
                if rows:
                    many(statement, rows)
        if batch.budgets:
            many(BUDGET, [(*budget, batch.now) for budget in batch.budgets])
        self._raw.execute("COMMIT")

    def rollback(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")

    def close(self) -> None:
        self._raw.close()

    def _count_members(self, limit_id: str, start: int, most: int) -> int:
        return int(self._all(COUNT_MEMBERS, limit_id, start, most)[0][0])

    def _all(self, sql: str, *values: object) -> list[Any]:
        return self._raw.execute(sql, values).fetchall()

    def _in(self, sql: str, values: Iterable[object]) -> list[Any]:
        return self._all(sql, _encode(list(values)).decode())


EVERY_SECONDS = 0.1
MIN_BYTES = 4 * 2**20
"""A shorter log is not worth a checkpoint."""
MAX_BYTES = 32 * 2**20
"""A longer log is cut: while writers never pause, a passive checkpoint copies all of it but cannot start it over."""

log = logging.getLogger(__name__)


class Checkpointer(threading.Thread):
    """Copies the write-ahead log into the database file, in its own thread, so that no request waits for it.

    The log stays under 64 MB unless a reader holds an old snapshot for long.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(name="paig-checkpoint", daemon=True)
        self._file = str(engine.url.database)
        self._stopping = threading.Event()
        self._copied = 0

    def run(self) -> None:
        """Look at the log's length ten times a second."""
        connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False, timeout=0.5)
        try:
            while not self._stopping.wait(EVERY_SECONDS):
                self._checkpoint(connection)
        finally:
            connection.close()

    def stop(self) -> None:
        """End the thread; a checkpoint that has begun is finished."""
        self._stopping.set()
        self.join()

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        try:
            length = os.stat(f"{self._file}-wal").st_size
            if length < self._copied:
                self._copied = 0
            if length - self._copied < MIN_BYTES:
                return
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._copied = length
            if length > MAX_BYTES:  # little is left to copy, so writers wait for moments only
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except FileNotFoundError:
            return
        except sqlite3.Error as error:  # a full disk, for one; the ledger itself reports what matters
            log.warning("checkpoint of %s failed: %s", self._file, error)
