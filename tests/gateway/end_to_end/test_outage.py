"""PostgreSQL goes down and comes back under load: what clients see, and whether the books are right afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pytest

from paig_client.api.resources import Request
from paig_gateway.config import ServerSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.conftest import World, running_world, simulated_providers
from tests.gateway.end_to_end.processes import every_row
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio


async def ask(world: World, key: str) -> str:
    """One chat completion; its status, or the gateway's code."""
    response = await world.http.post(
        "/proxy/openai/v1/chat/completions",
        headers={"authorization": f"Bearer {key}"},
        json={
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "[sim:tokens=100] [sim:delay=0.05]"}],
            "max_completion_tokens": 100,
        },
    )
    if response.status_code == 503:
        assert response.headers["retry-after"]
    return response.headers.get("x-paig-error", str(response.status_code))


async def ready(world: World) -> bool:
    """Whether the gateway says it can serve and record."""
    return (await world.http.get("/readyz")).status_code == 200


async def unready(world: World) -> bool:
    """Whether it says that it cannot."""
    return not await ready(world)


async def hammer_through_an_outage(world: World, postgres: Postgres, key: str) -> Counter[str]:
    """Ten clients at work while the database is stopped at once, stays away, and comes back; what they saw."""
    seen: Counter[str] = Counter()
    running = True

    async def client() -> None:
        while running:
            seen[await ask(world, key)] += 1

    clients = [asyncio.create_task(client()) for _ in range(10)]
    await until(lambda: seen["200"] >= 30)
    await asyncio.to_thread(postgres.stop)
    try:
        await until(lambda: unready(world))
        down = seen.total()
        await until(lambda: seen.total() >= down + 30)
    finally:
        await asyncio.to_thread(postgres.start)
    await until(lambda: ready(world))
    served = seen["200"]
    await until(lambda: seen["200"] >= served + 30)
    running = False
    await asyncio.gather(*clients)
    return seen


@pytest.mark.parametrize("policy", ["refuse", "allow"])
async def test_database_stopped_and_started_under_load(
    environment: None,
    tmp_path: Path,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    policy: Literal["refuse", "allow"],
) -> None:
    """Clients see `overloaded`, or nothing where they are let pass; then the ledger has what the provider counted."""
    monkeypatch.setenv("PAIG_DATABASE_URL", postgres.fresh_database())
    simulator = Simulator(keep=5)
    async with (
        running_simulator(simulator) as base,
        running_world(tmp_path, simulated_providers(base), ServerSpec(on_ledger_down=policy)) as world,
    ):
        key = await world.make_key("hammer", daily=100)
        assert await ask(world, key) == "200"
        [one] = (await world.admin.requests(key="hammer")).items
        seen = await hammer_through_an_outage(world, postgres, key)
        assert set(seen) == ({"200", "overloaded"} if policy == "refuse" else {"200"})
        served = simulator.served["openai"].completed
        assert served == seen["200"] + 1
        rows: list[Request] = []
        async with asyncio.timeout(30):
            while sum(row.status == 200 for row in rows) < served:
                rows = await every_row(world.admin, key="hammer")
        assert {row.cost for row in rows if row.status == 200} == {one.cost}
        assert {row.certainty for row in rows if row.status == 200} == {"exact"}
        assert {row.certainty for row in rows if row.status != 200} <= {None}
        assert {row.error for row in rows if row.status != 200} <= {"overloaded", "not-dispatched"}
        [limit] = await world.admin.limits()
        assert Decimal(limit.spent) == served * Decimal(one.cost)
        assert Decimal(limit.held) == 0
