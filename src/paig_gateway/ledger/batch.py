"""One node's hand in the ledger: works batches of commands, one transaction each. No threads, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from paig_gateway.database.columns import milliseconds, text
from paig_gateway.database.engine import writing
from paig_gateway.domain.limits import Limit
from paig_gateway.ledger import nodes
from paig_gateway.ledger.postgres import PostgresConnection
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.ledger.sqlite import SqliteConnection
from paig_gateway.ledger.statements import LedgerConnection, ReadSet, RowsRead
from paig_gateway.ledger.transitions import Corrected, CounterKey, LedgerBatch, Refusal, binding, counter_key, run_id

UNUSED_ERROR = "not-dispatched"
"""The `error` of a request whose caller had gone, or been told no, before its reservation was known to be written."""
SWEEP_ROWS = 500
"""How many rows are swept in one transaction."""
_READS = 8
"""How often a transaction may find that it needs more than it locked, and begin again."""
_KNOWN_RUNS = 10_000


@dataclass(slots=True, eq=False)
class Command:
    """Something to do; `tried` once a transaction with it failed, so that it may have been done already."""

    tried: bool = field(default=False, init=False)


@dataclass(slots=True, eq=False)
class Reserve(Command):
    """Hold a request's worst case.

    Attributes:
        patient: It waits where only what others hold is in the way, and lets those who wait already go first.
        refusal: Why it still waits.
        fresh: It is to be looked at even if one before it waits for the same limit.
    """

    reservation: Reservation
    patient: bool = False
    refusal: Refusal | None = None
    fresh: bool = True


@dataclass(slots=True, eq=False)
class Extend(Command):
    """Raise a request's hold by `extra` nanodollars."""

    id: str
    extra: int


@dataclass(slots=True, eq=False)
class Settle(Command):
    """Put a request's cost in place of its hold."""

    settlement: Settlement


@dataclass(slots=True, eq=False)
class Release(Command):
    """Let go of a hold that was never used, if there is one."""

    id: str


@dataclass(slots=True, eq=False)
class Charge(Command):
    """Write a finished row; `counted` unless it is a refusal's."""

    reservation: Reservation
    settlement: Settlement
    counted: bool = True


@dataclass(slots=True, eq=False)
class Correct(Command):
    """Give work charged by guess its true cost."""

    work_id: str
    key_id: str | None
    settlement: Settlement


@dataclass(slots=True, eq=False)
class Sweep(Command):
    """Charge a dead node's row at its ceiling."""

    id: str
    node_id: str


Result = None | Refusal | Corrected | Exception


@dataclass(frozen=True, slots=True)
class Worked:
    """What came of a batch.

    Attributes:
        results: One per command: None where it is done, a refusal, what a correction came to, or why it cannot be done.
        released: Ids of limits on which holds were let go since the last batch, here or by another node.
    """

    results: list[Result]
    released: set[str]


@dataclass(frozen=True, slots=True)
class Open:
    """A request in flight, as this process remembers it."""

    reservation: Reservation
    limits: tuple[Limit, ...]
    keys: frozenset[CounterKey]


