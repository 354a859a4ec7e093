"""Usage as rows of a table: totals by group, each with its cost over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from textual.content import Content

from paig_client.api.resources import UsageReport, UsageTotal
from paig_tui.text import BAD, GOOD, MUTED, NOT_YET, WARN, bar, dollars, plain, pointed
from paig_tui.widgets.plot import spark
from paig_tui.widgets.table import Column

GROUPS = ("model", "key", "project", "user", "provider", "route", "session")
MOST_TRENDS = 200
"""With more groups than this, only the group under the cursor is fetched over time."""
TREND = 10


@dataclass(frozen=True)
class Span:
    """A span of time that ends now, in steps.

    Attributes:
        words: Its name.
        bucket: The admin API's name of a step.
        tick: The time format of the axis.
    """

    words: str
    length: timedelta
    bucket: str
    step: timedelta
    tick: str

    def since(self, now: datetime) -> datetime:
        """Its beginning: a whole hour or day."""
        floor = now.replace(minute=0, second=0, microsecond=0)
        return (floor if self.bucket == "hour" else floor.replace(hour=0)) - self.length + self.step

    def times(self, now: datetime) -> Iterator[datetime]:
        """Its steps, oldest first."""
        time = self.since(now)
        while time <= now:
            yield time
            time += self.step

    def ticks(self, now: datetime, count: int = 5) -> list[str]:
        """The times of `count` steps, evenly spaced, as text."""
        times = list(self.times(now))
        chosen = [times[place * (len(times) - 1) // (count - 1)] for place in range(count - 1)]
        return [f"{time:{self.tick}}" for time in chosen] + ["now"]


SPANS = (
    Span("24 hours", timedelta(hours=24), "hour", timedelta(hours=1), "%H:%M"),
    Span("7 days", timedelta(days=7), "day", timedelta(days=1), "%a %d"),
    Span("30 days", timedelta(days=30), "day", timedelta(days=1), "%d %b"),
)

Trend = Mapping[datetime, Decimal]


@dataclass(frozen=True)
class UsageTableRow:
    """One group, or everything.

    Attributes:
        name: The group's name; None for everything, empty for requests that belong to no group.
        share: Its share of the whole cost.
        trend: Its cost at each step, if known.
    """

    name: str | None
    total: UsageTotal
    share: float
    trend: tuple[float, ...] | None

    @property
    def key(self) -> str:
        return "all" if self.name is None else f"group {self.name}"

    @property
    def shown(self) -> Content:
        if self.name is None:
            return Content.styled("everything", "bold")
        return plain(self.name) if self.name else Content.styled("(none)", MUTED)


def trends(report: UsageReport, bucket: str, group: str | None) -> dict[str | None, dict[datetime, Decimal]]:
    """The cost of each group at each step, and of everything (by None); with `group` None, of everything alone."""
    found: dict[str | None, dict[datetime, Decimal]] = {None: {}}
    for item in report.items:
        time = moment(item.group[bucket])
        for name in (None,) if group is None else (None, item.group.get(group) or ""):
            trend = found.setdefault(name, {})
            trend[time] = trend.get(time, Decimal(0)) + item.cost
    return found


def rows(
    report: UsageReport, group: str, found: Mapping[str | None, Trend] | None, times: Sequence[datetime]
) -> list[UsageTableRow]:
    """The rows: the total first, then the groups, the most expensive first."""
    whole = report.total.cost

    def row(name: str | None, total: UsageTotal) -> UsageTableRow:
        share = float(total.cost / whole) if whole else 0.0
        known = None if found is None or name not in found else found[name]
        trend = None if known is None else tuple(float(known.get(time, 0)) for time in times)
        return UsageTableRow(name, total, 1.0 if name is None else share, trend)

    return [row(None, report.total), *(row(total.group.get(group) or "", total) for total in report.items)]


def moment(text: str | None) -> datetime:
    """A step's beginning."""
    time = datetime.fromisoformat(text or "")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def count(value: int) -> str:
    """A number, shortened."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if value >= size:
            return f"{value / (1000 if unit == 'k' else size):.1f}{unit}"
    return f"{value:,}"


def _tokens(row: UsageTableRow) -> Content:
    return Content.assemble(count(row.total.input_tokens), ("→", MUTED), count(row.total.output_tokens))


def _errors(row: UsageTableRow) -> Content:
    share = row.total.errors / row.total.requests if row.total.requests else 0.0
    return Content.styled(count(row.total.errors), BAD if share > 0.05 else WARN if share else MUTED)


def _trend(row: UsageTableRow, width: int) -> Content:
    return Content.styled(spark(row.trend, min(width, len(row.trend))) if row.trend else "", "$secondary")


def _share(row: UsageTableRow, width: int) -> Content:
    return Content.assemble(bar(row.share, max(1, width - 6), "$primary"), f" {row.share:>4.0%}")


def _difference(row: UsageTableRow) -> Content:
    """The difference between the providers' own charges and list prices."""
    value = row.total.difference
    if not value:
        return Content.styled(NOT_YET, MUTED)
    return Content.styled(f"{'+' if value > 0 else '-'}{dollars(abs(value))}", WARN if value > 0 else GOOD)


def _figure(
    title: str, width: int, names: str, cell: Callable[[UsageTableRow], Content] | None = None, *, least: int = 0
) -> Column[UsageTableRow]:
    """A column with the sum of one or more figures; sorted by it, the row of everything stays on top."""

    def total(row: UsageTableRow) -> Decimal:
        return sum((getattr(row.total, name) for name in names.split()), Decimal(0))

    def shown(row: UsageTableRow) -> Content:
        return Content(count(int(total(row))))

    return Column(title, width, cell or shown, right=True, least=least, sort=lambda row: (row.name is None, total(row)))


COLUMNS: tuple[Column[UsageTableRow], ...] = (
    Column("name", 0, lambda row: row.shown, most=80, sort=lambda row: (row.name or "").casefold()),
    _figure("requests", 8, "requests"),
    _figure("errors", 6, "errors", _errors),
    _figure("tokens", 13, "input_tokens output_tokens", _tokens),
    _figure("cached", 8, "cache_read_tokens", least=100),
    _figure("cost", 9, "cost", lambda row: Content.styled(pointed(row.total.cost, 4), "bold")),
    Column("share", 15, wide=_share, least=100, most=80),
    Column("share", 5, lambda row: Content(f"{row.share:.0%}"), right=True, below=100),
    Column("trend", TREND, wide=_trend, most=31),
)
CHARGED: tuple[Column[UsageTableRow], ...] = (
    *COLUMNS[:6],
    _figure("list price", 10, "list_cost", lambda row: Content(pointed(row.total.list_cost, 4)), least=100),
    _figure("difference", 10, "difference", _difference),
    *COLUMNS[6:],
)
"""The columns with list prices, for providers that state their own charges."""
