"""The requests of the last hour: the live tail, sums by minute, and the figures of the last five minutes.

Sums are updated as requests arrive and expire, so that drawing costs the same at one request a minute and at 200 a
second. Amounts are whole nanodollars. From the time `since` on, the minutes are complete.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from paig_client.api.refusals import failed
from paig_client.api.resources import Request

TAIL = 500
"""How many requests the live tail keeps."""
SAMPLES = 60_000
"""How many requests the figures of the last five minutes are computed from: 200 a second."""
MINUTES = 60
WINDOW = timedelta(minutes=5)


def nanodollars(cost: Decimal) -> int:
    """An amount as the API gives it, in whole nanodollars."""
    return int(cost.scaleb(9))


def minute_of(time: datetime) -> int:
    """The minute's number."""
    return int(time.timestamp()) // 60


@dataclass(frozen=True, slots=True)
class Sample:
    """The parts of a finished request that the figures are computed from."""

    time: datetime
    key: str
    ms: float | None
    failed: bool
    cost: int
    attempts: tuple[tuple[str, int | None, float], ...]


@dataclass(slots=True)
class Minute:
    """One minute's sums."""

    requests: int = 0
    errors: int = 0
    cost: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """The dashboard's figures of the last minutes.

    Attributes:
        per_minute: Requests in the last minute.
        p50: The median time of successful requests, in milliseconds.
        p95: The 95th percentile of the same.
        errors: The share of requests that failed; None without requests.
        spending: US dollars by key, the largest first.
    """

    per_minute: int
    p50: float | None
    p95: float | None
    errors: float | None
    spending: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class ProviderFigures:
    """A provider's figures of the last five minutes.

    Attributes:
        attempts: How many were sent to it.
        good: The share that it answered.
        p95: The 95th percentile of the time to its answers, in milliseconds.
        throttled: How often it answered 429.
    """

    attempts: int
    good: float | None
    p95: float | None
    throttled: int


