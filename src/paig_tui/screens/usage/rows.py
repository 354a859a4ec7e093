"""What was spent as rows of a table and as values over time: totals by group, each with its own course."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

from textual.content import Content

from paig_client.api.resources import UsageReport, UsageTotal
from paig_tui.text import BAD, MUTED, WARN, bar, dollars, plain
from paig_tui.widgets.plot import spark
from paig_tui.widgets.table import Column

GROUPS = ("model", "key", "project", "user", "provider", "route", "session")
MOST_COURSES = 200
"""With more groups than this, only that of the row under the cursor is asked for over time."""
TREND = 12


@dataclass(frozen=True)
class Span:
    """How far back, and in what steps.

    Attributes:
        words: As people say it.
        length: How long it is.
        bucket: What the admin API calls a step.
        step: How long that is.
        tick: How the time of a step is written.
    """

    words: str
    length: timedelta
    bucket: str
    step: timedelta
    tick: str

    def since(self, now: datetime) -> datetime:
        """Where it begins: a whole hour or day."""
        floor = now.replace(minute=0, second=0, microsecond=0)
        return (floor if self.bucket == "hour" else floor.replace(hour=0)) - self.length + self.step

    def times(self, now: datetime) -> Iterator[datetime]:
        """Its steps, oldest first."""
        time = self.since(now)
        while time <= now:
            yield time
            time += self.step

    def ticks(self, now: datetime, count: int = 5) -> list[str]:
        """Words for `count` of the steps, evenly apart."""
        times = list(self.times(now))
        chosen = [times[place * (len(times) - 1) // (count - 1)] for place in range(count - 1)]
        return [f"{time:{self.tick}}" for time in chosen] + ["now"]


SPANS = (
    Span("24 hours", timedelta(hours=24), "hour", timedelta(hours=1), "%H:%M"),
    Span("7 days", timedelta(days=7), "day", timedelta(days=1), "%a %d"),
    Span("30 days", timedelta(days=30), "day", timedelta(days=1), "%d %b"),
)

Course = Mapping[datetime, Decimal]


@dataclass(frozen=True)
class UsageTableRow:
    """One group, or everything.

    Attributes:
        name: The group's; None for everything, empty for what belongs to none.
        total: Its totals.
        share: Of what everything cost.
        course: What it cost at each step, if that is known.
    """

    name: str | None
    total: UsageTotal
    share: float
    course: tuple[float, ...] | None

    @property
    def key(self) -> str:
        """Apart from every name."""
        return "all" if self.name is None else f"group {self.name}"

    @property
    def shown(self) -> Content:
        """Its name."""
        if self.name is None:
            return Content.styled("everything", "bold")
        return plain(self.name) if self.name else Content.styled("(none)", MUTED)


def courses(report: UsageReport, bucket: str, group: str | None) -> dict[str | None, dict[datetime, Decimal]]:
    """What each group cost at each step, and (by None) all of them, from totals by both; or all alone."""
    found: dict[str | None, dict[datetime, Decimal]] = {None: {}}
    for item in report.items:
        time = moment(item.group[bucket])
        for name in (None,) if group is None else (None, item.group.get(group) or ""):
            course = found.setdefault(name, {})
            course[time] = course.get(time, Decimal(0)) + Decimal(item.cost)
    return found


def rows(
    report: UsageReport, group: str, found: Mapping[str | None, Course] | None, times: Sequence[datetime]
) -> list[UsageTableRow]:
    """Everything first, then the groups, the dearest first."""
    whole = Decimal(report.total.cost)

    def row(name: str | None, total: UsageTotal) -> UsageTableRow:
        share = float(Decimal(total.cost) / whole) if whole else 0.0
        known = None if found is None or name not in found else found[name]
        course = None if known is None else tuple(float(known.get(time, 0)) for time in times)
        return UsageTableRow(name, total, 1.0 if name is None else share, course)

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


def _trend(row: UsageTableRow) -> Content:
    return Content.styled(spark(row.course, TREND) if row.course else "", "$secondary")


def _share(row: UsageTableRow, width: int) -> Content:
    return Content.assemble(bar(row.share, width, "$primary"), f" {row.share:>4.0%}")


COLUMNS: tuple[Column[UsageTableRow], ...] = (
    Column("", 0, lambda row: row.shown, most=60),
    Column("requests", 8, lambda row: Content(count(row.total.requests)), right=True),
    Column("errors", 6, _errors, right=True),
    Column("tokens", 14, _tokens, right=True),
    Column("cached", 8, lambda row: Content(count(row.total.cache_read_tokens)), right=True, least=100),
    Column("cost", 9, lambda row: Content.styled(dollars(row.total.cost), "bold"), right=True),
    Column("share", 15, partial(_share, width=8), least=100, below=150),
    Column("share", 57, partial(_share, width=50), least=150),
    Column("share", 5, lambda row: Content(f"{row.share:.0%}"), right=True, below=100),
    Column("trend", TREND, _trend),
)
