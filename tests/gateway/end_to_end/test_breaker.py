"""Who fails is left alone for a while: breakers, told waits and the budget of retries, over time that tests move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest

from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec
from paig_gateway.config import ServerSpec
from paig_gateway.config.model import BreakerSpec, RetriesSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import Time, World, running_world
from tests.gateway.end_to_end.processes import every_row
from tests.gateway.end_to_end.replay import Replay, running_replay
from tests.gateway.end_to_end.test_refusals import settled

pytestmark = pytest.mark.anyio

ANSWER = [b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}']

FAIL = "[sim@openai-bad:status=500] "
RESTING = 40
RESTED = 75
"""Seconds after which a breaker that rests for a minute, a fifth more or less, surely rests still, or surely has."""
THROTTLED = "[sim@openai-bad:status=429] [sim@openai-bad:retry_after=120] "


@asynccontextmanager
async def two_members(home: Path, server: ServerSpec | None = None) -> AsyncIterator[tuple[World, Time]]:
    """A provider that fails on demand, before another in the route `both`."""
    time = Time()
    async with running_simulator(Simulator()) as base:
        specs = {
            name: ProviderSpec(kind="openai", base_url=f"{base}/openai-{name}/v1", credential="value:k")
            for name in ("bad", "good")
        }
        calm = BreakerSpec(rest=60)  # however slow the machine is, a test is over before that
        async with running_world(home, specs, server or ServerSpec(breaker=calm), time=time) as world:
            members = [MemberSpec(provider="bad", priority=5), MemberSpec(provider="good")]
            await world.admin.routes.create("both", RouteSpec(members=members))
            yield world, time


async def ask(world: World, prompt: str = "", route: str = "both", model: str = "gpt-4o-mini") -> httpx2.Response:
    """One chat completion."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt + "Hi"}], "max_completion_tokens": 5}
    headers = {"authorization": f"Bearer {world.key}"}
    return await world.http.post(f"/proxy/{route}/chat/completions", headers=headers, json=body)


async def tried(world: World, prompt: str = "", **more: str) -> list[tuple[str, int | str | None]]:
    """Whom a request was sent to, and what came of it."""
    response = await ask(world, prompt, **more)
    row = await settled(world, response.headers["x-paig-request-id"])
    return [(attempt.provider, attempt.error or attempt.status) for attempt in row.attempts]


async def test_open_half_open_closed(environment: None, tmp_path: Path) -> None:
    """Five failures in a row open; nothing is sent there until it has rested; two probes close."""
    async with two_members(tmp_path) as (world, time):
        for _ in range(5):
            assert await tried(world, FAIL) == [("bad", 500), ("good", 200)]
        for _ in range(3):
            assert await tried(world, FAIL) == [("good", 200)]
        time.later(RESTING)
        assert await tried(world) == [("good", 200)]
        time.later(RESTED - RESTING)
        assert await tried(world, FAIL) == [("bad", 500), ("good", 200)]
        assert await tried(world) == [("good", 200)]
        time.later(2 * RESTING)  # the second rest is twice as long
        assert await tried(world) == [("good", 200)]
        time.later(2 * (RESTED - RESTING))
        assert await tried(world) == [("bad", 200)]
        assert await tried(world) == [("bad", 200)]
        for _ in range(4):  # closed: a single failure is nothing again
            assert await tried(world, FAIL) == [("bad", 500), ("good", 200)]
        assert await tried(world) == [("bad", 200)]


async def test_a_member_that_dies_under_load(environment: None, tmp_path: Path) -> None:
    """Of twenty requests at once all are answered; the dead member gets those alone that were on their way there."""
    async with two_members(tmp_path) as (world, _):
        room = asyncio.Semaphore(20)

        async def ask_in_turn(prompt: str) -> int:
            async with room:
                return (await ask(world, prompt)).status_code

        assert set(await asyncio.gather(*(ask_in_turn("") for _ in range(40)))) == {200}
        assert set(await asyncio.gather(*(ask_in_turn(FAIL) for _ in range(100)))) == {200}
        failed = sum(len(row.attempts) - 1 for row in await every_row(world.admin))
        assert 5 <= failed <= 5 + 20


