"""A dry run of a route: whom a hundred requests would be sent to first, and in what order the rest are tried."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from paig_client.api.specs import MemberSpec

DRAWS = 100


def order(members: Sequence[MemberSpec], chance: random.Random) -> list[MemberSpec]:
    """The order in which one request tries the members: by priority, among equals by weight.

    A member of weight 0 gets its turn only after the others of its priority.
    """
    found: list[MemberSpec] = []
    active = sorted((member for member in members if member.active), key=lambda member: -member.priority)
    for _, equals in groupby(active, key=lambda member: member.priority):
        left = list(equals)
        while left:
            weights = [member.weight for member in left]
            drawn = chance.choices(left, weights)[0] if sum(weights) else left[0]
            left.remove(drawn)
            found.append(drawn)
    return found


def dry_run(members: Sequence[MemberSpec], draws: int = DRAWS, seed: int | None = None) -> list[Counter[str]]:
    """How often each provider came first, second, …, in so many draws."""
    chance = random.Random(seed)
    places: list[Counter[str]] = [Counter() for member in members if member.active]
    for _ in range(draws):
        for place, member in enumerate(order(members, chance)):
            places[place][member.provider] += 1
    return places


def share(member: MemberSpec, members: Sequence[MemberSpec]) -> float | None:
    """The share of requests that a member gets first; None for one that only stands by."""
    active = [other for other in members if other.active]
    top = max((other.priority for other in active), default=None)
    if not member.active or member.priority != top:
        return None
    weights = sum(other.weight for other in active if other.priority == top)
    return member.weight / weights if weights else None
