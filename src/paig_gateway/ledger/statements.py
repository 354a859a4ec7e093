"""The ledger's SQL: one transaction in as few statements as possible, for each dialect.

A transaction has two halves. `read` begins it, locks what the batch is about and returns it for a `LedgerBatch`;
`write` writes the batch's changes and commits. Locks are taken in one order everywhere (holds, node, work, rows,
counters, runs, rollups, the ledger's clock), so that nodes never wait for each other in a circle.

Both dialects talk to the driver directly, under SQLAlchemy's pool: on the request path the compiler's overhead is the
larger part of a batch. To PostgreSQL a batch goes as one JSON document per kind of change, in two pipelined round
trips. Column lists come from `transitions`, types from `tables`.

Every transaction reads the schema number that the database's last ledger migration wrote. A node of an older schema
finds another number than its own, and records nothing more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import msgspec
from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError

from paig_client.api.limits import Unit
from paig_gateway.database.limit_rows import limit_of
from paig_gateway.database.tables import LimitRow, RequestRow
from paig_gateway.domain.limits import PREFIX, Limit
from paig_gateway.ledger.transitions import (
    METRICS,
    Counter,
    CounterKey,
    FinishedRow,
    HeldRequest,
    Hold,
    LedgerBatch,
    Value,
)

SCHEMA = "ledger_schema"
"""The row of `meta` that numbers the ledger's schema. A migration that changes the ledger's tables raises it."""
SCHEMA_NUMBER = 3
"""The schema that this version writes."""
CLOCK = "ledger_clock"
"""The row of `meta` that stamps `finished_at`: never twice the same, in the order of commits, whatever the node."""
BUSY_MS = 1000
"""How long the writer waits for another process's write on SQLite before it reports the database as down."""

READ = (
    *("id", "state", "time", "key_id", "project_id", "user_id", "route", "provider", "model", "holds"),
    *("reserved", "cost", "certainty", "usage", "status", "error", "work_id", "price"),
)
"""The columns of a finished row that a transaction reads, in the order of `FinishedRow`'s fields."""

_limits = msgspec.json.Decoder(list[tuple[str, int, int, Unit]])
_usage = msgspec.json.Decoder(dict[str, int | float])
_request = msgspec.json.Decoder(HeldRequest)


class SchemaChangedError(Exception):
    """The ledger's schema is not this version's; the message says what to do."""


@dataclass
class ReadSet:
    """The rows that a batch needs.

    Attributes:
        node_id: This node, where the batch inserts holds or rows: only a registered node may.
        holds: Holds by id.
        rows: Finished rows by id.
        works: Finished rows by the work they were charged for.
        keys: Counters to move if they exist.
        create: Counters that must exist.
        members: How many counters of its kind may exist, for those among `create` that belong to a limit's member.
        crowded: Those that may not be made, because there are too many; the connection adds them.
        runs: Runs whose budget is read.
        limits: Limits to look up.
    """

    node_id: str | None = None
    holds: set[str] = field(default_factory=set)
    rows: set[str] = field(default_factory=set)
    works: set[str] = field(default_factory=set)
    keys: set[CounterKey] = field(default_factory=set)
    create: set[CounterKey] = field(default_factory=set)
    members: dict[CounterKey, int] = field(default_factory=dict)
    crowded: set[CounterKey] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    limits: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        """The size of the set, to see whether it has grown."""
        return len(self.rows) + len(self.keys) + len(self.create) + len(self.limits)


@dataclass
class RowsRead:
    """The rows of a `ReadSet` that exist; see `LedgerBatch` for the first four."""

    holds: dict[str, Hold]
    rows: dict[str, FinishedRow]
    counters: dict[CounterKey, Counter]
    runs: dict[str, int]
    limits: dict[str, Limit]
    registered: bool


class LedgerConnection(Protocol):
    """A connection used only by the ledger; it must be closed after an error."""

    def read(self, wanted: ReadSet) -> RowsRead | None:
        """Begin, lock and read. None: a counter had to be made first, outside the transaction; read again.

        Raises:
            SchemaChangedError: The database has another schema than this version.
        """

    def write(self, batch: LedgerBatch) -> None:
        """Write what the batch collected, and commit."""

    def rollback(self) -> None:
        """Undo the transaction."""

    def close(self) -> None: ...


