"""A budget for retries, so that failover cannot multiply load. No I/O, no clock.

Each request of a route adds a share of a retry to its bucket, each second adds a little more, and each retry takes one
out. The bucket starts full: many requests may be at a provider when it stops answering, and all of them must go
elsewhere before its breaker can notice.

The share is that of the breaker: a member that fails more often than the budget covers is taken out by its
breaker. So clients do not notice a member that fails a fifth of its tries, however long it does.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from paig_client.api.fields import Number, Share, Spec

Rate = Annotated[Number, Field(ge=0, le=1e6)]


class RetriesSpec(Spec):
    """The retries, besides each request's first try, that a route may make in each process."""

    share: Share = 0.25
    """As a share of the route's requests."""
    per_second: Rate = 10.0
    """Retries per second, in addition."""
    burst: Rate = 1000.0
    """The most that can be saved up and made at once."""


class RetryBudget:
    """The retries that a route may still make; see the module.

    Attributes:
        left: Retries that could be made at once at the last look.
        refused: The number of refused retries.
    """

    __slots__ = ("_at", "_rule", "left", "refused")

    def __init__(self, rule: RetriesSpec, now: float) -> None:
        self._rule = rule
        self._at = now
        self.left = rule.burst
        self.refused = 0

    def request(self) -> None:
        self.left = min(self.left + self._rule.share, self._rule.burst)

    def take(self, now: float) -> bool:
        """Whether a retry may be made now; it is then counted."""
        trickle = max(now - self._at, 0.0) * self._rule.per_second
        self.left = min(self.left + trickle, self._rule.burst)
        self._at = now
        if self.left < 1:
            self.refused += 1
            return False
        self.left -= 1
        return True
