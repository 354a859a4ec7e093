"""Nodes that die, nodes that sleep, and what becomes of their requests; on both databases."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from paig_gateway.ledger import nodes
from paig_gateway.ledger.executor import BatchExecutor, ChargeRow, Release, Reserve, Settle, Sweep
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.nodes import NodeInUseError, Process
from paig_gateway.ledger.records import Reservation
from tests.gateway.ledger.books import (
    Clock,
    Totals,
    limit,
    reservation,
    rollup_sums,
    row,
    settlement,
    totals,
    until,
    used,
)

pytestmark = pytest.mark.anyio

ELSEWHERE = Process("far-away some-boot/some-namespace 4711", 42)
CAP = limit("cap", 10_000)


def node(engine: Engine, id: str, clock: Clock, process: Process = ELSEWHERE) -> BatchExecutor:
    """A started node, by default on another machine."""
    books = BatchExecutor(engine, id, clock, process)
    books.start()
    return books


def hold(books: BatchExecutor, ceiling: int = 1000, **more: int) -> Reservation:
    """A request that a node has reserved."""
    request = reservation(CAP, ceiling=ceiling, time=books.clock(), **more)
    assert books.execute([Reserve(request)]).results == [None]
    return request


def node_ids(engine: Engine) -> set[str]:
    """Who is registered."""
    with engine.connect() as connection:
        return set(connection.execute(text("SELECT id FROM nodes")).scalars())


def test_a_dead_nodes_requests_are_charged_at_their_ceiling(engine: Engine) -> None:
    """Fifteen seconds without a beat, and the next node to start settles what it left, and says how that is known."""
    clock = Clock()
    dead = node(engine, "dead", clock)
    pace = limit("pace", 1000, unit="tokens", window="minute")
    request = reservation(CAP, pace, ceiling=700, tokens=60)
    dead.execute([Reserve(request)])
    dead.close()
    clock.now += timedelta(seconds=15.001)
    node(engine, "heir", clock).close()
    left = row(engine, request.id)
    assert (left["cost"], left["certainty"], left["error"], left["status"]) == (700, "ceiling", "node-lost", None)
    assert totals(engine, CAP) == Totals(spent=700, held=0)
    assert totals(engine, pace) == Totals(spent=60, held=0)
    assert rollup_sums(engine) == (1, 1, 0, 0, 700)
    assert node_ids(engine) == {"heir"}


def test_a_live_nodes_requests_are_never_touched(engine: Engine) -> None:
    """Fourteen seconds old is not dead yet, and a beat makes it young again."""
    clock = Clock()
    live, other = node(engine, "live", clock), node(engine, "other", clock)
    request = hold(live)
    clock.now += timedelta(seconds=14)
    assert other.silent() == []
    live.beat()
    clock.now += timedelta(seconds=14)
    assert other.silent() == []
    assert row(engine, request.id)["state"] == "open"
    live.close()
    other.close()


def test_a_sleeper_that_wakes_puts_the_truth_in_place_of_the_ceiling(engine: Engine) -> None:
    """Its late settlements correct what others charged for it, in all sums, and it registers again."""
    clock = Clock()
    sleeper, other = node(engine, "sleeper", clock), node(engine, "other", clock)
    request, unused = hold(sleeper, 1000), hold(sleeper, 500)
    clock.now += timedelta(hours=2)
    for beat in other.silent():
        other.bury(beat.node_id)
    assert totals(engine, CAP) == Totals(spent=1500, held=0)
    sleeper.execute([Settle(settlement(request, 300, usage=used(7, 2)))])
    assert totals(engine, CAP) == Totals(spent=800, held=0)
    sleeper.execute([Settle(settlement(request, 900)), Settle(settlement(unused, 0))])
    assert totals(engine, CAP) == Totals(spent=300, held=0)
    assert rollup_sums(engine) == (2, 0, 7, 2, 300)
    assert row(engine, request.id)["certainty"] == "exact"
    hold(sleeper)
    assert node_ids(engine) == {"sleeper", "other"}
    sleeper.close()
    other.close()


def test_no_open_request_ever_lacks_a_node(engine: Engine) -> None:
    """A node that was taken for dead is known again before it reserves, or writes, anything."""
    clock = Clock()
    sleeper = node(engine, "sleeper", clock)
    for command in (Reserve(reservation(CAP)), ChargeRow(reservation(CAP), settlement("req_x"))):
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM nodes"))
        sleeper.execute([command])
        assert node_ids(engine) == {"sleeper"}
    sleeper.close()


def test_a_row_is_swept_only_for_the_node_that_died(engine: Engine) -> None:
    """A sweep names the node; a row of another, or one that is settled, is left alone."""
    live = node(engine, "live", Clock())
    open_one, done = hold(live), hold(live)
    live.execute([Settle(settlement(done, 5))])
    live.execute([Sweep(open_one.id, "dead"), Sweep(done.id, "live"), Sweep("req_nowhere", "live")])
    assert (row(engine, open_one.id)["state"], row(engine, done.id)["cost"]) == ("open", 5)
    live.close()


def test_a_node_that_comes_back_under_its_name_charges_what_it_left(engine: Engine) -> None:
    """With a fixed id, a restart sweeps its own earlier life at once, and does not take it for its own."""
    clock = Clock()
    before = node(engine, "fixed", clock, Process(Process.present().host, 2**30))
    request = hold(before, 600)
    before.close()
    again = node(engine, "fixed", clock, Process.present())
    assert row(engine, request.id)["cost"] == 600
    assert again.audit() == 0
    again.close()


def test_two_nodes_cannot_share_a_name(engine: Engine) -> None:
    """A second process of the same id is turned away while the first is alive."""
    clock = Clock()
    first = node(engine, "same", clock)
    with pytest.raises(NodeInUseError, match="'same'"):
        node(engine, "same", clock, Process.present())
    clock.now += timedelta(seconds=16)
    node(engine, "same", clock, Process.present()).close()
    first.close()


def test_many_open_requests_are_swept_in_parts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that died with a thousand requests in flight delays no request for long, and none is forgotten."""
    monkeypatch.setattr("paig_gateway.ledger.executor.SWEEP_ROWS", 40)
    clock = Clock()
    dead, heir = node(engine, "dead", clock), node(engine, "heir", clock)
    dead.execute([Reserve(reservation(limit("big", 10**9), ceiling=3)) for _ in range(100)])
    dead.close()
    assert heir.bury("dead") == 100
    assert rollup_sums(engine) == (100, 100, 0, 0, 300)
    assert node_ids(engine) == {"heir"}
    heir.close()


