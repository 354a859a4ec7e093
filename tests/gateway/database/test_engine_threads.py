"""Work in threads ends before the task that asked for it, cancelled or not."""

from __future__ import annotations

import asyncio
import threading

import pytest

from paig_gateway.database.engine import in_thread

pytestmark = pytest.mark.anyio


async def test_results_and_errors_come_back() -> None:
    """As from the function itself."""
    assert await in_thread(int, "11", base=2) == 3
    with pytest.raises(ValueError, match="invalid literal"):
        await in_thread(int, "x")


@pytest.mark.parametrize("error", [None, OSError("the database is away")])
async def test_a_cancelled_task_waits_for_its_thread(error: Exception | None) -> None:
    """Whether the function then succeeds or fails, the task ends cancelled, and after it."""
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait(10)
        ended.set()
        if error is not None:
            raise error

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
