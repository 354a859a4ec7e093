"""Numbers that rise: counters and histograms in plain dictionaries, a fraction of a microsecond each.

They belong to the event loop's thread; a snapshot of them is plain data, which several workers can put together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

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
