"""Executes batches of ledger commands for one node, one transaction each. No threads, no waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Engine

from paig_gateway.database.columns import milliseconds, text
from paig_gateway.database.engine import QUICK_SECONDS, quick, writing
from paig_gateway.domain.limits import PREFIX, Limit
from paig_gateway.ledger import nodes
from paig_gateway.ledger.records import BatchLine, Reservation, Settlement
from paig_gateway.ledger.sqlite import SqliteConnection
from paig_gateway.ledger.statements import LedgerConnection, ReadSet, RowsRead
from paig_gateway.ledger.transitions import (
    UNUSED_ERROR,
    Corrected,
    CounterKey,
    Hold,
    LedgerBatch,
    Refusal,
    binding,
    counter_keys,
    run_id,
)

SET_ASIDE_ERROR = "not-recorded"
"""The `error` of a request whose settlement the database refused; it is charged at its ceiling."""
MAX_COST = 10**17
"""The largest cost that is charged where a cost cannot be believed: $100,000,000."""
SWEEP_ROWS = 500
"""How many holds are swept in one transaction."""
MOST_ANSWER_SECONDS = 40.0
"""The longest that a batch may wait for PostgreSQL's answer, after several tries."""
_READS = 8
"""How often a transaction may find that it needs more than it locked, and begin again."""
_KNOWN_RUNS = 10_000


@dataclass(slots=True, eq=False)
class LedgerCommand:
    """Something to do; `tried` once a transaction with it failed, so that it may have been done already."""

    tried: bool = field(default=False, init=False)


@dataclass(slots=True, eq=False)
class Reserve(LedgerCommand):
    """Hold a request's worst case.

    Attributes:
        patient: It waits where only what others hold is in the way, and lets those that wait already go first.
        refusal: Why it still waits.
        fresh: It is looked at even if one before it waits for the same limit.
    """

    reservation: Reservation
    patient: bool = False
    refusal: Refusal | None = None
    fresh: bool = True


@dataclass(slots=True, eq=False)
class Extend(LedgerCommand):
    """Raise a request's hold by `extra` nanodollars; see `LedgerBatch.extend` for the rest."""

    id: str
    extra: int
    exchange: tuple[Limit, ...] | None = None
    tokens: int = 0


@dataclass(slots=True, eq=False)
class Settle(LedgerCommand):
    """Put a request's cost in place of its hold.

    Attributes:
        reservation: The request, where this process may not remember it: read back from a spool.
    """

    settlement: Settlement
    reservation: Reservation | None = None

    @property
    def request_id(self) -> str:
        return self.settlement.id


@dataclass(slots=True, eq=False)
class Release(LedgerCommand):
    """Release a hold that was never used, if there is one."""

    id: str


@dataclass(slots=True, eq=False)
class ChargeRow(LedgerCommand):
    """Write a finished row; `counted` unless it is a refusal's."""

    reservation: Reservation
    settlement: Settlement
    counted: bool = True


@dataclass(slots=True, eq=False)
class Correct(LedgerCommand):
    """Correct the cost of work that was charged by an estimate."""

    work_id: str
    key_id: str | None
    settlement: Settlement


@dataclass(slots=True, eq=False)
class SettleLines(LedgerCommand):
    """Write rows of a batch's lines; see `LedgerBatch.settle_lines`."""

    id: str
    lines: Sequence[BatchLine]
    end: Settlement | None


@dataclass(slots=True, eq=False)
class Sweep(LedgerCommand):
    """Charge a dead node's hold at its ceiling."""

    id: str
    node_id: str


@dataclass(slots=True, eq=False)
class SetAside(LedgerCommand):
    """Charge a request at its ceiling, because the database refuses its settlement.

    Attributes:
        reservation: The request, where it held nothing.
        cost: What to charge where it held nothing, in nanodollars.
    """

    request_id: str
    reservation: Reservation | None
    cost: int


@dataclass(slots=True, eq=False)
class Flush(LedgerCommand):
    """Does nothing; it is done when everything queued before it is durable."""


