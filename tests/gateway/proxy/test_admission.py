"""Places for requests, the queue before them, and bytes of bodies."""

from __future__ import annotations

import asyncio

import pytest

from paig_gateway.domain.errors import GatewayError
from paig_gateway.proxy.admission import Admission, AdmissionBounds

pytestmark = pytest.mark.anyio


async def test_places_and_queue() -> None:
    """Requests beyond the places wait in order; requests beyond the queue are turned away."""
    admission = Admission(AdmissionBounds(max_requests=2, max_queued=2))
    await admission.enter()
    await admission.enter()
    order: list[int] = []

    async def one(number: int) -> None:
        await admission.enter()
        order.append(number)

    waiting = [asyncio.create_task(one(number)) for number in range(2)]
    await asyncio.sleep(0)
    assert (admission.running, admission.queued) == (2, 2)
    with pytest.raises(GatewayError, match="as many requests as it can") as caught:
        await admission.enter()
    assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("overloaded", 503, 1)
    for _ in range(2):
        admission.leave()
    await asyncio.gather(*waiting)
    assert order == [0, 1]
    admission.leave()
    admission.leave()
    assert (admission.running, admission.queued) == (0, 0)


async def test_a_request_that_waits_too_long_or_leaves() -> None:
    """A wait is bounded; a request that gives up waiting, or is cancelled, keeps no place."""
    admission = Admission(AdmissionBounds(max_requests=1, max_queued=5, queue_seconds=0.05))
    await admission.enter()
    with pytest.raises(GatewayError) as caught:
        await admission.enter()
    assert caught.value.code == "overloaded"
    waiting = [asyncio.create_task(admission.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    admission.leave()  # the place goes to the second, which is cancelled before it runs again
    waiting[1].cancel()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in done] == [asyncio.CancelledError, asyncio.CancelledError, type(None)]
    assert (admission.running, admission.queued) == (1, 0)
    admission.leave()
    assert admission.running == 0


async def test_bytes_of_bodies() -> None:
    """Bodies in memory are bounded for the process and for each key; what is released is free again."""
    admission = Admission(AdmissionBounds(body_bytes=100, key_body_bytes=60))
    first, second, third = admission.body("a"), admission.body("a"), admission.body("b")
    first.add(40)
    with pytest.raises(GatewayError, match="This key's requests"):
        second.add(21)
    second.add(20)
    third.add(40)
    with pytest.raises(GatewayError, match="The requests in flight"):
        third.add(1)
    assert (second.count, third.count, admission.body_bytes) == (20, 40, 100)
    first.release()
    first.release()
    third.add(20)
    for body in (second, third):
        body.release()
    assert (admission.body_bytes, admission.bytes_of) == (0, {})
