"""Prices through a running gateway: set, discounted, refreshed, corrected; and old rows pruned."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices.data_snapshot import set_custom_snapshot

from paig_client.admin import Invalid
from paig_client.api.specs import PriceSpec
from paig_gateway.config import ServerSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import World, running_world, simulated_providers
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(environment: None, tmp_path: Path) -> AsyncIterator[World]:
    """A gateway of the test's own."""
    async with running_simulator(Simulator()) as base, running_world(tmp_path, simulated_providers(base)) as world:
        yield world


async def ask(world: World, model: str = "gpt-4o-mini", **more: object) -> dict[str, str]:
    """A chat completion of 9 tokens in and 100 out; the headers of its answer."""
    response = await world.http.post(
        "/proxy/openai/v1/chat/completions",
        headers={"authorization": f"Bearer {world.key}"},
        json={"model": model, "max_completion_tokens": 100, **more}
        | {"messages": [{"role": "user", "content": "[sim:tokens=100] Tell me a story."}]},
    )
    return {**response.headers, "status": str(response.status_code)}


async def test_a_price_of_ones_own(world: World) -> None:
    """A model that the book does not know is refused until it has a price, and then costs what that says."""
    assert (await ask(world, "my-model"))["x-paig-error"] == "no-price"
    rates = {"input_mtok": "1000", "output_mtok": "2000"}
    spec = PriceSpec.model_validate({"provider": "openai", "context_window": 4096, **rates})
    made = await world.admin.prices.create("my-model", spec)
    assert made.spec.rates == {"input_mtok": 1000, "output_mtok": 2000}
    answer = await ask(world, "my-model")
    assert answer["logfire-ai-gateway-cost"] == "0.209USD"
    row = await world.admin.request(answer["x-paig-request-id"])
    assert (row.price, row.cost, row.certainty) == ("own/my-model", Decimal("0.209"), "exact")
    await world.admin.prices.update("my-model", {"output_mtok": "1000"})
    assert (await ask(world, "my-model"))["logfire-ai-gateway-cost"] == "0.109USD"
    with pytest.raises(Invalid, match="did you mean output_mtok"):
        await world.admin.prices.update("my-model", {"output_mtk": "1"})
    with pytest.raises(Invalid, match="needs a rate"):
        await world.admin.prices.update("my-model", {"output_mtok": None, "input_mtok": None})
    await world.admin.prices.delete("my-model")
    assert (await ask(world, "my-model"))["x-paig-error"] == "no-price"


async def test_a_discount_of_a_provider(world: World) -> None:
    """What is charged and what is held go down alike."""
    full = await world.admin.request((await ask(world))["x-paig-request-id"])
    await world.admin.providers.update("openai", {"price_factor": "0.5"})
    half = await world.admin.request((await ask(world))["x-paig-request-id"])
    assert Decimal(half.cost) * 2 == Decimal(full.cost)
    assert Decimal(half.reserved) * 2 == Decimal(full.reserved)


async def test_what_a_correction_would_change(world: World) -> None:
    """Rows of a corrected price are shown with both costs, by the tier that they were charged at; nothing changes."""
    plain = [await ask(world) for _ in range(3)]
    await ask(world, "gpt-5")
    before = await world.admin.reprice()
    assert (before.items, before.requests, before.left, before.difference) == ([], 4, 0, Decimal(0))
    rates = {"input_mtok": "0.3", "output_mtok": "1.2"}  # double
    await world.admin.prices.create("gpt-4o-mini", PriceSpec.model_validate(rates))
    report = await world.admin.reprice()
    [item] = report.items
    assert (item.provider, item.model, item.price, item.new_price, item.requests) == (
        "openai", "gpt-4o-mini", "openai/gpt-4o-mini", "own/gpt-4o-mini", 3,
    )  # fmt: skip
    row = await world.admin.request(plain[0]["x-paig-request-id"])
    assert Decimal(item.cost) == 3 * Decimal(row.cost)
    assert Decimal(item.repriced) == 6 * Decimal(row.cost)
    assert Decimal(report.difference) == Decimal(item.difference) == 3 * Decimal(row.cost)
    assert (await world.admin.usage()).total.cost == report.cost
    assert (await world.admin.reprice(model="gpt-5")).items == []
    assert (await world.admin.reprice(until=datetime.now(UTC) - timedelta(hours=1))).requests == 0


async def test_the_tier_is_part_of_a_prices_identity(world: World) -> None:
    """A request served at another tier is compared at that tier's rates."""
    answer = await ask(world, "gpt-5", service_tier="flex")
    row = await world.admin.request(answer["x-paig-request-id"])
    assert row.price == "openai/gpt-5;service_tier=flex"
    assert (await world.admin.reprice()).items == []


async def test_pruning_keeps_totals(world: World) -> None:
    """Rows go, sums and limits stay, the audit log has it; what is not an hour old is not to be pruned."""
    await ask(world)
    total = (await world.admin.usage()).total
    with pytest.raises(Invalid, match="an hour ago"):
        await world.admin.prune(datetime.now(UTC))
    assert (await world.admin.prune(datetime.now(UTC) - timedelta(hours=2))).requests == 0
    assert (await world.admin.usage()).total == total
    [entry] = [entry for entry in await world.admin.audit() if entry.action == "prune"]
    assert entry.after == {"requests": 0}
    of_ada = await world.admin.prune(datetime.now(UTC) - timedelta(hours=2), key="ci", user="ada")
    assert of_ada.requests == 0
    assert (await world.admin.audit())[0].after == {"requests": 0, "key": "ci", "user": "ada"}


BOOK = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": r"https://api\\.openai\\.com",
        "models": [
            {
                "id": "gpt-4o-mini",
                "match": {"equals": "gpt-4o-mini"},
                "prices": {"input_mtok": 1_000_000, "output_mtok": 1_000_000},
            }
        ],
    }
]
"""The newest prices: a dollar a token."""


@asynccontextmanager
async def mirror(content: str) -> AsyncIterator[str]:
    """A server of prices; its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
        writer.write((head + content).encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/prices.json"


@pytest.fixture
def bundled_afterwards() -> Iterator[None]:
    """The bundled prices, when the test is over."""
    yield
    set_custom_snapshot(None)


async def test_prices_are_refreshed(environment: None, tmp_path: Path, bundled_afterwards: None) -> None:
    """Where it is allowed, the price book is fetched, and requests are priced by it from then on."""
    async with running_simulator(Simulator()) as base, mirror(json.dumps(BOOK)) as address:
        server = ServerSpec(refresh_prices=True, prices_url=address)
        async with running_world(tmp_path, simulated_providers(base), server) as world:

            async def costs_a_dollar_a_token() -> bool:
                return (await ask(world)).get("logfire-ai-gateway-cost") == "109USD"

            await until(costs_a_dollar_a_token)


async def test_a_refresh_that_fails(
    environment: None, tmp_path: Path, bundled_afterwards: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, and requests go on at the prices that there are."""
    async with running_simulator(Simulator()) as base, mirror("not JSON") as address:
        server = ServerSpec(refresh_prices=True, prices_url=address)
        async with running_world(tmp_path, simulated_providers(base), server) as world:
            await until(lambda: "Error updating genai-prices" in caplog.text)
            assert (await ask(world))["logfire-ai-gateway-cost"] == "0.00006135USD"
