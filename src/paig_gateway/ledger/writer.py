"""The ledger's writer: one thread that executes the queued commands in batches.

Settlements that no answer waits for do not wake it: they stay in `later` for a few milliseconds at most, and mostly go
into one transaction with the next reservations. So a client that sends one request after the other waits for one commit
each, not for two.

It never drops a command: a batch that the database did not accept stays in the backlog and is tried again. A single
command that the database refuses for its own values is set aside, so that it does not block the others.

Reservations that wait for room form one line, in the order they came; one that waits for a limit does not hold up
those that other limits bind.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from paig_gateway.database.engine import writing
from paig_gateway.database.tables import LimitRow
from paig_gateway.domain.errors import GatewayError, LedgerDown
from paig_gateway.ledger import new_limits, nodes, pruning, refusals
from paig_gateway.ledger.executor import (
    BatchExecutor,
    BatchResult,
    ChargeRow,
    Extend,
    LedgerCommand,
    Release,
    Reserve,
    SetAside,
    Settle,
)
from paig_gateway.ledger.statements import is_rows_fault
from paig_gateway.ledger.transitions import Refusal

BATCH = 500
"""At most this many commands are executed in one transaction."""
MAX_WAIT_SECONDS = 30.0
"""The longest that a reservation may wait for room."""
POLL_SECONDS = 0.2
"""How often reservations that wait for room look whether another node released some."""
AUDIT_SECONDS = 10.0
PRUNE_SECONDS = 60.0
REBIND_SECONDS = 3.0
"""Seconds after which a new limit is bound again: by then every node knows it."""
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between tries while the database is down."""

log = logging.getLogger(__name__)

Task = Callable[[Connection], object]
"""A rare task that runs in its own write transaction."""


@dataclass(slots=True, eq=False)
class Pending:
    """A queued command and the caller that waits for it.

    Attributes:
        future: The caller's; None where no caller waits.
        since: When it was queued, on the monotonic clock.
        wait: How long it may wait for room after the last release, in seconds.
        in_line: Whether it waits for room.
        refused: Why the database refused it for its own values; it is then charged at its ceiling instead.
    """

    command: LedgerCommand | Task
    future: asyncio.Future[Any] | None
    since: float
    wait: float = 0.0
    in_line: bool = False
    refused: Exception | None = None

    @property
    def is_abandoned(self) -> bool:
        """Whether its caller has disconnected, or was refused because the database is too slow."""
        return self.future is not None and self.future.done()


Answers = Sequence[tuple[Pending, object]]


def overloaded(message: str) -> GatewayError:
    """A refusal that is over soon."""
    return GatewayError("overloaded", message, retry_after=1)


