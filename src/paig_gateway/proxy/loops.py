"""Detects agents in a loop: sessions that repeat the same request, or spend too much within a minute.

Loops are reported by alerts and in the log; their requests are refused (`loop-stopped`) only if the operator sets that.
Each process counts its own requests.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from paig_gateway.catalog.snapshot import Directory
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.money import format_usd
from paig_gateway.proxy.exchange import Exchange

MOST_SESSIONS = 10_000
"""The most sessions that are watched at once; the one idle for longest is removed first."""
MOST_BODIES = 32
"""The most different requests of a session that are remembered."""
MOST_TOLD = 100
"""The most loops that are kept until the alerts fetch them."""
HEAD, TAIL = 2048, 4096
"""Bytes at both ends of a body that identify it, together with its length."""

log = logging.getLogger(__name__)

LoopKind = Literal["repeated", "spending"]


@dataclass(frozen=True, slots=True)
class LoopRule:
    """What counts as a loop.

    Attributes:
        requests: The number of equal requests of a session within `seconds`; 0 turns this rule off.
        seconds: The time for `requests`.
        usd_per_minute: Nanodollars that a session may spend within a minute; None turns this rule off.
        stop: Whether a loop's requests are refused.
    """

    requests: int = 20
    seconds: float = 600.0
    usd_per_minute: int | None = 5_000_000_000
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Loop:
    """A detected loop.

    Attributes:
        found: The number of equal requests, or the nanodollars spent within a minute.
    """

    kind: LoopKind
    key_id: str
    key: str
    session: str
    found: int


@dataclass(slots=True)
class _Watched:
    bodies: OrderedDict[int, deque[float]] = field(default_factory=OrderedDict)
    minute: int = 0
    spent: int = 0
    told: set[LoopKind] = field(default_factory=set)


@dataclass(slots=True)
class Loops:
    """Watches the sessions of one process. For one event loop."""

    rule: LoopRule = LoopRule()
    _sessions: OrderedDict[tuple[str, str], _Watched] = field(default_factory=OrderedDict)
    _found: dict[tuple[LoopKind, str, str], Loop] = field(default_factory=dict)

    def seen(self, key_id: str, key: str, session: str, body: bytes | None, now: datetime) -> None:
        """Note a request that is about to be sent.

        Args:
            body: The request's body; None if equal requests are normal, as in the turns of a spoken conversation.

        Raises:
            GatewayError: `loop-stopped` if it is part of a loop and loops are stopped.
        """
        watched, rule = self._watched(key_id, session), self.rule
        minute, wait = divmod(int(now.timestamp()), 60)
        if rule.requests and body is not None:
            times = self._times(watched, hash((len(body), body[:HEAD], body[-TAIL:])))
            times.append(now.timestamp())
            if len(times) == times.maxlen and times[-1] - times[0] <= rule.seconds:
                self._tell(watched, Loop("repeated", key_id, key, session, len(times)))
                if rule.stop:
                    raise GatewayError(
                        "loop-stopped",
                        f"The session '{session}' sent the same request {len(times)} times within "
                        f"{rule.seconds / 60:g} minutes: this looks like a loop. Change the request, or begin "
                        "another session.",
                        details={"session": session, "kind": "repeated", "requests": len(times)},
                        retryable=False,
                    )
        if rule.stop and self._is_spending(watched, minute):
            raise GatewayError(
                "loop-stopped",
                f"The session '{session}' spent ${format_usd(watched.spent)} within a minute, more than the "
                f"${format_usd(rule.usd_per_minute or 0)} that a session may. It can continue in the next minute.",
                details={"session": session, "kind": "spending", "spent": format_usd(watched.spent)},
                retry_after=60 - wait,
            )

    def spent(self, key_id: str, key: str, session: str, cost: int, now: datetime) -> None:
        """Note what a request cost, in nanodollars."""
        if self.rule.usd_per_minute is None or cost <= 0:
            return
        watched, minute = self._watched(key_id, session), int(now.timestamp()) // 60
        if watched.minute != minute:
            watched.minute, watched.spent = minute, 0
        watched.spent += cost
        if self._is_spending(watched, minute):
            self._tell(watched, Loop("spending", key_id, key, session, watched.spent))

    def take(self) -> list[Loop]:
        found, self._found = list(self._found.values()), {}
        return found

    def check(self, directory: Directory, exchange: Exchange, body: bytes | None) -> None:
        """Refuse a request of a session that was stopped, or of a loop if loops are stopped.

        Args:
            directory: The sessions that were stopped.
            body: As for `seen`.

        Raises:
            GatewayError: `loop-stopped`.
        """
        caller, session = exchange.caller, exchange.attribution.session
        if session is None:
            return
        if (by := directory.stopped(caller.key_id, session)) is not None:
            raise GatewayError(
                "loop-stopped",
                f"The session '{session}' was stopped by {by}. Begin another session, or ask an administrator to "
                "resume this one.",
                details={"session": session, "kind": "stopped", "by": by},
                retryable=False,
            )
        self.seen(caller.key_id, caller.key, session, body, exchange.time)

    def _is_spending(self, watched: _Watched, minute: int) -> bool:
        most = self.rule.usd_per_minute
        return most is not None and watched.minute == minute and watched.spent > most

    def _tell(self, watched: _Watched, loop: Loop) -> None:
        if loop.kind not in watched.told:
            watched.told.add(loop.kind)
            log.warning("session %s of key %s loops: %s", loop.session, loop.key, loop.kind)
        place = (loop.kind, loop.key_id, loop.session)
        if place in self._found or len(self._found) < MOST_TOLD:
            self._found[place] = loop

    def _watched(self, key_id: str, session: str) -> _Watched:
        place = (key_id, session)
        if (watched := self._sessions.get(place)) is None:
            watched = self._sessions[place] = _Watched()
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(place)
        return watched

    def _times(self, watched: _Watched, body: int) -> deque[float]:
        if (times := watched.bodies.get(body)) is None:
            times = watched.bodies[body] = deque(maxlen=self.rule.requests)
            while len(watched.bodies) > MOST_BODIES:
                watched.bodies.popitem(last=False)
        watched.bodies.move_to_end(body)
        return times
