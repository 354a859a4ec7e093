"""The ledger's transactions on SQLite, where `BEGIN IMMEDIATE` is the only lock there is."""

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
    READ,
    ROLLUP,
    ROLLUP_KEY,
    ReadSet,
    RowsRead,
    counter_changes,
    limit,
    quoted,
    rollup_changes,
    row,
)
from paig_gateway.ledger.transitions import CORRECTED, RESERVED, SETTLED, Counter, LedgerBatch

_encode = msgspec.json.Encoder().encode


def _places(count: int) -> str:
    return ", ".join("?" * count)


def _update(columns: Iterable[str]) -> str:
    changes = ", ".join(f'"{name}" = ?' for name in columns)
    return f"UPDATE requests SET {changes} WHERE id = ?"


NODE = "SELECT 1 FROM nodes WHERE id = ?"
ROWS = f"SELECT {quoted(READ)} FROM requests WHERE id IN (SELECT value FROM json_each(?))"
WORKS = f"SELECT {quoted(READ)} FROM requests WHERE work_id IN (SELECT value FROM json_each(?))"
COUNTERS = (
    "SELECT limit_id, window_start, spent, held FROM json_each(?) AS w CROSS JOIN counters "
    "ON limit_id = json_extract(w.value, '$[0]') AND window_start = json_extract(w.value, '$[1]')"
)
RUNS = "SELECT id, amount FROM runs WHERE id IN (SELECT value FROM json_each(?))"
LIMITS = f"SELECT {LIMIT_COLUMNS} FROM limits WHERE id IN (SELECT value FROM json_each(?))"

OPEN = f"INSERT INTO requests ({quoted(RESERVED)}) VALUES ({_places(len(RESERVED))})"
COUNT = (
    "INSERT INTO counters (limit_id, window_start, spent, held) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET spent = spent + excluded.spent, held = held + excluded.held"
)
ROLL = (
    f"INSERT INTO rollups ({quoted(ROLLUP)}) VALUES ({_places(len(ROLLUP))}) "
    f"ON CONFLICT ({quoted(ROLLUP_KEY)}) DO UPDATE SET {ADD_METRICS}"
)
STAMP = (
    f"INSERT INTO meta (name, value) VALUES ('{CLOCK}', ?) "
    "ON CONFLICT (name) DO UPDATE SET value = max(value + 1, excluded.value) RETURNING value"
)
SETTLE = _update((*SETTLED, "finished_at"))
CORRECT = _update((*CORRECTED, "finished_at"))
REHOLD = _update(("holds", "reserved"))
BUDGET = "INSERT INTO runs (id, amount, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class SqliteConnection:
    """See `LedgerConnection`."""

    def __init__(self, engine: Engine) -> None:
        pooled = engine.raw_connection()
        self._raw = cast(sqlite3.Connection, pooled.driver_connection)
        pooled.detach()
        self._raw.execute(f"PRAGMA busy_timeout={BUSY_MS}")

    def read(self, wanted: ReadSet) -> RowsRead | None:
        """Take the write lock, and read."""
        self._raw.execute("BEGIN IMMEDIATE")
        registered = wanted.node_id is None or bool(self._all(NODE, wanted.node_id))
        rows = {}
        if wanted.ids:
            rows = {found.id: found for found in map(row, self._in(ROWS, wanted.ids))}
        if wanted.works:
            rows |= {found.id: found for found in map(row, self._in(WORKS, wanted.works))}
        counters = {}
        keys = wanted.keys | wanted.create
        if keys:
            counters = {(id, start): Counter(spent, held) for id, start, spent, held in self._in(COUNTERS, keys)}
            for key in wanted.create - counters.keys():
                counters[key] = Counter(0, 0, is_new=True)
        runs = dict(self._in(RUNS, wanted.runs)) if wanted.runs else {}
        limits = {found.id: found for found in map(limit, self._in(LIMITS, wanted.limits))} if wanted.limits else {}
        return RowsRead(rows, counters, runs, limits, registered)

    def write(self, sheet: LedgerBatch) -> None:
        """Write the changes, and commit."""
        many = self._raw.executemany
        if sheet.opened:
            many(OPEN, sheet.opened)
        if counters := counter_changes(sheet):
            many(COUNT, counters)
        if rollups := rollup_changes(sheet):
            many(ROLL, rollups)
        if sheet.settled or sheet.corrected:
            stamp = self._all(STAMP, sheet.now)[0][0]
            many(SETTLE, [(*values, stamp, id) for id, values in sheet.settled.items()])
            many(CORRECT, [(*values, stamp, id) for id, values in sheet.corrected.items()])
        if sheet.reheld:
            many(REHOLD, [(*values, id) for id, values in sheet.reheld.items()])
        if sheet.budgets:
            many(BUDGET, [(*budget, sheet.now) for budget in sheet.budgets])
        self._raw.execute("COMMIT")

    def rollback(self) -> None:
        """Drop the write lock."""
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; an open transaction is undone."""
        self._raw.close()

    def _all(self, sql: str, *values: object) -> list[Any]:
        return self._raw.execute(sql, values).fetchall()

    def _in(self, sql: str, values: Iterable[object]) -> list[Any]:
        return self._all(sql, _encode(list(values)).decode())


EVERY_SECONDS = 1.0
MIN_BYTES = 4 * 2**20
"""A shorter log is not worth a checkpoint."""
MAX_BYTES = 128 * 2**20
"""A longer log is cut: while writers never pause, a passive checkpoint copies all of it and still cannot begin anew."""

log = logging.getLogger(__name__)


class Checkpointer(threading.Thread):
    """Copies the write-ahead log into the database file, while it is long enough, until stopped."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(name="paig-checkpoint", daemon=True)
        self._file = str(engine.url.database)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Check the log's length every second."""
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
            if length < MIN_BYTES:
                return
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if length > MAX_BYTES:  # little is left to copy, so writers wait for moments only
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except FileNotFoundError:
            return
        except sqlite3.Error as error:  # a full disk, for one; the ledger itself will report what matters
            log.warning("checkpoint of %s failed: %s", self._file, error)
