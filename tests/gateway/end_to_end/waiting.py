"""Waiting for what happens in other processes, or behind the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(holds: Callable[[], bool | Awaitable[bool]], *, seconds: float = 60) -> None:
    """Wait until that holds.

    Raises:
        TimeoutError: It did not, within generous time: the machine may be busy with other things.
    """
    async with asyncio.timeout(seconds):
        while True:
            held = holds()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.02)