def test_a_node_with_open_requests_does_not_sign_off(engine: Engine) -> None:
    """What it could not settle stays in its name, so that others find and charge it."""
    clock = Clock()
    leaver = node(engine, "leaver", clock)
    request = hold(leaver)
    leaver.stop()
    assert node_ids(engine) == {"leaver"}
    clock.now += timedelta(seconds=16)
    heir = node(engine, "heir", clock)
    assert row(engine, request.id)["certainty"] == "ceiling"
    heir.stop()
    assert node_ids(engine) == set()


def test_what_a_lost_commit_left_behind_is_let_go(engine: Engine) -> None:
    """A reservation that this process never heard of as granted is found by the audit, and costs nothing."""
    books = node(engine, "node", Clock())
    kept, lost = hold(books), hold(books)
    del books.open[lost.id]
    assert books.audit() == 1
    assert totals(engine, CAP) == Totals(spent=0, held=1000)
    assert (row(engine, lost.id)["cost"], row(engine, lost.id)["error"]) == (0, "not-dispatched")
    assert row(engine, kept.id)["state"] == "open"
    books.close()


def test_a_lost_commit_of_a_request_that_has_a_row_is_released(engine: Engine) -> None:
    """The caller was refused, or passed without a reservation, and its row came first: the row stays as it is."""
    books = node(engine, "node", Clock())
    refused, passed, dead = hold(books), hold(books), hold(books)
    books.open.clear()
    books.execute([ChargeRow(refused, settlement(refused, 0, status=503), counted=False)])
    books.execute([ChargeRow(passed, settlement(passed, 300)), ChargeRow(dead, settlement(dead, 20))])
    assert totals(engine, CAP) == Totals(spent=320, held=3000)
    books.execute([Sweep(dead.id, "node")])
    assert books.audit() == 2
    assert totals(engine, CAP) == Totals(spent=320, held=0)
    assert [row(engine, one.id)["cost"] for one in (refused, passed, dead)] == [0, 300, 20]
    assert rollup_sums(engine)[0] == 3
    assert row(engine, refused.id)["status"] == 503
    books.close()


