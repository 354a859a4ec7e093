"""Work that must be done, once and to its end, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

from paig_gateway.domain.http import Headers
from paig_gateway.proxy.request import Send

RECORD_SECONDS = 1.0
"""How long the end of an answer waits for its row to be written."""


class RunOnce:
    """Work that is done once, whoever asks for it first."""

    def __init__(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Have it done."""
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return self._task

    async def soon(self) -> None:
        """Have it done, and wait for it, but not for long: a client is not to wait for a database that is down."""
        await asyncio.wait({self.start()}, timeout=RECORD_SECONDS)


async def run_shielded(work: Awaitable[None]) -> None:
    """Run `work` to its end though the task be cancelled, and be cancelled after it."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
            if task.cancelled():
                break
    task.result()
    if cancelled:
        raise asyncio.CancelledError


@dataclass(slots=True)
class ClientConnection:
    """The client's end of a request.

    Attributes:
        started: Whether a status has been sent.
        gone: Whether the client has left; what is sent to it after that is dropped.
        sealed: Headers that every answer gets.
    """

    send: Send
    sealed: Headers = field(default_factory=list)
    started: bool = False
    finished: bool = False
    gone: bool = False

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and headers."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self.sealed]})

    async def body(self, data: bytes, *, more: bool) -> None:
        """Send a piece of the body."""
        self.finished = not more
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, status: int, headers: Headers, data: bytes) -> None:
        """Send a whole answer."""
        await self.start(status, [*headers, (b"content-length", str(len(data)).encode())])
        await self.body(data, more=False)

    async def _send(self, message: dict[str, object]) -> None:
        if self.gone:
            return
        try:
            await self.send(message)
        except OSError:
            self.gone = True