def is_rows_fault(error: BaseException) -> bool:
    """Whether an error is caused by the values of one command, so that the others can be done without it.

    Any other error of a database or its driver is about the database's state, and the same batch may succeed later.
    """
    if isinstance(error, DBAPIError):
        error = error.orig or error
    if isinstance(error, sqlite3.Error):
        return isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError))
    if type(error).__module__.partition(".")[0] == "psycopg":
        import psycopg  # slow to import, and not needed with SQLite

        return isinstance(error, (psycopg.DataError, psycopg.IntegrityError))
    return not isinstance(error, (SchemaChangedError, OSError)) and not type(error).__module__.startswith("sqlalchemy.")


def check_schema(found: Sequence[Any] | None) -> None:
    """Compare the number in the database with this version's.

    Raises:
        SchemaChangedError: They differ.
    """
    number = found[0] if found else None
    if number != SCHEMA_NUMBER:
        raise SchemaChangedError(
            f"The ledger's schema is number {number} and this version writes number {SCHEMA_NUMBER}: another version "
            f"of paig has migrated the database. Upgrade this gateway, or stop it."
        )


def quoted(names: Iterable[str], prefix: str = "") -> str:
    """A list of columns; some have the names of keywords."""
    return ", ".join(f'{prefix}"{name}"' for name in names)


def hold(values: Sequence[Any]) -> Hold:
    """A hold from its columns `HELD`, with JSON as text."""
    found = Hold(*values)
    found.limits = _limits.decode(cast(str, found.limits))
    found.request = _request.decode(cast(str, found.request))
    return found


def row(values: Sequence[Any]) -> FinishedRow:
    """A finished row from its columns `READ`, with JSON as text."""
    found = FinishedRow(*values)
    found.holds = _limits.decode(cast(str, found.holds)) if found.holds else []
    found.usage = None if found.usage is None else _usage.decode(cast(str, found.usage))
    found.cost = found.cost or 0
    return found


def limit(values: Sequence[Any]) -> Limit:
    """A limit from its `LIMIT_COLUMNS`; its owner's id is used as the owner's name, which is not among them."""
    return limit_of(LimitRow(**dict(zip(LIMIT_NAMES, values, strict=True))))


def fitting(missing: Iterable[CounterKey], wanted: ReadSet, count: Callable[[str, int, int], int]) -> list[CounterKey]:
    """The missing counters that may be created; the others are added to `wanted.crowded`.

    Args:
        missing: The counters.
        wanted: What they are wanted for.
        count: How many counters there are of a limit in a window, counted up to a number.
    """
    made: dict[tuple[str, int], int] = {}
    found = []
    for key in sorted(missing):
        most = wanted.members.get(key)
        if most is not None:
            place = key[0][:PREFIX], key[1]
            if place not in made:
                made[place] = count(*place, most)
            if made[place] >= most:
                wanted.crowded.add(key)
                continue
            made[place] += 1
        found.append(key)
    return found


def counter_changes(batch: LedgerBatch) -> list[tuple[Value, ...]]:
    """The changes of each counter: limit id, window start, spent, held.

    A new counter is written even if it is zero, because a settlement ignores missing counters.
    """
    return [
        (*key, counter.spent - counter.spent_before, counter.held - counter.held_before)
        for key, counter in sorted(batch.counters.items())
        if counter.is_new or counter.spent != counter.spent_before or counter.held != counter.held_before
    ]


def rollup_changes(batch: LedgerBatch) -> list[tuple[Value, ...]]:
    """The changes of each rollup, in the columns of `ROLLUP`."""
    return [(*key, *sums) for key, sums in sorted(batch.rollups.items()) if any(sums)]


MEMBERS = f"substr(limit_id, 1, {PREFIX})"
"""The id of the limit that a counter belongs to; there is an index on it."""
TABLES: Mapping[str, Table] = RequestRow.metadata.tables
ROLLUP_KEY = tuple(column.name for column in TABLES["rollups"].primary_key)
ROLLUP = (*ROLLUP_KEY, *METRICS)
ADD_METRICS = ", ".join(f'"{name}" = rollups."{name}" + excluded."{name}"' for name in METRICS)
LIMIT_NAMES = tuple(column.name for column in TABLES["limits"].columns)
LIMIT_COLUMNS = quoted(LIMIT_NAMES)