def test_a_row_that_comes_after_the_release_of_its_lost_commit_counts(engine: Engine) -> None:
    """A request that passed without a reservation costs what it cost, although its hold was taken for unused."""
    books = node(engine, "node", Clock())
    earlier, same = hold(books), hold(books)
    books.open.clear()
    assert books.audit() == 2
    late = ChargeRow(earlier, settlement(earlier, 300))
    late.tried = True
    books.execute([late])
    lost = hold(books)
    books.open.clear()
    books.execute([Release(lost.id), ChargeRow(lost, settlement(lost, 50))])
    assert totals(engine, CAP) == Totals(spent=350, held=0)
    assert [row(engine, one.id)["cost"] for one in (earlier, same, lost)] == [300, 0, 50]
    assert [row(engine, one.id)["error"] for one in (earlier, same, lost)] == [None, "not-dispatched", None]
    assert rollup_sums(engine)[0] == 3
    assert rollup_sums(engine)[-1] == 350
    books.close()


def test_a_process_is_told_from_another_of_the_same_number() -> None:
    """A node is gone if it ran here and its process id is free, or taken by a later process."""
    here = Process.present()
    name, place, start = here.host.split(" ")
    assert not here.is_gone()
    assert Process(f"{name} {place} {int(start) - 1}", here.pid).is_gone()
    assert not Process(f"{name} other-boot/x {start}", 2**30).is_gone()
    assert not Process(f"{name} - -", 2**30).is_gone()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    process = Process(f"{name} {place} {fields[19]}", child.pid)
    assert not process.is_gone()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.is_gone()  # it has ended, though nobody has collected it yet
    child.stdin.close()
    child.wait()


CHILD = """
import asyncio, sys
from paig_gateway.database.engine import open_engine
from paig_gateway.ledger.ledger import Ledger
from tests.gateway.ledger.books import NOON, Clock, limit, reservation
async def main():
    ledger = Ledger(open_engine(sys.argv[1]), node_id="child", clock=Clock())
    await ledger.start()
    await ledger.reserve(reservation(limit("cap", 10_000), ceiling=900, id="req_child"))
    print("held", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes beat, and look for others, five times as often."""
    monkeypatch.setattr(nodes, "BEAT_SECONDS", nodes.BEAT_SECONDS / 5)


async def test_a_killed_process_is_noticed_by_its_neighbours(engine: Engine, brisk: None) -> None:
    """A running node settles the requests of one that was killed on the same machine within a few seconds."""
    url = engine.url.render_as_string(hide_password=False)
    child = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", CHILD, url], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    ledger = Ledger(engine, node_id="neighbour", clock=Clock())
    await ledger.start()
    await asyncio.sleep(nodes.BEAT_SECONDS * 1.25)
    assert row(engine, "req_child")["state"] == "open"
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: row(engine, "req_child")["state"] == "swept")
    assert totals(engine, CAP) == Totals(spent=900, held=0)
    await ledger.stop()
    child.stdout.close()
    child.wait()


async def test_a_late_beat_is_not_a_death(engine: Engine) -> None:
    """After a sleep of the machine every beat is old; only a node that is silent at the next look too is dead."""
    clock = Clock()
    late, dead = node(engine, "late", clock), node(engine, "dead", clock)
    lates, deads = hold(late), hold(dead)
    ledger = Ledger(engine, node_id="ours", clock=clock)
    await ledger.start()
    await ledger.reserve(reservation(CAP))
    clock.now += timedelta(hours=8)

    async def wake() -> None:
        while True:
            await asyncio.to_thread(late.beat)
            clock.now += timedelta(seconds=1)
            await asyncio.sleep(0.2)

    await asyncio.sleep(2.2)  # a look in which both are silent
    waking = asyncio.create_task(wake())
    await until(lambda: row(engine, deads.id)["state"] == "swept")
    assert row(engine, lates.id)["state"] == "open"
    waking.cancel()
    await asyncio.gather(waking, return_exceptions=True)
    await ledger.stop()
    late.close()
    dead.close()
