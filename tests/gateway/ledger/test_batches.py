"""Holds of batches: no node's, taken line by line, each line once; on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, Engine

from paig_gateway.ledger import batches
from paig_gateway.ledger.batches import OpenBatch
from paig_gateway.ledger.executor import BatchExecutor, Reserve, SettleLines
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import BatchLine
from tests.gateway.ledger.books import (
    NOON,
    Clock,
    Totals,
    document,
    limit,
    reservation,
    rollup_sums,
    row,
    rows,
    settlement,
    totals,
    used,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ledger(engine: Engine) -> AsyncIterator[Ledger]:
    """A running ledger."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock())
    await ledger.start()
    yield ledger
    await ledger.stop()


def nothing(_: Connection) -> None:
    """Writes nothing besides."""


def line(of: str, name: str, cost: int = 100) -> BatchLine:
    """A line of a batch."""
    end = settlement(f"{of}-{name}", cost, usage=used(10, 5))
    return BatchLine(end, "gpt-5-mini", "openai-chat", 200, {"custom_id": name})


async def test_lines_take_from_the_hold_and_the_end_gives_back(ledger: Ledger, engine: Engine) -> None:
    """What is spent and held together stays what was reserved until the end; lines are rows like any other."""
    cap, month = limit("cap", 10_000), limit("month", 50_000, window="monthly", owner_kind="project", owner="lab")
    batch = reservation(cap, month, ceiling=1000, tokens=0, tags={"team": "a"}, format="openai-batch")
    await ledger.reserve(batch)
    await ledger.defer(batch.id, nothing)
    assert row(engine, batch.id)["node_id"] == ""
    await ledger.settle_lines(batch.id, [line(batch.id, "a"), line(batch.id, "b", 0)])
    for one in (cap, month):
        assert totals(engine, one) == Totals(spent=100, held=900)
    await ledger.settle_lines(batch.id, [line(batch.id, "a"), line(batch.id, "c", 250)])
    assert totals(engine, cap) == Totals(spent=350, held=650)
    await ledger.settle_lines(batch.id, [line(batch.id, "c", 250)], settlement(batch.id, 0))
    assert totals(engine, cap) == totals(engine, month) == Totals(spent=350, held=0)
    found = {one["id"].rpartition("-")[2]: one for one in rows(engine) if one["id"] != batch.id}
    assert {name: one["cost"] for name, one in found.items()} == {"a": 100, "b": 0, "c": 250}
    assert document(found["a"]["tags"]) == {"team": "a", "custom_id": "a"}
    assert (found["a"]["model"], found["a"]["format"], found["a"]["key"]) == ("gpt-5-mini", "openai-chat", "ci")
    assert (found["a"]["state"], found["a"]["reserved"], found["a"]["time"]) == (
        "settled",
        200,
        row(engine, batch.id)["time"],
    )
    assert rollup_sums(engine) == (4, 0, 30, 15, 350)
    with pytest.raises(LookupError):
        await ledger.settle_lines(batch.id, [line(batch.id, "d")])
    assert totals(engine, cap) == Totals(spent=350, held=0)


async def test_lines_that_cost_more_than_was_held(ledger: Ledger, engine: Engine) -> None:
    """The truth is charged, and never more than was held is given back."""
    cap = limit("cap", 10_000)
    batch = reservation(cap, ceiling=100, tokens=0)
    await ledger.reserve(batch)
    await ledger.settle_lines(batch.id, [line(batch.id, "a", 70), line(batch.id, "b", 70)])
    assert totals(engine, cap) == Totals(spent=140, held=0)
    await ledger.settle_lines(batch.id, [], settlement(batch.id, 0))
    assert totals(engine, cap) == Totals(spent=140, held=0)


async def test_a_dead_nodes_batch_stays_held(engine: Engine) -> None:
    """Its other holds are charged at their ceiling; the batch's is not its own any more."""
    cap = limit("cap", 10_000)
    dying = Ledger(engine, node_id="node_dying", clock=Clock())
    await dying.start()
    batch, other = (reservation(cap, ceiling=ceiling, tokens=0) for ceiling in (1000, 50))
    await dying.reserve(batch)
    await dying.reserve(other)
    await dying.defer(batch.id, nothing)
    await asyncio.to_thread(dying._executor.sweep, "node_dying")  # what another node does once it is silent
    assert totals(engine, cap) == Totals(spent=50, held=1000)
    await dying.stop()
    living = Ledger(engine, node_id="node_living", clock=Clock())
    await living.start()
    await living.settle_lines(batch.id, [line(batch.id, "a")], settlement(batch.id, 0))
    assert totals(engine, cap) == Totals(spent=150, held=0)
    await living.stop()


async def test_a_swept_hold_cannot_be_deferred(ledger: Ledger, engine: Engine) -> None:
    """A node that was taken for dead hears of it, and writes nothing."""
    batch = reservation(limit("cap", 10_000), ceiling=1000, tokens=0)
    await ledger.reserve(batch)
    await asyncio.to_thread(ledger._executor.sweep, "node_a")
    written: list[Connection] = []
    with pytest.raises(LookupError):
        await ledger.defer(batch.id, written.append)
    assert written == []


