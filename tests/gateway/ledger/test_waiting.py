"""Waiting for room: a cap is never overrun, and never leaves unused what it could have paid for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Engine

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.limits import Limit
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import Reservation
from tests.gateway.ledger.books import (
    NOON,
    Clock,
    Totals,
    limit,
    reservation,
    rollup_sums,
    rows,
    settlement,
    totals,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ledger(engine: Engine) -> AsyncIterator[Ledger]:
    """A running ledger."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock())
    await ledger.start()
    yield ledger
    await ledger.stop()


async def until_waiting(ledger: Ledger, count: int) -> None:
    """Return when so many wait for room."""
    await until(lambda: ledger.waiting == count)


class Caller:
    """Reserves in the background and notes when it succeeded."""

    def __init__(self, ledger: Ledger, request: Reservation, wait: float = 10.0) -> None:
        self.request = request
        self.task = asyncio.create_task(ledger.reserve(request, wait=wait))

    async def granted(self) -> bool:
        """Whether it got through, once that is known."""
        try:
            async with asyncio.timeout(60):
                await self.task
        except GatewayError:
            return False
        return True


async def test_200_concurrent_requests_on_a_cap_that_pays_for_20(ledger: Ledger, engine: Engine) -> None:
    """However pessimistic the ceiling, the cap is never passed, and pays for as many as it can."""
    cap = limit("cap", 20_000)
    watch = []

    async def call() -> str:
        request = reservation(cap, ceiling=1900)
        try:
            await ledger.reserve(request, wait=5)
        except GatewayError as error:
            return error.code
        await asyncio.sleep(0.01)
        watch.append(totals(engine, cap))
        await ledger.settle(settlement(request, 1000))
        return "ok"

    results = await asyncio.gather(*(call() for _ in range(200)))
    assert results.count("ok") >= 19
    assert set(results) == {"ok", "limit-exceeded"}
    assert max(seen.spent + seen.held for seen in watch) <= 20_000
    assert totals(engine, cap) == Totals(spent=1000 * results.count("ok"), held=0)
    assert rollup_sums(engine)[-1] == 1000 * results.count("ok")


async def test_what_is_spent_alone_refuses_at_once(ledger: Ledger) -> None:
    """Nobody waits for a release that could not help."""
    cap = limit("cap", 1000)
    first = reservation(cap, ceiling=600)
    await ledger.reserve(first)
    await ledger.settle(settlement(first, 600))
    await ledger.reserve(reservation(cap, ceiling=400))
    begun = time.monotonic()
    with pytest.raises(GatewayError, match="no room"):
        await ledger.reserve(reservation(cap, ceiling=401), wait=60)
    assert time.monotonic() - begun < 20


async def test_a_waiting_request_is_refused_once_spending_rules_it_out(ledger: Ledger) -> None:
    """A wait ends with a refusal as soon as what is spent leaves no hope."""
    cap = limit("cap", 1000)
    first = reservation(cap, ceiling=1000)
    await ledger.reserve(first)
    waiting = Caller(ledger, reservation(cap, ceiling=500))
    await until_waiting(ledger, 1)
    await ledger.settle(settlement(first, 501))
    assert not await waiting.granted()


async def test_a_wait_ends(ledger: Ledger, engine: Engine) -> None:
    """Without any release, a waiting request is refused after its time, with the present figures."""
    cap = limit("cap", 1000)
    await ledger.reserve(reservation(cap, ceiling=700))
    begun = time.monotonic()
    with pytest.raises(GatewayError) as caught:
        await ledger.reserve(reservation(cap, ceiling=500), wait=0.4)
    assert 0.4 <= time.monotonic() - begun < 10
    assert caught.value.details["held"] == "0.0000007"
    assert (len(rows(engine)), totals(engine, cap)) == (1, Totals(0, 700))


async def test_a_release_gives_new_patience(ledger: Ledger) -> None:
    """The wait counts from the last release on the limit, so that a moving queue is not broken up."""
    cap = limit("cap", 1000)
    holders = [reservation(cap, ceiling=250) for _ in range(4)]
    for holder in holders:
        await ledger.reserve(holder)
    begun = time.monotonic()
    waiting = Caller(ledger, reservation(cap, ceiling=1000), wait=2.0)
    await until_waiting(ledger, 1)
    for holder in holders:
        await asyncio.sleep(0.6)
        await ledger.settle(settlement(holder, 0))
    assert await waiting.granted()
    assert time.monotonic() - begun > 2.2


async def test_first_come_first_served(ledger: Ledger) -> None:
    """Requests that wait for the same limit are served in the order in which they came, whatever their size."""
    cap = limit("cap", 1000)
    first = reservation(cap, ceiling=1000)
    await ledger.reserve(first)
    order: list[int] = []
    for number, ceiling in enumerate((900, 50, 500)):
        caller = Caller(ledger, reservation(cap, ceiling=ceiling))
        caller.task.add_done_callback(lambda _, number=number: order.append(number))
        await until_waiting(ledger, number + 1)
    await ledger.settle(settlement(first, 0))
    await until(lambda: order == [0, 1])
    with pytest.raises(GatewayError):  # there is room for it, but not before the one that still waits
        await ledger.reserve(reservation(cap, ceiling=40), wait=0.3)
    assert order == [0, 1]
    await ledger.reserve(reservation(cap, ceiling=40))
    caller.task.cancel()


