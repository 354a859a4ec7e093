"""What was fetched, and when: everything that the screens show, without any of them.

Amounts are whole nanodollars here. Nothing is ever made up: what was not fetched is None, and `since` says from when on
the minutes are complete.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from paig_client.schema import Health, Key, LimitStatus, Owner, Provider, Request, Route, UsageReport

TAIL = 500
"""How many requests the live tail keeps."""
SAMPLES = 60_000
"""How many requests the figures of the last five minutes rest on: 200 a second."""
MINUTES = 60
RECENT = timedelta(minutes=5)

Standing = Literal["connecting", "live", "lost", "refused"]


def nanodollars(cost: str) -> int:
    """An amount as the API gives it, in whole nanodollars."""
    return int(Decimal(cost).scaleb(9))


def minute_of(time: datetime) -> int:
    """The minute's number."""
    return int(time.timestamp()) // 60


@dataclass(frozen=True, slots=True)
class Sample:
    """What the figures need of a finished request."""

    time: datetime
    ms: float | None
    failed: bool
    cost: int
    attempts: tuple[tuple[str, int | None, float], ...]


@dataclass(slots=True)
class Minute:
    """One minute's sums."""

    requests: int = 0
    cost: int = 0


class Recent:
    """The requests of the last hour: the live tail, sums by minute, and samples of the last five minutes."""

    def __init__(self) -> None:
        self.tail: deque[Request] = deque(maxlen=TAIL)
        self.minutes: dict[int, Minute] = {}
        self.since: datetime | None = None
        self._samples: dict[str, Sample] = {}

    def add(self, requests: Iterable[Request]) -> None:
        """Take in rows of the ledger, oldest first; one that is known already replaces what was known of it."""
        for row in requests:
            if row.state == "open":
                continue
            old = self._samples.pop(row.id, None)
            sample = Sample(
                row.time,
                row.ms_total,
                row.error is not None or (row.status or 0) >= 400,
                nanodollars(row.cost),
                tuple((attempt.provider, attempt.status, attempt.ms) for attempt in row.attempts),
            )
            minute = self.minutes.setdefault(minute_of(row.time), Minute())
            minute.requests += 0 if old else 1
            minute.cost += sample.cost - (old.cost if old else 0)
            self._samples[row.id] = sample
            self._put(row, known=old is not None)
        while len(self._samples) > SAMPLES:
            del self._samples[next(iter(self._samples))]

    def _put(self, row: Request, *, known: bool) -> None:
        if known:
            for place, other in enumerate(self.tail):
                if other.id == row.id:
                    self.tail[place] = row
                    return
        else:
            self.tail.appendleft(row)

    def knows(self, request_id: str) -> bool:
        """Whether that request was counted."""
        return request_id in self._samples

    def forget(self, now: datetime) -> None:
        """Drop what is older than is shown."""
        oldest = minute_of(now) - MINUTES
        for minute in [minute for minute in self.minutes if minute < oldest]:
            del self.minutes[minute]
        edge = now - timedelta(minutes=MINUTES if len(self._samples) < 5_000 else 6)
        for request_id in [name for name, sample in self._samples.items() if sample.time < edge]:
            del self._samples[request_id]

    def samples(self, now: datetime) -> list[Sample]:
        """The last five minutes."""
        edge = now - RECENT
        return [sample for sample in self._samples.values() if sample.time >= edge]

    def per_minute(self, now: datetime) -> list[float]:
        """Dollars spent in each of the last 60 minutes, oldest first; only as far back as is known."""
        last = minute_of(now)
        first = last - MINUTES + 1
        if self.since is not None:
            first = max(first, minute_of(self.since))
        return [self.minutes.get(minute, Minute()).cost / 1e9 for minute in range(first, last + 1)]


