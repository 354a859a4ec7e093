"""A node's breaker states are shown to people, sent as events, and shared with other nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from dirty_equals import IsFloat, IsPartialDict

from paig_client.api.resources import BreakerChange, CredentialHealth
from paig_client.api.vocabulary import BreakerState
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.cluster import health_sync
from paig_gateway.config import Config, ServerSpec
from paig_gateway.config.model import BreakerSpec
from paig_gateway.server import running_gateway
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.conftest import Time, World
from tests.gateway.end_to_end.test_breaker import FAIL, RESTED, RESTING, THROTTLED, ask, tried, two_members
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes speak to each other ten times as often as usual."""
    monkeypatch.setattr(health_sync, "SHARE_SECONDS", 0.1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either kind of database."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv("PAIG_DATABASE_URL", server.fresh_database())


@asynccontextmanager
async def another_node(world: World, home: Path, time: Time) -> AsyncIterator[World]:
    """A second gateway on the same database."""
    server = ServerSpec(breaker=BreakerSpec(rest=60))
    gateway = Gateway(OpenDatabase.open(home), Config(server=server), now=time.now, clock=time)
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(running_gateway(gateway))
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=30))
        yield replace(world, origin=origin, http=http)


async def shown(world: World, provider: str = "bad") -> CredentialHealth:
    """How the provider's only credential fares."""
    [credential] = next(one for one in await world.admin.providers.health() if one.provider == provider).credentials
    return credential


async def becomes(world: World, state: BreakerState, nodes: int = 1) -> CredentialHealth:
    """Wait until it is shown so, by so many nodes."""

    async def is_so() -> bool:
        found = await shown(world)
        return found.state == state and len(found.nodes) == nodes

    await until(is_so, seconds=10)
    return await shown(world)


async def test_people_see_and_hear_of_it(environment: None, tmp_path: Path) -> None:
    """The admin API shows each state, its reason and its end, and the figures of five minutes; events follow."""
    async with two_members(tmp_path) as (world, time):
        heard: list[BreakerChange] = []

        async def listen() -> None:
            async for event in world.admin.events():
                if event.state is not None:
                    heard.append(event.state)

        async with asyncio.timeout(20):
            listening = asyncio.create_task(listen())
            unused = await shown(world)
            assert (unused.state, unused.since, unused.tries, unused.ok_share, unused.nodes) == (
                "closed",
                None,
                0,
                None,
                [],
            )
            await ask(world)
            for _ in range(5):
                await ask(world, FAIL)
            found = await becomes(world, "open")
            assert found.model_dump() == IsPartialDict(
                state="open", reason="500", last_error="500", waits=[], failures={"500": 5}, tries=6, throttled=0,
                p95_ms=IsFloat(gt=0), ok_share=IsFloat(approx=1 / 6),
            )  # fmt: skip
            assert found.until is not None
            assert RESTING < (found.until - time.now()).total_seconds() < RESTED
            assert [(node.state, node.own) for node in found.nodes] == [("open", True)]
            time.later(RESTED)
            await becomes(world, "half-open")
            await tried(world)
            await tried(world)
            await becomes(world, "closed")
            await ask(world, THROTTLED)
            found = await becomes(world, "cooling")
            assert [(wait.model, wait.reason) for wait in found.waits] == [("gpt-4o-mini", "429")]
            assert (found.reason, found.throttled) == ("429", 1)
            time.later(121)
            found = await becomes(world, "closed")
            assert (found.waits, found.until) == ([], None)
            good = await shown(world, "good")
            assert (good.state, good.ok_share) == ("closed", 1.0)
            while len(heard) < 5:  # noqa: ASYNC110 whatever comes, comes on the stream
                await asyncio.sleep(0.01)
            listening.cancel()
        assert [(one.provider, one.before, one.state, one.reason) for one in heard] == [
            ("bad", "closed", "open", "500"),
            ("bad", "open", "half-open", "500"),
            ("bad", "half-open", "closed", None),
            ("bad", "closed", "cooling", "429"),
            ("bad", "cooling", "closed", None),
        ]


async def test_one_nodes_finding_spares_the_others(database: None, tmp_path: Path) -> None:
    """A node that has heard nothing better believes it, is shown as going by another's word, and tries by itself."""
    async with two_members(tmp_path) as (world, time), another_node(world, tmp_path, time) as other:
        for _ in range(5):
            await ask(world, FAIL)
        found = await becomes(world, "open", nodes=2)
        assert sorted(node.own for node in found.nodes) == [False, True]
        assert await tried(other) == [("good", 200)]
        time.later(RESTED)
        assert await tried(other) == [("bad", 200)]
        assert await tried(other) == [("bad", 200)]
        assert await tried(other, FAIL) == [("bad", 500), ("good", 200)]


async def test_a_wait_told_to_one_node_is_told_to_all(database: None, tmp_path: Path) -> None:
    """`Retry-After` counts for the credential, whichever node hears it."""
    async with two_members(tmp_path) as (world, time), another_node(world, tmp_path, time) as other:
        await ask(world, THROTTLED)
        await becomes(world, "cooling", nodes=2)
        assert await tried(other) == [("good", 200)]
        time.later(121)
        assert await tried(other) == [("bad", 200)]


async def test_a_node_that_is_answered_does_not_believe_it(environment: None, tmp_path: Path) -> None:
    """Its own good answers count for more than another node's failures."""
    ahead = Time()
    ahead.later(5)  # so that by its clock its answer, which comes first here, came after the other's failures
    async with two_members(tmp_path) as (world, _), another_node(world, tmp_path, ahead) as other:
        assert await tried(other) == [("bad", 200)]
        for _ in range(5):
            await ask(world, FAIL)
        found = await becomes(world, "open", nodes=2)
        assert sorted(node.state for node in found.nodes) == ["closed", "open"]
        assert await tried(other) == [("bad", 200)]
