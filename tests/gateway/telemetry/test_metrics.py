"""`/metrics` of a real gateway, read by prometheus_client's own parser."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec
from paig_gateway.simulator.serve import running_simulator
from paig_gateway.telemetry.metrics.families import FAMILIES
from paig_gateway.telemetry.settings import TelemetrySpec
from tests.gateway.end_to_end.conftest import World, running_world
from tests.gateway.telemetry.conftest import scrape, value

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(environment: None, tmp_path: Path) -> AsyncIterator[World]:
    """A good provider, one that does not answer, one without prices, and a route over the first two."""
    async with running_simulator() as base:
        specs = {
            "openai": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:a"),
            "down": ProviderSpec(kind="openai", base_url="http://127.0.0.1:9/v1", credential="value:c"),
            "local": ProviderSpec(kind="openai-compatible", base_url=f"{base}/compatible/v1", credential="value:d"),
        }
        async with running_world(tmp_path, specs) as running:
            members = [MemberSpec(provider="down", priority=2), MemberSpec(provider="openai", priority=1)]
            await running.admin.routes.create("fast", RouteSpec(members=members))
            yield running


async def ask(world: World, route: str, *, key: str | None = None, model: str = "gpt-5", prompt: str = "Hi") -> int:
    """One chat completion; its status."""
    response = await world.http.post(
        f"/proxy/{route}/chat/completions",
        headers={"authorization": f"Bearer {key or world.key}"},
        json={"model": model, "messages": [{"role": "user", "content": prompt}], "max_completion_tokens": 50},
    )
    return response.status_code


async def test_an_open_breaker_shows(world: World) -> None:
    """A provider that is left alone for its failures is 1, the others are 0, and nothing else is a provider."""
    scraped = await scrape(world)
    assert value(scraped, "paig_breaker_open", provider="down") == 0
    assert [await ask(world, "fast") for _ in range(6)] == [200] * 6
    scraped = await scrape(world)
    opened = {
        provider: value(scraped, "paig_breaker_open", provider=provider) for provider in ("down", "openai", "local")
    }
    assert opened == {"down": 1, "openai": 0, "local": 0}
    assert value(scraped, "paig_attempts_total", provider="down") == 5


async def test_a_request_is_counted_with_its_tokens_cost_and_times(world: World) -> None:
    """What `/metrics` says of one request is what the ledger says of it."""
    assert await ask(world, "openai") == 200
    row = (await world.admin.requests()).items[0]
    scraped = await scrape(world)
    labels = {"provider": "openai", "model": "gpt-5"}
    assert value(scraped, "paig_requests_total", route="openai", format="openai-chat", status="200", **labels) == 1
    assert row.usage is not None
    assert value(scraped, "paig_tokens_total", kind="input", **labels) == row.usage["input_tokens"]
    assert value(scraped, "paig_tokens_total", kind="output", **labels) == row.usage["output_tokens"]
    cost = value(scraped, "paig_cost_dollars_total", certainty="exact", **labels)
    assert cost == pytest.approx(float(Decimal(row.cost)))
    for name, milliseconds in (
        ("paig_request_seconds", row.ms_total),
        ("paig_first_byte_seconds", row.ms_first_byte),
        ("paig_gateway_seconds", row.ms_gateway),
    ):
        assert value(scraped, f"{name}_count") == 1
        assert milliseconds is not None
        assert value(scraped, f"{name}_sum") == pytest.approx(milliseconds / 1000)
        assert value(scraped, f"{name}_bucket", le="+Inf") == 1


async def test_what_is_in_flight_is_shown_while_it_is(world: World) -> None:
    """Held money and open requests rise with a slow request and fall to nothing after it."""
    slow = asyncio.create_task(ask(world, "openai", prompt="[sim:delay=1.5] Hi"))
    scraped = await scrape(world)
    while value(scraped, "paig_requests_in_flight") == 0:
        await asyncio.sleep(0.02)
        scraped = await scrape(world)
    row = (await world.admin.requests()).items[0]
    assert value(scraped, "paig_reserved_dollars") == pytest.approx(float(Decimal(row.reserved)))
    assert await slow == 200
    scraped = await scrape(world)
    assert value(scraped, "paig_requests_in_flight") == value(scraped, "paig_reserved_dollars") == 0


async def test_failovers_and_failures_name_the_provider(world: World) -> None:
    """A member that cannot be reached is an attempt with that outcome, and a failover."""
    assert await ask(world, "fast") == 200
    assert await ask(world, "down") == 502
    scraped = await scrape(world)
    assert value(scraped, "paig_attempts_total", provider="down", outcome="upstream-unreachable") == 2
    assert value(scraped, "paig_attempts_total", provider="openai", outcome="200") == 1
    assert value(scraped, "paig_failovers_total", route="fast", provider="down") == 1
    assert value(scraped, "paig_refusals_total", code="upstream-unreachable") == 1


async def test_refusals_are_counted_by_code_and_by_limit(world: World) -> None:
    """A wrong key counts, and a limit without room says whose and which it was."""
    poor = await world.make_key("poor", daily=0)
    assert await ask(world, "openai", key="paig_wrong") == 401
    assert await ask(world, "openai", key=poor) == 400, "the request can never fit this limit"
    scraped = await scrape(world)
    assert value(scraped, "paig_refusals_total", code="unknown-key") == 1
    assert value(scraped, "paig_limit_refusals_total", owner_kind="key", unit="usd", window="daily") == 1
    assert value(scraped, "paig_requests_total") == 1, "of a key that nobody knows, no request is counted"


async def test_clients_cannot_make_up_series_without_end(world: World) -> None:
    """Models that no provider answered for are `other`, and so is every model after the hundredth."""
    made_up = (ask(world, "local", model=f"made-up-{number}") for number in range(110))
    assert set(await asyncio.gather(*made_up)) == {200}
    assert await ask(world, "openai", model="no-such-model") == 400
    scraped = await scrape(world)
    models = {dict(labels)["model"] for name, labels in scraped if name == "paig_requests_total"}
    assert len(models) == 101
    assert value(scraped, "paig_requests_total", model="other") == 11


async def test_the_ledgers_state_and_the_version_are_shown(world: World) -> None:
    """The gauges of the process are there from the first scrape."""
    scraped = await scrape(world)
    assert value(scraped, "paig_ledger_up") == value(scraped, "paig_info") == value(scraped, "paig_workers") == 1
    for name in ("paig_ledger_queue_depth", "paig_ledger_waiting", "paig_ledger_dropped_total"):
        assert (name, frozenset()) in scraped


async def test_every_family_is_there_and_openmetrics_is_spoken(world: World) -> None:
    """Each metric of the table has its help and type in both formats, used or not; a scraper may choose."""
    plain = await world.http.get("/metrics")
    described = {family.name for family in text_string_to_metric_families(plain.text)}
    assert described == {name.removesuffix("_total") for name, family in FAMILIES.items() if family.scraped}
    chosen = await world.http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert chosen.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in openmetrics_families(chosen.text)} == described
    assert (await world.http.post("/metrics")).status_code == 405


async def test_prometheus_itself_finds_nothing_to_mend(world: World) -> None:
    """`promtool check metrics` passes the page of a gateway that has done something."""
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus), so Prometheus itself has no say")
    for route in ("openai", "fast", "down"):
        await ask(world, route)
    page = (await world.http.get("/metrics")).text
    checked = await anyio.run_process([promtool, "check", "metrics"], input=page.encode(), check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_a_token_guards_the_metrics(environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `metrics_token` a scraper must show it; with `metrics = false` there is nothing to see."""
    monkeypatch.setenv("SCRAPER", "scraper-token")
    async with running_world(tmp_path, {}, telemetry=TelemetrySpec(metrics_token="env:SCRAPER")) as world:
        assert (await world.http.get("/metrics")).status_code == 401
        shown = {"authorization": "Bearer scraper-token"}
        assert (await world.http.get("/metrics", headers=shown)).status_code == 200
    async with running_world(tmp_path / "other", {}, telemetry=TelemetrySpec(metrics=False)) as world:
        assert (await world.http.get("/metrics")).status_code == 404
