"""Numbers that rise, and the observer that sums the data plane's events into them.

The numbers are counters and histograms in plain dictionaries, a fraction of a microsecond each.

They belong to the event loop's thread; a snapshot of them is plain data, which several workers can put together.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from paig_gateway.domain.errors import GatewayError
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.telemetry.metrics.families import FAMILIES, Labels

Series = dict[str, dict[Labels, float]]
Buckets = dict[str, dict[Labels, list[float]]]
Sample = tuple[str, Labels, float]
"""A metric's name, its labels' values, its value in stored units."""

Source = Callable[[], Iterable[Sample]]
"""Called for the present values each time that they are shown."""

OTHER = "other"


@dataclass(slots=True)
class Numbers:
    """Values by metric and labels.

    Attributes:
        values: Counters and gauges.
        buckets: Histograms: a count for each bucket, one for what is above the last, then the sum of all values.
    """

    values: Series = field(default_factory=dict)
    buckets: Buckets = field(default_factory=dict)

    def add(self, name: str, labels: Labels = (), amount: float = 1) -> None:
        series = self.values.setdefault(name, {})
        series[labels] = series.get(labels, 0) + amount

    def observe(self, name: str, labels: Labels, value: float) -> None:
        bounds = FAMILIES[name].buckets
        series = self.buckets.setdefault(name, {})
        counts = series.get(labels)
        if counts is None:
            counts = series[labels] = [0.0] * (len(bounds) + 2)
        counts[bisect_left(bounds, value)] += 1
        counts[-1] += value

    def copy(self) -> Numbers:
        """A copy for another thread to read."""
        return Numbers(
            {name: dict(series) for name, series in self.values.items()},
            {
                name: {labels: list(counts) for labels, counts in series.items()}
                for name, series in self.buckets.items()
            },
        )

    def set(self, samples: Iterable[Sample]) -> None:
        """Put values in, as of gauges."""
        for name, labels, value in samples:
            self.values.setdefault(name, {})[labels] = value

    def present(self, sources: Iterable[Source]) -> Numbers:
        """A copy with the present values of these sources, for another thread to read; call it on the event loop."""
        present = self.copy()
        for source in sources:
            present.set(source())
        return present

    def merge(self, other: Numbers, *, gauges: bool = True) -> None:
        """Add another worker's numbers; without `gauges`, only what never falls."""
        for name, series in other.values.items():
            family = FAMILIES.get(name)
            if family is None or (family.kind == "gauge" and not gauges):
                continue
            into = self.values.setdefault(name, {})
            for labels, value in series.items():
                known = into.get(labels)
                match family.merge:
                    case _ if known is None:
                        into[labels] = value
                    case "sum":
                        into[labels] = known + value
                    case "max":
                        into[labels] = max(known, value)
                    case "min":
                        into[labels] = min(known, value)
        for name, histogram in other.buckets.items():
            sums = self.buckets.setdefault(name, {})
            for labels, counts in histogram.items():
                present = sums.get(labels)
                sums[labels] = counts if present is None else [a + b for a, b in zip(present, counts, strict=True)]

    def plain(self) -> dict[str, object]:
        return {
            "values": {
                name: [[*labels, value] for labels, value in series.items()] for name, series in self.values.items()
            },
            "buckets": {
                name: [[labels, counts] for labels, counts in series.items()] for name, series in self.buckets.items()
            },
        }

    @staticmethod
    def from_plain(plain: Mapping[str, Mapping[str, list[list[object]]]]) -> Numbers:
        values: Series = {}
        buckets: Buckets = {}
        for name, rows in plain["values"].items():
            values[name] = {tuple(map(str, row[:-1])): _number(row[-1]) for row in rows}
        for name, rows in plain["buckets"].items():
            buckets[name] = {
                tuple(map(str, _list(row[0]))): [_number(count) for count in _list(row[1])] for row in rows
            }
        return Numbers(values, buckets)


def _number(value: object) -> float:
    if not isinstance(value, (int, float)):
        raise ValueError("not a number")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("not a list")
    return value


