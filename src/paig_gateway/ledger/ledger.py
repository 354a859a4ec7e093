"""The ledger: the only writer of money. Callers wait on futures; one thread commits for all of them at once.

A reservation is durable when `reserve` returns. If its caller leaves before that, its hold is released. A settlement
that was handed over is never lost: it stays queued until the database takes it, and while the database is down it is in
a file, too. If the process dies, the next node that looks charges its open requests at their ceiling, and a settlement
found in the file replaces the ceiling.

`writer` has the thread, `executor` executes a transaction, `transitions` has the rules, `sqlite` and `postgres` the
statements. docs/internals/ledger.md describes them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

from sqlalchemy import Connection, Engine, update

from paig_gateway.database.engine import utc_now
from paig_gateway.database.tables import LimitRow
from paig_gateway.domain.errors import GatewayError, LedgerDown
from paig_gateway.domain.limits import Limit
from paig_gateway.ledger import new_limits, refusals, retention
from paig_gateway.ledger.executor import (
    BatchExecutor,
    ChargeRow,
    Correct,
    Extend,
    Flush,
    LedgerCommand,
    Release,
    Reserve,
    SetAside,
    Settle,
    SettleLines,
)
from paig_gateway.ledger.nodes import HOLDS
from paig_gateway.ledger.pruning import ANYONE, Whose
from paig_gateway.ledger.records import BatchLine, Reservation, Settlement
from paig_gateway.ledger.refusals import RefusalBuffer, RefusedRequest
from paig_gateway.ledger.spool import Spool, Unrecorded, read_spool
from paig_gateway.ledger.sqlite import Checkpointer
from paig_gateway.ledger.statements import is_rows_fault
from paig_gateway.ledger.transitions import Corrected
from paig_gateway.ledger.writer import Answers, Pending, Task, Writer, overloaded

log = logging.getLogger(__name__)


MAX_WAIT_SECONDS = 2.0
WATCH_SECONDS = 0.25
FLUSH_SECONDS = 1.0
NO_NODE = ""
"""In place of a hold's node while the work continues at the provider: the end of a node does not charge it."""
LATER_SECONDS = 0.005
"""How long a settlement that no answer waits for is kept, to be written with the next reservations."""


