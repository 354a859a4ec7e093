"""The connections of one process: how many there may be, what each may send, and how long it may wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from paig_client.api.errors import ErrorCode

RESERVE = 32
"""Connections beyond the cap, on which only the probes are answered."""

PROBES = frozenset({"/healthz", "/readyz"})

MAX_PIPELINED = 16
"""Requests that one connection may send ahead of the answers to the earlier ones."""

LINGER_SECONDS = 2.0
"""How long the rest of a refused request is read and dropped, so that the client can read why it was refused."""


@dataclass(frozen=True, slots=True)
class ListenerBounds:
    """What a client may send, and how long it may take.

    Attributes:
        header_bytes: Names and values of one request's header fields together.
        header_fields: How many fields there are at most.
        target_bytes: The length of the request target: path and query.
        header_seconds: From the first byte of a request to the end of its head.
        idle_seconds: From the start of a connection to its first byte.
        keep_alive_seconds: From the end of an answer to the first byte of the next request.
        body_seconds: How long a body may be on its way before its rate counts.
        body_rate: Bytes per second that it must arrive at from then on.
        write_seconds: How long a client may read nothing of what is written to it.
        max_connections: Connections that are open at once. When there are more, the one that has waited longest without
            sending a complete head is closed.
    """

    header_bytes: int = 64 * 1024
    header_fields: int = 100
    target_bytes: int = 8 * 1024
    header_seconds: float = 10.0
    idle_seconds: float = 20.0
    keep_alive_seconds: float = 75.0
    body_seconds: float = 10.0
    body_rate: int = 1024
    write_seconds: float = 300.0
    max_connections: int = 10_000

    @property
    def head_bytes(self) -> int:
        """Bytes of a whole head on the wire; names, values and separators of all fields, and the request line."""
        return self.header_bytes + self.target_bytes + 4 * self.header_fields + 64


def most_connections() -> int:
    """How many connections a process can have, given that each may need another one to a provider."""
    try:
        import resource
    except ImportError:  # not a Unix
        return 1_000_000
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(16, (soft - 64) // 2 - RESERVE)


SWEEP_SECONDS = 0.5
"""How often deadlines are checked; a connection may exceed its deadline by this much."""


class TrackedConnection(Protocol):
    """The part of a connection that the tables use."""

    def drop(self) -> None:
        """Close it at once, without an answer."""

    def head_is_late(self) -> None:
        """Refuse the request whose head did not arrive in time."""

    def check_body(self, now: float) -> None:
        """Refuse the request whose body arrives too slowly."""


class Connections:
    """The connections by what they wait for.

    Each table is in the order of its deadlines, because all its members have the same timeout: a sweep looks only at
    expired members.

    Attributes:
        bounds: The bounds that hold for all of them.
        refused: How many requests were refused here, by code.
        dropped: How many connections were closed to make room.
        ending: Whether the process is to end, so that each answer closes its connection.
    """

    def __init__(self, bounds: ListenerBounds) -> None:
        self.bounds = bounds
        self.refused: Counter[ErrorCode] = Counter()
        self.dropped = 0
        self.ending = False
        self._new: dict[TrackedConnection, float] = {}
        self._in_head: dict[TrackedConnection, float] = {}
        self._idle: dict[TrackedConnection, float] = {}
        self._lingering: dict[TrackedConnection, float] = {}
        self._unread: dict[TrackedConnection, float] = {}
        self._in_body: set[TrackedConnection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def opened(self, connection: TrackedConnection, open_now: int, loop: asyncio.AbstractEventLoop) -> bool:
        """Add a new connection; if there are too many, close the oldest one without a complete head.

        Args:
            open_now: How many are open, the new one included.

        Returns:
            False if there is no room, so that the new connection must be closed.
        """
        if (
            open_now > self.bounds.max_connections
            and not self._drop_one()
            and (open_now > self.bounds.max_connections + RESERVE)
        ):
            self.dropped += 1
            return False
        self._new[connection] = loop.time() + self.bounds.idle_seconds
        if self._timer is None:
            self._loop = loop
            self._timer = loop.call_later(SWEEP_SECONDS, self._sweep)
        return True

    def _drop_one(self) -> bool:
        headless = [
            (deadline - seconds, connection)
            for table, seconds in ((self._new, self.bounds.idle_seconds), (self._in_head, self.bounds.header_seconds))
            for connection, deadline in _first(table)
        ]
        oldest = min(headless, key=lambda pair: pair[0])[1] if headless else next(iter(self._idle), None)
        if oldest is None:
            return False
        self.dropped += 1
        self.closed(oldest)
        oldest.drop()
        return True

    def head_begins(self, connection: TrackedConnection, now: float) -> None:
        """The first bytes of a request have arrived, and its head is not complete."""
        if connection not in self._in_head:
            self._new.pop(connection, None)
            self._idle.pop(connection, None)
            self._in_head[connection] = now + self.bounds.header_seconds

    def head_ends(self, connection: TrackedConnection) -> None:
        self._new.pop(connection, None)
        self._idle.pop(connection, None)
        self._in_head.pop(connection, None)

    def waits_for_body(self, connection: TrackedConnection) -> bool:
        """The body of a request is not complete; returns True if that is new."""
        known = connection in self._in_body
        self._in_body.add(connection)
        return not known

    def body_ends(self, connection: TrackedConnection) -> None:
        """The body of a request is complete, or no longer wanted."""
        self._in_body.discard(connection)

    def waits_for_request(self, connection: TrackedConnection, now: float) -> None:
        self._in_body.discard(connection)
        if connection not in self._in_head:
            self._idle[connection] = now + self.bounds.keep_alive_seconds

    def lingers(self, connection: TrackedConnection, now: float) -> None:
        """Note that a connection got its last answer; further input is dropped until it is closed."""
        self.closed(connection)
        self._lingering[connection] = now + LINGER_SECONDS

    def write_waits(self, connection: TrackedConnection, now: float) -> None:
        """The client has to read before more can be written, or before the connection can be closed."""
        self._unread.pop(connection, None)
        self._unread[connection] = now + self.bounds.write_seconds

    def write_goes_on(self, connection: TrackedConnection) -> None:
        """The client has read."""
        self._unread.pop(connection, None)

    def closed(self, connection: TrackedConnection) -> None:
        """Remove a connection that was closed or taken over."""
        for table in (self._new, self._in_head, self._idle, self._lingering, self._unread):
            table.pop(connection, None)
        self._in_body.discard(connection)

    def _sweep(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        _expire(self._new, now, _drop)
        _expire(self._idle, now, _drop)
        _expire(self._lingering, now, _drop)
        _expire(self._unread, now, _drop)
        _expire(self._in_head, now, _refuse_late)
        for connection in tuple(self._in_body):
            connection.check_body(now)
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def stop(self) -> None:
        """Stop checking deadlines: the process no longer serves."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _first(table: dict[TrackedConnection, float]) -> list[tuple[TrackedConnection, float]]:
    for connection, deadline in table.items():
        return [(connection, deadline)]
    return []


def _expire(table: dict[TrackedConnection, float], now: float, end: Callable[[TrackedConnection], None]) -> None:
    while (first := _first(table)) and first[0][1] <= now:
        del table[first[0][0]]
        end(first[0][0])


def _drop(connection: TrackedConnection) -> None:
    connection.drop()


def _refuse_late(connection: TrackedConnection) -> None:
    connection.head_is_late()
