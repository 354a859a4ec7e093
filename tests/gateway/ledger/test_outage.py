"""The database goes away and comes back: what callers see, and that nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
from sqlalchemy import Engine

from paig_gateway.database.engine import open_engine
from paig_gateway.domain.errors import GatewayError, LedgerDown
from paig_gateway.ledger.executor import BatchExecutor
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.postgres import PostgresConnection
from paig_gateway.ledger.sqlite import SqliteConnection
from paig_gateway.ledger.writer import BATCH
from tests.gateway.databases import Postgres
from tests.gateway.forwarder import Forwarder
from tests.gateway.ledger.books import (
    Clock,
    Totals,
    counters,
    limit,
    reservation,
    rollup_sums,
    row,
    rows,
    settlement,
    totals,
    until,
)

pytestmark = pytest.mark.anyio

CAP = limit("cap", 10**9)


class Faults:
    """Makes the ledger's commits fail: `before` they are done, or `after`, when the answer is lost on the way."""

    mode: Literal["before", "after"] | None = None
    left = 10**9
    """How many more commits fail."""


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """Faults of both databases' connections; none at first."""
    faults = Faults()
    for connection in (SqliteConnection, PostgresConnection):

        def write(self: Any, sheet: Any, real: Any = connection.write) -> None:
            failing = faults.mode if faults.left > 0 else None
            faults.left -= failing is not None
            if failing == "before":
                raise sqlite3.OperationalError("database or disk is full")
            real(self, sheet)
            if failing == "after":
                raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(connection, "write", write)
    yield faults
    faults.mode = None


@pytest.fixture
async def ledger(engine: Engine) -> AsyncIterator[Ledger]:
    """A running ledger that refuses callers after they have waited for the database for half a second."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock(), max_wait=0.5)
    await ledger.start()
    yield ledger
    await ledger.stop()


@pytest.fixture
async def unhurried(engine: Engine) -> AsyncIterator[Ledger]:
    """A running ledger whose callers wait for as long as a new connection may take."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock(), max_wait=60)
    await ledger.start()
    yield ledger
    await ledger.stop()


@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_commit_that_fails_once_is_done_once(
    unhurried: Ledger, engine: Engine, faults: Faults, mode: Literal["before", "after"]
) -> None:
    """Whether or not it was done before the connection broke, no client notices, and nothing counts twice."""
    ledger = unhurried
    pace = limit("pace", 100, unit="requests", window="minute")
    request, charged, noted = (reservation(CAP, pace) for _ in range(3))
    faults.mode = mode
    for action in (
        lambda: ledger.reserve(request),
        lambda: ledger.settle(settlement(request, 300)),
        lambda: ledger.charge(charged, settlement(charged, 50)),
    ):
        faults.left = 1
        await action()
    faults.left = 1
    ledger.note(noted, settlement(noted, 0, status=402))
    await ledger.reserve(reservation())
    assert totals(engine, CAP) == Totals(spent=350, held=0)
    assert totals(engine, pace).spent == 2
    assert rollup_sums(engine)[0] == 3
    assert rollup_sums(engine)[-1] == 350
    assert ledger.healthy


async def test_while_the_database_is_down(ledger: Ledger, engine: Engine, faults: Faults) -> None:
    """Reservations are refused after a moment, settlements wait, readiness says so; then all goes on by itself."""
    request = reservation(CAP)
    await ledger.reserve(request)
    faults.mode = "before"
    begun = time.monotonic()
    settling = asyncio.create_task(ledger.settle(settlement(request, 300)))
    with pytest.raises(GatewayError) as caught:
        await ledger.reserve(reservation(CAP))
    assert (caught.value.code, caught.value.retry_after) == ("overloaded", 1)
    assert 0.5 <= time.monotonic() - begun < 10
    assert not ledger.healthy
    assert "disk is full" in (ledger.last_error or "")
    assert not settling.done()
    faults.mode = None
    async with asyncio.timeout(15):
        await settling
    assert totals(engine, CAP) == Totals(spent=300, held=0)
    await until(lambda: ledger.healthy)
    assert ledger.last_error is None
    await ledger.reserve(reservation(CAP))


