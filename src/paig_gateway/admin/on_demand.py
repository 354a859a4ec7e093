"""The admin app, made when the first request for it comes.

FastAPI, the app's own modules and the models of its endpoints take a third of a node's start and memory that a node
which serves models alone never needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from paig_gateway.proxy.request import Receive, Scope, Send

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Feed(Protocol):
    """What streams events to readers, and must end before the app does."""

    def close(self) -> None:
        """End the streams."""

    async def stop(self) -> None:
        """Wait until nothing reads the database any more."""


class AdminOnDemand:
    """Makes the admin app in a thread, once, and passes requests to it."""

    def __init__(self, make: Callable[[], tuple[App, Feed]]) -> None:
        self._make = make
        self._made: tuple[App, Feed] | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._made is None:
            async with self._lock:
                if self._made is None:
                    self._made = await asyncio.to_thread(self._make)
                    if self._closed:
                        self.close()
        await self._made[0](scope, receive, send)

    def close(self) -> None:
        """End the streams of events, which would go on until their readers leave."""
        self._closed = True
        if self._made is not None:
            self._made[1].close()

    async def stop(self) -> None:
        """Wait until nothing reads the database any more."""
        self.close()
        if self._made is not None:
            await self._made[1].stop()
