"""Requests let pass while the database is down: charged when it is back, once, though the process die in between."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from paig_gateway.database.engine import writing
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.postgres import PostgresConnection
from paig_gateway.ledger.spool import Spool, Unrecorded, read_spool
from paig_gateway.ledger.sqlite import SqliteConnection
from tests.gateway.ledger.books import Clock, Totals, limit, reservation, row, settlement, totals, until

pytestmark = pytest.mark.anyio

CAP = limit("cap", 1000)


class Down:
    """Whether the database is."""

    value = False


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> Down:
    """Takes the database away, and gives it back."""
    down = Down()
    for connection in (SqliteConnection, PostgresConnection):

        def read(self: Any, wanted: Any, real: Any = connection.read) -> Any:
            if down.value:
                raise sqlite3.OperationalError("disk I/O error")
            return real(self, wanted)

        monkeypatch.setattr(connection, "read", read)
    return down


def files(home: Path, kind: str = "unrecorded") -> list[Path]:
    """The spools in a home folder."""
    return sorted(home.glob(f"{kind}-*"))


async def test_written_when_the_database_is_back(engine: Engine, tmp_path: Path, down: Down) -> None:
    """It is in a file that only its owner reads until then; caps count it, though they had no room for it."""
    ledger = Ledger(engine, node_id="node_a", home=tmp_path, clock=Clock())
    await ledger.start()
    down.value = True
    requests = [reservation(CAP) for _ in range(3)]
    for request in requests:
        ledger.charge_late(request, settlement(request, 600))
    [spool] = files(tmp_path)
    assert stat.S_IMODE(spool.stat().st_mode) == 0o600
    assert len(spool.read_bytes().splitlines()) == 3
    down.value = False
    await until(lambda: not files(tmp_path))
    assert totals(engine, CAP) == Totals(spent=1800, held=0)
    assert [row(engine, request.id)["cost"] for request in requests] == [600, 600, 600]
    await ledger.stop()


async def test_the_next_start_records_what_a_dead_process_left(
    engine: Engine, tmp_path: Path, down: Down, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever its node's name; a line that its death cut off is reported, and no line is charged twice."""
    ledger = Ledger(engine, node_id="node_a", home=tmp_path, clock=Clock())
    await ledger.start()
    down.value = True
    requests = [reservation(CAP) for _ in range(2)]
    for request in requests:
        ledger.charge_late(request, settlement(request, 600))
    await ledger.stop(grace=0)
    await asyncio.sleep(0)
    assert "kept in" in caplog.text
    [spool] = files(tmp_path)
    lines = spool.read_bytes()
    down.value = False
    for written in (lines, lines + lines[:50]):
        spool.write_bytes(written)
        again = Ledger(engine, node_id="node_b", home=tmp_path, clock=Clock())
        await again.start()
        assert files(tmp_path) == []
        assert totals(engine, CAP) == Totals(spent=1200, held=0)
        await again.stop()
    assert "line 3 of" in caplog.text


async def test_a_living_node_keeps_its_own(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that starts leaves alone what another, which runs, is still to record."""
    first, second = (Ledger(engine, node_id=name, home=tmp_path, clock=Clock()) for name in ("node_a", "node_b"))
    await first.start()
    request = reservation(CAP)
    Spool(tmp_path, "node_a").add(Unrecorded(request, settlement(request, 600)))
    await second.start()
    assert len(files(tmp_path)) == 1
    assert totals(engine, CAP) == Totals(spent=0, held=0)
    await first.stop()
    await second.stop()


async def test_a_disk_that_takes_no_spool(
    engine: Engine, tmp_path: Path, down: Down, caplog: pytest.LogCaptureFixture
) -> None:
    """The request is still charged from memory, and the log tells of the danger."""
    ledger = Ledger(engine, node_id="node_a", home=tmp_path / "missing", clock=Clock())
    await ledger.start()
    down.value = True
    request = reservation(CAP)
    ledger.charge_late(request, settlement(request, 600))
    assert "in memory only" in caplog.text
    down.value = False
    await until(lambda: totals(engine, CAP) == Totals(spent=600, held=0))
    await ledger.stop()


async def test_settlements_are_in_the_file_while_the_database_is_down(
    engine: Engine, tmp_path: Path, down: Down
) -> None:
    """They are written when it is available again, and the file is gone; what was refused is not in it."""
    ledger = Ledger(engine, node_id="node_a", home=tmp_path, clock=Clock(), max_wait=20)
    await ledger.start()
    requests = [reservation(limit("wide", 10_000)) for _ in range(3)]
    for request in requests:
        await ledger.reserve(request)
    down.value = True
    for request in requests:
        ledger.settle_soon(settlement(request, 300))
    assert not await ledger.flush(0.05)
    await until(lambda: files(tmp_path) and len(files(tmp_path)[0].read_bytes().splitlines()) == 3)
    assert not ledger.healthy
    down.value = False
    assert await ledger.flush(10)
    assert files(tmp_path) == []
    assert [row(engine, request.id)["cost"] for request in requests] == [300, 300, 300]
    await ledger.stop()


async def test_a_settlement_outlives_its_process(engine: Engine, tmp_path: Path, down: Down) -> None:
    """The process ends while the database is down: the next one finds the true cost, and no ceiling is charged."""
    ledger = Ledger(engine, node_id="node_a", home=tmp_path, clock=Clock())
    await ledger.start()
    request = reservation(CAP)
    await ledger.reserve(request)
    down.value = True
    ledger.settle_soon(settlement(request, 300))
    await ledger.stop(grace=0)
    await asyncio.sleep(0)
    down.value = False
    with writing(engine) as connection:
        connection.execute(text("UPDATE nodes SET beat_at = 0, host = 'far-away - -'"))
    again = Ledger(engine, node_id="node_b", home=tmp_path, clock=Clock())
    await again.start()
    assert files(tmp_path) == []
    assert (row(engine, request.id)["cost"], row(engine, request.id)["certainty"]) == (300, "exact")
    assert totals(engine, CAP) == Totals(spent=300, held=0)
    await again.stop()


async def test_a_settlement_that_the_database_refuses_is_set_aside(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Others go through; it is charged at its ceiling, kept in a file with the reason, and reported."""
    wide = limit("wide", 10_000)
    ledger = Ledger(engine, node_id="node_a", home=tmp_path, clock=Clock())
    await ledger.start()
    good, bad, late = reservation(wide), reservation(wide, ceiling=700), reservation(wide)
    for request in (good, bad):
        await ledger.reserve(request)
    for request, cost in ((bad, 10**30), (good, 300)):
        ledger.settle_soon(settlement(request, cost))
    ledger.charge_late(late, settlement(late, 200, status=10**30))
    assert await ledger.flush(10)
    charged = row(engine, bad.id)
    assert (charged["cost"], charged["certainty"], charged["error"]) == (700, "ceiling", "not-recorded")
    assert (row(engine, late.id)["cost"], row(engine, late.id)["error"]) == (200, "not-recorded")
    assert row(engine, good.id)["cost"] == 300
    assert totals(engine, wide) == Totals(spent=1200, held=0)
    [kept] = files(tmp_path, "set-aside")
    assert {line.settlement.id for line in read_spool(kept)} == {bad.id, late.id}
    assert all(line.reason for line in read_spool(kept))
    assert ledger.set_aside == 2
    assert f"request {bad.id} is charged at its ceiling" in caplog.text
    assert ledger.healthy
    await ledger.reserve(reservation(wide))
    await ledger.stop()
