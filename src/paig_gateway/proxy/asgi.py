"""The client's connection, and work that must finish even if its task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from paig_gateway.domain.http import Headers
from paig_gateway.listener.cycle import Cycle


async def run_shielded(work: Awaitable[None]) -> None:
    """Run `work` to its end even if the task is cancelled, and cancel the task after it."""
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
    """The client's connection: writes are sent at once, and nothing is awaited.

    Attributes:
        cycle: The request and its answer at the listener.
        sealed: Headers that are added to every answer.
    """

    cycle: Cycle
    sealed: Headers

    @property
    def started(self) -> bool:
        """Whether a status has been sent."""
        return self.cycle.started

    @property
    def gone(self) -> bool:
        """Whether the client has disconnected; later writes are dropped."""
        return self.cycle.gone

    def start(self, status: int, headers: Headers) -> None:
        self.cycle.start(status, [*headers, *self.sealed])

    def write(self, data: bytes) -> None:
        self.cycle.write(data)

    def end(self) -> None:
        self.cycle.end()

    def answer(self, status: int, headers: Headers, data: bytes) -> None:
        self.cycle.answer(status, [*headers, *self.sealed], data)
