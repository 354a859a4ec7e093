"""Old requests go a little at a time, on one node; what is still needed stays. On both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.config import Config, LedgerSpec
from paig_gateway.database.columns import milliseconds
from paig_gateway.domain.limits import Limit
from paig_gateway.ledger import batches, pruning, retention
from paig_gateway.ledger.batches import OpenBatch
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.pruning import Whose
from paig_gateway.ledger.reports import Filter, list_requests, usage
from paig_gateway.ledger.statements import TABLES
from tests.gateway.end_to_end.waiting import until
from tests.gateway.ledger.books import NOON, Clock, Totals, counters, limit, reservation, row, rows, settlement

pytestmark = pytest.mark.anyio

OLD = NOON - timedelta(days=10)


def budget(name: str) -> Limit:
    """A run's."""
    return limit(f"run:key_ci:{name}", 10_000, owner_kind="run", owner=name, window="total")


async def charged(ledger: Ledger, *limits: Limit, **of: object) -> str:
    """A finished request; its id."""
    request = reservation(*limits, **{name: value for name, value in of.items() if name != "work_id"})  # type: ignore[arg-type]
    await ledger.reserve(request)
    await ledger.settle(settlement(request, 7, work_id=of.get("work_id")))
    return request.id


async def test_a_run_that_goes_on_keeps_its_budget(engine: Engine) -> None:
    """However long ago it began; that of a run that nothing is left of goes."""
    clock = Clock(OLD)
    ledger = Ledger(engine, node_id="node_a", clock=clock)
    await ledger.start()
    await charged(ledger, budget("a:b"), run="a:b", time=OLD)
    await charged(ledger, budget("gone"), run="gone", time=OLD)
    clock.now = NOON
    await charged(ledger, budget("a:b"), run="a:b", time=NOON)
    assert await ledger.prune(NOON - timedelta(days=1)) == 2
    assert counters(engine) == {("run:key_ci:a:b", 0): Totals(14, 0)}
    await ledger.stop()


async def test_answered_requests_for_more_are_removed(engine: Engine) -> None:
    """Those answered before the moment, all or one person's; those that wait for an answer stay."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock(NOON))
    await ledger.start()
    old, new = milliseconds(OLD), milliseconds(NOON)
    fixed = {"hint": "paig", "spec": {}, "version": 1, "created_at": old, "updated_at": old}
    asked = {"limit_id": "limit_x", "amount": 1, "why": "x", "time": old, "state": "open"}
    with engine.begin() as connection:
        for key, user in (("ci", "user_ada"), ("bob", None)):
            values = {"id": f"key_{key}", "name": key, "user_id": user, "hash": key, **fixed}
            connection.execute(TABLES["keys"].insert().values(values))
        for id, key, decided in (("a", "ci", old), ("b", "bob", old), ("c", "ci", new), ("d", "ci", None)):
            values = {"id": id, "key_id": f"key_{key}", "decided_at": decided, **asked}
            connection.execute(TABLES["limit_requests"].insert().values(values))

    def kept() -> str:
        with engine.connect() as connection:
            return "".join(connection.execute(text("SELECT id FROM limit_requests ORDER BY id")).scalars())

    before = NOON - timedelta(days=1)
    await ledger.prune(before, Whose(user="user_ada", key="bob"))
    assert kept() == "abcd"
    await ledger.prune(before, Whose(user="user_ada"))
    assert kept() == "bcd"
    await ledger.prune(before, Whose(key="bob"))
    assert kept() == "cd"
    await ledger.prune(before)
    assert kept() == "cd"
    await ledger.stop()


async def test_one_person_s_requests_are_removed(engine: Engine) -> None:
    """By name or id, also after the key or the user is deleted; those of others and the totals stay."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock(OLD))
    await ledger.start()
    for key in ("ci", "bob"):
        request = reservation(time=OLD, key=key)
        await ledger.reserve(request)
        await ledger.settle(settlement(request, 7))
    now = NOON - timedelta(days=1)
    assert await ledger.prune(now, Whose(user="nobody")) == 0
    assert await ledger.prune(now, Whose(key="bob", user="user_ada")) == 1
    assert await ledger.prune(now, Whose(key="bob")) == 0
    assert await ledger.prune(now, Whose(user="ada")) == 1
    with engine.connect() as connection:
        assert connection.execute(text("SELECT SUM(cost) FROM rollups")).scalar_one() == 14
    await ledger.stop()


