"""The feed of events from all nodes; each process reads it once for all its listeners.

The source is the ledger's tail, where finished requests are in the order of commits, whatever the node, and the audit
log and the breakers' changes, likewise in order. An event's id says how far its reader has come in all of them, so that
any node can go on from there and nothing comes twice or not at all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from paig_client.api.resources import BreakerChange
from paig_gateway.catalog import Catalog
from paig_gateway.cluster import health_rows
from paig_gateway.database.engine import in_thread
from paig_gateway.ledger import reports

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
HEARTBEAT_SECONDS = 15.0
QUEUE = 1000
"""How many events a listener may be behind before it is dropped."""
PAGE = 200
"""How many requests are read at once."""
RETRY_SECONDS = 2.0
"""How often a database that failed is tried."""


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """How far a reader has come.

    Attributes:
        finished_at: The place of the last request in the ledger's tail.
        request: Its id.
        change: The id of the last change.
        state: The number of the last change of a breaker's state.
    """

    finished_at: int
    request: str
    change: str
    state: int = 0

    def __str__(self) -> str:
        """As an event's id."""
        return f"{self.finished_at}.{self.request}~{self.change}~{self.state}"

    @classmethod
    def parse(cls, text: str) -> FeedPosition:
        """From an event's id.

        Raises:
            ValueError: It is not an event's id.
        """
        match = re.fullmatch(r"([0-9]{1,18})\.([\w-]{0,100})~(\w{0,100})(?:~([0-9]{1,18}))?", text, re.ASCII)
        if match is None:
            raise ValueError("is not an event's id")
        return cls(int(match[1]), match[2], match[3], int(match[4] or 0))


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """Something that happened.

    Attributes:
        name: `request`, `change` or `state`.
        data: A Request, an AuditEntry or a BreakerChange, as JSON.
        place: How far a reader is that has received it.
        projects: The ids of the projects that it concerns.
    """

    name: str
    data: str
    place: FeedPosition
    projects: frozenset[str] = frozenset()

    def encode(self) -> bytes:
        """As it goes over the wire."""
        return f"event: {self.name}\nid: {self.place}\ndata: {self.data}\n\n".encode()


class Listener:
    """One reader's queue."""

    def __init__(self, place: FeedPosition) -> None:
        self.place = place
        self.slow = False
        """Whether it fell behind, and was dropped."""
        self.queue: asyncio.Queue[FeedEvent | None] = asyncio.Queue()

    def offer(self, event: FeedEvent) -> None:
        """Queue an event, or where too many wait already, drop them all and end."""
        if self.slow:
            return
        if self.queue.qsize() < QUEUE:
            self.queue.put_nowait(event)
            return
        self.slow = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.end()

    def end(self) -> None:
        """Let the reader come to an end."""
        self.queue.put_nowait(None)


class EventFeed:
    """Reads the tail, once for all listeners of this process."""

    def __init__(self, engine: Engine, catalog: Catalog) -> None:
        """Read nothing yet."""
        self._engine = engine
        self._catalog = catalog
        self._listeners: set[Listener] = set()
        self._place: FeedPosition | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._closed = False
        self._ended: set[asyncio.Task[None]] = set()  # cancelled, and perhaps still in a thread

    def close(self) -> None:
        """End every stream, and let no new one last: the server shuts down. On the event loop's thread."""
        self._closed = True
        self._end_all()

    async def stop(self) -> None:
        """End every stream and wait until nothing reads the database any more."""
        self.close()
        if self._task is not None:
            self._task.cancel()
        if tasks := self._ended | ({self._task} if self._task else set()):
            await asyncio.wait(tasks)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Listener]:
        """A listener to what happens from now on.

        Raises:
            SQLAlchemyError: The database cannot be read.
        """
        async with self._lock:  # while the shared reader is paused, so that no event is missed
            if self._place is None:
                self._place = await in_thread(self._last)
            listener = Listener(self._place)
            self._listeners.add(listener)
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="paig-events")  # ended with the last listener
        if self._closed:
            listener.end()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._task is not None:
                self._task.cancel()
                self._ended.add(self._task)
                self._task.add_done_callback(self._ended.discard)
                self._task = self._place = None

    async def events(self, listener: Listener, since: FeedPosition | None) -> AsyncGenerator[FeedEvent | None]:
        """The events of a listener, first those since its last position; None is a heartbeat."""
        last = listener.place if since is None else since
        while since is not None and (missed := await in_thread(self._read, last, listener.place)):
            for event in missed:
                yield event
            last = missed[-1].place
        while True:
            try:
                following = await asyncio.wait_for(listener.queue.get(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield None
                continue
            if following is None:
                break
            last = following.place
            yield following
        if listener.slow:
            reason = f"more than {QUEUE} events behind: connect again with this event's id, and read faster"
            yield FeedEvent("dropped", json.dumps({"reason": reason}), last)

    async def _run(self) -> None:
        failing = False
        while True:
            try:
                busy = await self._pass_on()
            except SQLAlchemyError as error:
                if not failing:
                    log.warning("Cannot read the ledger's tail, so events are late; retrying: %s", error)
                failing = True
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("The ledger's tail holds what cannot be shown, so the streams of events end")
                self._task = self._place = None
                self._end_all()
                return
            else:
                failing = False
                await asyncio.sleep(0 if busy else POLL_SECONDS)

    async def _pass_on(self) -> bool:
        """Send new events to every listener, and return whether there may be more."""
        async with self._lock:
            if self._place is None:
                return False
            events = await in_thread(self._read, self._place)
            for event in events:
                self._place = event.place
                for listener in self._listeners:
                    listener.offer(event)
        return len(events) >= PAGE

    def _end_all(self) -> None:
        for listener in self._listeners:
            listener.end()

    def _last(self) -> FeedPosition:
        """The position after everything that has happened."""
        changes = self._catalog.audit(limit=1)
        change = changes[0].id if changes else ""
        return FeedPosition(*reports.last_finished(self._engine), change, health_rows.last_change(self._engine))

    def _read(self, after: FeedPosition, until: FeedPosition | None = None) -> list[FeedEvent]:
        """The events after a position, up to another if one is given: requests, then changes, then states."""
        events: list[FeedEvent] = []
        place = after
        for found in reports.finished_since(self._engine, after.finished_at, after.request, limit=PAGE):
            row = found.request
            if until is not None and (found.finished_at, row.id) > (until.finished_at, until.request):
                break
            place = replace(place, finished_at=found.finished_at, request=row.id)
            events.append(FeedEvent("request", row.model_dump_json(), place, frozenset({found.project_id})))
        if len(events) < PAGE:
            for change, projects in self._catalog.changes_since(after.change, limit=PAGE):
                if until is None or change.id <= until.change:
                    place = replace(place, change=change.id)
                    events.append(FeedEvent("change", change.model_dump_json(), place, projects))
        if len(events) < PAGE:
            for turn in health_rows.changes_since(self._engine, after.state, limit=PAGE):
                if until is None or turn.id <= until.state:
                    place = replace(place, state=turn.id)
                    events.append(FeedEvent("state", breaker_change(turn).model_dump_json(), place))
        return events


def breaker_change(change: health_rows.StateChange) -> BreakerChange:
    """A change of a breaker's state as it goes over the wire."""
    return BreakerChange(
        time=change.time,
        node=change.node_id,
        provider=change.provider,
        credential=change.credential,
        before=change.before,
        state=change.state,
        until=change.until,
        reason=change.reason,
    )
