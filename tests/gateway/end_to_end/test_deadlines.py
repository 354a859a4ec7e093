"""How long a request may take: each try by itself, all together, and what is paid for tries that were given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec, RouteTimeouts, TryTimeouts
from paig_gateway.config import ServerSpec
from paig_gateway.config.model import BreakerSpec, Timeouts
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import World, running_world
from tests.gateway.end_to_end.replay import running_replay
from tests.gateway.end_to_end.test_refusals import settled

pytestmark = pytest.mark.anyio

STORY = "Tell me a story"
SLOW = "[sim@openai-slow:delay=20] "


async def accept_and_say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that never shakes hands."""
    await reader.read()
    writer.close()


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A provider that may be told to be slow, one with timeouts of its own, one that is well, and routes over them."""
    timeouts = Timeouts(first_byte=9, idle=9, total=9, deadline=8)
    # The same provider fails time and again here: it is to be asked all the same.
    server = ServerSpec(timeouts=timeouts, breaker=BreakerSpec(enabled=False))
    silent = await asyncio.start_server(accept_and_say_nothing, "127.0.0.1", 0)
    async with silent, running_simulator(Simulator()) as base:

        def provider(mount: str, **timeouts: float) -> ProviderSpec:
            url = f"{base}/openai-{mount}/v1"
            return ProviderSpec(kind="openai", base_url=url, credential="value:k", timeouts=TryTimeouts(**timeouts))

        specs = {
            "slow": provider("slow"),
            "hasty": provider("slow", first_byte=0.6),
            "good": provider("good"),
            "nowhere": ProviderSpec(
                kind="openai",
                base_url=f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}/v1",
                credential="value:k",
            ),
        }
        async with running_world(tmp_path_factory.mktemp("home"), specs, server) as running:

            async def route(name: str, *members: str, **timeouts: float) -> None:
                listed = [MemberSpec(provider=member, priority=-place) for place, member in enumerate(members)]
                spec = RouteSpec(members=listed, timeouts=RouteTimeouts(**timeouts))
                await running.admin.routes.create(name, spec)

            await route("impatient", "slow", "good", first_byte=0.6)
            await route("patient", "hasty", "good", first_byte=5)
            await route("provider", "hasty", "good")
            await route("deadline", "slow", "good", deadline=0.5)
            await route("both", "slow", "slow", "good", deadline=1.1, first_byte=0.7)
            await route("at-once", "good", deadline=0.001)
            await route("idle", "slow", idle=0.3)
            await route("total", "slow", total=0.5)
            await route("connect", "nowhere", "good", connect=0.3)
            await route("nowhere-in-time", "nowhere", deadline=0.3)
            yield running


async def ask(world: World, route: str, prompt: str, **more: Any) -> tuple[httpx2.Response, float]:
    """One chat completion, and how long it took."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], "max_completion_tokens": 50}
    began = time.monotonic()
    response = await world.http.post(
        f"/proxy/{route}/chat/completions", headers={"authorization": f"Bearer {world.key}"}, json={**body, **more}
    )
    return response, time.monotonic() - began