async def test_budgets_of_runs_that_have_ended_expire(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ninety days after the last request, though requests are kept for ever; totals and rows stay."""
    monkeypatch.setattr(retention, "LOOK_SECONDS", 0.01)
    clock = Clock(NOON)
    ledger = Ledger(engine, node_id="node_a", clock=clock)
    await ledger.start()
    await charged(ledger, budget("old"), run="old", time=NOON)
    await charged(ledger, budget("goes-on"), run="goes-on", time=NOON)
    clock.now = NOON + timedelta(days=60)
    await charged(ledger, budget("goes-on"), run="goes-on", time=clock.now)
    clock.now = NOON + timedelta(days=91)
    await until(lambda: len(counters(engine)) < 2)
    assert counters(engine) == {("run:key_ci:goes-on", 0): Totals(14, 0)}
    clock.now = NOON + timedelta(days=151)
    await until(lambda: not counters(engine))
    assert len(rows(engine)) == 3
    await ledger.stop()


async def test_work_that_may_be_looked_at_again_stays_a_month(engine: Engine) -> None:
    """Its row is what keeps a later look from being charged again."""
    clock = Clock(OLD)
    ledger = Ledger(engine, node_id="node_a", clock=clock)
    await ledger.start()
    work = await charged(ledger, time=OLD, work_id="resp_1")
    await charged(ledger, time=OLD)
    clock.now = NOON
    assert await ledger.prune(NOON - timedelta(days=1)) == 1
    look = reservation(time=NOON)
    assert await ledger.correct("resp_1", None, settlement(look, 7)) == "already"
    assert row(engine, work)["cost"] == 7
    clock.now = OLD + timedelta(days=32)
    assert await ledger.prune(clock.now - timedelta(days=1)) == 1
    await ledger.stop()


async def test_charged_lines_stay_while_their_batch_has_others(engine: Engine) -> None:
    """Their rows are what keeps a later look from charging them again."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock(OLD))
    await ledger.start()
    await charged(ledger, time=OLD - timedelta(seconds=1))
    await charged(ledger, time=OLD)
    made = OpenBatch("req_1", "openai", "batch_1", "openai-batch", "/v1/batches", "cred", "key_ci", None, OLD, NOON)
    with engine.begin() as connection:
        batches.begin(connection, made, NOON, None)
    assert await ledger.prune(NOON - timedelta(days=1)) == 1
    batches.end(engine, made.id)
    assert await ledger.prune(NOON - timedelta(days=1)) == 1
    await ledger.stop()


async def test_days_are_kept_whole_and_by_the_first_node(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine days are kept from midnight on; another node than the first leaves it all to that one."""
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(pruning, "PRUNE_ROWS", 2)
    clock = Clock(OLD)
    nodes = [Ledger(engine, node_id=name, clock=clock) for name in ("node_a", "node_b")]
    for node in nodes:
        await node.start()
    midnight = (NOON - timedelta(days=9)).replace(hour=0)
    early, late = midnight - timedelta(milliseconds=1), midnight
    for at in (OLD, OLD, early, early, early, late, NOON):
        await charged(nodes[0], time=at)
    clock.now = NOON
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(retention.keep(engine, nodes[1]._ask, "node_b", 9, clock), 0.5)
    assert len(rows(engine)) == 7
    keeper = asyncio.create_task(retention.keep(engine, nodes[0]._ask, "node_a", 9, clock))

    async def only_the_kept_are_left() -> bool:
        return len(rows(engine)) == 2

    await until(only_the_kept_are_left)
    assert usage(engine, [], Filter()).total.requests == 7
    keeper.cancel()
    for node in nodes:
        await node.stop()


async def test_the_setting_reaches_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway with `keep_days` forgets by itself; without it never."""
    for name in ("PAIG_SECRET_KEY", "PAIG_ADMIN_TOKEN"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("PAIG_DATABASE_URL", raising=False)
    store = OpenDatabase.open(tmp_path)
    ledger = Ledger(store.engine, node_id="node_first", clock=Clock(OLD))
    await ledger.start()
    await charged(ledger, time=OLD)
    await ledger.stop()
    gateway = Gateway(store, Config(ledger=LedgerSpec(keep_days=9)), now=Clock(NOON))
    await gateway.start()

    async def nothing_is_left() -> bool:
        return not list_requests(store.engine, Filter()).items

    await until(nothing_is_left)
    assert usage(store.engine, [], Filter()).total.requests == 1
    await gateway.stop()