async def test_a_row_written_for_a_refused_caller_is_released(ledger: Ledger, engine: Engine, faults: Faults) -> None:
    """A commit whose answer was lost, and whose caller gave up: its hold is gone once the database is back."""
    faults.mode = "after"
    requests = [reservation(CAP) for _ in range(3)]
    results = await asyncio.gather(*(ledger.reserve(request) for request in requests), return_exceptions=True)
    assert {type(result) for result in results} == {LedgerDown}
    faults.mode = None
    await ledger.reserve(reservation(CAP))
    await until(lambda: totals(engine, CAP) == Totals(spent=0, held=1000))
    assert sorted(found["state"] for found in rows(engine)) == ["open", "settled", "settled", "settled"]


async def test_the_row_of_a_request_that_passed_unrecorded_counts(
    ledger: Ledger, engine: Engine, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    """Its reservation was written by a commit whose answer was lost, and is released; its cost counts all the same."""
    request = reservation(CAP)
    faults.mode = "after"
    with pytest.raises(LedgerDown):
        await ledger.reserve(request)
    faults.mode = None
    await until(lambda: totals(engine, CAP) == Totals(spent=0, held=0) and rows(engine))
    await ledger.charge(request, settlement(request, 300))
    assert totals(engine, CAP) == Totals(spent=300, held=0)
    assert row(engine, request.id)["cost"] == 300
    assert "the ledger cannot do" not in caplog.text


async def test_waiting_for_room_when_the_database_goes_down(ledger: Ledger, faults: Faults) -> None:
    """They are refused as overloaded, and not kept for the whole of their wait."""
    cap = limit("small", 1000)
    await ledger.reserve(reservation(cap))
    waiting = asyncio.create_task(ledger.reserve(reservation(cap), wait=20))
    await until(lambda: ledger.waiting == 1)
    faults.mode = "before"
    settling = asyncio.create_task(ledger.charge(reservation(), settlement(reservation(), 1)))
    with pytest.raises(GatewayError) as caught:
        async with asyncio.timeout(15):
            await waiting
    assert caught.value.code == "overloaded"
    faults.mode = None
    await settling


async def test_stopping_while_the_database_is_down(engine: Engine, faults: Faults) -> None:
    """It is given up after the grace; the requests stay open in the node's name, to be charged at their ceiling."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock(), max_wait=0.5)
    await ledger.start()
    request = reservation(CAP)
    await ledger.reserve(request)
    faults.mode = "before"
    settling = asyncio.create_task(ledger.settle(settlement(request, 300)))
    await asyncio.sleep(0.1)
    begun = time.monotonic()
    await ledger.stop(grace=0.5)
    assert time.monotonic() - begun < 10
    with pytest.raises(GatewayError, match="down"):
        await settling
    faults.mode = None
    assert row(engine, request.id)["state"] == "open"
    # The process lives on under the test; a node of the same id takes up what it left.
    again = Ledger(engine, node_id="node_a", clock=Clock())
    await again.start()
    assert totals(engine, CAP) == Totals(spent=1000, held=0)
    await again.stop()


async def test_a_sqlite_file_that_another_process_keeps_locked(tmp_path: Any) -> None:
    """Callers are refused in time although the writer's thread hangs, and all goes on when the lock is gone."""
    from paig_gateway.database.engine import migrate

    engine = open_engine(f"sqlite:///{tmp_path / 'paig.db'}")
    migrate(engine)
    ledger = Ledger(engine, node_id="node_a", clock=Clock(), max_wait=0.5)
    await ledger.start()
    request = reservation(CAP)
    await ledger.reserve(request)
    other = sqlite3.connect(tmp_path / "paig.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    settling = asyncio.create_task(ledger.settle(settlement(request, 300)))
    begun = time.monotonic()
    with pytest.raises(GatewayError, match="not answering"):
        await ledger.reserve(reservation(CAP))
    assert time.monotonic() - begun < 10
    await until(lambda: not ledger.healthy)
    other.execute("ROLLBACK")
    other.close()
    async with asyncio.timeout(15):
        await settling
    await until(lambda: totals(engine, CAP) == Totals(spent=300, held=0))
    await ledger.stop()
    engine.dispose()


async def test_postgresql_stopped_and_started_under_load(postgres: Postgres) -> None:
    """Clients see overloaded meanwhile; afterwards the ledger agrees with what the upstream counted."""
    engine = open_engine(postgres.fresh_database())
    ledger = Ledger(engine, node_id="node_a", clock=Clock(), max_wait=1.0)
    await ledger.start()
    upstream = 0
    seen: Counter[str] = Counter()
    settling: list[asyncio.Task[None]] = []
    running = True

    async def client() -> None:
        nonlocal upstream
        while running:
            request = reservation(CAP)
            try:
                await ledger.reserve(request, wait=1)
            except GatewayError as error:
                seen[error.code] += 1
                continue
            upstream += 300
            seen["ok"] += 1
            await asyncio.sleep(0.01)
            settling.append(asyncio.create_task(ledger.settle(settlement(request, 300))))

    clients = [asyncio.create_task(client()) for _ in range(20)]
    for served in (20, 40):
        await until(lambda served=served: seen["ok"] > served)
        refused = seen["overloaded"]
        await asyncio.to_thread(postgres.stop)
        await until(lambda: not ledger.healthy)
        await until(lambda refused=refused: seen["overloaded"] > refused)
        await asyncio.to_thread(postgres.start)
        await until(lambda: ledger.healthy)
    await until(lambda: seen["ok"] > 60)
    running = False
    async with asyncio.timeout(60):
        await asyncio.gather(*clients)
        await asyncio.gather(*settling)
    assert seen["ok"] > 40
    assert seen.keys() == {"ok", "overloaded"}
    await until(lambda: totals(engine, CAP).held == 0)
    assert totals(engine, CAP) == Totals(spent=upstream, held=0)
    assert rollup_sums(engine)[-1] == upstream
    assert {found["state"] for found in rows(engine)} == {"settled"}
    await ledger.stop()
    assert counters(engine)
    engine.dispose()


async def test_what_piled_up_is_written_in_bounded_pieces(
    engine: Engine, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is to settle after an outage, no transaction takes more than a batch, and nothing is lost."""
    sizes: list[int] = []
    execute = BatchExecutor.execute

    def counted(self: BatchExecutor, commands: Any, *more: Any) -> Any:
        sizes.append(len(commands))
        return execute(self, commands, *more)

    monkeypatch.setattr(BatchExecutor, "execute", counted)
    ledger = Ledger(engine, node_id="node_a", clock=Clock(), max_wait=60)
    await ledger.start()
    requests = [reservation(CAP) for _ in range(3 * BATCH + 7)]
    for start in range(0, len(requests), BATCH):
        await asyncio.gather(*(ledger.reserve(one) for one in requests[start : start + BATCH]))
    faults.mode = "before"
    sizes.clear()
    for one in requests:
        ledger.settle_soon(settlement(one, 5))
    await until(lambda: not ledger.healthy)
    faults.mode = None
    last = reservation(CAP)
    await until(lambda: ledger.healthy)
    await ledger.reserve(last)
    await ledger.settle(settlement(last, 5))
    await until(lambda: totals(engine, CAP) == Totals(5 * (len(requests) + 1), 0))
    assert max(sizes) <= BATCH
    await ledger.stop()


async def test_connections_that_fall_silent_are_replaced(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooler that has lost its server acknowledges and never answers: callers are refused, and served soon."""
    for module in ("database.engine", "ledger.executor"):
        monkeypatch.setattr(f"paig_gateway.{module}.QUICK_SECONDS", 0.5)
    monkeypatch.setattr("paig_gateway.database.bounded.PING_SECONDS", 0.5)
    async with Forwarder(postgres.fresh_database()).running() as forwarder:
        engine = open_engine(forwarder.url())
        ledger = Ledger(engine, node_id="node_a", clock=Clock(), max_wait=0.2)
        await ledger.start()
        try:
            before, during = reservation(CAP), reservation(CAP)
            await ledger.reserve(before)
            forwarder.silence()
            with pytest.raises(LedgerDown):
                await ledger.reserve(during)
            assert not ledger.healthy
            await until(lambda: ledger.healthy, 60)
            await ledger.settle(settlement(before, 300))
        finally:
            await ledger.stop()
        assert await asyncio.to_thread(totals, engine, CAP) == Totals(spent=300, held=0)
        engine.dispose()
