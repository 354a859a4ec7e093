"""Sessions as the ledger tells them, on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, event

from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.reports import Filter, get_request, list_requests, usage
from paig_gateway.ledger.sessions import keys_of, list_sessions, session_tree
from tests.gateway.ledger.books import NOON, Clock, reservation, settlement, used

pytestmark = pytest.mark.anyio

AGENTS: Mapping[str | None, tuple[str | None, str | None]] = {
    None: (None, None),
    "scout": (None, "Explore"),
    "digger": ("scout", "Explore"),
    "lost": ("gone", None),
    "round": ("trip", None),
    "trip": ("round", None),
    "own": ("own", None),
}
"""Each agent's parent and kind; some parents are not there, or lead back."""


@pytest.fixture
async def filled(engine: Engine) -> Engine:
    """Two keys with a session of the same id, and requests of no session."""
    clock = Clock()
    ledger = Ledger(engine, node_id="node_a", clock=clock)
    await ledger.start()

    async def spend(cost: int, **more: str | None) -> None:
        clock.now += timedelta(seconds=10)
        key = more.pop("key", None) or "ci"
        request = replace(reservation(ceiling=10**9, key=key), time=clock.now, **more)
        await ledger.reserve(request)
        done = settlement(request, cost, usage=used(100, 10, cache_read_tokens=60))
        await ledger.settle(replace(done, ms_total=1500.0))

    for number, (agent, (parent, name)) in enumerate(AGENTS.items()):
        for _ in range(2):
            await spend(10 ** (number + 1), session="s", agent=agent, agent_parent=parent, agent_name=name)
    await spend(5, session="s", key="other")
    await spend(7)
    await ledger.stop()
    return engine


async def test_a_session_is_a_tree_of_agents(filled: Engine) -> None:
    """Each agent has its own sums and those of all below it; what has no parent, or leads back, is the main one's."""
    found = session_tree(filled, "key_ci", "s", {})
    assert found is not None
    shape = [(agent.id, agent.name, agent.depth) for agent in found.tree]
    assert shape[:3] == [(None, None, 0), ("scout", "Explore", 1), ("digger", "Explore", 2)]
    assert {id for id, _, depth in shape if depth == 1} >= {"scout", "lost", "own"}
    assert sorted(str(id) for id, *_ in shape) == sorted(str(id) for id in AGENTS)
    by_id = {agent.id: agent for agent in found.tree}
    scout, digger = by_id["scout"], by_id["digger"]
    assert Decimal(scout.total_cost) == Decimal(scout.cost) + Decimal(digger.cost)
    assert by_id[None].total_cost == found.cost
    assert sum(Decimal(agent.cost) for agent in found.tree) == Decimal(found.cost)
    assert (found.requests, found.agents, found.key, found.user) == (14, 6, "ci", "ada")
    assert (scout.requests, scout.input_tokens, scout.cache_read_tokens, scout.ms_busy) == (2, 200, 120, 3000.0)
    assert (scout.ended - scout.began).total_seconds() == 10
    assert session_tree(filled, "key_ci", "unknown", {}) is None


async def test_sessions_are_listed_by_key(filled: Engine) -> None:
    """The same id of another key is another session; the actor that stopped one is shown."""
    listed = list_sessions(filled, Filter(), {("key_ci", "s"): "admin:ada"})
    assert [(one.key, one.requests, one.agents) for one in listed] == [("other", 1, 0), ("ci", 14, 6)]
    assert [one.stopped_by for one in listed] == [None, "admin:ada"]
    assert [one.key for one in list_sessions(filled, Filter(), {}, limit=1)] == ["other"]
    assert list_sessions(filled, Filter(since=NOON + timedelta(days=1)), {}) == []
    assert {name for _, name, _ in keys_of(filled, "s", Filter())} == {"ci", "other"}
    assert [name for _, name, _ in keys_of(filled, "s", Filter(key="key_ci"))] == ["ci"]
    assert keys_of(filled, "s", Filter(within=frozenset())) == []


async def test_the_latest_errors_are_found_by_index(filled: Engine) -> None:
    """SQLite reads the rows of these sessions, and not the whole ledger."""
    if filled.dialect.name != "sqlite":
        return
    plans: list[str] = []

    def explain(connection: Any, _: object, statement: str, parameters: Any, *__: object) -> None:
        if "requests.error" in statement and not statement.startswith("EXPLAIN"):
            found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            plans.extend(str(row[3]) for row in found if "requests" in str(row[3]))

    event.listen(filled, "before_cursor_execute", explain)
    assert len(list_sessions(filled, Filter(), {})) == 2
    event.remove(filled, "before_cursor_execute", explain)
    assert plans
    assert all("USING INDEX" in plan and not plan.startswith("SCAN") for plan in plans), plans


async def test_usage_by_session_and_agent_adds_up(filled: Engine) -> None:
    """It is read from the rows, and what belongs to none is there too."""
    report = usage(filled, ["session"], Filter())
    assert {item.group["session"]: item.requests for item in report.items} == {"s": 15, None: 1}
    assert report.total.cost == usage(filled, [], Filter()).total.cost
    of_agents = usage(filled, ["agent", "session"], Filter(key="key_ci"))
    assert len(of_agents.items) == len(AGENTS) + 1
    assert len(list_requests(filled, Filter(equal={"session": "s"})).items) == 15
    [row] = list_requests(filled, Filter(equal={"session": "s"}, key="key_other")).items
    assert get_request(filled, row.id) == row
    assert (row.session, row.agent) == ("s", None)
