"""Several gateway processes on one database: one cap for all, and a change on one is a change on each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.processes import CONFIG, Node, every_row, serving
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

PROMPT = "[sim:tokens=100] Tell me a story."
COST = Decimal("0.00006135")
"""9 prompt tokens at $0.15 and 100 at $0.60 per million, as gpt-4o-mini has it."""
PAID = 300
"""How many such requests the cap pays for."""


@pytest.fixture(params=["sqlite, 2 nodes", "postgresql, 3 nodes"])
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[list[Node], Simulator]]:
    """Gateways on one database, and the provider behind them all."""
    database = None
    if request.param.startswith("postgresql"):
        server: Postgres = request.getfixturevalue("postgres")
        database = server.fresh_database()
    simulator, config = Simulator(keep=5000), tmp_path / "paig.toml"
    async with running_simulator(simulator) as base, AsyncExitStack() as stack:
        config.write_text(CONFIG.format(base=base, cap=PAID * COST))
        count = 2 if database is None else 3
        yield [await stack.enter_async_context(serving(tmp_path, config, database)) for _ in range(count)], simulator


async def test_one_cap_hammered_through_all_nodes(nodes: tuple[list[Node], Simulator]) -> None:
    """Never more than the cap is spent, though each request holds four times its cost, and 95 % of it are of use."""
    gateways, simulator = nodes
    room = asyncio.Semaphore(60)

    async def ask(number: int) -> int | None:
        async with room:
            return await gateways[number % len(gateways)].ask(PROMPT, most=400)

    statuses = Counter(await asyncio.gather(*(ask(number) for number in range(PAID + 60))))
    assert set(statuses) == {200, 402}
    assert statuses[200] == simulator.served["openai"].completed
    [limit] = await gateways[0].admin.limits()
    assert Decimal(limit.spent) == statuses[200] * COST
    assert Decimal("0.95") * PAID * COST <= Decimal(limit.spent) <= PAID * COST
    assert Decimal(limit.held) == 0
    rows = await every_row(gateways[-1].admin)
    assert Counter(row.status for row in rows) == statuses
    assert sum(Decimal(row.cost) for row in rows) == Decimal(limit.spent)


async def test_changes_reach_every_node(nodes: tuple[list[Node], Simulator]) -> None:
    """A key disabled through one node is refused by each, a cap lowered through one binds on each, soon after."""
    [first, *_, last], _ = nodes
    assert await last.ask(PROMPT) == 200
    await first.admin.keys.update("shared", {"limits": {"daily": "0.0000001"}})
    await eventually(last, 400)  # a request can never fit the lowered cap
    await first.admin.keys.update("shared", {"limits": {"daily": "1"}})
    await eventually(last, 200)
    await first.admin.keys.disable("shared")
    await eventually(last, 403)


async def eventually(node: Node, status: int) -> None:
    """Ask until the answer has that status; a second is promised, a busy machine is given more."""

    async def answered() -> bool:
        return await node.ask(PROMPT) == status

    await until(answered, seconds=10)
