"""Refused attempts: counted in bursts, slowed down, forgotten when it is quiet."""

from __future__ import annotations

import logging

import pytest

from paig_gateway.secrets import attempts as module
from paig_gateway.secrets.attempts import FREE, LONGEST_PAUSE, QUIET_SECONDS, SUSPICIOUS, Attempts


class Clock:
    """Seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_waits_longer_each_time_and_others_do_not() -> None:
    """Once a burst is long, each further attempt that was looked at doubles the pause; what came earlier does not."""
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(FREE["token"] - 1):
        attempts.refused("token", "192.0.2.1")
    assert attempts.wait("token", "192.0.2.1") == 0
    pauses = []
    for _ in range(9):
        attempts.refused("token", "192.0.2.1")
        pauses.append(attempts.wait("token", "192.0.2.1"))
        attempts.refused("token", "192.0.2.1")  # too early: changes nothing
        assert attempts.wait("token", "192.0.2.1") == pauses[-1]
        clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert attempts.wait("token", "192.0.2.2") == attempts.wait("key", "192.0.2.1") == 0
    assert attempts.totals == {"token": FREE["token"] - 1 + 18}
    attempts.refused("token", "192.0.2.1")
    clock.now += LONGEST_PAUSE + QUIET_SECONDS + 1
    attempts.refused("token", "192.0.2.1")
    assert attempts.wait("token", "192.0.2.1") == 0


def test_a_burst_is_logged_once_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """The next burst is another."""
    clock = Clock()
    attempts = Attempts(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(SUSPICIOUS - 1):
            attempts.refused("key", "192.0.2.1")
        assert attempts.take() == {}
        for _ in range(3):
            attempts.refused("key", "192.0.2.1")
        assert attempts.take() == {("key", "192.0.2.1"): SUSPICIOUS + 2}
        attempts.refused("key", "192.0.2.1")
        assert attempts.take() == {}
        assert len(caplog.records) == 1
        clock.now += QUIET_SECONDS + 60
        attempts.refused("key", "192.0.2.1")
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "refused: wrong gateway keys from 192.0.2.1"
    ] * 2


def test_one_client_has_a_whole_network_in_ipv6() -> None:
    """An address of the same /64 is the same client; an IPv4 address is the same however it is written."""
    attempts = Attempts(Clock())
    for number in range(FREE["key"]):
        attempts.refused("key", f"2001:db8::{number:x}")
        attempts.refused("key", "::ffff:192.0.2.1")
    assert attempts.wait("key", "2001:db8::ffff") > 0
    assert attempts.wait("key", "192.0.2.1") > 0
    assert attempts.wait("key", "2001:db8:0:1::1") == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was quiet for longest is forgotten first."""
    monkeypatch.setattr(module, "MOST_BURSTS", 3)
    attempts = Attempts(Clock())
    for _ in range(FREE["key"]):
        attempts.refused("key", "192.0.2.1")
    for number in range(2, 5):
        attempts.refused("key", f"192.0.2.{number}")
    assert attempts.wait("key", "192.0.2.1") == 0
