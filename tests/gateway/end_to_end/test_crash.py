"""`kill -9` at each step of a request, on both databases: one row afterwards, never free, nothing held."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from paig_client.api.resources import LimitStatus, Request
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.processes import CONFIG, Node, serving
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

PLAIN, SLOW, DRIP = "[sim:tokens=100]", "[sim:delay=20]", "[sim:tokens=500] [sim:chunk_delay=0.1]"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """None for the SQLite file of the gateway's home."""
    if request.param == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server.fresh_database()


@asynccontextmanager
async def provider(home: Path) -> AsyncIterator[tuple[Simulator, Path]]:
    """A simulated provider, and a configuration that names it."""
    simulator, config = Simulator(), home / "paig.toml"
    async with running_simulator(simulator) as base:
        config.write_text(CONFIG.format(base=base, cap=100))
        yield simulator, config


async def books(node: Node) -> tuple[list[Request], LimitStatus]:
    """All rows, and the one limit; they agree, and nothing is held."""
    rows = (await node.admin.requests(limit=500)).items
    [limit] = await node.admin.limits()
    assert Decimal(limit.held) == 0
    assert sum(Decimal(row.cost) for row in rows) == Decimal(limit.spent)
    total = (await node.admin.usage(by=["key"])).items
    assert sum(Decimal(row.cost) for row in total) == Decimal(limit.spent)
    return rows, limit


async def was_charged(node: Node) -> bool:
    """Whether a request was charged at its ceiling."""
    return any(row.certainty == "ceiling" for row in (await node.admin.requests()).items)


@pytest.mark.parametrize(
    ("step", "dispatched", "certainty"),
    [
        ("after-reserve", 0, "ceiling"),
        ("before-settle", 1, "ceiling"),
        ("in-settle", 1, "ceiling"),
        ("after-settle", 1, "exact"),
    ],
)
async def test_killed_inside_a_step(
    tmp_path: Path, database: str | None, step: str, dispatched: int, certainty: str
) -> None:
    """What may have been spent is charged at its ceiling; what was settled stays as it was settled."""
    async with provider(tmp_path) as (simulator, config):
        async with serving(tmp_path, config, database, die=step) as node:
            # The answer goes to the client before it is settled.
            assert await node.ask(PLAIN) in ((None, 200) if dispatched else (None,))
            assert await node.process.wait() == -9
        assert len(simulator.requests) == dispatched
        async with serving(tmp_path, config, database) as node:
            [row], _ = await books(node)
            assert row.certainty == certainty
            assert (Decimal(row.cost) == Decimal(row.reserved)) is (certainty == "ceiling")
            assert Decimal(row.cost) > 0
            assert await node.ask(PLAIN) == 200
            rows, _ = await books(node)
            assert len(rows) == 2


async def test_killed_with_requests_in_flight(tmp_path: Path, database: str | None) -> None:
    """Every request that was dispatched, waiting for its answer or in the middle of its stream, is charged in full."""
    async with provider(tmp_path) as (simulator, config):
        async with serving(tmp_path, config, database) as node:
            prompts = [SLOW, DRIP] * 25
            asked = [asyncio.create_task(node.ask(prompt, stream=prompt is DRIP, most=500)) for prompt in prompts]
            await until(lambda: len(simulator.requests) == 50)
            node.process.kill()
            assert await asyncio.gather(*asked) == [None] * 50
        async with serving(tmp_path, config, database) as node:
            rows, _ = await books(node)
        assert Counter((row.state, row.certainty) for row in rows) == {("settled", "ceiling"): 50}
        assert len({row.id for row in rows}) == 50
        assert all(Decimal(row.cost) == Decimal(row.reserved) > 0 for row in rows)


async def test_another_node_charges_for_the_dead_one(tmp_path: Path, database: str | None) -> None:
    """A node that lives sweeps what a killed one left open, and its own requests go on untouched."""
    async with (
        provider(tmp_path) as (simulator, config),
        serving(tmp_path, config, database) as living,
        serving(tmp_path, config, database) as dying,
    ):
        mine = asyncio.create_task(living.ask("[sim:delay=6]"))
        lost = asyncio.create_task(dying.ask(SLOW))
        await until(lambda: len(simulator.requests) == 2)
        dying.process.kill()
        assert await lost is None
        await until(lambda: was_charged(living))
        assert await mine == 200
        rows, _ = await books(living)
        assert Counter(row.certainty for row in rows) == {"ceiling": 1, "exact": 1}