async def test_clients_faults_open_nothing(environment: None, tmp_path: Path) -> None:
    """However many bad requests there are, the next good one goes to the first member."""
    async with two_members(tmp_path) as (world, _):
        for status in (400, 403, 404, 422) * 2:
            assert await tried(world, f"[sim@openai-bad:status={status}] ") == [("bad", status)]
        for _ in range(8):  # another member may take a longer request, and this one takes others
            assert await tried(world, "[sim@openai-bad:status=413] ") == [("bad", 413), ("good", 200)]
        assert await tried(world) == [("bad", 200)]


async def test_no_client_can_talk_a_credential_down(limited: tuple[World, Replay, Time]) -> None:
    """A refusal that quotes what the client asked for says nothing of the account, whatever words were asked for."""
    world, replay, _ = limited
    model = "insufficient-quota-API_KEY_INVALID"
    replay.status = 403
    replay.pieces = [b'{"error":{"message":"Not offered in your country: the model ' + model.encode() + b'"}}']
    await world.admin.providers.update("bad", {"require_price": False})
    await world.admin.providers.update("good", {"require_price": False})
    assert await tried(world, model=model) == [("bad", 403)]
    replay.status, replay.pieces = 200, [b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}']
    assert await tried(world) == [("bad", 200)]


async def test_a_single_member_is_always_asked(environment: None, tmp_path: Path) -> None:
    """Without another member, a provider's own answer is better than none: its breaker refuses no request."""
    async with two_members(tmp_path) as (world, _):
        for _ in range(8):
            assert await tried(world, FAIL, route="bad") == [("bad", 500)]
        assert await tried(world) == [("good", 200)]
        for _ in range(2):
            assert await tried(world, route="bad") == [("bad", 200)]
        assert await tried(world) == [("bad", 200)]


async def test_a_failing_member_is_the_last_resort(environment: None, tmp_path: Path) -> None:
    """An open member is asked all the same once all others have failed."""
    async with two_members(tmp_path) as (world, _):
        for _ in range(5):
            await ask(world, FAIL)
        assert await tried(world, "[sim@openai-good:status=503] ") == [("good", 503), ("bad", 200)]


async def test_a_refused_credential_is_left_alone(environment: None, tmp_path: Path) -> None:
    """After one 401 others go on at once, until it is tried again."""
    async with two_members(tmp_path) as (world, time):
        assert await tried(world, "[sim@openai-bad:status=401] ") == [("bad", 401), ("good", 200)]
        assert await tried(world) == [("good", 200)]
        time.later(RESTED)
        assert await tried(world) == [("bad", 200)]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_heeded(environment: None, tmp_path: Path, status: int) -> None:
    """A member that says when is left alone until then, for that model alone."""
    async with two_members(tmp_path) as (world, time):
        assert await tried(world, THROTTLED.replace("429", str(status))) == [("bad", status), ("good", 200)]
        time.later(60)
        assert await tried(world) == [("good", 200)]
        assert await tried(world, model="gpt-5") == [("bad", 200)]
        time.later(61)
        assert await tried(world) == [("bad", 200)]


async def test_a_rate_limited_member_is_not_tried_after_an_answer(environment: None, tmp_path: Path) -> None:
    """With every member out, the first still gets to say so itself; its 429 and `Retry-After` pass unchanged."""
    async with two_members(tmp_path) as (world, time):
        both = "[sim:status=429] [sim:retry_after=120] "
        assert await tried(world, both) == [("bad", 429), ("good", 429)]
        time.later(1)
        response = await ask(world, both)
        assert (response.status_code, response.headers["retry-after"]) == (429, "120")
        assert "x-paig-error" not in response.headers
        row = await settled(world, response.headers["x-paig-request-id"])
        assert [attempt.provider for attempt in row.attempts] == ["bad"]
        # It was told again, so that the other one is due sooner now.
        assert await tried(world) == [("good", 200)]


