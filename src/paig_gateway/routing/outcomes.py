"""The results of the tries of the last five minutes: counts, reasons, times. No I/O, no clock."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SLOT_SECONDS = 10.0
SLOTS = 30
"""Five minutes."""
RECENT_SLOTS = 3
"""The last half minute of these, by which a breaker decides."""
MOST_REASONS = 20
"""The most reasons in a slot; further ones count as `other`."""
_RATIO = math.log(1.2)
"""Times are rounded to steps of a fifth."""


@dataclass(slots=True)
class _Slot:
    number: int
    ok: int = 0
    failed: int = 0
    rate_limited: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of the tries of five minutes.

    Attributes:
        ok: Tries that the provider answered.
        rate_limited: Tries that were rate-limited (429).
        failures: All others, by reason, rate limits included; not the clients' own faults.
        times: The number of successful tries by their duration, in the steps of `seconds_of`.
    """

    ok: int = 0
    rate_limited: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[int, int] = field(default_factory=dict)

    @property
    def tries(self) -> int:
        return self.ok + sum(self.failures.values())

    @property
    def ok_share(self) -> float | None:
        """The share of successful tries; None without tries."""
        return self.ok / self.tries if self.tries else None

    def quantile(self, share: float) -> float | None:
        """The seconds within which that share of the successful tries was answered; None if there are none."""
        wanted = math.ceil(sum(self.times.values()) * share)
        seen = 0
        for step in sorted(self.times):
            seen += self.times[step]
            if seen >= wanted:
                return seconds_of(step)
        return None

    @staticmethod
    def of(many: Iterable[Sums]) -> Sums:
        failures: Counter[str] = Counter()
        times: Counter[int] = Counter()
        ok = rate_limited = 0
        for sums in many:
            ok, rate_limited = ok + sums.ok, rate_limited + sums.rate_limited
            failures.update(sums.failures)
            times.update(sums.times)
        return Sums(ok, rate_limited, dict(failures), dict(times))


def step_of(seconds: float) -> int:
    """The step that a time falls into."""
    return math.ceil(math.log(max(seconds, 0.001)) / _RATIO)


def seconds_of(step: int) -> float:
    """The longest time of a step."""
    return math.exp(step * _RATIO)


class Outcomes:
    """Counts by slots of ten seconds.

    Attributes:
        last_error: The latest error.
        last_error_at: When.
    """

    __slots__ = ("_forgotten", "_slots", "last_error", "last_error_at")

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque(maxlen=SLOTS)
        self._forgotten = -1
        self.last_error = ""
        self.last_error_at = 0.0

    def ok(self, now: float, seconds: float) -> None:
        slot = self._slot(now)
        slot.ok += 1
        step = step_of(seconds)
        slot.times[step] = slot.times.get(step, 0) + 1

    def failure(self, now: float, reason: str, *, fails: bool) -> None:
        """Count a failed try; `fails` is whether it counts for the breaker."""
        slot = self._slot(now)
        slot.failed += fails
        counted = reason if reason in slot.failures or len(slot.failures) < MOST_REASONS else "other"
        slot.failures[counted] = slot.failures.get(counted, 0) + 1
        self.last_error, self.last_error_at = reason, now

    def rate_limited(self, now: float, reason: str) -> None:
        self.failure(now, reason, fails=False)
        self._slots[-1].rate_limited += 1

    def recently(self, now: float) -> tuple[int, int]:
        """The successes and failures of half a minute, since the last `forget`."""
        oldest = max(int(now / SLOT_SECONDS) - RECENT_SLOTS, self._forgotten)
        good = failed = 0
        for slot in reversed(self._slots):
            if slot.number <= oldest:
                break
            good += slot.ok
            failed += slot.failed
        return good, failed

    def forget_recent(self) -> None:
        """Judge by later results alone."""
        if self._slots:
            self._forgotten = self._slots[-1].number

    def sums(self, now: float) -> Sums:
        oldest = int(now / SLOT_SECONDS) - SLOTS
        return Sums.of(
            Sums(slot.ok, slot.rate_limited, slot.failures, slot.times) for slot in self._slots if slot.number > oldest
        )

    def _slot(self, now: float) -> _Slot:
        number = int(now / SLOT_SECONDS)
        if not self._slots or self._slots[-1].number < number:
            self._slots.append(_Slot(number))
        return self._slots[-1]
