"""The ledger's writer: one thread that takes what callers queued, and works it in batches.

It never gives up on what it took: a batch that the database did not take stays where it is and is tried again. Those
who wait for room stand in one line, in the order they came; who waits for one limit does not hold up those bound by
others.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from paig_gateway.database.engine import writing
from paig_gateway.database.tables import LimitRow
from paig_gateway.domain.errors import GatewayError, LedgerDown
from paig_gateway.ledger import new_limits, nodes, pruning
from paig_gateway.ledger.batch import BatchExecutor, Command, Extend, Release, Reserve, Worked
from paig_gateway.ledger.statements import is_transient
from paig_gateway.ledger.transitions import Refusal

BATCH = 500
"""At most so much is done in one transaction."""
MAX_WAIT_SECONDS = 30.0
"""How long a reservation may wait for room in all."""
POLL_SECONDS = 0.2
"""How often those who wait for room look whether another node let go of some."""
AUDIT_SECONDS = 10.0
PRUNE_SECONDS = 300.0
REBIND_SECONDS = 3.0
"""When a new limit is bound again: by then every node knows of it."""
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between tries while the database is down."""

log = logging.getLogger(__name__)

Task = Callable[[Connection], object]
"""Something rare to do in a write transaction of its own."""


@dataclass(slots=True, eq=False)
class Pending:
    """A command on its way, and who waits for it.

    Attributes:
        command: What to do.
        future: Who waits; None for nobody.
        since: When it was asked, on the monotonic clock.
        wait: How long it may wait for room after the last release, in seconds.
        in_line: Whether it waits for room.
    """

    command: Command | Task
    future: asyncio.Future[Any] | None
    since: float
    wait: float = 0.0
    in_line: bool = False

    @property
    def is_abandoned(self) -> bool:
        """Whether its caller is gone, or was told that the database is too slow."""
        return self.future is not None and self.future.done()


Answers = Sequence[tuple[Pending, object]]


def overloaded(message: str) -> GatewayError:
    """A refusal that is nobody's fault and soon over."""
    return GatewayError("overloaded", message, retry_after=1)


