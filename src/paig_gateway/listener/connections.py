"""The connections of one process: how many there are, and how long each may wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from paig_client.api.errors import ErrorCode
from paig_gateway.listener.bounds import LINGER_SECONDS, RESERVE, ListenerBounds

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
    """

    def __init__(self, bounds: ListenerBounds) -> None:
        self.bounds = bounds
        self.refused: Counter[ErrorCode] = Counter()
        self.dropped = 0
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
