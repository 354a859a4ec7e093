"""The order in which a route's members are tried: by priority, by weight, by session."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from paig_gateway.domain.route import ActiveProvider, ActiveRoute, Chance, Member, by_luck, by_session

DRAWS = 20_000
# The values that chi-square exceeds once in ten thousand cases, by degrees of freedom.
UNLIKELY = {1: 15.14, 2: 18.42, 3: 21.11}


def route(*members: tuple[str, int, int]) -> ActiveRoute:
    """A route of members, each with name, priority and weight."""
    return ActiveRoute(
        "r", tuple(Member(ActiveProvider(name, "openai", ""), priority, weight) for name, priority, weight in members)
    )


def names(route: ActiveRoute, chance: Chance) -> list[str]:
    """The order, by name."""
    return [member.provider.name for member in route.order(chance)]


def chi_square(counts: Counter[str], weights: dict[str, int]) -> float:
    """How far the counts are from what the weights make expected."""
    total, whole = sum(counts.values()), sum(weights.values())
    assert set(counts) == set(weights)
    return sum(
        (counts[name] - (expected := total * weight / whole)) ** 2 / expected for name, weight in weights.items()
    )


WEIGHTS: Sequence[dict[str, int]] = (
    {"a": 1, "b": 1},
    {"a": 3, "b": 1},
    {"a": 10, "b": 5, "c": 1},
    {"a": 1, "b": 2, "c": 3, "d": 4},
)


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_the_first_is_drawn_by_weight(weights: dict[str, int]) -> None:
    """Over many requests each member comes first as often as its weight says, within what chance allows."""
    draw = random.Random(20261128)
    found = route(*((name, 0, weight) for name, weight in weights.items()))
    counts = Counter(names(found, by_luck(draw))[0] for _ in range(DRAWS))
    assert chi_square(counts, weights) < UNLIKELY[len(weights) - 1]


def test_the_second_is_drawn_by_weight_among_those_left() -> None:
    """Where the first fails, the others share its requests by their own weights."""
    draw = random.Random(7)
    found = route(("a", 0, 6), ("b", 0, 3), ("c", 0, 1))
    orders = [names(found, by_luck(draw)) for _ in range(DRAWS)]
    after_a = Counter(order[1] for order in orders if order[0] == "a")
    assert chi_square(after_a, {"b": 3, "c": 1}) < UNLIKELY[1]


def test_priority_comes_before_weight() -> None:
    """Whatever the weights, the highest priority is tried first, and all members are in the order once."""
    draw = random.Random(1)
    found = route(("low", -1, 1000), ("high", 5, 1), ("middle", 0, 1), ("high-too", 5, 1))
    for _ in range(200):
        order = names(found, by_luck(draw))
        assert set(order[:2]) == {"high", "high-too"}
        assert order[2:] == ["middle", "low"]


def test_weight_0_stands_by() -> None:
    """A member of weight 0 comes after its equals, before those of lower priority; several of them as written."""
    draw = random.Random(2)
    found = route(("spare", 1, 0), ("a", 1, 1), ("spare-2", 1, 0), ("b", 1, 5), ("low", 0, 9))
    for _ in range(200):
        order = names(found, by_luck(draw))
        assert set(order[:2]) == {"a", "b"}
        assert order[2:] == ["spare", "spare-2", "low"]
    assert names(route(("x", 0, 0), ("y", 0, 0)), by_luck(draw)) == ["x", "y"]


def test_a_session_has_one_order() -> None:
    """The same session gives the same order each time, in any process and whichever way the members are written."""
    found = route(("a", 0, 1), ("b", 0, 1), ("c", 0, 1), ("d", 0, 1))
    turned = ActiveRoute("r", found.members[::-1])
    for number in range(100):
        order = names(found, by_session("key_1", f"session-{number}"))
        assert names(turned, by_session("key_1", f"session-{number}")) == order
    # Nodes of another version must agree as well: these are for good.
    assert ["".join(names(found, by_session("key_1", f"s{number}"))) for number in range(3)] == ["badc", "bcda", "cabd"]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_sessions_are_spread_by_weight(weights: dict[str, int]) -> None:
    """Over many sessions each member has as many as its weight says."""
    found = route(*((name, 0, weight) for name, weight in weights.items()))
    counts = Counter(names(found, by_session("key_1", f"session-{number}"))[0] for number in range(DRAWS))
    assert chi_square(counts, weights) < UNLIKELY[len(weights) - 1]


def test_a_member_that_goes_moves_no_other_session() -> None:
    """Only the sessions of a member that is taken out go elsewhere, each to the member that was its next."""
    whole = route(("a", 0, 2), ("b", 0, 1), ("c", 0, 1))
    without = route(("b", 0, 1), ("c", 0, 1))
    for number in range(500):
        order = names(whole, by_session("key_1", f"session-{number}"))
        order.remove("a")
        assert names(without, by_session("key_1", f"session-{number}")) == order


def test_sessions_of_two_keys_are_two() -> None:
    """Two keys that call their sessions alike do not share them, nor does one name run into the other."""
    found = route(*((name, 0, 1) for name in "abcdefgh"))
    assert any(names(found, by_session("k1", f"s{n}")) != names(found, by_session("k2", f"s{n}")) for n in range(5))
    assert any(names(found, by_session("k", f"1s{n}")) != names(found, by_session("k1", f"s{n}")) for n in range(5))