Result = None | Refusal | Corrected | Exception


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The outcome of a batch.

    Attributes:
        results: One per command: None where it is done, a refusal, a correction's outcome, or why it cannot be done.
        released: Ids of limits on which holds were released since the last batch, here or by another node.
    """

    results: list[Result]
    released: set[str]


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class OpenRequest:
    """A request in flight, as this process remembers it."""

    reservation: Reservation
    limits: tuple[Limit, ...]
    keys: tuple[CounterKey, ...]


class BatchExecutor:
    """See the module. Not for use by two threads at once.

    Attributes:
        open: This process's requests in flight, by id.
        watched: Counters that a reservation waits for, as they were last seen: spent, held.
    """

    def __init__(
        self, engine: Engine, node_id: str, clock: Callable[[], datetime], process: nodes.Process | None = None
    ) -> None:
        self.engine = engine
        self.node_id = node_id
        self.clock = clock
        self.process = process or nodes.Process.present()
        self.open: dict[str, OpenRequest] = {}
        self.buried: deque[str] = deque(maxlen=100)
        """The latest dead nodes that this one removed, until they are taken."""
        self.watched: dict[CounterKey, tuple[int, int]] = {}
        self._runs: dict[str, int] = {}
        self._connection: LedgerConnection | None = None
        self._quick = quick(engine)
        self._answer_seconds = QUICK_SECONDS

    def start(self) -> None:
        """Register this node, and charge what dead nodes or an earlier process of this node left open.

        Raises:
            NodeInUseError: Another live process has this id.
        """
        with writing(self._quick) as connection:
            now = nodes.now_ms(connection, self.clock)
            nodes.check_unused(connection, self.node_id, self.process, now)
            nodes.beat(connection, self.node_id, self.process, now)
        self.sweep(self.node_id)
        for silent in self.silent():
            self.bury(silent.node_id)

    def stop(self) -> None:
        """Remove this node's row, unless requests are still open: then it stays, so that other nodes find them."""
        try:
            with writing(self._quick) as connection:
                nodes.forget(connection, self.node_id)
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; the next batch opens another."""
        if self._connection:
            connection, self._connection = self._connection, None
            connection.close()

    def beat(self) -> None:
        with writing(self._quick) as connection:
            nodes.beat(connection, self.node_id, self.process, nodes.now_ms(connection, self.clock))

    def silent(self) -> list[nodes.Beat]:
        """The other nodes that are dead, or whose heartbeat is too old."""
        with self._quick.connect() as connection:
            return nodes.silent(connection, self.node_id, nodes.now_ms(connection, self.clock))

    def alive(self) -> set[str]:
        """Ids of the nodes that run, this one among them."""
        with self._quick.connect() as connection:
            now = nodes.now_ms(connection, self.clock)
            dead = {beat.node_id for beat in nodes.silent(connection, self.node_id, now)}
            return nodes.known(connection) - dead

    def sweep(self, node_id: str) -> int:
        """Charge all holds of a dead node at their ceiling.

        Returns:
            How many there were.
        """
        swept = 0
        while True:
            with self._quick.connect() as connection:
                ids = nodes.open_ids(connection, node_id, SWEEP_ROWS)
            if not ids:
                return swept
            self.execute([Sweep(id, node_id) for id in ids])
            swept += len(ids)

    def bury(self, node_id: str) -> int:
        """Sweep a dead node and remove it; see `sweep`."""
        swept = self.sweep(node_id)
        with writing(self._quick) as connection:
            removed = nodes.forget(connection, node_id)
        if removed:  # by this process alone, though others may have swept, too
            self.buried.append(node_id)
        return swept

    def audit(self) -> int:
        """Release holds of this node that it does not know.

        They come from a commit whose outcome this process never learned; their callers were refused.

        Returns:
            How many there were.
        """
        with self._quick.connect() as connection:
            ids = [id for id in nodes.open_ids(connection, self.node_id) if id not in self.open]
        if ids:
            self.execute([Release(id) for id in ids])
        return len(ids)

    def execute(self, commands: Sequence[LedgerCommand], blocked: Collection[str] = ()) -> BatchResult:
        """Execute a batch in one transaction, in order.

        Args:
            blocked: Ids of limits that reservations not among the commands are waiting for.

        Returns:
            The outcome of each, once it is durable.

        Raises:
            Exception: The driver's error; nothing was done, or, where it happened in the commit, perhaps all of it.
        """
        if all(isinstance(command, Flush) for command in commands):
            return BatchResult([None] * len(commands), set())
        if self._connection is None:
            self._connection = _connection(self.engine, self._answer_seconds)
        connection = self._connection
        try:
            found = self._read(connection, commands)
            batch = LedgerBatch(
                self.node_id, milliseconds(self.clock()), found.holds, found.rows, found.counters, found.runs
            )
            waited_for = set(blocked)
            results = [self._do(command, batch, found, waited_for) for command in commands]
            connection.write(batch)
        except BaseException:
            for command in commands:
                command.tried = True
            self.close()
            # A dead connection is replaced soon, and a slow database is given time to finish a batch.
            self._answer_seconds = min(2 * self._answer_seconds, MOST_ANSWER_SECONDS)
            raise
        self._answer_seconds = QUICK_SECONDS
        self._remember(commands, results, batch)
        return BatchResult(results, self._released(batch, results))

    def _read(self, connection: LedgerConnection, commands: Sequence[LedgerCommand]) -> RowsRead:
        """Begin a transaction that has read, and locked, all that the commands need."""
        wanted = self._read_set(commands)
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

    def _read_set(self, commands: Sequence[LedgerCommand]) -> ReadSet:
        """The rows that are known to be needed; for the rest see `_needs_more`."""
        wanted = ReadSet()
        for command in commands:
            match command:
                case Reserve(reservation=r):
                    wanted.node_id = self.node_id
                    self._want_limits(wanted, r, self._runs)
                    if command.tried:
                        wanted.holds.add(r.id)
                        wanted.rows.add(r.id)
                case Settle(settlement=s):
                    self._want_hold(wanted, s.id)
                    if s.work_id is not None and s.certainty != "exact":
                        wanted.works.add(text(s.work_id))
                case ChargeRow(reservation=r, settlement=s, counted=counted):
                    wanted.node_id = self.node_id
                    if counted:
                        self._want_limits(wanted, r, self._runs)
                    if s.work_id is not None:
                        wanted.works.add(text(s.work_id))
                    if command.tried:
                        wanted.rows.add(s.id)
                case Extend(id=id, exchange=exchange):
                    self._want_hold(wanted, id)
                    if exchange is not None and (mine := self.open.get(id)) is not None:
                        self._want_counters(wanted, exchange, mine.reservation)
                case Release(id=id) | Sweep(id=id):
                    self._want_hold(wanted, id)
                    wanted.rows.add(id)
                case SetAside(request_id=id):
                    self._want_hold(wanted, id)
                case Correct(work_id=work_id):
                    wanted.works.add(text(work_id))
                case SettleLines(id=id, lines=lines):
                    wanted.node_id = self.node_id
                    self._want_hold(wanted, id)
                    wanted.rows.update(line.settlement.id for line in lines)
        return wanted

    def _needs_more(self, commands: Sequence[LedgerCommand], found: RowsRead, wanted: ReadSet) -> bool:
        """Whether what was read names rows, counters or limits that were not read; they are added to `wanted`."""
        before = wanted.size
        known = wanted.keys | wanted.create
        for hold in found.holds.values():
            wanted.keys.update(key for held in hold.limits if (key := held[:2]) not in known)
        for row in found.rows.values():
            wanted.keys.update(key for held in row.holds if (key := held[:2]) not in known)
        for command in commands:
            match command:
                case Settle() | SetAside() if (id := command.request_id) not in found.holds:
                    reservation = self._reservation(command)
                    if id not in wanted.rows:
                        wanted.rows.add(id)
                    elif id not in found.rows and reservation is not None:  # counters of a row that exists may be gone
                        wanted.node_id = self.node_id
                        self._want_limits(wanted, reservation, found.runs)
                case Reserve(reservation=r) | ChargeRow(reservation=r, counted=True) if r.run is not None:
                    self._want_limits(wanted, r, found.runs)
                case Extend(id=id) if id in found.holds and id in self.open:
                    bound = {limit.id for limit in self.open[id].limits}
                    limits = found.holds[id].limits
                    unknown = (held[0] for held in limits if held[3] == "usd" and held[0] not in bound)
                    wanted.limits.update(limit_id[:PREFIX] for limit_id in unknown)
        return wanted.size != before

    def _want_limits(self, wanted: ReadSet, reservation: Reservation, runs: dict[str, int]) -> None:
        run = run_id(reservation)
        if run is not None:
            wanted.runs.add(run)
        self._want_counters(wanted, binding(reservation, runs), reservation)

    def _want_counters(self, wanted: ReadSet, limits: tuple[Limit, ...], reservation: Reservation) -> None:
        keys = counter_keys(limits, reservation.time)
        wanted.create.update(keys)
        for limit, key in zip(limits, keys, strict=True):
            if limit.max_members is not None:
                wanted.members[key] = limit.max_members

    def _want_hold(self, wanted: ReadSet, id: str) -> None:
        wanted.holds.add(id)
        if (mine := self.open.get(id)) is not None:
            wanted.keys.update(mine.keys)

    def _reservation(self, command: Settle | SetAside) -> Reservation | None:
        mine = self.open.get(command.request_id)
        return mine.reservation if mine is not None else command.reservation

    def _do(self, command: LedgerCommand, batch: LedgerBatch, found: RowsRead, waited_for: set[str]) -> Result:
        match command:
            case Reserve():
                return self._reserve(command, batch, waited_for)
            case Settle(settlement=s):
                try:
                    batch.settle(s, self._reservation(command))
                except LookupError as error:
                    return error
            case Release(id=id):
                if id in batch.holds or id in batch.rows:
                    batch.settle(Settlement(id, self.clock(), 0, None, error=UNUSED_ERROR), None)
            case Extend(id=id, extra=extra, tokens=tokens):
                limits = (*self.open[id].limits, *_made_since(batch.holds.get(id), found)) if id in self.open else ()
                try:
                    return batch.extend(id, limits, extra, self._exchanged(command, limits), tokens)
                except LookupError as error:
                    return error
            case ChargeRow(reservation=r, settlement=s, counted=counted):
                batch.charge(r, s, counted=counted)
            case Correct(work_id=work_id, key_id=key_id, settlement=s):
                return batch.correct(work_id, key_id, s)
            case Sweep(id=id, node_id=node_id):
                batch.sweep(id, node_id)
            case SettleLines(id=id, lines=lines, end=end):
                try:
                    batch.settle_lines(id, lines, end)
                except LookupError as error:
                    return error
            case SetAside():
                self._set_aside(command, batch)
        return None

    def _exchanged(self, command: Extend, limits: tuple[Limit, ...]) -> tuple[Limit, ...] | None:
        """The limits that bind a request after an exchange: limits that do not depend on its member stay."""
        if command.exchange is None:
            return None
        mine = self.open.get(command.id)
        depend = {limit.id for limit in mine.limits if limit.owner_kind == "limit"} if mine is not None else set()
        stay = (limit for limit in limits if limit.id not in depend)
        return (*stay, *(limit for limit in command.exchange if limit.owner_kind == "limit"))

    def _set_aside(self, command: SetAside, batch: LedgerBatch) -> None:
        id, reservation = command.request_id, self._reservation(command)
        hold = batch.holds.get(id)
        cost = hold.reserved if hold is not None else max(0, min(command.cost, MAX_COST))
        end = Settlement(
            id, self.clock(), cost, "ceiling", error=SET_ASIDE_ERROR, certainty_reason="settlement refused by database"
        )
        if hold is not None or id in batch.rows or reservation is not None:
            batch.settle(end, _plain(reservation) if reservation is not None else None)

    def _reserve(self, command: Reserve, batch: LedgerBatch, waited_for: set[str]) -> Result:
        r = command.reservation
        if (hold := batch.holds.get(r.id)) is not None or r.id in batch.rows:
            mine = hold is not None and hold.node_id == self.node_id and r.id not in self.open
            return None if command.tried and mine else ValueError(f"request {r.id} has been reserved before")
        if not command.fresh and command.refusal is not None and command.refusal.waits & waited_for:
            refusal: Refusal | None = command.refusal  # it would only be told to wait again
        else:
            refusal = batch.reserve(r, waited_for if command.patient else ())
        if refusal is not None and command.patient:
            waited_for |= refusal.waits
        return refusal

    def _remember(self, commands: Sequence[LedgerCommand], results: Sequence[Result], batch: LedgerBatch) -> None:
        if len(self._runs) > _KNOWN_RUNS:
            self._runs.clear()
        self._runs.update(batch.runs)
        for command, result in zip(commands, results, strict=True):
            match command:
                case Reserve(reservation=r) if result is None:
                    limits = binding(r, batch.runs)
                    self.open[r.id] = OpenRequest(r, limits, counter_keys(limits, r.time))
                case Extend(id=id) if result is None and command.exchange is not None and id in self.open:
                    mine = self.open[id]
                    bound = self._exchanged(command, mine.limits) or ()
                    self.open[id] = OpenRequest(mine.reservation, bound, counter_keys(bound, mine.reservation.time))
                case Settle() | SetAside() if result is None:
                    self.open.pop(command.request_id, None)
                case Release(id=id):
                    self.open.pop(id, None)

    def _released(self, batch: LedgerBatch, results: Sequence[Result]) -> set[str]:
        waited_for = {id for result in results if isinstance(result, Refusal) for id in result.waits}
        released = set()
        for key, counter in batch.counters.items():
            seen = self.watched.get(key)
            elsewhere = seen is not None and (counter.spent_before > seen[0] or counter.held_before < seen[1])
            if elsewhere or counter.held < counter.held_before:
                released.add(key[0])
            if seen is not None or key[0] in waited_for:
                self.watched[key] = (counter.spent, counter.held)
        return released


def _connection(engine: Engine, answer_seconds: float) -> LedgerConnection:
    if engine.dialect.name != "postgresql":
        return SqliteConnection(engine)
    from paig_gateway.ledger.postgres import PostgresConnection  # its driver is slow to import, and not needed above

    return PostgresConnection(engine, answer_seconds)


def _made_since(hold: Hold | None, found: RowsRead) -> list[Limit]:
    """The limits that were made since a request was reserved, and hold something of it."""
    held = hold.limits if hold is not None else ()
    return [replace(limit, id=one[0]) for one in held if (limit := found.limits.get(one[0][:PREFIX])) is not None]


def _plain(reservation: Reservation) -> Reservation:
    """A request with only the fields that its charge needs, which no database refuses."""
    ascii = reservation.model.encode("ascii", "replace").decode()
    return replace(
        reservation,
        model=ascii,
        tags={},
        run=None,
        session=None,
        agent=None,
        agent_parent=None,
        agent_name=None,
        trace_id=None,
    )
