"""Sessions that go round in circles are noticed, and refused only where that is wanted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from paig_gateway.domain.errors import GatewayError
from paig_gateway.proxy.loops import MOST_SESSIONS, Loop, LoopRule, Loops

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DOLLAR = 10**9


def sent(loops: Loops, count: int, *, body: bytes = b"again", apart: float = 1.0, session: str = "s") -> int:
    """Send a request a number of times; how many were refused."""
    refused = 0
    for number in range(count):
        try:
            loops.seen("k", "ci", session, body, NOON + timedelta(seconds=number * apart))
        except GatewayError as error:
            refused += error.code == "loop-stopped"
    return refused


def test_the_same_request_over_and_over_is_told_once_between_two_looks() -> None:
    loops = Loops(LoopRule(requests=5, seconds=60))
    assert sent(loops, 4) == 0
    assert loops.take() == []
    assert sent(loops, 3) == 0
    assert loops.take() == [Loop("repeated", "k", "ci", "s", 5)]
    assert loops.take() == []


def test_different_requests_and_slow_ones_are_no_loop() -> None:
    loops = Loops(LoopRule(requests=5, seconds=60))
    for number in range(100):
        sent(loops, 1, body=b"%d" % number)
    sent(loops, 50, apart=20)
    sent(loops, 4, session="another")
    assert loops.take() == []


def test_a_loop_is_refused_where_that_is_wanted_and_another_request_is_not() -> None:
    loops = Loops(LoopRule(requests=5, seconds=60, stop=True))
    assert sent(loops, 8) == 4
    assert sent(loops, 1, body=b"something else") == 0
    with pytest.raises(GatewayError, match="same request 5 times within 1 minutes") as refused:
        loops.seen("k", "ci", "s", b"again", NOON + timedelta(seconds=9))
    assert not refused.value.retryable
    assert refused.value.status == 429


def test_money_per_minute_is_told_and_refused_until_the_minute_ends() -> None:
    loops = Loops(LoopRule(requests=0, usd_per_minute=DOLLAR, stop=True))
    loops.spent("k", "ci", "s", DOLLAR, NOON)
    assert loops.take() == []
    loops.spent("k", "ci", "s", 1, NOON + timedelta(seconds=10))
    assert loops.take() == [Loop("spending", "k", "ci", "s", DOLLAR + 1)]
    with pytest.raises(GatewayError, match=r"spent \$1.000000001 within a minute") as refused:
        loops.seen("k", "ci", "s", b"", NOON + timedelta(seconds=40))
    assert refused.value.retry_after == 20
    loops.seen("k", "ci", "s", b"", NOON + timedelta(seconds=60))
    loops.seen("k", "ci", "other", b"", NOON + timedelta(seconds=40))


def test_what_is_watched_is_bounded() -> None:
    loops = Loops(LoopRule(requests=2, seconds=1e9))
    for number in range(MOST_SESSIONS + 100):
        sent(loops, 2, session=f"s{number}")
    assert len(loops._sessions) == MOST_SESSIONS
    assert len(loops.take()) == 100