def test_two_nodes_charge_the_same_lines(engine: Engine) -> None:
    """Each line once, whichever node is first."""
    cap = limit("cap", 10_000)
    one, other = (BatchExecutor(engine, name, Clock()) for name in ("node_one", "node_other"))
    for node in (one, other):
        node.start()
    batch = reservation(cap, ceiling=1000, tokens=0)
    one.execute([Reserve(batch)])
    for node, names in ((one, "ab"), (other, "bc"), (one, "abc")):
        node.execute([SettleLines(batch.id, [line(batch.id, name) for name in names], None)])
    other.execute([SettleLines(batch.id, [line(batch.id, "d")], settlement(batch.id, 0))])
    assert totals(engine, cap) == Totals(spent=400, held=0)
    assert len(rows(engine)) == 5
    one.close()
    other.close()


async def test_a_job_begins_once(engine: Engine) -> None:
    """Of several nodes that got the same job at the same moment, one keeps it; nor does it begin after its charge."""
    nodes = [Ledger(engine, node_id=f"node_{name}", clock=Clock()) for name in "abcd"]
    for node in nodes:
        await node.start()
    cap = limit("cap", 20_000)

    async def begin(node: Ledger) -> OpenBatch | None:
        hold = reservation(cap, ceiling=1000, tokens=0)
        await node.reserve(hold)
        made = OpenBatch(hold.id, "aws", "job/1", "bedrock-batch", "/job", "cred", "key_ci", None, NOON, NOON)
        try:
            await node.defer(hold.id, partial(batches.begin, batch=made, look_at=NOON, lines=None))
        except batches.KnownJobError:
            assert row(engine, hold.id)["node_id"] == node._executor.node_id  # the hold is still its own
            await node.settle(settlement(hold.id, 0))
            return None
        return made

    [made] = [one for one in await asyncio.gather(*map(begin, nodes * 3)) if one is not None]
    assert totals(engine, cap) == Totals(spent=0, held=1000)
    assert batches.of_work(engine, ["aws"], "job/1") == batches.of_work(engine, ["aws"], "1") == [made]
    assert batches.of_work(engine, ["aws"], "_") == []
    # A transaction whose commit was not heard of is done again.
    await nodes[1].defer(made.id, partial(batches.begin, batch=made, look_at=NOON, lines=None))
    end = replace(settlement(made.id, 0, work_id="job/1"), provider="aws")
    await nodes[1].settle_lines(made.id, [line(made.id, "a")], end)
    batches.end(engine, made.id)
    assert await begin(nodes[2]) is None
    assert totals(engine, cap) == Totals(spent=100, held=0)
    for node in nodes:
        await node.stop()


async def test_one_node_looks_at_a_time(ledger: Ledger, engine: Engine) -> None:
    """A batch is one node's until it gives it back, its time is over, or it is dead."""
    batch = reservation(limit("cap", 10_000), ceiling=1000, tokens=0)
    await ledger.reserve(batch)
    made = OpenBatch(batch.id, "openai", "batch_1", "openai-batch", "/v1/batches", "cred", "key_ci", None, NOON, NOON)
    await ledger.defer(batch.id, lambda connection: batches.begin(connection, made, NOON + timedelta(minutes=5), b"x"))
    assert batches.due(engine, NOON) == []
    later = NOON + timedelta(minutes=5)
    assert batches.due(engine, later) == [made]
    assert (
        batches.of_work(engine, ["openai"], "batch_1")
        == batches.of_caller(engine, ["openai"], "key_ci", None)
        == [made]
    )
    assert batches.of_work(engine, ["other"], "batch_1") == []
    assert batches.take(engine, batch.id, "node_a", later)
    assert not batches.take(engine, batch.id, "node_b", later)
    assert batches.due(engine, later) == []
    assert batches.take(engine, batch.id, "node_b", later + batches.TAKEN * 2)  # the node has not renewed it
    assert batches.take(engine, batch.id, "node_a", later)  # no node of the name node_b lives
    batches.give_back(engine, batch.id, "node_a", later + timedelta(hours=1))
    assert batches.due(engine, later) == []
    batches.hurry(engine, batch.id, later)
    [again] = batches.due(engine, later)
    assert again.looks == 1
    assert batches.lines_of(engine, batch.id) == b"x"
    batches.end(engine, batch.id)
    assert not batches.take(engine, batch.id, "node_a", later)


def test_inputs_are_kept_for_a_month(engine: Engine) -> None:
    """What a file asks is found at its own provider, and forgotten with the file."""
    batches.keep_input(engine, "openai", "file-1", NOON, b"first")
    batches.keep_input(engine, "openai", "file-1", NOON, b"second")  # another file that its client calls the same
    assert batches.find_input(engine, ["groq", "openai"], "file-1", NOON) == ("openai", b"second")
    assert batches.find_input(engine, ["groq"], "file-1", NOON) is None
    assert batches.find_input(engine, ["openai"], "file-1", NOON + timedelta(seconds=1)) is None
    batches.keep_input(engine, "openai", "file-2", NOON + timedelta(days=32), b"other")
    assert batches.find_input(engine, ["openai"], "file-1", NOON) is None
    batches.forget_input(engine, ["openai"], "file-2")
    assert batches.find_input(engine, ["openai"], "file-2", NOON) is None
