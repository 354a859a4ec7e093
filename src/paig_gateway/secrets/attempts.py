"""Attempts that are refused for lack of permission: wrong tokens and keys, refused actions and sensitive reads.

They are counted by kind and address, in bursts. A burst is logged once. When it is long, the address has to wait
between two attempts, twice as long each time, and earlier attempts are refused unchecked. A right value that cannot be
guessed (`ENOUGH_BITS`) passes in any case: so a program is not locked out by another one at the same address, and a
weak value cannot be found by trying.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal

AttemptKind = Literal["token", "key", "action", "read"]
"""A wrong admin token or login, a wrong gateway key, a refused change, a refused look at something."""

FREE: dict[AttemptKind, int] = {"token": 20, "key": 20, "action": 100, "read": 100}
"""Refused attempts of a burst before the address has to wait. Honest programs are refused sometimes, too."""
SUSPICIOUS = 10
"""Refused attempts of a burst that are worth an alert."""
QUIET_SECONDS = 60.0
"""A burst ends after this many seconds without a refusal."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds that an address has to wait at first, and at most."""
MOST_BURSTS = 10_000
"""Bursts that are remembered; the one that was quiet for longest makes room."""

_SAYS: dict[AttemptKind, str] = {
    "token": "wrong admin tokens",
    "key": "wrong gateway keys",
    "action": "changes without permission",
    "read": "reads without permission",
}

log = logging.getLogger(__name__)


AttemptKey = tuple[str, str]


@dataclass(slots=True)
class Burst:
    """Attempts with the same kind and address, in quick succession.

    Attributes:
        place: Their kind and address.
        count: How many attempts.
        last: When the last one was, on the clock.
        pause: Seconds to wait after it; 0 while the burst is short.
        until: When the pause is over.
    """

    place: AttemptKey
    count: int = 0
    last: float = 0.0
    pause: float = 0.0
    until: float = 0.0


class Bursts:
    """The bursts that are not over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start without bursts.

        Args:
            clock: Monotonic seconds.
        """
        self.clock = clock
        self._bursts: dict[AttemptKey, Burst] = {}

    def get(self, place: AttemptKey) -> Burst | None:
        return self._bursts.get(place)

    def add(self, place: AttemptKey) -> Burst:
        """Count an attempt; a new burst has the count 1."""
        now = self.clock()
        burst = self._bursts.pop(place, None)
        if burst is None or now - max(burst.last, burst.until) > QUIET_SECONDS:
            burst = Burst(place)
        if len(self._bursts) >= MOST_BURSTS:
            del self._bursts[next(iter(self._bursts))]
        self._bursts[place] = burst
        burst.count, burst.last = burst.count + 1, now
        return burst


class Attempts:
    """The refused attempts, by kind and address.

    Attributes:
        totals: Refused attempts since the start of the process.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start without any observation.

        Args:
            clock: Monotonic seconds.
        """
        self._bursts = Bursts(clock)
        self._fresh: dict[AttemptKey, int] = {}
        self.totals: Counter[AttemptKind] = Counter()

    def wait(self, kind: AttemptKind, address: str | None) -> float:
        """Seconds until attempts from an address are checked again; 0 if they are checked now."""
        burst = self._bursts.get((kind, _group(address)))
        return 0.0 if burst is None else max(0.0, burst.until - self._bursts.clock())

    def refused(self, kind: AttemptKind, address: str | None) -> None:
        place = kind, _group(address)
        self.totals[kind] += 1
        burst = self._bursts.add(place)
        if burst.count == 1:
            log.warning("refused: %s from %s; more of the same are counted, not logged", _SAYS[kind], place[1])
        if burst.count >= SUSPICIOUS and (burst.count == SUSPICIOUS or place in self._fresh):
            self._fresh[place] = burst.count
        if burst.count >= FREE[kind] and burst.last >= burst.until:
            burst.pause = min(max(FIRST_PAUSE, burst.pause * 2), LONGEST_PAUSE)
            burst.until = burst.last + burst.pause

    def take(self) -> dict[AttemptKey, int]:
        """The bursts that have become suspicious since they were last taken: kind and address, and their attempts."""
        found, self._fresh = self._fresh, {}
        return found


@lru_cache(maxsize=4096)
def _group(address: str | None) -> str:
    """The address; for IPv6 the network that one client has."""
    try:
        found = ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or "an unknown address"
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(found) if found.is_loopback else str(ip_network((found, 64), strict=False))
    return str(found)
