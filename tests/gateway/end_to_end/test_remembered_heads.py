"""What is remembered of a request's head is dropped by every change that it hangs on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import httpx2
import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, MemberSpec, PriceSpec, ProviderSpec, RouteSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import Time, World, running_world

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def timed(
    environment: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Time, Simulator]]:
    """Two providers and a route over both, with a clock that tests move."""
    time, simulator = Time(), Simulator()
    async with running_simulator(simulator) as base:
        specs = {
            name: ProviderSpec(kind="openai", base_url=f"{base}/openai-{name}/v1", credential="value:k")
            for name in ("one", "two")
        }
        async with running_world(tmp_path_factory.mktemp("home"), specs, time=time) as world:
            members = [MemberSpec(provider="one", priority=5), MemberSpec(provider="two")]
            await world.admin.routes.create("both", RouteSpec(members=members))
            yield world, time, simulator


async def ask(world: World, key: str, prompt: str = "Hi", model: str = "gpt-4o-mini") -> httpx2.Response:
    """One chat completion, always with the same head but for its length."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_completion_tokens": 5}
    return await world.http.post("/proxy/both/chat/completions", headers={"authorization": f"Bearer {key}"}, json=body)


async def twice(world: World, key: str) -> httpx2.Response:
    """The second answer to two requests of one head, which are both let in."""
    await ask(world, key)
    answer = await ask(world, key, "Hello, a longer one")
    assert answer.status_code == 200, answer.text
    return answer


async def provider_of(world: World, answer: httpx2.Response) -> str | None:
    """Who answered."""
    return (await world.admin.request(answer.headers["x-paig-request-id"])).provider


async def test_a_key(timed: tuple[World, Time, Simulator]) -> None:
    """A disabled key, one whose models change, and one that ends by itself."""
    world, time, _ = timed
    made = await world.admin.keys.create("changing", KeySpec(expires_at=time.now() + timedelta(hours=1)))
    await twice(world, made.key)
    await world.admin.keys.disable(made.id)
    assert (await ask(world, made.key)).headers["x-paig-error"] == "key-disabled"
    await world.admin.keys.enable(made.id)
    await twice(world, made.key)
    await world.admin.keys.update(made.id, {"models": ["gpt-5*"]})
    assert (await ask(world, made.key)).headers["x-paig-error"] == "model-not-allowed"
    await world.admin.keys.update(made.id, {"models": None})
    await twice(world, made.key)
    time.later(3601)
    assert (await ask(world, made.key)).headers["x-paig-error"] == "key-expired"


async def test_a_rotated_key(timed: tuple[World, Time, Simulator]) -> None:
    """The secret of before works until its time is over, though requests with it were let in."""
    world, time, _ = timed
    made = await world.admin.keys.create("rotated", KeySpec())
    await twice(world, made.key)
    new = (await world.admin.keys.rotate(made.id, overlap=timedelta(hours=1))).key
    await twice(world, made.key)
    await twice(world, new)
    time.later(3601)
    assert (await ask(world, made.key)).headers["x-paig-error"] == "unknown-key"
    await twice(world, new)


async def test_a_limit(timed: tuple[World, Time, Simulator]) -> None:
    """A limit that is set, and raised, counts for the next request."""
    world, _, _ = timed
    made = await world.admin.keys.create("capped", KeySpec())
    await twice(world, made.key)
    await world.admin.keys.update(made.id, {"limits": LimitsSpec(requests_per_minute=1).model_dump(mode="json")})
    refused = [(await ask(world, made.key)).headers.get("x-paig-error") for _ in range(3)]
    assert "rate-limited" in refused
    await world.admin.keys.update(made.id, {"limits": {"requests_per_minute": 1000}})
    await twice(world, made.key)


async def test_a_route(timed: tuple[World, Time, Simulator]) -> None:
    """Another order of its members, another name for a model, and none at all."""
    world, _, _ = timed
    assert await provider_of(world, await twice(world, world.key)) == "one"
    swapped = [MemberSpec(provider="one"), MemberSpec(provider="two", priority=5, models={"gpt-4o-mini": "gpt-5"})]
    try:
        await world.admin.routes.update("both", {"members": [one.model_dump(mode="json") for one in swapped]})
        row = await world.admin.request((await twice(world, world.key)).headers["x-paig-request-id"])
        assert (row.provider, row.price) == ("two", "openai/gpt-5")
        await world.admin.routes.delete("both")
        assert (await ask(world, world.key)).headers["x-paig-error"] == "route-not-found"
    finally:
        members = [MemberSpec(provider="one", priority=5), MemberSpec(provider="two")]
        if "both" in {route.name for route in await world.admin.routes.list()}:
            await world.admin.routes.delete("both")
        await world.admin.routes.create("both", RouteSpec(members=members))


async def test_a_price(timed: tuple[World, Time, Simulator]) -> None:
    """A price and an alias count for the next request, in what is held and in what is charged."""
    world, _, _ = timed
    before = await world.admin.request((await twice(world, world.key)).headers["x-paig-request-id"])
    await world.admin.prices.create(
        "gpt-4o-mini", PriceSpec.model_validate({"input_mtok": "0.3", "output_mtok": "1.2"})
    )
    after = await world.admin.request((await ask(world, world.key, "Hello, a longer one")).headers["x-paig-request-id"])
    assert (before.price, after.price) == ("openai/gpt-4o-mini", "own/gpt-4o-mini")
    assert Decimal(after.reserved) == 2 * Decimal(before.reserved)
    await world.admin.prices.delete("gpt-4o-mini")
    await world.admin.providers.update("one", {"aliases": {"gpt-4o-mini": "gpt-4.1"}})
    aliased = await world.admin.request((await twice(world, world.key)).headers["x-paig-request-id"])
    assert aliased.price == "openai/gpt-4.1"
    await world.admin.providers.update("one", {"aliases": {}})


async def test_a_provider_that_fails(timed: tuple[World, Time, Simulator]) -> None:
    """Its breaker opens, and the other one is asked first."""
    world, _, _ = timed
    assert await provider_of(world, await twice(world, world.key)) == "one"
    for _ in range(30):
        await ask(world, world.key, "[sim@openai-one:status=500] Hi")
    answer = await ask(world, world.key)
    row = await world.admin.request(answer.headers["x-paig-request-id"])
    assert [attempt.provider for attempt in row.attempts] == ["two"]