class Writer(threading.Thread):
    """See the module.

    Attributes:
        queue: What is to be done; None ends the thread once all of it is.
        healthy: Whether the database took what it was given last.
        last_error: Why not, or None.
        stuck_since: Since when the batch at hand has been tried, on the monotonic clock; None between batches.
        give_up_at: When to end although something is still to be done, on the monotonic clock.
    """

    def __init__(self, books: BatchExecutor, deliver: Callable[[Answers], None]) -> None:
        super().__init__(name="paig-ledger", daemon=True)
        self.queue: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self.healthy = True
        self.last_error: str | None = None
        self.stuck_since: float | None = None
        self.give_up_at = math.inf
        self._books = books
        self._deliver = deliver
        self._ending = threading.Event()
        self._failures = 0
        self._backlog: dict[Pending, None] = {}
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
        """Let the thread end once all is done, or at that moment of the monotonic clock."""
        self.give_up_at = give_up_at
        self._ending.set()
        self.queue.put(None)

    def bind_later(self, row: LimitRow) -> None:
        """Bind a new limit once more when every node has heard of it; from any thread."""
        self._rebinds.append((time.monotonic() + REBIND_SECONDS, row, self._books.clock()))

    def run(self) -> None:
        """Work until ended."""
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
                if not is_transient(error):
                    log.exception("the ledger's writer met an error it does not know")
                self._failed(error)
        self._sign_off()

    def _take(self) -> None:
        """Move what is queued to the backlog; wait for it if there is nothing else to do."""
        due = min(self._beat_at, self._look_at if self._line else math.inf)
        timeout = 0.0 if self._backlog or self._ending.is_set() else max(0.0, due - time.monotonic())
        try:
            while len(self._backlog) < BATCH:
                ask = self.queue.get(timeout=timeout) if timeout else self.queue.get_nowait()
                timeout = 0.0
                if ask is not None:
                    self._backlog[ask] = None
        except queue.Empty:
            pass

    def _turn(self) -> None:
        now = time.monotonic()
        self.stuck_since = self.stuck_since or now
        self._drop_abandoned()
        tasks = [ask for ask in self._backlog if not isinstance(ask.command, Command)]
        done, extensions, reservations = [], [], []
        for ask in self._backlog:
            match ask.command:
                case Reserve():
                    reservations.append(ask)
                case Extend():
                    extensions.append(ask)
                case Command():
                    done.append(ask)
        # What lets go of money comes first, then those who wait for it, then whoever has just come.
        line = list(self._line) if done or now >= self._look_at else []
        for ask in line:
            command = ask.command
            if isinstance(command, Reserve) and command.refusal and now >= self._expires(ask, command.refusal):
                command.fresh = True  # it is about to be refused, and shall hear the present figures
        batch = [*done, *extensions, *line, *reservations]
        if batch:
            self._work(batch, () if line else self._waited_for())
        if line:
            self._look_at = now + POLL_SECONDS
        for ask in tasks:
            self._perform(ask)
        self._upkeep(now)

    def _work(self, asks: list[Pending], blocked: Iterable[str]) -> None:
        commands = [ask.command for ask in asks if isinstance(ask.command, Command)]
        try:
            worked = self._books.work(commands, set(blocked))
        except Exception as error:
            if is_transient(error):
                raise
            if len(asks) > 1:  # find the one that cannot be done; the rest can
                for ask in asks:
                    self._work([ask], blocked if ask in self._line else self._waited_for())
                return
            log.exception("the ledger cannot do %s", type(asks[0].command).__name__)
            refused = isinstance(asks[0].command, (Reserve, Extend))
            worked = Worked([overloaded("The ledger cannot record this request.") if refused else error], set())
        self._finish(asks, worked)

    def _finish(self, asks: list[Pending], worked: Worked) -> None:
        now = time.monotonic()
        self._released.update(dict.fromkeys(worked.released, now))
        answers: list[tuple[Pending, object]] = []
        for ask, result in zip(asks, worked.results, strict=True):
            self._backlog.pop(ask, None)
            if isinstance(result, Refusal):
                command = ask.command
                if isinstance(command, Reserve) and result.waits and now < self._expires(ask, result):
                    if not self._line:
                        self._look_at = now + POLL_SECONDS
                    command.refusal, command.fresh = result, False
                    ask.in_line = True
                    self._line[ask] = None
                    continue
                answer: object = result.error(self._books.clock())
            else:
                answer = result
            self._line.pop(ask, None)
            answers.append((ask, answer))
        if not self._line:
            self._released.clear()
            self._books.watched.clear()
        elif worked.released:
            self._look_at = now
        self._deliver(answers)

    def _expires(self, ask: Pending, refusal: Refusal) -> float:
        """When a reservation has waited long enough: so long after the last release on a limit that it waits for."""
        released = max(self._released.get(id, 0.0) for id in refusal.waits) if refusal.waits else 0.0
        return min(ask.since + MAX_WAIT_SECONDS, max(ask.since, released) + ask.wait)

    def _waited_for(self) -> set[str]:
        refusals = [ask.command.refusal for ask in self._line if isinstance(ask.command, Reserve)]
        return {id for refusal in refusals if refusal for id in refusal.waits}

    def _drop_abandoned(self) -> None:
        """Forget reservations whose callers are gone, and let go of what may have been written for them."""
        for ask in [ask for ask in (*self._backlog, *self._line) if ask.is_abandoned]:
            command = ask.command
            if isinstance(command, (Reserve, Extend)):
                self._backlog.pop(ask, None)
                self._line.pop(ask, None)
                if isinstance(command, Reserve) and command.tried:
                    self._backlog[Pending(Release(command.reservation.id), None, ask.since)] = None

    def _perform(self, ask: Pending) -> None:
        task = ask.command
        if isinstance(task, Command):
            return
        try:
            with writing(self._books.engine) as connection:
                answer = task(connection)
        except Exception as error:
            if is_transient(error):
                raise
            answer = error
        self._backlog.pop(ask, None)
        self._deliver([(ask, answer)])

    def _upkeep(self, now: float) -> None:
        if now >= self._beat_at:
            self._books.beat()
            self._bury_dead()
            self._beat_at = now + nodes.BEAT_SECONDS
        if now >= self._audit_at:
            if lost := self._books.audit():
                log.warning("let go of %d reservations whose commit had an unknown outcome", lost)
            self._audit_at = now + AUDIT_SECONDS
        if now >= self._prune_at:
            with writing(self._books.engine) as connection:
                pruning.prune_minutes(connection, self._books.clock())
            self._prune_at = now + PRUNE_SECONDS
        if self._rebinds and now >= self._rebinds[0][0]:
            due = [rebind for rebind in self._rebinds if now >= rebind[0]]
            since = min(made for _, _, made in due) - timedelta(seconds=REBIND_SECONDS)
            with writing(self._books.engine) as connection:
                new_limits.rebind(connection, [row for _, row, _ in due], since, self._books.clock())
            del self._rebinds[: len(due)]

    def _bury_dead(self) -> None:
        """Sweep nodes whose process is gone, and those that were as silent at the last look: one beat may be late.

        After a laptop's sleep every node's beat is old, until each has had a moment to wake.
        """
        silent = self._books.silent()
        for beat in silent:
            if beat.is_gone or beat in self._suspects:
                swept = self._books.bury(beat.node_id)
                log.warning("node %s is dead; charged its %d open requests at their ceiling", beat.node_id, swept)
        self._suspects = set(silent)

    def _succeeded(self) -> None:
        if not self.healthy:
            log.warning("the ledger's database is back")
        if self._failures:
            self._audit_at = 0.0
        self._failures = 0
        self.healthy, self.last_error, self.stuck_since = True, None, None

    def _failed(self, error: Exception) -> None:
        self.last_error = str(error).strip() or type(error).__name__
        if self._failures and self.healthy:  # once may be a deadlock or a cut connection, over with the next try
            self.healthy = False
            log.error("the ledger's database is not to be had, trying on: %s", self.last_error)
        time.sleep(PAUSES[min(self._failures, len(PAUSES) - 1)])
        self._failures += 1

    def _dismiss(self) -> None:
        """Refuse those who wait for room: the gateway shuts down."""
        self._deliver([(ask, overloaded("The gateway is shutting down: try again.")) for ask in self._line])
        self._line.clear()

    def _sign_off(self) -> None:
        left = [ask for ask in self._backlog if ask.future is not None]
        if left:
            log.error("%d changes could not be written; open requests will be charged at their ceiling", len(left))
            self._deliver([(ask, LedgerDown(f"The database is down: {self.last_error}")) for ask in left])
        try:
            self._books.stop()
        except Exception as error:
            log.warning("the node could not sign off: %s", error)