@pytest.fixture
async def limited(environment: None, tmp_path: Path) -> AsyncIterator[tuple[World, Replay, Time]]:
    """A member that answers as it is told, before a simulated one."""
    time = Time()
    async with running_replay() as replay, running_simulator(Simulator()) as base:
        specs = {
            "bad": ProviderSpec(kind="openai", base_url=f"{replay.base}/v1", credential="value:k"),
            "good": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:k"),
        }
        async with running_world(tmp_path, specs, time=time) as world:
            members = [MemberSpec(provider="bad", priority=5), MemberSpec(provider="good")]
            await world.admin.routes.create("both", RouteSpec(members=members))
            replay.headers = [("content-type", "application/json")]
            replay.pieces = ANSWER
            yield world, replay, time


@pytest.mark.parametrize(
    ("remaining", "reset"),
    [("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"), ("anthropic-ratelimit-tokens-remaining", "")],
)
async def test_what_is_used_up_is_not_asked_for(
    limited: tuple[World, Replay, Time], remaining: str, reset: str
) -> None:
    """A good answer that says that it was the last for a while is the last for that while."""
    world, replay, time = limited
    until = (remaining.replace("remaining", "reset"), (time.now() + timedelta(seconds=120)).isoformat())
    replay.headers += [(remaining, "0"), (reset, "2m0s") if reset else until]
    assert await tried(world) == [("bad", 200)]
    time.later(60)
    assert await tried(world) == [("good", 200)]
    time.later(61)
    assert await tried(world) == [("bad", 200)]


@pytest.mark.parametrize("how", ["date", "milliseconds", "body"])
async def test_a_wait_told_in_any_way(limited: tuple[World, Replay, Time], how: str) -> None:
    """As a date, in milliseconds, or as Google's `RetryInfo`."""
    world, replay, time = limited
    replay.status = 429
    match how:
        case "date":
            replay.headers += [("retry-after", format_datetime(time.now() + timedelta(seconds=120), usegmt=False))]
        case "milliseconds":
            replay.headers += [("retry-after-ms", "120000")]
        case _:
            replay.pieces = [b'{"error":{"code":429,"message":"Quota exceeded","details":[{"retryDelay":"120s"}]}}']
    assert await tried(world) == [("bad", 429), ("good", 200)]
    replay.status, replay.pieces = 200, ANSWER
    time.later(60)
    assert await tried(world) == [("good", 200)]
    time.later(61)
    assert await tried(world) == [("bad", 200)]


async def test_retries_are_bounded(environment: None, tmp_path: Path) -> None:
    """Once the route's budget is spent, the first answer is the client's."""
    server = ServerSpec(breaker=BreakerSpec(enabled=False), retries=RetriesSpec(share=0.5, per_second=0.0, burst=2))
    async with two_members(tmp_path, server) as (world, _):
        statuses = [(await ask(world, FAIL)).status_code for _ in range(10)]
        assert statuses[:3] == [200, 200, 200]
        assert statuses[3:].count(200) == 3
        assert set(statuses[3:]) == {200, 500}


async def test_a_repaired_credential_starts_with_a_clean_record(environment: None, tmp_path: Path) -> None:
    """Whoever gives a refused provider another secret need not wait for it to rest."""
    async with two_members(tmp_path) as (world, _):
        assert await tried(world, "[sim@openai-bad:status=401] ") == [("bad", 401), ("good", 200)]
        await world.admin.providers.update("bad", {"credential": "value:another"})
        assert await tried(world) == [("bad", 200)]


async def test_a_stream_that_breaks_off_counts(environment: None, tmp_path: Path) -> None:
    """Answers that break off in the middle, or end in an error, are failures though they began well."""
    server = ServerSpec(breaker=BreakerSpec(tries=4, share=0.5))
    async with two_members(tmp_path, server) as (world, _):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[sim:error_event] Tell a story"}]}
        for _ in range(4):
            headers = {"authorization": f"Bearer {world.key}"}
            await world.http.post("/proxy/bad/chat/completions", headers=headers, json={**body, "stream": True})
        assert await tried(world) == [("good", 200)]
