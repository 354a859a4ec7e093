"""The state that the screens show: what was fetched, and when. A part that was not fetched is None."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
    Session,
    UsageReport,
)
from paig_client.api.vocabulary import KeyStatus, Permission
from paig_tui.data.recent import Figures, ProviderFigures, Recent

LinkState = Literal["connecting", "live", "lost", "refused"]


@dataclass(slots=True)
class ConnectionState:
    """The state of the connection to the gateway.

    Attributes:
        state: Whether the gateway answers.
        at: When it last answered.
        reason: Why it does not answer.
        retry_at: When the next try is due.
        asked_at: Since when the gateway owes an answer; None if it owes none.
    """

    state: LinkState = "connecting"
    at: datetime | None = None
    reason: str = ""
    retry_at: datetime | None = None
    asked_at: datetime | None = None


@dataclass
class AppState:
    """Everything that the screens show."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    link: ConnectionState = field(default_factory=ConnectionState)
    recent: Recent = field(default_factory=Recent)
    health: Health | None = None
    identity: Identity | None = None
    denied: dict[str, str] = field(default_factory=dict)
    """The parts that the token may not read, and why."""
    keys: list[Key] | None = None
    projects: list[Owner] | None = None
    users: list[Owner] | None = None
    providers: list[Provider] | None = None
    routes: list[Route] | None = None
    asks: list[LimitRequest] | None = None
    """Requests for more of a limit that wait for an answer."""
    limits: list[LimitStatus] | None = None
    named: list[NamedLimit] | None = None
    """Named limits; `limits` has their counters."""
    sessions: list[Session] | None = None
    """The latest sessions, as their section asked for them."""
    raises: list[LimitRaise] | None = None
    """Limits that are raised at present."""
    health_of: list[ProviderHealth] | None = None
    """The health of each provider."""
    newest: RequestPage | None = None
    """The latest requests as fetched; `recent` has them in order, with those that came since."""
    today: UsageReport | None = None
    yesterday: UsageReport | None = None
    version: int = 0
    """Incremented by every change, so that a screen can tell whether to draw again."""
    fetches: int = 0
    """Incremented by every poll, but not by events: ten thousand keys are not drawn again for each request."""

    def changed(self, *, fetched: bool = False) -> None:
        self.version += 1
        self.fetches += fetched

    def heard(self) -> None:
        self.link = ConnectionState("live", self.clock())
        self.changed()

    def lost(self, reason: str, retry_at: datetime | None, *, refused: bool = False) -> None:
        """Note that the gateway did not answer; what was fetched stays."""
        self.link = ConnectionState("refused" if refused else "lost", self.link.at, reason, retry_at)
        self.changed()

    def may(self, permission: Permission) -> bool:
        """Whether the user has a permission for any project; the gateway decides in the end."""
        who = self.identity
        return who is None or permission in {*who.permissions, *(one for some in who.projects.values() for one in some)}

    def exhausted(self) -> set[tuple[str, str | None]]:
        """The owners (kind and name) that have spent a whole cap."""
        return {
            (limit.owner_kind, limit.owner)
            for limit in self.limits or ()
            if limit.unit == "usd" and limit.spent >= limit.amount
        }

    @property
    def as_of(self) -> datetime:
        """The time of the shown state: the present, or the gateway's last answer."""
        return self.link.at if self.stale and self.link.at is not None else self.clock()

    @property
    def stale(self) -> bool:
        """Whether the shown state is no longer updated."""
        return self.link.state in ("lost", "refused")

    @property
    def empty(self) -> bool:
        """Whether there is no provider or no key yet; False while that is not known."""
        return self.providers == [] or self.keys == []

    def figures(self) -> Figures:
        return self.recent.figures(self.as_of)

    def provider_figures(self) -> dict[str, ProviderFigures]:
        return self.recent.provider_figures(self.as_of)

    def caps(self) -> dict[tuple[str, str], dict[str, LimitStatus]]:
        """The caps in dollars, by owner (kind and name) and window."""
        found: dict[tuple[str, str], dict[str, LimitStatus]] = {}
        for limit in self.limits or ():
            if limit.unit == "usd":
                found.setdefault((limit.owner_kind, limit.owner), {})[limit.window] = limit
        return found

    def closest(self, count: int) -> list[LimitStatus]:
        """The fullest spending caps, fullest first, without unused ones."""
        spending = [limit for limit in self.limits or () if limit.unit == "usd" and used(limit) > 0]
        return sorted(spending, key=used, reverse=True)[:count]


def judged(key: Key, exhausted: set[tuple[str, str | None]]) -> KeyStatus:
    """A key's status by the current limits, which are fetched more often than the keys."""
    if key.status not in ("active", "limit-exceeded"):
        return key.status
    owners = {("organisation", "organisation"), ("project", key.project), ("user", key.user), ("key", key.name)}
    return "limit-exceeded" if exhausted & owners else "active"


def used(limit: LimitStatus) -> float:
    """The share of a limit that is spent or held: 1 when nothing is left."""
    whole = limit.amount
    if whole <= 0:
        return 1.0
    return float((limit.spent + limit.held) / whole)
