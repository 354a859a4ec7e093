"""Which of several members is asked: by weight, by how fast they are, and the same one for the same conversation."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec
from paig_gateway import config
from paig_gateway.config import ServerSpec
from paig_gateway.config.model import BreakerSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.faults import Faults
from paig_gateway.simulator.serve import running_simulator
from paig_gateway.simulator.traffic import Received
from tests.gateway.end_to_end.conftest import World, running_world
from tests.gateway.end_to_end.test_refusals import settled

pytestmark = pytest.mark.anyio

UNLIKELY = 18.42
"""Chi-square with two degrees of freedom exceeds it once in ten thousand cases."""
CONFIG = """
[providers.a]
kind = "openai"
base_url = "{base}/openai-a/v1"
credential = "value:a"

[providers.b]
kind = "openai"
base_url = "{base}/openai-b/v1"
credentials = ["value:b1", "value:b2", "value:b3"]

[providers.c]
kind = "openai"
base_url = "{base}/openai-c/v1"
credential = "value:c"

[providers.d]
kind = "openai"
base_url = "{base}/openai-d/v1"
credential = "value:d"

[providers.claude]
kind = "anthropic"
base_url = "{base}/anthropic-1"
credential = "value:e"

[providers.claude-2]
kind = "anthropic"
base_url = "{base}/anthropic-2"
credential = "value:f"

[routes.fast]
members = [
    {{ provider = "a", priority = 10, weight = 6 }},
    {{ provider = "b", priority = 10, weight = 3 }},
    {{ provider = "c", priority = 10, weight = 1 }},
    {{ provider = "d", priority = 10, weight = 100, active = false }},
    {{ provider = "d", priority = 5, models = {{ "gpt-4o-mini" = "gpt-4o" }} }},
]

[routes.spare]
members = [{{ provider = "a", weight = 0 }}, {{ provider = "b" }}]

[routes.quick]
choice = "latency"
members = [{{ provider = "a" }}, {{ provider = "c" }}]

[routes.loose]
affinity = false
members = [{{ provider = "a" }}, {{ provider = "b" }}, {{ provider = "c" }}]

[routes.claude]
members = [{{ provider = "claude" }}, {{ provider = "claude-2" }}]
"""


class Providers:
    """Simulated providers, which fare otherwise by mount."""

    def __init__(self) -> None:
        self.faults: dict[str, Faults] = {}
        self.simulator = Simulator(faults=lambda received: self.faults.get(mount(received)))

    @property
    def asked(self) -> list[str]:
        """The mounts that were asked, in order."""
        return [mount(received) for received in self.simulator.requests]


def mount(received: Received) -> str:
    """The simulated provider that a request came to."""
    return received.path.split("/")[1].rpartition("-")[2]


@pytest.fixture(scope="module")
async def module_world(
    environment: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Providers]]:
    """A gateway that a configuration file was applied to."""
    providers = Providers()
    async with (
        running_simulator(providers.simulator) as base,
        # Members fail here on purpose: what is chosen is to hang on nothing else.
        running_world(tmp_path_factory.mktemp("home"), {}, ServerSpec(breaker=BreakerSpec(enabled=False))) as running,
    ):
        await running.admin.apply(CONFIG.format(base=base))
        yield running, providers


@pytest.fixture
def world(module_world: tuple[World, Providers]) -> Iterator[tuple[World, Providers]]:
    """The same, with nothing asked yet, and without faults."""
    running, providers = module_world
    providers.simulator.reset()
    yield running, providers
    providers.faults = {}


async def ask(world: World, route: str, headers: dict[str, str] | None = None, **more: Any) -> httpx2.Response:
    """One chat completion."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 16}
    sent = {"authorization": f"Bearer {world.key}", **(headers or {})}
    response = await world.http.post(f"/proxy/{route}/chat/completions", headers=sent, json={**body, **more})
    assert response.status_code == 200, response.text
    return response


async def test_by_weight(world: tuple[World, Providers]) -> None:
    """Over many requests each active member of the highest priority has its share; an inactive one has none."""
    running, providers = world
    for _ in range(15):
        await asyncio.gather(*(ask(running, "fast") for _ in range(20)))
    counts = Counter(providers.asked)
    expected = {"a": 180, "b": 90, "c": 30}
    assert set(counts) == set(expected)
    assert sum((counts[name] - n) ** 2 / n for name, n in expected.items()) < UNLIKELY


async def test_weight_0_stands_by(world: tuple[World, Providers]) -> None:
    """It is asked only when its equals fail."""
    running, providers = world
    for _ in range(20):
        await ask(running, "spare")
    assert set(providers.asked) == {"b"}
    providers.faults = {"b": Faults(status=500)}
    await ask(running, "spare")
    assert providers.asked[-1] == "a"


async def test_the_model_has_another_name_at_a_member(world: tuple[World, Providers]) -> None:
    """Names are mapped whole, without patterns: what the map does not name goes as it is."""
    running, providers = world
    providers.faults = dict.fromkeys("abc", Faults(status=500))
    for model, there in (("gpt-4o-mini", "gpt-4o"), ("gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18")):
        response = await ask(running, "fast", model=model)
        assert json.loads(providers.simulator.requests[-1].body)["model"] == there
        row = await settled(running, response.headers["x-paig-request-id"])
        assert (row.model, row.attempts[-1].provider, row.attempts[-1].model) == (model, "d", there)


