"""Measures how long providers take to begin an answer, and orders members by it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MemberKey = tuple[str, str, str, bool]
"""What is measured separately: provider, API format, the model's name there, and whether the answer is a stream."""

LEAST_SHARE = 0.1
"""The least weight of a new measurement in the average."""
MEMORY_SECONDS = 30.0
"""The older the last measurement, the more a new one counts: two thirds if the last one is this many seconds old."""
ALIKE = 1.2
"""A member that takes at most this many times as long as the fastest counts as equally fast,"""
ALIKE_SECONDS = 0.01
"""and so does one that takes at most this many seconds longer."""
RETRY_SECONDS = 30.0
"""A slow member is tried first again after this many seconds,"""
RETRY_REQUESTS = 20
"""and this many requests."""
MOST_MEMBERS = 4096


@dataclass(slots=True)
class Pace:
    """The measured latency of a member.

    Attributes:
        seconds: The moving average of its times to the first byte; None before the first is known.
        measured: When the last one was measured.
        tried: When it was last tried first without being known to be fast.
        passed: The number of requests since then for which it was not tried first.
    """

    seconds: float | None = None
    measured: float = 0.0
    tried: float = -math.inf
    passed: int = RETRY_REQUESTS


class Latencies:
    """Exponentially weighted moving averages, in this process's memory."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start without any observation.

        Args:
            clock: Monotonic seconds.
        """
        self._clock = clock
        self._places: OrderedDict[MemberKey, Pace] = OrderedDict()

    def measured(self, place: MemberKey, seconds: float) -> None:
        """Record how long a place took to begin an answer, or until it was given up."""
        pace, now = self._pace(place), self._clock()
        if pace.seconds is None:
            pace.seconds = seconds
        else:
            share = max(LEAST_SHARE, 1.0 - math.exp((pace.measured - now) / MEMORY_SECONDS))
            pace.seconds += share * (seconds - pace.seconds)
        pace.measured = now

    def ranks(self, places: Sequence[MemberKey], *, explore: bool = True) -> list[float]:
        """The order of members for one request: by rank, and by weight within a rank.

        The fastest members and those that are nearly as fast have rank 0; slower ones rank by seconds. Now and then a
        slow or unknown member gets rank -1, so that a member that has become fast is noticed.

        Args:
            places: The members of one priority.
            explore: Whether a member may get such a turn.
        """
        if not any(place in self._places for place in places):
            return [0.0] * len(places)  # models without any answer are not remembered
        paces, now = [self._pace(place) for place in places], self._clock()
        known = [pace.seconds for pace in paces if pace.seconds is not None]
        if not known:
            return [0.0] * len(places)
        enough = max(min(known) * ALIKE, min(known) + ALIKE_SECONDS)
        ranks = [
            math.inf if pace.seconds is None else 0.0 if pace.seconds <= enough else pace.seconds for pace in paces
        ]
        slow = [number for number, rank in enumerate(ranks) if rank] if explore else []
        for number in slow:
            paces[number].passed += 1
        due = [
            number
            for number in slow
            if paces[number].passed > RETRY_REQUESTS and now - paces[number].tried >= RETRY_SECONDS
        ]
        if due:
            longest = min(due, key=lambda number: paces[number].tried)
            paces[longest].tried, paces[longest].passed = now, 0
            ranks[longest] = -1.0
        return ranks

    def _pace(self, place: MemberKey) -> Pace:
        pace = self._places.get(place)
        if pace is None:
            pace = self._places[place] = Pace()
            if len(self._places) > MOST_MEMBERS:
                self._places.popitem(last=False)
        else:
            self._places.move_to_end(place)
        return pace