async def test_a_big_one_does_not_starve_the_small_ones_of_other_limits(ledger: Ledger) -> None:
    """A request that waits for its key's cap does not delay one that shares only the project's."""
    project = limit("project", 10_000, owner_kind="project", owner="lab")
    key, other = limit("key", 1000), limit("other", 1000, owner="other")
    first = reservation(project, key, ceiling=800)
    await ledger.reserve(first)
    big = Caller(ledger, reservation(project, key, ceiling=900))
    await until_waiting(ledger, 1)
    begun = time.monotonic()
    for _ in range(5):
        await ledger.reserve(reservation(project, other, ceiling=100, key="other"), wait=60)
    assert time.monotonic() - begun < 20
    await ledger.settle(settlement(first, 0))
    assert await big.granted()


async def test_a_request_that_does_not_wait_takes_the_room_there_is(ledger: Ledger) -> None:
    """A request that would rather be refused than wait is not refused where there is room for it."""
    cap = limit("cap", 1000)
    first = reservation(cap, ceiling=800)
    await ledger.reserve(first)
    big = Caller(ledger, reservation(cap, ceiling=900))
    await until_waiting(ledger, 1)
    small = reservation(cap, ceiling=200)
    await ledger.reserve(small)
    await ledger.settle(settlement(first, 0))
    await ledger.settle(settlement(small, 0))
    assert await big.granted()


async def test_a_request_that_gives_up_waiting_holds_nothing(ledger: Ledger, engine: Engine) -> None:
    """A caller that goes away leaves the line, and those behind it move up."""
    cap = limit("cap", 1000)
    first = reservation(cap, ceiling=1000)
    await ledger.reserve(first)
    gone, next_one = Caller(ledger, reservation(cap, ceiling=900)), Caller(ledger, reservation(cap, ceiling=100))
    await until_waiting(ledger, 2)
    gone.task.cancel()
    await asyncio.gather(gone.task, return_exceptions=True)
    await ledger.settle(settlement(first, 300))
    assert await next_one.granted()
    assert totals(engine, cap) == Totals(spent=300, held=100)


@pytest.mark.parametrize("delay", [0.0, 0.0003, 0.001, 0.003])
async def test_a_client_that_disconnects_at_any_moment_holds_nothing(
    ledger: Ledger, engine: Engine, delay: float
) -> None:
    """Cancelled while queued, while being written, or just after: what was written for it is let go."""
    cap = limit("cap", 10**6)
    tasks = [asyncio.create_task(ledger.reserve(reservation(cap))) for _ in range(50)]
    await asyncio.sleep(delay)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    granted = sum(result is None for result in results)
    await until(lambda: totals(engine, cap) == Totals(spent=0, held=1000 * granted))
    assert {found["cost"] for found in rows(engine) if found["state"] == "settled"} <= {0}


async def test_room_that_another_node_makes_is_found(ledger: Ledger, engine: Engine) -> None:
    """A release in another process wakes requests that wait here within moments."""
    other = Ledger(engine, node_id="node_b", clock=Clock())
    await other.start()
    cap = limit("cap", 1000)
    theirs = reservation(cap, ceiling=1000)
    await other.reserve(theirs)
    waiting = Caller(ledger, reservation(cap, ceiling=600), wait=60)
    await until_waiting(ledger, 1)
    await other.settle(settlement(theirs, 400))
    begun = time.monotonic()
    assert await waiting.granted()
    assert time.monotonic() - begun < 20
    await other.stop()


async def test_many_limits_many_callers(ledger: Ledger, engine: Engine) -> None:
    """Keys with caps of their own under one project: every cap is kept, and no request waits for ever."""
    project = limit("project", 30_000, owner_kind="project", owner="lab", window="total")
    keys = [limit(f"key_{number}", 5000 + 1000 * number, owner=f"k{number}") for number in range(6)]
    spent: dict[str, int] = {}

    async def call(number: int) -> None:
        key: Limit = keys[number % len(keys)]
        request = reservation(project, key, ceiling=700 + number % 5 * 300, key=key.owner)
        cost = request.ceiling * (number % 4) // 4
        try:
            await ledger.reserve(request, wait=2)
        except GatewayError:
            return
        await asyncio.sleep(0.001 * (number % 7))
        await ledger.settle(settlement(request, cost))
        spent[key.id] = spent.get(key.id, 0) + cost

    async with asyncio.timeout(30):
        await asyncio.gather(*(call(number) for number in range(240)))
    assert totals(engine, project, NOON) == Totals(sum(spent.values()), 0)
    assert {key.id: totals(engine, key) for key in keys} == {key.id: Totals(spent.get(key.id, 0), 0) for key in keys}
    assert sum(spent.values()) <= 30_000
