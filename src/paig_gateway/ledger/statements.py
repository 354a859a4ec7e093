"""What the ledger says to its database: one transaction, in as few statements as it can be, per dialect.

A transaction has two halves. `read` begins it, locks what the batch is about and returns it for a `LedgerBatch`;
`write` writes the changes of that batch and commits. Locks are taken in one order everywhere (node, work, rows,
counters, runs, rollups, the ledger's clock), so that nodes never wait for each other in a circle.

Both dialects talk to the driver directly, under SQLAlchemy's pool: on the request path the compiler's overhead is the
larger part of a batch. To PostgreSQL a batch goes as one JSON document per kind of change, which costs this process a
seventh of what arrays (`unnest`) do, in two pipelined round trips. Column lists come from `transitions`, types from
`tables`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import msgspec
import psycopg
from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from paig_gateway.database.tables import RequestRow
from paig_gateway.domain.limits import Limit, OwnerKind, Unit, Window
from paig_gateway.ledger.transitions import METRICS, Counter, CounterKey, LedgerBatch, Row, Value

CLOCK = "ledger_clock"
"""The row of `meta` that stamps `finished_at`: never twice the same, in the order of commits, whatever the node."""
BUSY_MS = 1000
"""How long the writer waits for another process's write on SQLite before it reports the database as down."""

READ = (
    *("id", "node_id", "state", "time", "key_id", "project_id", "user_id", "route", "provider", "model", "holds"),
    *("reserved", "cost", "certainty", "usage", "status", "error", "work_id"),
)
"""The columns that a transaction reads, in the order of `Row`'s fields."""

_holds = msgspec.json.Decoder(list[tuple[str, int, int, Unit]])
_usage = msgspec.json.Decoder(dict[str, int | float])


@dataclass
class ReadSet:
    """What a batch is about.

    Attributes:
        node_id: This node, where the batch inserts rows: only a registered node may.
        ids: Rows by id.
        works: Rows by the work they were charged for.
        keys: Counters to move if they exist.
        create: Counters that must exist.
        runs: Runs whose budget is asked for.
        limits: Limits to look up.
    """

    node_id: str | None = None
    ids: set[str] = field(default_factory=set)
    works: set[str] = field(default_factory=set)
    keys: set[CounterKey] = field(default_factory=set)
    create: set[CounterKey] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    limits: set[str] = field(default_factory=set)


@dataclass
class RowsRead:
    """What there is of what a batch wanted; see `LedgerBatch` for the first three."""

    rows: dict[str, Row]
    counters: dict[CounterKey, Counter]
    runs: dict[str, int]
    limits: dict[str, Limit]
    registered: bool


class LedgerConnection(Protocol):
    """A connection of the ledger's own; after an error it is to be closed."""

    def read(self, wanted: ReadSet) -> RowsRead | None:
        """Begin, lock and read. None: a counter had to be made first, outside the transaction; read again."""

    def write(self, sheet: LedgerBatch) -> None:
        """Write what the sheet collected, and commit."""

    def rollback(self) -> None:
        """End the transaction without a trace."""

    def close(self) -> None:
        """Give the connection up."""


def is_transient(error: BaseException) -> bool:
    """Whether an error is about the database's state, so that the same batch may well succeed later."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    psycopgs = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
    return isinstance(error, (sqlite3.OperationalError, *psycopgs, PoolTimeout))


def quoted(names: Iterable[str], prefix: str = "") -> str:
    """A list of columns; some have the names of keywords."""
    return ", ".join(f'{prefix}"{name}"' for name in names)


def row(values: Sequence[Any]) -> Row:
    """A row from its columns `READ`, whose JSON comes as text."""
    found = Row(*values)
    found.holds = _holds.decode(cast(str, found.holds)) if found.holds else []
    found.usage = None if found.usage is None else _usage.decode(cast(str, found.usage))
    return found


def limit(values: Sequence[Any]) -> Limit:
    """A limit from its `LIMIT_COLUMNS`; its owner's name is not among them, so the owner's id stands for it."""
    id, owner_kind, owner_id, unit, window, amount, soft = values
    return Limit(id, cast(OwnerKind, owner_kind), owner_id, cast(Unit, unit), cast(Window, window), amount, bool(soft))


def counter_changes(sheet: LedgerBatch) -> list[tuple[Value, ...]]:
    """What to add to each counter: limit id, window start, spent, held.

    A new one is written even at nothing: a settlement leaves alone what is not there.
    """
    return [
        (*key, counter.spent - counter.spent_before, counter.held - counter.held_before)
        for key, counter in sorted(sheet.counters.items())
        if counter.is_new or counter.spent != counter.spent_before or counter.held != counter.held_before
    ]


def rollup_changes(sheet: LedgerBatch) -> list[tuple[Value, ...]]:
    """What to add to each rollup, as `ROLLUP` has the columns."""
    return [(*key, *sums) for key, sums in sorted(sheet.rollups.items()) if any(sums)]


TABLES: Mapping[str, Table] = RequestRow.metadata.tables
ROLLUP_KEY = tuple(column.name for column in TABLES["rollups"].primary_key)
ROLLUP = (*ROLLUP_KEY, *METRICS)
ADD_METRICS = ", ".join(f'"{name}" = rollups."{name}" + excluded."{name}"' for name in METRICS)
LIMIT_COLUMNS = quoted(("id", "owner_kind", "owner_id", "unit", "window", "amount", "soft"))