class Writer(threading.Thread):
    """See the module.

    Attributes:
        queue: The commands; None only wakes the thread.
        later: Commands to execute together with the queue, or soon; `Ledger` wakes the thread in time.
        running: Whether the thread processes the queue.
        healthy: Whether the database took the last batch.
        last_error: Why not, or None.
        stuck_since: Since when the present batch has been tried, on the monotonic clock; None between batches.
        give_up_at: When to end although something is still to be done, on the monotonic clock.
    """

    def __init__(self, executor: BatchExecutor, deliver: Callable[[Answers], None]) -> None:
        super().__init__(name="paig-ledger", daemon=True)
        self.queue: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self.later: deque[Pending] = deque()
        self.running = False
        self.healthy = True
        self.last_error: str | None = None
        self.stuck_since: float | None = None
        self.give_up_at = math.inf
        self._executor = executor
        self._deliver = deliver
        self._ending = threading.Event()
        self._failures = 0
        self._backlog: dict[Pending, None] = {}
        self._taken: deque[Pending] = deque()
        self._behind = False
        self._line: dict[Pending, None] = {}
        self._released: dict[str, float] = {}
        self._look_at = 0.0
        self._beat_at = self._audit_at = self._prune_at = 0.0
        self._suspects: set[nodes.Beat] = set()
        self._rebinds: list[tuple[float, LimitRow, datetime]] = []

    @property
    def line_length(self) -> int:
        """How many reservations wait for room."""
        return len(self._line)

    def end(self, give_up_at: float) -> None:
        """End the thread once all is done, or at that moment of the monotonic clock."""
        self.give_up_at = give_up_at
        self._ending.set()
        self.queue.put(None)

    def rebind_later(self, row: LimitRow) -> None:
        """Bind a new limit once more when every node knows of it; from any thread."""
        self._rebinds.append((time.monotonic() + REBIND_SECONDS, row, self._executor.clock()))

    def start(self) -> None:
        self.running = True
        super().start()

    def run(self) -> None:
        try:
            self._work()
        finally:
            self.running = False

    def _work(self) -> None:
        while True:
            self._take()
            if self._ending.is_set():
                self._dismiss()
                if not self._backlog or time.monotonic() > self.give_up_at:
                    break
            try:
                self._turn()
                self._succeeded()
            except Exception as error:
                if is_rows_fault(error):
                    log.exception("unexpected error in the ledger's writer; trying again")
                self._failed(error)
        self._sign_off()

    def _take(self) -> None:
        """Move queued commands to the backlog; wait for one if there is nothing else to do."""
        due = min(self._beat_at, self._look_at if self._line else math.inf)
        busy = self._backlog or self._taken or self._behind or self._ending.is_set()
        timeout = 0.0 if busy else max(0.0, due - time.monotonic())
        try:
            while len(self._backlog) + len(self._taken) < BATCH:
                pending = self.queue.get(timeout=timeout) if timeout else self.queue.get_nowait()
                timeout = 0.0
                if pending is not None:
                    self._taken.append(pending)
        except queue.Empty:
            pass
        # Add `later` before what came from the queue: commands find recorded what was handed over before them.
        handed = len(self.later)
        room = max(0, BATCH - len(self._backlog))
        for _ in range(min(handed, room)):
            self._backlog[self.later.popleft()] = None
        self._behind = handed > room
        while self._taken and not self._behind and len(self._backlog) < BATCH:
            self._backlog[self._taken.popleft()] = None

    def _turn(self) -> None:
        now = time.monotonic()
        self.stuck_since = self.stuck_since or now
        self._drop_abandoned()
        tasks, done, extensions, reservations = [], [], [], []
        for pending in self._backlog:
            match pending.command:
                case Reserve():
                    reservations.append(pending)
                case Extend():
                    extensions.append(pending)
                case LedgerCommand():
                    done.append(pending)
                case _:
                    tasks.append(pending)
        # Commands that release money come first, then the reservations that wait for it, then new ones.
        line = list(self._line) if done or now >= self._look_at else []
        for pending in line:
            command = pending.command
            if isinstance(command, Reserve) and command.refusal and now >= self._expires(pending, command.refusal):
                command.fresh = True  # it is about to be refused, and its error shows the present figures
        batch = [*done, *extensions, *line, *reservations]
        if batch:
            self._execute(batch, () if line or not self._line else self._waited_for())
        if line:
            self._look_at = now + POLL_SECONDS
        for pending in tasks:
            self._perform(pending)
        self._upkeep(now)

    def _execute(self, batch: list[Pending], blocked: Iterable[str]) -> None:
        commands = [pending.command for pending in batch if isinstance(pending.command, LedgerCommand)]
        first = not all(command.tried for command in commands)
        try:
            done = self._executor.execute(commands, set(blocked))
        except Exception as error:
            if not is_rows_fault(error):
                raise
            if len(batch) > 1 or first:  # find the one that fails, which may have been done by an earlier commit
                for pending in batch:
                    self._execute([pending], blocked if pending in self._line else self._waited_for())
                return
            done = self._refused(batch[0], error)
        self._finish(batch, done)

    def _refused(self, pending: Pending, error: Exception) -> BatchResult:
        """Answer for a command that cannot be done: a settlement is charged at its ceiling."""
        command = pending.command
        log.error("the ledger cannot do %s: %s", type(command).__name__, _short(error), exc_info=not _is_known(error))
        match command:
            case Reserve() | Extend():
                return BatchResult([overloaded("The ledger cannot record this request.")], set())
            case Settle(settlement=s) | ChargeRow(settlement=s, counted=True):
                pending.refused = error
                pending.command = SetAside(s.id, command.reservation, s.cost)
                try:
                    self._executor.execute([pending.command])
                except Exception as second:
                    if not is_rows_fault(second):
                        raise  # the database is down, and the ceiling is charged when it is back
                    log.error("request %s cannot even be charged at its ceiling: %s", s.id, _short(second))
        return BatchResult([error], set())

    def _finish(self, batch: list[Pending], done: BatchResult) -> None:
        now = time.monotonic()
        if done.released:
            self._released.update(dict.fromkeys(done.released, now))
        answers: list[tuple[Pending, object]] = []
        for pending, result in zip(batch, done.results, strict=True):
            self._backlog.pop(pending, None)
            if isinstance(result, Refusal):
                command = pending.command
                if isinstance(command, Reserve) and result.waits and now < self._expires(pending, result):
                    if not self._line:
                        self._look_at = now + POLL_SECONDS
                    command.refusal, command.fresh = result, False
                    pending.in_line = True
                    self._line[pending] = None
                    continue
                answer: object = result.error(self._executor.clock())
            else:
                answer = result
            if pending.in_line:
                self._line.pop(pending, None)
            answers.append((pending, answer))
        if not self._line:
            self._released.clear()
            self._executor.watched.clear()
        elif done.released:
            self._look_at = now
        self._deliver(answers)

    def _expires(self, pending: Pending, refusal: Refusal) -> float:
        """When a reservation has waited long enough: `wait` seconds after the last release on a limit it waits for."""
        released = max(self._released.get(id, 0.0) for id in refusal.waits) if refusal.waits else 0.0
        return min(pending.since + MAX_WAIT_SECONDS, max(pending.since, released) + pending.wait)

    def _waited_for(self) -> set[str]:
        refusals = [pending.command.refusal for pending in self._line if isinstance(pending.command, Reserve)]
        return {id for refusal in refusals if refusal for id in refusal.waits}

    def _drop_abandoned(self) -> None:
        """Drop reservations whose callers have left, and release holds that may have been written for them."""
        for pending in [pending for pending in (*self._backlog, *self._line) if pending.is_abandoned]:
            command = pending.command
            if isinstance(command, (Reserve, Extend)):
                self._backlog.pop(pending, None)
                self._line.pop(pending, None)
                if isinstance(command, Reserve) and command.tried:
                    self._backlog[Pending(Release(command.reservation.id), None, pending.since)] = None

    def _perform(self, pending: Pending) -> None:
        task = pending.command
        if isinstance(task, LedgerCommand):
            return
        try:
            with writing(self._executor.engine) as connection:
                answer = task(connection)
        except Exception as error:
            if not is_rows_fault(error):
                raise
            answer = error
        self._backlog.pop(pending, None)
        self._deliver([(pending, answer)])

    def _upkeep(self, now: float) -> None:
        if now >= self._beat_at:
            self._executor.beat()
            self._bury_dead()
            self._beat_at = now + nodes.BEAT_SECONDS
        if now >= self._audit_at:
            if lost := self._executor.audit():
                log.warning("released %d reservations whose commit had an unknown outcome", lost)
            self._audit_at = now + AUDIT_SECONDS
        if now >= self._prune_at:
            with writing(self._executor.engine) as connection:
                pruning.prune_minutes(connection, self._executor.clock())
                refusals.prune(connection, self._executor.clock())
            self._prune_at = now + PRUNE_SECONDS
        if self._rebinds and now >= self._rebinds[0][0]:
            due = [rebind for rebind in self._rebinds if now >= rebind[0]]
            since = min(made for _, _, made in due) - timedelta(seconds=REBIND_SECONDS)
            with writing(self._executor.engine) as connection:
                new_limits.rebind(connection, [row for _, row, _ in due], since, self._executor.clock())
            del self._rebinds[: len(due)]

    def _bury_dead(self) -> None:
        """Sweep nodes whose process is gone, and those that were as silent at the last look: one beat may be late.

        After a laptop's sleep every node's beat is old, until each has had a moment to wake.
        """
        silent = self._executor.silent()
        for beat in silent:
            if beat.is_gone or beat in self._suspects:
                swept = self._executor.bury(beat.node_id)
                log.warning("node %s is dead; charged its %d open requests at their ceiling", beat.node_id, swept)
        self._suspects = set(silent)

    def _succeeded(self) -> None:
        if not self.healthy:
            log.warning("the ledger's database is available again")
        if self._failures:
            self._audit_at = 0.0
        self._failures = 0
        self.healthy, self.last_error, self.stuck_since = True, None, None

    def _failed(self, error: Exception) -> None:
        self.last_error = _short(error)
        if self._failures and self.healthy:  # one failure may be a deadlock or a cut connection
            self.healthy = False
            log.error("the ledger's database is unavailable; retrying: %s", self.last_error)
        time.sleep(PAUSES[min(self._failures, len(PAUSES) - 1)])
        self._failures += 1

    def _dismiss(self) -> None:
        """Refuse reservations that wait for room: the gateway shuts down."""
        self._deliver([(pending, overloaded("The gateway is shutting down: try again.")) for pending in self._line])
        self._line.clear()

    def _sign_off(self) -> None:
        left = [*self._backlog, *self._taken]
        while self.later:
            left.append(self.later.popleft())
        if left:
            log.error("%d changes could not be written: the database is unavailable: %s", len(left), self.last_error)
            self._deliver([(pending, LedgerDown(f"The database is down: {self.last_error}")) for pending in left])
        try:
            self._executor.stop()
        except Exception as error:
            log.warning("the node could not sign off: %s", _short(error))


def _short(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _is_known(error: Exception) -> bool:
    """Whether an error comes from a driver, so that its message is enough."""
    return type(error).__module__.partition(".")[0] in ("sqlite3", "psycopg")
