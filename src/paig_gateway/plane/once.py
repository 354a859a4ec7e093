"""Work that must be done, once and to its end, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

RECORD_SECONDS = 1.0
"""How long the end of an answer waits for its row to be written."""


class Once:
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


async def shielded(work: Awaitable[None]) -> None:
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