class BatchExecutor:
    """See the module. Not for use by two threads at once.

    Attributes:
        open: This process's requests in flight, by id.
        watched: Counters that someone waits for, as they were last seen: spent, held.
    """

    def __init__(
        self, engine: Engine, node_id: str, clock: Callable[[], datetime], process: nodes.Process | None = None
    ) -> None:
        self.engine = engine
        self.node_id = node_id
        self.clock = clock
        self.process = process or nodes.Process.present()
        self.open: dict[str, Open] = {}
        self.watched: dict[CounterKey, tuple[int, int]] = {}
        self._runs: dict[str, int] = {}
        self._connection: LedgerConnection | None = None

    def start(self) -> None:
        """Register this node and charge what dead nodes, and an earlier life of this one, left open.

        Raises:
            NodeInUseError: Another live process goes by this id.
        """
        with writing(self.engine) as connection:
            now = nodes.now_ms(connection, self.clock)
            nodes.check_unused(connection, self.node_id, self.process, now)
            nodes.beat(connection, self.node_id, self.process, now)
        self.sweep(self.node_id)
        for silent in self.silent():
            self.bury(silent.node_id)

    def stop(self) -> None:
        """Sign off, unless requests are still open: then the row stays, for others to find."""
        with writing(self.engine) as connection:
            nodes.forget(connection, self.node_id)
        self.close()

    def close(self) -> None:
        """Give up the connection; the next batch opens another."""
        if self._connection:
            connection, self._connection = self._connection, None
            connection.close()

    def beat(self) -> None:
        """Say that this node lives."""
        with writing(self.engine) as connection:
            nodes.beat(connection, self.node_id, self.process, nodes.now_ms(connection, self.clock))

    def silent(self) -> list[nodes.Beat]:
        """The other nodes that are dead, or look so by their beat."""
        with self.engine.connect() as connection:
            return nodes.silent(connection, self.node_id, nodes.now_ms(connection, self.clock))

    def alive(self) -> set[str]:
        """Ids of the nodes that run, this one among them."""
        with self.engine.connect() as connection:
            now = nodes.now_ms(connection, self.clock)
            dead = {beat.node_id for beat in nodes.silent(connection, self.node_id, now)}
            return nodes.known(connection) - dead

    def sweep(self, node_id: str) -> int:
        """Charge all open rows of a dead node at their ceiling.

        Returns:
            How many there were.
        """
        swept = 0
        while True:
            with self.engine.connect() as connection:
                ids = nodes.open_rows(connection, node_id, SWEEP_ROWS)
            if not ids:
                return swept
            self.work([Sweep(id, node_id) for id in ids])
            swept += len(ids)

    def bury(self, node_id: str) -> int:
        """Sweep a dead node and remove it; see `sweep`."""
        swept = self.sweep(node_id)
        with writing(self.engine) as connection:
            nodes.forget(connection, node_id)
        return swept

    def audit(self) -> int:
        """Let go of rows that are open in this node's name and that it knows nothing of.

        They come of a commit whose outcome this process never learned; their callers were told no.

        Returns:
            How many there were.
        """
        with self.engine.connect() as connection:
            ids = [id for id in nodes.open_rows(connection, self.node_id) if id not in self.open]
        if ids:
            self.work([Release(id) for id in ids])
        return len(ids)

    def work(self, commands: Sequence[Command], blocked: Collection[str] = ()) -> Worked:
        """Do a batch in one transaction, in order.

        Args:
            commands: What to do.
            blocked: Ids of limits that reservations not among the commands are waiting for.

        Returns:
            What came of each, once it is durable.

        Raises:
            Exception: The driver's error; nothing was done, or, where it struck in the commit, perhaps all of it.
        """
        if self._connection is None:
            postgres = self.engine.dialect.name == "postgresql"
            self._connection = PostgresConnection(self.engine) if postgres else SqliteConnection(self.engine)
        connection = self._connection
        try:
            found = self._read(connection, commands)
            sheet = LedgerBatch(self.node_id, milliseconds(self.clock()), found.rows, found.counters, found.runs)
            waited_for = set(blocked)
            results = [self._do(command, sheet, found, waited_for) for command in commands]
            connection.write(sheet)
        except BaseException:
            for command in commands:
                command.tried = True
            self.close()
            raise
        self._remember(commands, results, sheet)
        return Worked(results, self._released(sheet, results))

    def _read(self, connection: LedgerConnection, commands: Sequence[Command]) -> RowsRead:
        """Begin a transaction that has read, and locked, all that the commands need."""
        wanted = self._wanted(commands)
        for _ in range(_READS):
            found = connection.read(wanted)
            if found is None:
                continue
            if found.registered and not self._needs_more(commands, found, wanted):
                return found
            connection.rollback()
            if not found.registered:
                self.beat()
        raise RuntimeError("what a batch needs kept changing while it was read")

    def _wanted(self, commands: Sequence[Command]) -> ReadSet:
        """What can be told beforehand; for the rest see `_needs_more`."""
        wanted = ReadSet()
        for command in commands:
            match command:
                case Reserve(reservation=r):
                    wanted.node_id = self.node_id
                    self._want_limits(wanted, r, self._runs)
                    if command.tried:
                        wanted.ids.add(r.id)
                case Charge(reservation=r, settlement=s, counted=counted):
                    wanted.node_id = self.node_id
                    if counted:
                        self._want_limits(wanted, r, self._runs)
                    if s.work_id is not None:
                        wanted.works.add(text(s.work_id))
                    if command.tried:
                        wanted.ids.add(s.id)
                case Settle(settlement=s):
                    self._want_row(wanted, s.id)
                    if s.work_id is not None and s.certainty != "exact":
                        wanted.works.add(text(s.work_id))
                case Extend(id=id) | Release(id=id) | Sweep(id=id):
                    self._want_row(wanted, id)
                case Correct(work_id=work_id):
                    wanted.works.add(text(work_id))
        return wanted

    def _needs_more(self, commands: Sequence[Command], found: RowsRead, wanted: ReadSet) -> bool:
        """Whether what was read names counters or limits that were not; they are added to `wanted`."""
        before = _size(wanted)
        known = wanted.keys | wanted.create
        for row in found.rows.values():
            wanted.keys.update(key for hold in row.holds if (key := hold[:2]) not in known)
        for command in commands:
            match command:
                case Reserve(reservation=r) | Charge(reservation=r, counted=True) if r.run is not None:
                    self._want_limits(wanted, r, found.runs)
                case Settle(settlement=s) if s.id not in found.rows and s.id in self.open:
                    wanted.node_id = self.node_id
                    self._want_limits(wanted, self.open[s.id].reservation, found.runs)
                case Extend(id=id) if id in found.rows and id in self.open:
                    bound = {limit.id for limit in self.open[id].limits}
                    holds = found.rows[id].holds
                    wanted.limits.update(hold[0] for hold in holds if hold[3] == "usd" and hold[0] not in bound)
        return _size(wanted) != before

    def _want_limits(self, wanted: ReadSet, reservation: Reservation, runs: dict[str, int]) -> None:
        run = run_id(reservation)
        if run is not None:
            wanted.runs.add(run)
        wanted.create.update(counter_key(limit, reservation.time) for limit in binding(reservation, runs))

    def _want_row(self, wanted: ReadSet, id: str) -> None:
        wanted.ids.add(id)
        if (mine := self.open.get(id)) is not None:
            wanted.keys |= mine.keys

    def _do(self, command: Command, sheet: LedgerBatch, found: RowsRead, waited_for: set[str]) -> Result:
        match command:
            case Reserve():
                return self._reserve(command, sheet, waited_for)
            case Settle(settlement=s):
                mine = self.open.get(s.id)
                try:
                    sheet.settle(s, mine.reservation if mine else None)
                except LookupError as error:
                    return error
            case Release(id=id):
                if id in sheet.rows:
                    sheet.settle(Settlement(id, self.clock(), 0, None, error=UNUSED_ERROR), None)
            case Extend(id=id, extra=extra):
                limits = (*self.open[id].limits, *found.limits.values()) if id in self.open else ()
                try:
                    return sheet.extend(id, limits, extra)
                except LookupError as error:
                    return error
            case Charge(reservation=r, settlement=s, counted=counted):
                sheet.charge(r, s, counted=counted)
            case Correct(work_id=work_id, key_id=key_id, settlement=s):
                return sheet.correct(work_id, key_id, s)
            case Sweep(id=id, node_id=node_id):
                sheet.sweep(id, node_id)
        return None

    def _reserve(self, command: Reserve, sheet: LedgerBatch, waited_for: set[str]) -> Result:
        r = command.reservation
        if (row := sheet.rows.get(r.id)) is not None:
            mine = row.state == "open" and row.node_id == self.node_id and r.id not in self.open
            return None if command.tried and mine else ValueError(f"request {r.id} has been reserved before")
        if not command.fresh and command.refusal is not None and command.refusal.waits & waited_for:
            refusal: Refusal | None = command.refusal  # it would only be told to wait again
        else:
            refusal = sheet.reserve(r, waited_for if command.patient else ())
        if refusal is not None and command.patient:
            waited_for |= refusal.waits
        return refusal

    def _remember(self, commands: Sequence[Command], results: Sequence[Result], sheet: LedgerBatch) -> None:
        if len(self._runs) > _KNOWN_RUNS:
            self._runs.clear()
        self._runs.update(sheet.runs)
        for command, result in zip(commands, results, strict=True):
            match command:
                case Reserve(reservation=r) if result is None:
                    limits = binding(r, sheet.runs)
                    keys = frozenset(counter_key(limit, r.time) for limit in limits)
                    self.open[r.id] = Open(r, limits, keys)
                case Settle(settlement=s) if result is None:
                    self.open.pop(s.id, None)
                case Release(id=id):
                    self.open.pop(id, None)

    def _released(self, sheet: LedgerBatch, results: Sequence[Result]) -> set[str]:
        waited_for = {id for result in results if isinstance(result, Refusal) for id in result.waits}
        released = set()
        for key, counter in sheet.counters.items():
            seen = self.watched.get(key)
            elsewhere = seen is not None and (counter.spent_before > seen[0] or counter.held_before < seen[1])
            if elsewhere or counter.held < counter.held_before:
                released.add(key[0])
            if seen is not None or key[0] in waited_for:
                self.watched[key] = (counter.spent, counter.held)
        return released


def _size(wanted: ReadSet) -> int:
    return len(wanted.keys) + len(wanted.create) + len(wanted.limits)
