"""Loops of sessions are remembered for every screen, on both databases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from paig_gateway.ledger import session_loops
from paig_gateway.ledger.session_loops import LoopLog, loops_of, record

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Seen:
    """A loop, as a process saw it."""

    kind: str
    session: str
    found: int
    key_id: str = "key_1"


def test_the_latest_of_a_session_counts(engine: Engine) -> None:
    record(engine, [Seen("repeated", "s", 5), Seen("repeated", "t", 5, "key_2")], NOON)
    record(engine, [Seen("repeated", "s", 9)], NOON + timedelta(minutes=1))
    record(engine, [Seen("spending", "t", 6_500_000_000)], NOON)
    with engine.connect() as connection:
        found = loops_of(connection, [("key_1", "s"), ("key_1", "t"), ("key_1", "none")])
        assert loops_of(connection, []) == {}
    assert {place: (one.kind, one.requests, one.spent) for place, one in found.items()} == {
        ("key_1", "s"): ("repeated", 9, Decimal(0)),
        ("key_1", "t"): ("spending", 0, Decimal("6.5")),
    }
    assert found["key_1", "s"].at == NOON + timedelta(minutes=1)


def test_old_ones_and_too_many_are_forgotten(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_loops, "MOST", 3)
    record(engine, [Seen("repeated", "old", 5)], NOON - timedelta(days=31))
    for number in range(5):
        record(engine, [Seen("repeated", f"s{number}", 5)], NOON + timedelta(seconds=number))
    places = [("key_1", name) for name in ("old", "s0", "s1", "s2", "s3", "s4")]
    with engine.connect() as connection:
        assert {session for _, session in loops_of(connection, places)} == {"s2", "s3", "s4"}


@pytest.mark.anyio
async def test_alerts_and_the_database_both_get_what_was_seen(engine: Engine) -> None:
    waiting = [Seen("repeated", "s", 5)]

    def look() -> list[Seen]:
        found = list(waiting)
        waiting.clear()
        return found

    log = LoopLog(look, engine, lambda: NOON)
    await log.note()
    waiting.append(Seen("repeated", "t", 7))
    assert [one.session for one in log.take()] == ["s", "t"]
    assert log.take() == []
    await log.note()
    with engine.connect() as connection:
        assert len(loops_of(connection, [("key_1", "s"), ("key_1", "t")])) == 2