SESSIONS = {
    "x-paig-session": lambda name: {"headers": {"x-paig-session": name}},
    "prompt_cache_key": lambda name: {"prompt_cache_key": name},
}


@pytest.mark.parametrize("say", SESSIONS.values(), ids=SESSIONS)
async def test_a_conversation_stays_where_it_is(world: tuple[World, Providers], say: Any) -> None:
    """Its requests go to one member, and there with one credential; many conversations are spread over all."""
    running, providers = world
    homes: Counter[str] = Counter()
    for number in range(30):
        before = len(providers.simulator.requests)
        await asyncio.gather(*(ask(running, "fast", **say(f"session {number}")) for _ in range(3)))
        mine = providers.simulator.requests[before:]
        assert len({(mount(one), one.header("authorization")) for one in mine}) == 1
        homes[mount(mine[0])] += 1
    # Which session goes where hangs on the key's id, and so on chance: these are bounds of one in ten thousand.
    assert homes["a"] >= 8
    assert homes["c"] <= 12
    await asyncio.gather(*(ask(running, "b", **say(f"session {number}")) for number in range(30)))
    keys = {one.header("authorization") for one in providers.simulator.requests if mount(one) == "b"}
    assert len(keys) == 3
    assert not any(one.header("x-paig-session") for one in providers.simulator.requests)


async def test_a_conversation_whose_member_fails_continues_at_another_member(world: tuple[World, Providers]) -> None:
    """The next in its own order, the same one each time; and back home afterwards."""
    running, providers = world
    session = {"headers": {"x-paig-session": "chat 7"}}
    await ask(running, "fast", **session)
    [home] = providers.asked
    providers.faults = {home: Faults(status=503)}
    for _ in range(3):
        await ask(running, "fast", **session)
    assert len({name for name in providers.asked if name != home}) == 1
    providers.faults = {}
    await ask(running, "fast", **session)
    assert providers.asked[-1] == home


async def test_of_anthropics_requests_the_user_is_the_session(world: tuple[World, Providers]) -> None:
    """Their own field has it: Claude Code puts its session there."""
    running, providers = world
    for number in range(20):
        for _ in range(2):
            body = {"model": "claude-sonnet-4-5", "max_tokens": 16, "messages": [{"role": "user", "content": "Hi"}]}
            metadata = {"user_id": f"user_0_account__session_{number}"}
            response = await running.http.post(
                "/proxy/claude/v1/messages", headers={"x-api-key": running.key}, json={**body, "metadata": metadata}
            )
            assert response.status_code == 200
    asked = providers.asked
    assert all(asked[n] == asked[n + 1] for n in range(0, 40, 2))
    assert len(set(asked)) == 2


async def test_a_route_may_be_told_not_to_mind_sessions(world: tuple[World, Providers]) -> None:
    """Then each request goes by weight alone."""
    running, providers = world
    await asyncio.gather(*(ask(running, "loose", {"x-paig-session": "one"}) for _ in range(40)))
    assert len(set(providers.asked)) == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_by_latency(world: tuple[World, Providers], stream: bool) -> None:
    """The faster member gets the requests, but for a few that find out whether the other has become faster."""
    running, providers = world
    providers.faults = {"a": Faults(delay=0.3)}
    for _ in range(45):
        await ask(running, "quick", stream=stream)
    counts = Counter(providers.asked)
    assert counts["c"] >= 35
    assert counts["a"] >= 1
    assert set(providers.asked[-15:]) <= {"a", "c"}
    assert Counter(providers.asked[-15:])["a"] <= 1


async def test_what_is_set_of_a_route_is_shown_and_exported(world: tuple[World, Providers]) -> None:
    """The admin API has it, a change keeps the rest, and the exported file says the same."""
    running, _ = world
    route = await running.admin.routes.get("quick")
    assert (route.choice, route.affinity, route.timeouts.deadline) == ("latency", True, None)
    timeouts = {"deadline": 20.5, "first_byte": 3}
    changed = await running.admin.routes.update("quick", {"timeouts": timeouts, "affinity": False})
    assert (changed.choice, changed.affinity, changed.timeouts.deadline) == ("latency", False, 20.5)
    text = config.export(running.store.catalog)
    assert 'choice = "latency"\naffinity = false\ntimeouts = { first_byte = 3, deadline = 20.5 }\n' in text
    assert config.plan(config.parse(text), running.store.catalog).changes == ()
    members = [MemberSpec(provider="a"), MemberSpec(provider="c")]
    changed = await running.admin.routes.update("quick", RouteSpec(members=members))
    assert (changed.choice, changed.timeouts.first_byte) == ("latency", 3)
    changed = await running.admin.routes.update("quick", {"timeouts": None, "affinity": None})
    assert (changed.affinity, changed.timeouts.deadline) == (True, None)
    assert ProviderSpec(kind="openai").timeouts.total is None
