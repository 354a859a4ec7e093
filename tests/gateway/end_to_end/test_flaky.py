"""A member that fails a fifth of its requests: clients do not notice, and every abandoned try is charged correctly.

`benchmarks/failover.py` does the same with ten thousand requests, and measures.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec, RouteTimeouts
from paig_gateway.config import ServerSpec
from paig_gateway.config.model import BreakerSpec
from paig_gateway.pricing.price import PriceBook
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.faults import Faults
from paig_gateway.simulator.serve import running_simulator
from paig_gateway.simulator.traffic import Received
from tests.gateway.end_to_end.conftest import World, running_world

pytestmark = pytest.mark.anyio

MODEL = "gpt-4o-mini"
FAULTS = (
    *(Faults(status=500), Faults(status=503), Faults(status=529), Faults(status=408)),
    *(Faults(reset=True), Faults(reset=True), Faults(error_first=True), Faults(error_first=True), Faults(delay=30)),
)
AT_ONCE = 20


async def ask(world: World, key: str, number: int) -> None:
    """One request, every other one streamed, that must be answered well."""
    stream = number % 2 == 1
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me"}], "max_completion_tokens": 30}
    response: httpx2.Response = await world.http.post(
        "/proxy/route/chat/completions", headers={"authorization": f"Bearer {key}"}, json={**body, "stream": stream}
    )
    assert response.status_code == 200, response.text
    assert "error" not in response.text
    assert "[DONE]" in response.text if stream else response.json()["choices"]


@pytest.mark.parametrize(("breaker", "requests"), [(False, 500), (True, 200)], ids=["each is tried", "with a breaker"])
async def test_a_fifth_fails(environment: None, tmp_path: Path, breaker: bool, requests: int) -> None:
    """No client sees an error; the ledger, the key's counter and the providers' books agree to the nanodollar."""
    draw = random.Random(4)

    def fault(received: Received) -> Faults | None:
        fails = received.path.startswith("/openai-flaky/") and draw.random() < 0.2
        return draw.choice(FAULTS) if fails else None

    simulator = Simulator(faults=fault)
    server = ServerSpec(breaker=BreakerSpec(enabled=breaker))
    async with running_simulator(simulator) as base:
        specs = {
            name: ProviderSpec(kind="openai", base_url=f"{base}/openai-{name}/v1", credential="value:k")
            for name in ("flaky", "well")
        }
        async with running_world(tmp_path, specs, server) as world:
            members = [MemberSpec(provider="flaky", priority=1), MemberSpec(provider="well")]
            spec = RouteSpec(members=members, timeouts=RouteTimeouts(first_byte=2))
            await world.admin.routes.create("route", spec)
            key = await world.make_key("all", total=100)
            numbers = iter(range(requests))

            async def caller() -> None:
                for number in numbers:
                    await ask(world, key, number)

            await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
            rows = (await world.admin.requests(key="all", limit=1000)).items
            spent = next(limit for limit in await world.admin.limits() if limit.owner == "all")
    assert len(rows) == requests
    price = PriceBook().find("openai", MODEL)
    assert price is not None
    books = sum(
        price.cost({"input_tokens": one.input_tokens, "output_tokens": one.output_tokens}, datetime.now(UTC))
        for one in simulator.served.values()
    )
    ceilings = {row.stream: Decimal(row.reserved) for row in rows if len(row.attempts) == 1}
    given_up = Decimal(0)
    outcomes: Counter[str] = Counter()
    for row in rows:
        assert sum(Decimal(attempt.cost) for attempt in row.attempts) == Decimal(row.cost) <= Decimal(row.reserved)
        *earlier, last = row.attempts
        assert (last.status, last.error) == (200, None)
        for attempt in earlier:
            outcome = str(attempt.error or attempt.status)
            outcomes[outcome] += 1
            assert Decimal(attempt.cost) == (ceilings[row.stream] if outcome == "upstream-timeout" else 0)
            given_up += Decimal(attempt.cost)
    assert sum(Decimal(row.cost) for row in rows) == Decimal(books) / 10**9 + given_up
    assert (Decimal(spent.spent), Decimal(spent.held)) == (Decimal(books) / 10**9 + given_up, 0)
    if not breaker:
        assert set(outcomes) == {*("500", "503", "529", "408"), *("upstream-unreachable", "upstream-timeout")} | {
            "server_error"
        }
        assert outcomes.total() == pytest.approx(requests / 5, rel=0.35)