@pytest.mark.parametrize("route", ["impatient", "provider"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_member_is_given_up(world: World, route: str, stream: bool) -> None:
    """The route's timeout, or else the provider's, ends the try; the next member answers; both are paid for."""
    response, took = await ask(world, route, SLOW + STORY, stream=stream)
    assert response.status_code == 200
    assert 0.6 <= took < 9
    row = await settled(world, response.headers["x-paig-request-id"])
    first, second = row.attempts
    assert (first.status, first.error, second.status) == (None, "upstream-timeout", 200)
    assert 600 <= first.ms < 9000
    assert Decimal(first.cost) + Decimal(second.cost) == Decimal(row.cost) <= Decimal(row.reserved)
    assert (Decimal(first.cost) > Decimal(second.cost) > 0, row.certainty) == (True, "ceiling")


async def test_the_routes_timeout_comes_before_the_providers(world: World) -> None:
    """A route may give a hasty provider more time than it would have."""
    response, _ = await ask(world, "patient", "[sim@openai-slow:delay=0.9] " + STORY)
    row = await settled(world, response.headers["x-paig-request-id"])
    assert [(attempt.provider, attempt.status) for attempt in row.attempts] == [("hasty", 200)]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_deadline_ends_it_all(world: World, stream: bool) -> None:
    """No further member is tried after it; the client is told which, and the try is paid for."""
    response, took = await ask(world, "deadline", SLOW + STORY, stream=stream)
    assert (response.status_code, response.headers["x-paig-error"]) == (504, "upstream-timeout")
    assert response.json()["error"]["message"] == (
        "The 0.5 s that a request of the route 'deadline' may take ran out after 1 try, the last at 'slow'. "
        "Ask for a shorter answer, or ask an administrator to raise the deadline."
    )
    assert 0.45 <= took < 9
    row = await settled(world, response.headers["x-paig-request-id"])
    assert [(attempt.provider, attempt.error) for attempt in row.attempts] == [("slow", "upstream-timeout")]
    assert (row.status, row.error, row.certainty) == (504, "upstream-timeout", "ceiling")
    assert Decimal(row.cost) == Decimal(row.reserved) > 0


async def test_a_deadline_that_passes_before_the_first_try(world: World) -> None:
    """Nothing is sent, nothing is charged, and nothing stays held."""
    key = await world.make_key("late", total=1)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": STORY}]}
    headers = {"authorization": f"Bearer {key}"}
    response = await world.http.post("/proxy/at-once/chat/completions", headers=headers, json=body)
    assert (response.status_code, response.headers["x-paig-error"]) == (504, "upstream-timeout")
    assert "may take ran out. Ask" in response.json()["error"]["message"]
    row = await settled(world, response.headers["x-paig-request-id"])
    assert (row.attempts, row.cost, row.certainty, row.error) == ([], Decimal(0), None, "upstream-timeout")
    limit = next(limit for limit in await world.admin.limits() if limit.owner == "late")
    assert (limit.spent, limit.held) == (Decimal(0), Decimal(0))


async def test_the_deadline_is_for_all_tries_together(world: World) -> None:
    """The second try has what the first has left; two given up are two paid for, and nothing was held too little."""
    response, took = await ask(world, "both", SLOW + STORY)
    assert response.status_code == 504
    assert "ran out after 2 tries, the last at 'slow'" in response.json()["error"]["message"]
    assert 0.45 <= took < 9
    row = await settled(world, response.headers["x-paig-request-id"])
    assert [attempt.error for attempt in row.attempts] == ["upstream-timeout"] * 2
    assert row.attempts[1].ms < 690
    assert Decimal(row.cost) == 2 * Decimal(row.attempts[0].cost) == Decimal(row.reserved)


async def test_a_stream_is_cut_at_its_deadline(world: World) -> None:
    """What has come by then is the client's, whose connection breaks; it is charged by estimate."""
    with pytest.raises(httpx2.RemoteProtocolError):
        await ask(world, "deadline", "[sim@openai-slow:chunk_delay=0.15] " + STORY, stream=True)
    row = (await world.admin.requests(route="deadline", limit=1)).items[0]
    row = await settled(world, row.id)
    assert (row.status, row.error, row.certainty) == (200, "upstream-timeout", "estimated")
    assert 0 < Decimal(row.cost) < Decimal(row.reserved)


@pytest.mark.parametrize("route", ["idle", "total"])
async def test_a_stream_that_stalls_or_takes_too_long_is_cut(world: World, route: str) -> None:
    """Idleness and the total of a try are bounded as well."""
    pause = 0.6 if route == "idle" else 0.15
    with pytest.raises(httpx2.RemoteProtocolError):
        await ask(world, route, f"[sim@openai-slow:chunk_delay={pause}] {STORY}", stream=True)
    row = (await world.admin.requests(route=route, limit=1)).items[0]
    assert (await settled(world, row.id)).error == "upstream-timeout"


async def test_what_never_connected_costs_nothing(world: World) -> None:
    """A connection that is not there in time, or not before the deadline, was never sent anything."""
    (response, took), (late, _) = await asyncio.gather(
        ask(world, "connect", STORY), ask(world, "nowhere-in-time", STORY)
    )
    row = await settled(world, response.headers["x-paig-request-id"])
    assert (response.status_code, row.certainty, row.attempts[0].cost) == (200, "exact", Decimal(0))
    assert 0.3 <= took < 9
    assert (late.status_code, late.headers["x-paig-error"]) == (504, "upstream-timeout")
    row = await settled(world, late.headers["x-paig-request-id"])
    assert (row.cost, row.attempts[0].error) == (Decimal(0), "upstream-timeout")


async def test_streams_cut_by_a_deadline_are_not_their_providers_fault(environment: None, tmp_path: Path) -> None:
    """However many there are, the provider is asked again; but one that says nothing at all until then fails."""
    async with running_simulator(Simulator()) as base:
        url = f"{base}/openai-{{}}/v1"
        specs = {
            name: ProviderSpec(kind="openai", base_url=url.format(name), credential="value:k")
            for name in ("slow", "good")
        }
        async with running_world(tmp_path, specs) as running:
            members = [MemberSpec(provider="slow", priority=1), MemberSpec(provider="good")]
            spec = RouteSpec(members=members, timeouts=RouteTimeouts(deadline=1.0))
            await running.admin.routes.create("deadline", spec)

            async def many(prompt: str) -> None:
                found = await asyncio.gather(
                    *(ask(running, "deadline", prompt + STORY, stream=True) for _ in range(7)), return_exceptions=True
                )
                assert len(found) == 7

            async def who_answers() -> str | None:
                response, _ = await ask(running, "deadline", "Be quick")
                return (await settled(running, response.headers["x-paig-request-id"])).provider

            await many("[sim@openai-slow:chunk_delay=0.2] ")
            assert await who_answers() == "slow"
            await many(SLOW)
            assert await who_answers() == "good"


@pytest.mark.parametrize("alone", [False, True], ids=["before another", "alone"])
async def test_a_stream_that_never_begins_is_given_up(environment: None, tmp_path: Path, alone: bool) -> None:
    """Headers alone are no answer: the next member is asked, and the try is charged, for it may be at work."""
    async with running_replay() as replay, running_simulator(Simulator()) as base:
        replay.headers, replay.pieces = [("content-type", "text/event-stream")], [b"data: {}\n\n"]
        replay.gate = asyncio.Event()
        specs = {
            "mute": ProviderSpec(kind="openai", base_url=f"{replay.base}/v1", credential="value:k"),
            "good": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:k"),
        }
        async with running_world(tmp_path, specs) as running:
            members = [MemberSpec(provider="mute", priority=1)] + ([] if alone else [MemberSpec(provider="good")])
            spec = RouteSpec(members=members, timeouts=RouteTimeouts(first_byte=0.3))
            await running.admin.routes.create("route", spec)
            if alone:
                with pytest.raises(httpx2.RemoteProtocolError):
                    await ask(running, "route", STORY, stream=True)
                id = (await running.admin.requests(limit=1)).items[0].id
            else:
                response, took = await ask(running, "route", STORY, stream=True)
                assert "[DONE]" in response.text
                assert 0.3 <= took < 9
                id = response.headers["x-paig-request-id"]
            row = await settled(running, id)
        replay.gate.set()
    first = row.attempts[0]
    assert (first.status, first.error) == (200, "upstream-timeout")
    assert (row.certainty, Decimal(first.cost) > 0) == ("ceiling", True)
    assert sum(Decimal(attempt.cost) for attempt in row.attempts) == Decimal(row.cost) <= Decimal(row.reserved)
    assert [attempt.provider for attempt in row.attempts[1:]] == ([] if alone else ["good"])
