"""What was fetched, and when: everything that the screens show, without any of them.

Nothing is ever made up: what was not fetched is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from paig_client.api.resources import (
    Health,
    Identity,
    Key,
    LimitRaise,
    LimitRequest,
    LimitStatus,
    NamedLimit,
    Owner,
    Provider,
    ProviderHealth,
    RequestPage,
    Route,
    UsageReport,
)
from paig_client.api.vocabulary import KeyStatus, Permission
from paig_tui.data.recent import Figures, ProviderFigures, Recent

LinkState = Literal["connecting", "live", "lost", "refused"]


@dataclass(slots=True)
class ConnectionState:
    """How the connection stands.

    Attributes:
        state: Whether the gateway answers.
        at: When it last did.
        reason: Why it does not.
        retry_at: When the next try is due.
    """

    state: LinkState = "connecting"
    at: datetime | None = None
    reason: str = ""
    retry_at: datetime | None = None


@dataclass
class AppState:
    """Everything that is shown."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    link: ConnectionState = field(default_factory=ConnectionState)
    recent: Recent = field(default_factory=Recent)
    health: Health | None = None
    identity: Identity | None = None
    denied: dict[str, str] = field(default_factory=dict)
    """What one may not see, by its name here, and why."""
    keys: list[Key] | None = None
    projects: list[Owner] | None = None
    users: list[Owner] | None = None
    providers: list[Provider] | None = None
    routes: list[Route] | None = None
    asks: list[LimitRequest] | None = None
    """Requests for more of a limit that wait for an answer."""
    limits: list[LimitStatus] | None = None
    named: list[NamedLimit] | None = None
    """Named limits; where their counters stand is in `limits`."""
    raises: list[LimitRaise] | None = None
    """Limits that are raised at present."""
    health_of: list[ProviderHealth] | None = None
    """The health of each provider."""
    newest: RequestPage | None = None
    """The last requests, as they were asked for; `recent` has them in order, with those that came since."""
    today: UsageReport | None = None
    yesterday: UsageReport | None = None
    version: int = 0
    """Raised by every change, so that a screen knows whether to draw again."""
    fetches: int = 0
    """Raised by what was asked for, and not by the requests that come in meanwhile: 200 a second are no reason to look
    through ten thousand keys."""

    def changed(self, *, fetched: bool = False) -> None:
        """Something did."""
        self.version += 1
        self.fetches += fetched

    def heard(self) -> None:
        """The gateway answered."""
        self.link = ConnectionState("live", self.clock())
        self.changed()

    def lost(self, reason: str, retry_at: datetime | None, *, refused: bool = False) -> None:
        """It did not; what was fetched stays, and ages."""
        self.link = ConnectionState("refused" if refused else "lost", self.link.at, reason, retry_at)
        self.changed()

    def may(self, permission: Permission) -> bool:
        """Whether one is allowed that, anywhere; the gateway has the last word."""
        who = self.identity
        return who is None or permission in {*who.permissions, *(one for some in who.projects.values() for one in some)}

    def exhausted(self) -> set[tuple[str, str | None]]:
        """Who has spent a whole cap: kind and name."""
        return {
            (limit.owner_kind, limit.owner)
            for limit in self.limits or ()
            if limit.unit == "usd" and Decimal(limit.spent) >= Decimal(limit.amount)
        }

    @property
    def as_of(self) -> datetime:
        """The moment that what is shown is of: the present, or when the gateway was last heard."""
        return self.link.at if self.stale and self.link.at is not None else self.clock()

    @property
    def stale(self) -> bool:
        """Whether what is shown is no longer kept up to date."""
        return self.link.state in ("lost", "refused")

    @property
    def empty(self) -> bool:
        """Whether nothing was set up yet; False as long as that is not known."""
        return self.providers == [] or self.keys == []

    def figures(self) -> Figures:
        """The dashboard's numbers."""
        return self.recent.figures(self.as_of)

    def provider_figures(self) -> dict[str, ProviderFigures]:
        """By provider, the attempts made at it."""
        return self.recent.provider_figures(self.as_of)

    def caps(self) -> dict[tuple[str, str], dict[str, LimitStatus]]:
        """By owner (kind and name): the caps in dollars by window."""
        found: dict[tuple[str, str], dict[str, LimitStatus]] = {}
        for limit in self.limits or ():
            if limit.unit == "usd":
                found.setdefault((limit.owner_kind, limit.owner), {})[limit.window] = limit
        return found

    def closest(self, count: int) -> list[LimitStatus]:
        """The spending caps that are fullest, fullest first; unused ones are left out."""
        spending = [limit for limit in self.limits or () if limit.unit == "usd" and used(limit) > 0]
        return sorted(spending, key=used, reverse=True)[:count]


def judged(key: Key, exhausted: set[tuple[str, str | None]]) -> KeyStatus:
    """A key's status by the limits as they stand, which are fetched more often than the keys."""
    if key.status not in ("active", "limit-exceeded"):
        return key.status
    owners = {("organisation", "organisation"), ("project", key.project), ("user", key.user), ("key", key.name)}
    return "limit-exceeded" if exhausted & owners else "active"


def used(limit: LimitStatus) -> float:
    """The share of a limit that is spent or held: 1 when nothing is left."""
    whole = Decimal(limit.amount)
    if whole <= 0:
        return 1.0
    return float((Decimal(limit.spent) + Decimal(limit.held)) / whole)
