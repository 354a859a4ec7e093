"""Fast members: moving averages, equals, and turns for slow ones."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from paig_gateway.routing.latency import MOST_MEMBERS, RETRY_REQUESTS, RETRY_SECONDS, Latencies, MemberKey


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


A: MemberKey = ("a", "openai-chat", "gpt-5", True)
B: MemberKey = ("b", "openai-chat", "gpt-5", True)
C: MemberKey = ("c", "openai-chat", "gpt-5", True)


@pytest.fixture
def clock() -> Clock:
    """Time."""
    return Clock()


@pytest.fixture
def latencies(clock: Clock) -> Latencies:
    """Nothing known yet."""
    return Latencies(clock)


def know(latencies: Latencies, **seconds: float) -> None:
    """Measure each once, and let each have had its turn."""
    for place in (A, B, C):
        if place[0] in seconds:
            latencies.measured(place, seconds[place[0]])
    for _ in seconds:
        latencies.ranks([A, B, C][: len(seconds)])


def test_unknown_members_are_equal(latencies: Latencies) -> None:
    """Before anything is measured, weight alone decides."""
    assert latencies.ranks([A, B]) == [0.0, 0.0]


def test_the_fastest_comes_first(latencies: Latencies) -> None:
    """The slower ones follow by their averages; one that is nearly as fast is an equal."""
    know(latencies, a=0.5, b=0.2, c=0.23)
    assert latencies.ranks([A, B, C]) == [0.5, 0.0, 0.0]
    assert latencies.ranks([C, A]) == [0.0, 0.5]


def test_a_few_milliseconds_are_nothing(latencies: Latencies) -> None:
    """Of very fast ones the difference is noise."""
    know(latencies, a=0.002, b=0.009)
    assert latencies.ranks([A, B]) == [0.0, 0.0]


def test_the_average_follows_slowly_where_there_is_much_to_go_by(latencies: Latencies, clock: Clock) -> None:
    """One slow answer among many does not take a member out, but a slow minute does."""
    know(latencies, a=0.2, b=0.3)
    for _ in range(50):
        clock.time += 0.1
        latencies.measured(A, 0.2)
    latencies.measured(A, 0.6)
    assert latencies.ranks([A, B]) == [0.0, 0.3]
    for _ in range(20):
        clock.time += 0.1
        latencies.measured(A, 0.6)
    assert latencies.ranks([A, B])[1] == 0.0
    assert latencies.ranks([A, B])[0] == pytest.approx(0.6, rel=0.2)


def test_what_is_old_counts_for_little(latencies: Latencies, clock: Clock) -> None:
    """After a pause a new measurement replaces most of the average."""
    latencies.measured(A, 10.0)
    know(latencies, b=1.0)
    clock.time += 120
    latencies.measured(A, 1.0)
    assert latencies.ranks([A, B], explore=False) == [0.0, 0.0]


def test_a_slow_member_has_its_turn(latencies: Latencies, clock: Clock) -> None:
    """Once in half a minute and in twenty requests, whichever is later; it comes back as soon as it is fast."""
    know(latencies, a=0.1, b=5.0)

    def turns(requests: int, seconds: float) -> int:
        found = 0
        for _ in range(requests):
            clock.time += seconds / requests
            found += latencies.ranks([A, B])[1] == -1.0
        return found

    assert turns(1000, RETRY_SECONDS * 10) == pytest.approx(10, abs=1)
    assert turns(RETRY_REQUESTS * 10, 3600) == pytest.approx(10, abs=1)
    assert turns(10_000, 1.0) <= 1
    for _ in range(3):
        clock.time += RETRY_SECONDS
        latencies.measured(B, 0.05)
        latencies.measured(A, 0.1)
    assert latencies.ranks([A, B])[1] == 0.0


def test_a_new_member_gets_one_try_until_it_has_answered(latencies: Latencies, clock: Clock) -> None:
    """One request finds out how fast a new member is; the others do not wait for it."""
    know(latencies, a=0.1)
    ranks = [latencies.ranks([A, B]) for _ in range(10)]
    assert Counter(rank[1] for rank in ranks) == {-1.0: 1, math.inf: 9}
    latencies.measured(B, 0.1)
    assert latencies.ranks([A, B]) == [0.0, 0.0]


def test_a_standby_member_is_not_explored(latencies: Latencies) -> None:
    """Without exploring no member has a turn, or uses one up."""
    latencies.measured(A, 0.1)
    assert [latencies.ranks([A, B], explore=False) for _ in range(3)] == [[0.0, math.inf]] * 3
    assert latencies.ranks([A, B]) == [0.0, -1.0]


def test_places_are_measured_apart_and_are_not_too_many(latencies: Latencies) -> None:
    """Another model, another format, a stream or none; what was not asked for longest is forgotten."""
    know(latencies, a=0.1, b=1.0)
    other = [("a", "openai-chat", "gpt-5", False), ("b", "openai-chat", "gpt-5", False)]
    assert latencies.ranks(other) == [0.0, 0.0]
    for number in range(MOST_MEMBERS):
        latencies.measured(("p", "openai-chat", f"model-{number}", True), 0.1)
    assert len(latencies._places) == MOST_MEMBERS
    assert latencies.ranks([A, B]) == [0.0, 0.0]


def test_unknown_models_leave_nothing(latencies: Latencies) -> None:
    """A client that asks for ever new models does not push out what was measured of the real ones."""
    know(latencies, a=1.0, b=0.1)
    for number in range(2 * MOST_MEMBERS):
        made_up = f"model-{number}"
        latencies.ranks([("a", "openai-chat", made_up, True), ("b", "openai-chat", made_up, True)])
    assert latencies.ranks([A, B], explore=False) == [1.0, 0.0]