def quantile(ordered: list[float], share: float) -> float | None:
    """The value that this share of the ordered values does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


@dataclass(slots=True)
class _Provider:
    attempts: int = 0
    good: int = 0
    throttled: int = 0
    times: list[float] = field(default_factory=list)

    def count(self, status: int | None, ms: float, sign: int) -> None:
        self.attempts += sign
        self.good += sign * (status is not None and status < 500 and status != 429)
        self.throttled += sign * (status == 429)
        if status is not None and status < 400:
            _keep(self.times, ms, sign)


def _keep(ordered: list[float], value: float, sign: int) -> None:
    """Insert a value in order (`sign` 1), or remove it (-1)."""
    if sign > 0:
        insort(ordered, value)
    else:
        del ordered[bisect_left(ordered, value)]


class Window:
    """The last five minutes, as running sums."""

    def __init__(self) -> None:
        self._samples: list[tuple[datetime, str, Sample]] = []
        self.failed = 0
        self.times: list[float] = []
        self.spending: Counter[str] = Counter()
        self.providers: dict[str, _Provider] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, request_id: str, sample: Sample) -> None:
        insort(self._samples, (sample.time, request_id, sample), key=lambda entry: entry[:2])
        self._count(sample, 1)

    def remove(self, request_id: str, sample: Sample) -> None:
        """Subtract a request from the sums, if it is counted."""
        place = bisect_left(self._samples, (sample.time, request_id), key=lambda entry: entry[:2])
        if place < len(self._samples) and self._samples[place][2] is sample:
            del self._samples[place]
            self._count(sample, -1)

    def forget(self, edge: datetime) -> None:
        """Subtract the requests before a moment."""
        place = bisect_left(self._samples, edge, key=lambda entry: entry[0])
        for _, _, sample in self._samples[:place]:
            self._count(sample, -1)
        del self._samples[:place]

    def since(self, edge: datetime) -> int:
        return len(self._samples) - bisect_left(self._samples, edge, key=lambda entry: entry[0])

    def _count(self, sample: Sample, sign: int) -> None:
        self.failed += sign * sample.failed
        self.spending[sample.key] += sign * sample.cost
        if not self.spending[sample.key]:
            del self.spending[sample.key]
        if sample.ms is not None and not sample.failed:
            _keep(self.times, sample.ms, sign)
        for provider, status, ms in sample.attempts:
            found = self.providers.setdefault(provider, _Provider())
            found.count(status, ms, sign)
            if not found.attempts:
                del self.providers[provider]


class Recent:
    """The last hour."""

    def __init__(self) -> None:
        self._tail: dict[str, Request] = {}
        self.minutes: dict[int, Minute] = {}
        self.since: datetime | None = None
        self.used: dict[str, datetime] = {}
        """By key, when it was used last."""
        self.window = Window()
        self._samples: dict[str, Sample] = {}

    def add(self, requests: Iterable[Request]) -> None:
        """Add rows of the ledger, oldest first; a row that is known already is replaced."""
        for row in requests:
            if row.state == "open":
                continue
            sample = Sample(
                row.time,
                row.key,
                row.ms_total,
                failed(row),
                nanodollars(row.cost),
                tuple((attempt.provider, attempt.status, attempt.ms) for attempt in row.attempts),
            )
            old = self._samples.pop(row.id, None)
            if old is not None:
                self.window.remove(row.id, old)
                self._sum(old, -1)
            self._samples[row.id] = sample
            self.window.add(row.id, sample)
            self._sum(sample, 1)
            self.used[row.key] = max(row.time, self.used.get(row.key, row.time))
            if old is None or row.id in self._tail:
                self._tail[row.id] = row
            if len(self._tail) > TAIL:
                del self._tail[next(iter(self._tail))]
        while len(self._samples) > SAMPLES:
            first = next(iter(self._samples))
            self.window.remove(first, self._samples.pop(first))

    def _sum(self, sample: Sample, sign: int) -> None:
        minute = self.minutes.setdefault(minute_of(sample.time), Minute())
        minute.requests += sign
        minute.errors += sign * sample.failed
        minute.cost += sign * sample.cost

    @property
    def tail(self) -> list[Request]:
        """The newest requests, the latest to finish first."""
        return [*reversed(self._tail.values())]

    def knows(self, request_id: str) -> bool:
        return request_id in self._samples or request_id in self._tail

    def forget(self, now: datetime) -> None:
        """Remove requests that are too old to be shown."""
        oldest = minute_of(now) - MINUTES
        for minute in [minute for minute in self.minutes if minute < oldest]:
            del self.minutes[minute]
        edge = now - timedelta(minutes=MINUTES if len(self._samples) < 5_000 else 6)
        for request_id in [name for name, sample in self._samples.items() if sample.time < edge]:
            del self._samples[request_id]

    def per_minute(self, now: datetime) -> list[Minute]:
        """The last 60 minutes, oldest first; only those that are known whole."""
        last = minute_of(now)
        first = last - MINUTES + 1
        if self.since is not None:
            first = max(first, minute_of(self.since))
        return [self.minutes.get(minute, Minute()) for minute in range(first, last + 1)]

    def figures(self, now: datetime) -> Figures:
        window = self.window
        window.forget(now - WINDOW)
        return Figures(
            per_minute=window.since(now - timedelta(minutes=1)),
            p50=quantile(window.times, 0.5),
            p95=quantile(window.times, 0.95),
            errors=window.failed / len(window) if len(window) else None,
            spending=[(key, cost / 1e9) for key, cost in window.spending.most_common(20)],
        )

    def provider_figures(self, now: datetime) -> dict[str, ProviderFigures]:
        self.window.forget(now - WINDOW)
        return {
            name: ProviderFigures(
                found.attempts, found.good / found.attempts, quantile(found.times, 0.95), found.throttled
            )
            for name, found in self.window.providers.items()
        }