class Names:
    """Label values up to a maximum number; later ones become `other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, name: str, *, trusted: bool = True) -> str:
        """The name itself, or `other`.

        Args:
            name: The wanted value.
            trusted: Whether the name is more than a client's word. If not, it must have been met before.
        """
        if name in self._known:
            return name
        if not trusted or len(self._known) >= self._most:
            return OTHER
        self._known.add(name)
        return name


@dataclass(frozen=True, slots=True)
class MetricsReading:
    """What the numbers were at one moment.

    Attributes:
        at: Nanoseconds since the epoch.
    """

    numbers: Numbers
    at: int


RECENT = 5000
"""Ids of requests that are remembered after they were counted."""
MOST_MODELS = 100
MOST_NAMES = 200
"""Of routes, providers and projects, each."""

_TOKENS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
}


class Metrics:
    """Adds up requests; see `families` for what each number means."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._models = Names(MOST_MODELS)
        self._routes, self._providers, self._projects = Names(MOST_NAMES), Names(MOST_NAMES), Names(MOST_NAMES)
        self._held: dict[str, int] = {}  # what each request in flight holds, by its id
        self.recent: deque[tuple[int, str]] = deque(maxlen=RECENT)
        """When the latest requests were counted, in milliseconds since the epoch, and their ids."""

    def refused(self, request_id: str, error: GatewayError) -> None:
        self._numbers.add("paig_refusals_total", (error.code,))
        if error.code in ("limit-exceeded", "limit-too-small", "rate-limited"):
            details = error.details
            labels = tuple(str(details.get(name, "")) for name in ("owner_kind", "unit", "window"))
            self._numbers.add("paig_limit_refusals_total", labels)

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        self._held[exchange.id] = reservation.ceiling

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """Count a request's end."""
        numbers, candidate, status = self._numbers, outcome.candidate, settlement.status
        self._held.pop(exchange.id, None)
        self.recent.append((int(time.time() * 1000), exchange.id))
        route = self._routes.label(exchange.route.name)
        provider = self._providers.label(settlement.provider) if settlement.provider else ""
        answered = status is not None and status < 400
        known = candidate is not None and (candidate.price is not None or answered)
        model = self._models.label(exchange.call.model, trusted=known) if exchange.call.model else ""
        numbers.add(
            "paig_requests_total",
            (route, provider, model, exchange.fmt.name, "none" if status is None else str(status)),
        )
        if settlement.ms_gateway is not None:
            numbers.observe("paig_gateway_seconds", (), settlement.ms_gateway / 1000)
        if candidate is None:
            return
        served = (provider, model)
        if settlement.ms_total is not None:
            numbers.observe("paig_request_seconds", served, settlement.ms_total / 1000)
        if settlement.ms_first_byte is not None:
            numbers.observe("paig_first_byte_seconds", served, settlement.ms_first_byte / 1000)
        for name, count in (settlement.usage or {}).items():
            if count and (kind := _TOKENS.get(name)):
                numbers.add("paig_tokens_total", (*served, kind), count)
        if settlement.cost:
            numbers.add("paig_cost_dollars_total", (*served, settlement.certainty or "none"), settlement.cost)
            project = self._projects.label(exchange.caller.project) if exchange.caller.project else ""
            numbers.add("paig_project_cost_dollars_total", (project,), settlement.cost)
        if outcome.excess is not None and settlement.provider is not None:
            numbers.add("paig_cost_excess_total", (self._providers.label(settlement.provider),))
        last = len(settlement.attempts) - 1
        for position, attempt in enumerate(settlement.attempts):
            tried = self._providers.label(str(attempt["provider"]))
            numbers.add("paig_attempts_total", (tried, str(attempt.get("error") or attempt.get("status") or "none")))
            if position < last:
                numbers.add("paig_failovers_total", (route, tried))

    def recovered(self, row: Row[Any]) -> None:
        """Count a request from its row in the ledger, if its node died before it could count it."""
        numbers, status = self._numbers, row.status
        route = self._routes.label(row.route)
        provider = self._providers.label(row.provider) if row.provider else ""
        model = self._models.label(row.model, trusted=row.price is not None) if row.model else ""
        numbers.add("paig_requests_total", (route, provider, model, row.format, str(status or "none")))
        for name, count in (row.usage or {}).items():
            if count and (kind := _TOKENS.get(name)):
                numbers.add("paig_tokens_total", (provider, model, kind), count)
        if row.cost:
            numbers.add("paig_cost_dollars_total", (provider, model, row.certainty or "none"), row.cost)
            project = self._projects.label(row.project) if row.project else ""
            numbers.add("paig_project_cost_dollars_total", (project,), row.cost)

    def samples(self) -> list[Sample]:
        return [
            ("paig_requests_in_flight", (), len(self._held)),
            ("paig_reserved_dollars", (), sum(self._held.values())),
        ]