class Ledger:
    """See the module. Its methods belong to the event loop that started it.

    Args:
        engine: A migrated database.
        node_id: This process's name among the nodes; no other process ever has the same.
        home: The folder for the file of requests that cannot be recorded at once; None keeps none.
        max_queue: How many commands may be queued before new reservations are refused.
        max_wait: The most seconds that a reservation waits for the database before it is refused.
        keep_days: For how many days finished requests are kept; None for ever.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        node_id: str,
        home: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
        max_queue: int = 10_000,
        max_wait: float = MAX_WAIT_SECONDS,
        keep_days: int | None = None,
    ) -> None:
        self.dropped = 0
        """The number of refusals whose rows were dropped, because there were too many."""
        self.set_aside = 0
        """The number of requests that were charged at their ceiling because the database refused their settlement."""
        self._engine = engine
        self._spool = Spool(home, node_id) if home else None
        self._clock = clock
        self._max_queue = max_queue
        self._max_wait = max_wait
        self._keep_days = keep_days
        self._keeper: asyncio.Task[None] | None = None
        self._executor = BatchExecutor(engine, node_id, clock)
        self._writer = Writer(self._executor, self._deliver)
        self._checkpointer = Checkpointer(engine) if engine.dialect.name == "sqlite" else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._refusals = RefusalBuffer()
        self._refusing: set[Pending] = set()
        self._callers: dict[Pending, None] = {}
        self._unrecorded: dict[Pending, Unrecorded | None] = {}
        self._stopping = False
        self._wakes = False

    @property
    def healthy(self) -> bool:
        """Whether the database accepts writes; False within moments of its failure."""
        return self._writer.healthy and not self._is_stuck()

    @property
    def last_error(self) -> str | None:
        """The database's last error, or None if it has taken something since."""
        return self._writer.last_error

    @property
    def waiting(self) -> int:
        """How many reservations wait for room."""
        return self._writer.line_length

    @property
    def queued(self) -> int:
        """How many changes wait for the writer."""
        return self._writer.queue.qsize() + len(self._writer.later)

    @property
    def lag(self) -> float:
        """For how many seconds the writer has tried its present batch; 0 between batches."""
        since = self._writer.stuck_since
        return 0.0 if since is None else time.monotonic() - since

    def take_buried(self) -> list[str]:
        """The dead nodes whose requests this node has charged since the last call."""
        found: list[str] = []
        while self._executor.buried:
            found.append(self._executor.buried.popleft())
        return found

    async def start(self) -> None:
        """Register the node, charge what dead nodes left open, and begin to write.

        Raises:
            NodeInUseError: Another live process has this node's id.
            SchemaChangedError: The database has another schema than this version.
            sqlalchemy.exc.DBAPIError: The database is unavailable.
        """
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._executor.start)
        if self._spool:
            await asyncio.to_thread(self._recover, self._spool)
        if self._checkpointer:
            self._checkpointer.start()
        self._writer.start()
        self._watch()
        self._keeper = asyncio.create_task(
            retention.keep(self._engine, self._ask, self._executor.node_id, self._keep_days, self._clock),
            name="retention",
        )

    async def stop(self, grace: float = 10.0) -> None:
        """Write what is queued, and end; new reservations are refused from now on.

        Args:
            grace: For how many seconds to go on trying where the database is down. Requests that are not settled by
                then stay in the spool, and the next node that looks charges them at their ceiling.
        """
        if self._loop is None or self._stopping:
            return
        self._stopping = True
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        self._write_refusals()
        self._writer.end(time.monotonic() + grace)
        await asyncio.to_thread(self._writer.join)
        if self._checkpointer:
            await asyncio.to_thread(self._checkpointer.stop)
        if self._watchdog:
            self._watchdog.cancel()
        while not self._writer.queue.empty():  # commands that arrived while the thread was ending
            if (pending := self._writer.queue.get()) is not None:
                self._answer([(pending, overloaded("The gateway has shut down."))])
        while self._writer.later:
            self._answer([(self._writer.later.popleft(), overloaded("The gateway has shut down."))])

    async def reserve(self, reservation: Reservation, *, wait: float = 0.0) -> None:
        """Hold a request's worst case against every limit that binds it; durable on return.

        Args:
            wait: For how many seconds to wait, after the last release, where requests in flight hold what it needs; 30
                at most in all. It is refused at once where what is spent alone rules it out.

        Raises:
            LedgerDown: The database is down or too slow.
            GatewayError: `limit-exceeded` or `rate-limited`; `overloaded` where too much is queued.
        """
        if self._stopping:
            raise overloaded("The gateway is shutting down: try again.")
        if self.queued >= self._max_queue:
            raise overloaded("Too many requests are waiting for the ledger: try again.")
        await self._ask(Reserve(reservation, patient=wait > 0), wait, watched=True)

    async def extend(
        self, request_id: str, extra: int, exchange: tuple[Limit, ...] | None = None, tokens: int = 0
    ) -> None:
        """Raise a request's hold, as for a further attempt of a failover; it never waits for room.

        Args:
            request_id: A request that is reserved and not settled.
            extra: Nanodollars.
            exchange: Every limit that binds the further attempt, where named limits bind it that did not bind the one
                before, or the other way round. Hold and limits are exchanged in one transaction.
            tokens: The most tokens that it could use.

        Raises:
            GatewayError: As `reserve`; the hold is then as it was.
            LookupError: The request is not open.
        """
        await self._ask(Extend(request_id, extra, exchange, tokens), watched=True)

    async def settle(self, settlement: Settlement) -> None:
        """Put a request's cost in place of its hold, in the windows of the request's own time. Durable on return.

        Settling twice does nothing. It is done even if the caller is cancelled meanwhile, and however long the database
        is down.

        Raises:
            LookupError: There is no such request in the ledger.
        """
        await self._ask(Settle(settlement))

    def settle_soon(self, settlement: Settlement) -> None:
        """`settle` without waiting: the hold is durable already, so a crash before the write charges the ceiling."""
        self._put(Pending(Settle(settlement), None, time.monotonic()), soon=True)

    async def charge(self, reservation: Reservation, settlement: Settlement) -> None:
        """Write a finished request that held nothing; it counts, whether or not its limits have room.

        Work that the ledger has an exact row of already (by `work_id`) is written as a row that cost nothing.
        """
        await self._ask(ChargeRow(reservation, settlement))

    def charge_late(self, reservation: Reservation, settlement: Settlement) -> None:
        """`charge` for requests that were let pass while the database is down: written when it is available again.

        It does not wait. `reserve` refuses when too much is queued, so what is queued here is bounded too.
        """
        if self._spool:  # at once: this is called while the database is known to be down
            self._spool.add(Unrecorded(reservation, settlement))
        self._put(Pending(ChargeRow(reservation, settlement), None, time.monotonic()))

    def note(self, reservation: Reservation, settlement: Settlement) -> None:
        """Write the row of a request that was refused, when there is time; it moves no limit.

        Dropped, and counted in `dropped`, where too much is queued.
        """
        if self._stopping or self.queued >= self._max_queue // 2:
            self.dropped += 1
            return
        self._put(Pending(ChargeRow(reservation, settlement, counted=False), None, time.monotonic()))

    def note_refused(self, refused: RefusedRequest) -> None:
        """Keep a request that was refused before it could be in the ledger, to be found by its id.

        Dropped where too many come at a time.
        """
        if self._loop is not None and not self._stopping and self._refusals.add(refused):
            self._loop.call_later(refusals.WRITE_SECONDS, self._write_refusals)

    async def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until everything handed over before is recorded, so that a reader sees it.

        Returns:
            Whether it is; false where the database did not take it in time.
        """
        if self._stopping:
            return True
        self._write_refusals()
        if not self._refusing and not self._unrecorded:
            return True
        try:
            async with asyncio.timeout(seconds):
                # A turn's tasks are done in order, after its commands.
                await self._ask(_nothing if self._refusing else Flush())
        except (TimeoutError, LedgerDown):
            return False
        return True

    async def correct(self, work_id: str, key_id: str | None, settlement: Settlement) -> Corrected:
        """Give background work its true cost when its usage first comes through.

        Counters and rollups move by the difference, in the windows of the original request.

        Args:
            work_id: The provider's name of the work.
            key_id: The key of its request, or None for any.
            settlement: Cost, certainty, usage and price; its `provider`, if given, must be that of the work.

        Returns:
            `unknown` where the ledger has no row of it, `already` where its row is exact.
        """
        return cast(Corrected, await self._ask(Correct(work_id, key_id, settlement)))

    async def defer(self, request_id: str, write: Callable[[Connection], object]) -> None:
        """Detach a hold from this node, because the work continues without it: no node's death charges it.

        Args:
            request_id: A request that is reserved and not settled.
            write: Writes, in the same transaction, what will be needed to charge it later.

        Raises:
            LookupError: The request is not open: this node was taken for dead, and the hold is charged.
        """

        def deferred(connection: Connection) -> None:
            hold = update(HOLDS).where(HOLDS.c.id == request_id).values(node_id=NO_NODE)
            if connection.execute(hold).rowcount != 1:
                raise LookupError(f"the ledger has no open request {request_id}")
            write(connection)

        await self._ask(deferred)
        self._executor.open.pop(request_id, None)

    async def settle_lines(self, batch_id: str, lines: Sequence[BatchLine], end: Settlement | None = None) -> None:
        """Write rows of a batch's lines, each once, and close its hold with the end; durable.

        Raises:
            LookupError: The batch has no hold: all of it is charged already.
        """
        await self._ask(SettleLines(batch_id, lines, end))

    def limit_created(self, connection: Connection, row: LimitRow) -> None:
        """To be called in the transaction that makes a limit; from any thread."""
        new_limits.bind(connection, row, self._clock())
        self._writer.rebind_later(row)

    def limit_removed(self, connection: Connection, row: LimitRow) -> None:
        """To be called in the transaction that removes a limit; from any thread."""
        new_limits.drop(connection, row)

    async def prune(self, before: datetime, whose: Whose = ANYONE) -> int:
        """Remove finished requests that came before a moment, and budgets of runs without requests.

        Totals and limits stay, and so do for a month the rows of work that a provider may be asked for again.

        Returns:
            How many requests were removed.
        """
        return await retention.prune(self._engine, self._ask, before, self._clock(), whose=whose)

    def _recover(self, spool: Spool) -> None:
        """Record what dead nodes left in their spools."""
        for path in spool.left_behind(self._executor.alive()):
            entries = list(read_spool(path))
            for entry in entries:
                try:
                    self._executor.execute([Settle(entry.settlement, entry.reservation)])
                except Exception as error:
                    if not is_rows_fault(error):
                        raise
                    self._executor.execute([SetAside(entry.settlement.id, entry.reservation, entry.settlement.cost)])
                    self._refuse(entry, error)
            path.unlink(missing_ok=True)
            log.warning("recorded %d requests that a stopped gateway could not record", len(entries))

    def _refuse(self, entry: Unrecorded, error: Exception) -> None:
        """Keep a settlement that the database refuses, and report it."""
        self.set_aside += 1
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        kept = "not kept"
        if self._spool:
            self._spool.set_aside(Unrecorded(entry.reservation, entry.settlement, reason))
            kept = f"kept in {self._spool.set_aside_path}"
        log.error("request %s is charged at its ceiling; its settlement is %s: %s", entry.settlement.id, kept, reason)

    def _write_refusals(self) -> None:
        """Hand the waiting commands to the writer."""
        found = self._refusals.take()
        if found and self._writer.running:
            pending = Pending(partial(refusals.write, refused=found), None, time.monotonic())
            self._refusing.add(pending)
            self._put(pending)

    async def _ask(self, command: LedgerCommand | Task, wait: float = 0.0, *, watched: bool = False) -> object:
        if self._loop is None:
            raise RuntimeError("the ledger is not started")
        future: asyncio.Future[object] = self._loop.create_future()
        pending = Pending(command, future, time.monotonic(), wait)
        if not watched:
            self._put(pending)
            return await future
        self._callers[pending] = None
        try:
            self._put(pending)
            return await future
        finally:
            del self._callers[pending]

    def _put(self, pending: Pending, *, soon: bool = False) -> None:
        """Hand a command to the writer, at once or with the next one that a caller waits for."""
        if not self._writer.running:
            raise RuntimeError("the ledger is not running")
        match pending.command:
            case Settle(settlement=s):
                mine = self._executor.open.get(s.id)
                self._unrecorded[pending] = Unrecorded(mine.reservation if mine else None, s)
            case ChargeRow(reservation=r, settlement=s, counted=counted):
                self._unrecorded[pending] = Unrecorded(r, s) if counted else None
        if soon and self._loop is not None:
            self._writer.later.append(pending)
            if not self._wakes:
                self._wakes = True
                self._loop.call_later(LATER_SECONDS, self._wake)
        else:
            self._writer.queue.put(pending)

    def _wake(self) -> None:
        """Have the writer execute the commands that no answer waits for, unless it has done so already."""
        self._wakes = False
        if self._writer.later:
            self._writer.queue.put(None)

    def _deliver(self, answers: Answers) -> None:
        """Wake the callers; on the writer's thread."""
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._answer, answers)
        except RuntimeError:  # the loop is closed, so nothing can be handed over any more
            self._writer.end(0.0)

    def _answer(self, answers: Answers) -> None:
        for pending, answer in answers:
            if pending in self._unrecorded:
                self._was_recorded(pending, answer)
            elif pending in self._refusing:
                self._refusing.discard(pending)
                if isinstance(answer, Exception):
                    log.error("refused requests could not be recorded: %s", answer)
            future = pending.future
            if future is None:
                continue
            if not future.done():
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
            elif isinstance(pending.command, Reserve) and answer is None and self._writer.running:
                # Its caller has disconnected.
                self._put(Pending(Release(pending.command.reservation.id), None, pending.since))

    def _was_recorded(self, pending: Pending, answer: object) -> None:
        """Remove a settlement from the list of unrecorded ones."""
        entry = self._unrecorded[pending]
        if entry is None:
            del self._unrecorded[pending]
        elif isinstance(answer, GatewayError):  # the ledger ends, and the database is still down
            self._keep(entry)
            kept = f"is kept in {self._spool.path} for the next start" if self._spool else "is lost"
            log.error("request %s could not be recorded: its settlement %s", entry.settlement.id, kept)
        else:
            del self._unrecorded[pending]
            if pending.refused is not None:
                self._refuse(entry, pending.refused)
            elif isinstance(answer, Exception) and pending.future is None:
                log.error("request %s could not be recorded: %s", entry.settlement.id, answer)
            if self._spool:
                self._spool.recorded(entry.settlement.id)

    def _keep(self, entry: Unrecorded | None) -> None:
        if self._spool and entry is not None and entry.settlement.id not in self._spool:
            self._spool.add(entry)

    def _is_stuck(self) -> bool:
        since = self._writer.stuck_since
        return since is not None and time.monotonic() - since > self._max_wait

    def _watch(self) -> None:
        """Refuse callers that have waited too long for the database, and spool settlements that it does not accept."""
        now, stuck = time.monotonic(), self._is_stuck()
        for pending in self._callers:
            late = stuck if pending.in_line else now - pending.since > self._max_wait
            if late and pending.future is not None and not pending.future.done():
                pending.future.set_exception(LedgerDown("The gateway's database is not answering: try again."))
        if not self.healthy:
            for entry in self._unrecorded.values():
                self._keep(entry)
        if self._loop is not None and self._writer.running:
            self._watchdog = self._loop.call_later(WATCH_SECONDS, self._watch)


def _nothing(_: Connection) -> None:
    """A task that is done once everything before it is."""
