"""A circuit breaker for one credential at one provider. No I/O, no clock.

           tripped              rested
    closed ───────► open ────────────────► half-open ─── proven ──► closed
       │             ▲  └── rejected ──┐    │  │
       │             └───── failed ────│────┘  │ rejected
       └─── rejected ───────► cooling ◄┴───────┘
                                 └─── rested ──► half-open

*Open* means that the provider fails; *cooling*, that it answers but refuses this credential (401, no money left). Both
rest for a time that doubles after each rest that did not help, then pass a few requests as probes (*half-open*), and
close when these have succeeded. A resting credential that is tried because no other is left closes in the same way. A
half-open breaker without requests closes after a while.

A provider may also ask to wait (429, `Retry-After`): such a wait holds for one model, ends by itself and is not a
failure. The client's own errors do not count.

Every try gets a number when it begins. A try that began before the present state is ignored. A running try counts as a
success until it fails; otherwise a burst of quick failures would hide all slow successes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from paig_client.api.fields import Seconds, Share, Spec
from paig_client.api.vocabulary import BreakerState
from paig_gateway.routing.outcomes import Outcomes

BreakerEvent = Literal[
    "answered", "provider_failure", "tripped", "credential_rejected", "rested", "proven", "forgotten"
]

NEXT: Mapping[BreakerState, Mapping[BreakerEvent, BreakerState]] = {
    "closed": {"answered": "closed", "provider_failure": "closed", "tripped": "open", "credential_rejected": "cooling"},
    "cooling": {
        **{"answered": "cooling", "provider_failure": "cooling", "credential_rejected": "cooling"},
        **{"rested": "half-open", "proven": "closed"},
    },
    "half-open": {
        **{"answered": "half-open", "provider_failure": "open", "credential_rejected": "cooling"},
        **{"proven": "closed", "forgotten": "closed"},
    },
    "open": {
        **{"answered": "open", "provider_failure": "open", "credential_rejected": "cooling"},
        **{"rested": "half-open", "proven": "closed"},
    },
}
"""The next state for each state and event; any other event is a bug."""

PROBES = 2
"""How many tries a half-open breaker passes at once, and how many must succeed before it closes."""
MOST_WAITS = 50
"""The most models for which one credential remembers a wait."""
JITTER = 0.2
"""The share by which a rest is randomly longer or shorter, so that nodes do not probe all at once."""
_MOST_DOUBLINGS = 20

Readiness = Literal["ready", "failing", "waiting"]


class BreakerSpec(Spec):
    """The rules by which a failing credential is not used for a while."""

    enabled: bool = True
    """False keeps using every credential, whatever fails."""
    failures: int = Field(default=5, ge=1, le=10_000)
    """This many failures in a row open the breaker, if they are at least `share` of the tries begun since the first."""
    share: Share = 0.25
    """So does this share of failures among the tries of the last 30 seconds,"""
    tries: int = Field(default=20, ge=1, le=1_000_000)
    """if there were at least this many tries."""
    rest: Seconds = 5.0
    """Seconds of rest at first; doubled after each rest that ends in a failure."""
    longest: Seconds = 300.0
    """The longest rest in seconds, also where the provider asks for more."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A credential must not be used for a model yet.

    Attributes:
        until: When it may be again.
        reason: Why not.
        seconds: How long it was from the beginning.
        level: How many times in a row its length was estimated.
        after: The number of the first try that begins after it.
        own: Whether this node got the answer; otherwise another node reported it.
    """

    until: float
    reason: str
    seconds: float
    level: int
    after: int
    own: bool = True


class Breaker:
    """See the module.

    Attributes:
        state: The state at the last look; `readiness` ends a rest that is over.
        since: When it began.
        until: When its rest ends; 0 if it does not rest.
        own: Whether this node saw the failures itself; otherwise another node reported them.
        waits: By model.
        ok_at: The time of the provider's last successful answer.
        outcomes: The results of the last minutes' tries.
    """

    __slots__ = (
        *("_admit_at", "_after", "_begun", "_closed_at", "_random", "_ended", "_level"),
        *("_opened_at", "_passed", "_probing", "_rest", "_row", "_row_after", "_row_ended", "_rule"),
        *("ok_at", "own", "reason", "since", "state", "outcomes", "until", "waits"),
    )

    def __init__(self, rule: BreakerSpec, chance: random.Random, now: float) -> None:
        self._rule = rule
        self._random = chance
        self.state: BreakerState = "closed"
        self.since = now
        self.until = 0.0
        self.reason = ""
        self.own = True
        self.waits: dict[str, Wait] = {}
        self.outcomes = Outcomes()
        self._begun = self._ended = 0
        self._after = 0  # the number of the first try of the present state
        self._row = self._row_after = self._row_ended = 0
        self._passed = self._probing = 0
        self._admit_at = 0.0
        self.ok_at = self._closed_at = self._opened_at = float("-inf")
        self._rest, self._level = 0.0, 0

    # Whether to send

    def readiness(self, model: str, now: float) -> tuple[Readiness, float]:
        """Whether a request for a model may be sent now, and if not, when."""
        if self.state != "closed":
            if self.until <= now and self.state != "half-open":
                self._turn("rested", now)
            if self.state == "half-open":
                # A probe that takes too long makes room for another one.
                if self._probing >= PROBES and now < self._admit_at:
                    return "failing", self._admit_at
            else:
                return ("failing" if self.state == "open" else "waiting"), self.until
        if self.waits and (wait := self.waits.get(model)) is not None and wait.until > now:
            return "waiting", wait.until
        return "ready", now

    def look(self, now: float) -> BreakerState:
        """The state to show: a closed breaker that has to wait for some model shows as cooling."""
        if self.state in ("open", "cooling") and self.until <= now:
            self._turn("rested", now)
        if self.state == "half-open" and now - max(self.since, self._admit_at) >= self._rule.longest:
            self._turn("forgotten", now)
        if self.state == "closed" and any(wait.until > now for wait in self.waits.values()):
            return "cooling"
        return self.state

    def begin(self, now: float) -> int:
        """Begin a try; returns its number. Exactly one of the following methods must end it."""
        self._begun += 1
        if self.state == "half-open":
            self._probing += 1
            self._admit_at = now + self._rest
        return self._begun - 1

    # Results of tries

    def ok(self, number: int, model: str, now: float, seconds: float) -> None:
        """The provider answers.

        Args:
            number: The try's.
            seconds: How long it took to the beginning of its answer.
        """
        self._end(number)
        self.outcomes.ok(now, seconds)
        self.ok_at = now
        if number >= self._row_after:
            self._row = 0
        if self.waits and (wait := self.waits.get(model)) is not None and number >= wait.after:
            del self.waits[model]
        if self.state != "closed" and number >= self._after:
            self._passed += 1
            self._turn("proven" if self._passed >= PROBES else "answered", now)

    def provider_failure(self, number: int, now: float, reason: str) -> None:
        """The provider failed: it could not be reached, took too long, or reported an error of its own."""
        self._end(number)
        self._fail(number, now, reason)

    def broke_off(self, number: int, now: float, reason: str) -> None:
        self._fail(number, now, reason)

    def credential_rejected(self, number: int, now: float, reason: str) -> None:
        """The provider rejects the credential, or its account has no money left."""
        self._end(number)
        self.outcomes.failure(now, reason, fails=False)
        if self._rule.enabled and number >= self._after:
            self._turn("credential_rejected", now, reason)

    def rate_limited(self, number: int, model: str, now: float, reason: str, seconds: float | None) -> None:
        """The provider refuses this credential's requests for a model, for `seconds` if it says how long."""
        self._end(number)
        self.outcomes.rate_limited(now, reason)
        self.wait(model, now, reason, seconds)

    def client_error(self, number: int, now: float, reason: str = "") -> None:
        """The try shows nothing about the provider: the request was invalid, or its client disconnected."""
        self._end(number)
        if reason:
            self.outcomes.failure(now, reason, fails=False)

    def wait(self, model: str, now: float, reason: str, seconds: float | None) -> None:
        """Do not use the credential for a model for a while; without `seconds`, the time is estimated."""
        known = self.waits.get(model)
        level = 0
        if seconds is None:
            if known is not None and known.until > now:
                return
            if known is not None and now - known.until < 2 * known.seconds:
                level = known.level + 1
            seconds = self._rest_seconds(level)
        seconds = min(seconds, self._rule.longest)
        if seconds > 0:
            self._wait(model, Wait(now + seconds, reason, seconds, level, self._begun), now)

    # What others found

    def peer_opened(self, state: BreakerState, since: float, until: float, reason: str, now: float) -> None:
        """Adopt another node's state (failing provider, rejected credential), unless this node has newer results."""
        until = min(until, now + self._rule.longest)
        knows_better = self.state != "closed" or since <= max(self.ok_at, self._closed_at)
        if self._rule.enabled and state in ("open", "cooling") and until > now and not knows_better:
            self._enter(state, now, reason, until - now, own=False)

    def peer_recovered(self, ok_at: float, now: float) -> None:
        """Another node's breaker is closed and its tries succeed: close this one too, without probes of our own."""
        if self.state == "half-open" and now >= self._admit_at and ok_at > self._opened_at:
            self._turn("proven", now)

    def peer_waits(self, model: str, since: float, until: float, reason: str, now: float) -> None:
        """Adopt another node's wait, unless a try has succeeded here since."""
        until = min(until, now + self._rule.longest)
        known = self.waits.get(model)
        if until > now and self.ok_at < since and (known is None or known.until < until):
            self._wait(model, Wait(until, reason, until - now, 0, self._begun, own=False), now)

    # The machine

    def _end(self, number: int) -> None:
        self._ended += 1
        if self._row and number >= self._row_after:
            self._row_ended += 1
        if self._probing and number >= self._after:
            self._probing -= 1

    def _fail(self, number: int, now: float, reason: str) -> None:
        self.outcomes.failure(now, reason, fails=True)
        if not self._rule.enabled or number < self._after:
            return
        if self._row == 0:
            self._row_after, self._row_ended = self._begun, 0
        self._row += 1
        trips = self.state == "closed" and self._is_too_much(now)
        self._turn("tripped" if trips else "provider_failure", now, reason)

    def _is_too_much(self, now: float) -> bool:
        """Whether there are too many failures, in a row or in all."""
        rule = self._rule
        pending = self._begun - self._row_after - self._row_ended
        if self._row >= rule.failures and self._row >= rule.share * (self._row + pending):
            return True
        good, failed = self.outcomes.recently(now)
        pending = self._begun - self._ended
        return good + failed >= rule.tries and failed >= rule.share * (good + failed + pending)

    def _turn(self, sign: BreakerEvent, now: float, reason: str = "") -> None:
        state = NEXT[self.state][sign]
        if sign == "provider_failure":
            self._passed = 0
        if state == self.state:
            return
        if state in ("open", "cooling"):
            # If it opens again soon after it closed, the provider has not recovered.
            relapsed = self.state != "closed" or now - self._closed_at < 2 * self._rest
            self._level = self._level + 1 if relapsed and self._rest else 0
            self._enter(state, now, reason, self._rest_seconds(self._level), own=True)
            return
        if state == "closed":
            self._closed_at = now
            self.outcomes.forget_recent()
        self.state, self.since, self.until, self.own = state, now, 0.0, True
        self.reason = self.reason if state == "half-open" else ""
        self._begin_state()

    def _enter(self, state: BreakerState, now: float, reason: str, seconds: float, *, own: bool) -> None:
        """Rest for this many seconds."""
        self.state, self.since, self.until, self.reason, self.own = state, now, now + seconds, reason, own
        self._rest, self._opened_at = seconds, now
        self._begin_state()

    def _begin_state(self) -> None:
        self._after = self._begun
        self._passed = self._probing = self._row = 0
        self._admit_at = 0.0

    def _wait(self, model: str, wait: Wait, now: float) -> None:
        if not self._rule.enabled:
            return
        if len(self.waits) >= MOST_WAITS and model not in self.waits:
            # Past waits are kept for a while, to count how many in a row were estimated.
            self.waits = {name: kept for name, kept in self.waits.items() if kept.until > now}
            if len(self.waits) >= MOST_WAITS:  # the oldest: invented models must not displace real ones
                del self.waits[min(self.waits, key=lambda name: self.waits[name].until)]
        self.waits[model] = wait

    def _rest_seconds(self, level: int) -> float:
        rule = self._rule
        seconds = rule.rest * (1 << min(level, _MOST_DOUBLINGS))
        return min(seconds * self._random.uniform(1 - JITTER, 1 + JITTER), rule.longest)