@dataclass(slots=True)
class Link:
    """How the connection stands.

    Attributes:
        standing: Whether the gateway answers.
        at: When it last did.
        reason: Why it does not.
        retry_at: When the next try is due.
    """

    standing: Standing = "connecting"
    at: datetime | None = None
    reason: str = ""
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """The last minutes in numbers; None where there is nothing to measure."""

    per_minute: int
    p50: float | None
    p95: float | None
    errors: float | None


@dataclass(frozen=True, slots=True)
class ProviderFigures:
    """A provider in the last five minutes."""

    attempts: int
    good: float | None
    p95: float | None
    throttled: int


def quantile(values: list[float], share: float) -> float | None:
    """The value that this share of them does not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class State:
    """Everything that is shown."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    link: Link = field(default_factory=Link)
    recent: Recent = field(default_factory=Recent)
    health: Health | None = None
    keys: list[Key] | None = None
    projects: list[Owner] | None = None
    users: list[Owner] | None = None
    providers: list[Provider] | None = None
    routes: list[Route] | None = None
    limits: list[LimitStatus] | None = None
    today: UsageReport | None = None
    yesterday: UsageReport | None = None
    version: int = 0
    """Raised by every change, so that a screen knows whether to draw anew."""

    def changed(self) -> None:
        """Something did."""
        self.version += 1

    def heard(self) -> None:
        """The gateway answered."""
        self.link = Link("live", self.clock())
        self.changed()

    def lost(self, reason: str, retry_at: datetime | None, *, refused: bool = False) -> None:
        """It did not; what was fetched stays, and ages."""
        self.link = Link("refused" if refused else "lost", self.link.at, reason, retry_at)
        self.changed()

    @property
    def stale(self) -> bool:
        """Whether what is shown is no longer kept up to date."""
        return self.link.standing in ("lost", "refused")

    @property
    def empty(self) -> bool:
        """Whether nothing was set up yet; False as long as that is not known."""
        return self.providers == [] or self.keys == []

    def figures(self) -> Figures:
        """The dashboard's numbers."""
        now = self.clock()
        samples = self.recent.samples(now)
        times = [sample.ms for sample in samples if sample.ms is not None and not sample.failed]
        edge = now - timedelta(minutes=1)
        return Figures(
            per_minute=sum(sample.time >= edge for sample in samples),
            p50=quantile(times, 0.5),
            p95=quantile(times, 0.95),
            errors=sum(sample.failed for sample in samples) / len(samples) if samples else None,
        )

    def provider_figures(self) -> dict[str, ProviderFigures]:
        """By provider, the attempts made at it."""
        found: dict[str, list[tuple[int | None, float]]] = {}
        for sample in self.recent.samples(self.clock()):
            for provider, status, ms in sample.attempts:
                found.setdefault(provider, []).append((status, ms))
        return {
            name: ProviderFigures(
                attempts=len(tries),
                good=sum(1 for status, _ in tries if status is not None and status < 500 and status != 429)
                / len(tries),
                p95=quantile([ms for status, ms in tries if status is not None and status < 400], 0.95),
                throttled=sum(1 for status, _ in tries if status == 429),
            )
            for name, tries in found.items()
        }

    def caps(self) -> dict[tuple[str, str], dict[str, LimitStatus]]:
        """By owner (kind and name): the caps in dollars by window."""
        found: dict[tuple[str, str], dict[str, LimitStatus]] = {}
        for limit in self.limits or ():
            if limit.unit == "usd":
                found.setdefault((limit.owner_kind, limit.owner), {})[limit.window] = limit
        return found

    def closest(self, count: int) -> list[LimitStatus]:
        """The spending caps that are fullest, fullest first; those nobody has used are left out."""
        spending = [limit for limit in self.limits or () if limit.unit == "usd" and used(limit) > 0]
        return sorted(spending, key=used, reverse=True)[:count]


def used(limit: LimitStatus) -> float:
    """The share of a limit that is spent or held: 1 when nothing is left."""
    whole = Decimal(limit.amount)
    if whole <= 0:
        return 1.0
    return float((Decimal(limit.spent) + Decimal(limit.held)) / whole)
