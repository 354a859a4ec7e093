"""What was spent, by whom and on what: plotted over time, down to the requests, out as CSV."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from paig_client.admin import AdminError
from paig_client.schema import UsageReport, UsageTotal
from paig_tui.export import to_csv
from paig_tui.plot import columns
from paig_tui.screens.section import Section
from paig_tui.text import MUTED, NOT_YET, bar, dollars, lines, plain, safe
from paig_tui.widgets.chrome import Panel, tabs
from paig_tui.widgets.table import Column, Table

GROUPS = ("model", "key", "project", "user", "provider", "route")
SPANS = (
    ("24 hours", timedelta(hours=24), "hour"),
    ("7 days", timedelta(days=7), "day"),
    ("30 days", timedelta(days=30), "day"),
)
STALE_AFTER = timedelta(seconds=15)


@dataclass(frozen=True)
class Row:
    """One group, or everything (`name` is None then)."""

    name: str | None
    total: UsageTotal
    share: float

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


def _count(value: int) -> str:
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if value >= size:
            return f"{value / (1000 if unit == 'k' else size):.1f}{unit}"
    return f"{value:,}"


COLUMNS: tuple[Column[Row], ...] = (
    Column("", 0, lambda row: row.shown),
    Column("requests", 9, lambda row: Content(_count(row.total.requests)), right=True),
    Column("errors", 7, lambda row: Content(_count(row.total.errors)), right=True),
    Column("in", 8, lambda row: Content(_count(row.total.input_tokens)), right=True),
    Column("out", 8, lambda row: Content(_count(row.total.output_tokens)), right=True),
    Column("cached", 8, lambda row: Content(_count(row.total.cache_read_tokens)), right=True, least=100),
    Column("cost", 11, lambda row: Content(dollars(row.total.cost)), right=True),
    Column("share", 13, lambda row: Content.assemble(bar(row.share, 8, "$primary"), f" {row.share:>4.0%}"), least=78),
)


class Usage(Section):
    """The section."""

    NAME = "usage"
    TITLE_SHOWN = "Usage"
    CSS_PATH = "usage.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "group(1)", "By model, key, project, user, provider, route"),
        Binding("left", "group(-1)", "By the group before"),
        Binding("s", "span", "The last 24 hours, 7 days, 30 days"),
        Binding("enter", "drill", "Its requests"),
        Binding("e", "export", "Export as CSV"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.group = 0
        self.span = 0
        self.report: UsageReport | None = None
        self.series: UsageReport | None = None
        self.fetched: datetime | None = None
        self.problem = ""

    def body(self) -> Iterable[Widget]:
        """A plot over a table."""
        yield Panel("spend", id="plot", classes="data")
        with Vertical(classes="frame", id="frame"):
            yield Table(COLUMNS, lambda row: row.key, id="groups")

    @property
    def table(self) -> Table[Row]:
        """The table."""
        return self.query_one("#groups", Table)

    @property
    def since(self) -> datetime:
        """Where the span begins: a whole hour or day."""
        now = self.state.clock()
        _, length, bucket = SPANS[self.span]
        floor = {"minute": 0, "second": 0, "microsecond": 0} | ({"hour": 0} if bucket == "day" else {})
        step = timedelta(days=1) if bucket == "day" else timedelta(hours=1)
        return now.replace(**floor) - length + step  # type: ignore[arg-type]

    def stamp(self) -> object:
        """What was fetched; and whether it is time to fetch again."""
        fetched = self.fetched
        due = (
            self.is_current and not self.state.stale and (fetched is None or self.state.clock() - fetched > STALE_AFTER)
        )
        if due and self.paig.admin_client is not None and self.state.link.standing == "live":
            self.fetched = self.state.clock()
            self.load()
        return self.group, self.span, id(self.report), id(self.series), self.problem

    @work(exclusive=True, group="usage", exit_on_error=False)
    async def load(self) -> None:
        """Totals by group, and the series of what the cursor is on."""
        admin, since = self.paig.admin, self.since
        try:
            self.report = await admin.usage(by=[GROUPS[self.group]], since=since)
            self.series = await admin.usage(by=[SPANS[self.span][2]], since=since, **self._only())
            self.problem = ""
        except AdminError as error:
            self.problem = str(error)
        self.fetched = self.state.clock()
        self.draw(force=True)

    def _only(self) -> dict[str, Any]:
        row = self.table.current
        return {} if row is None or not row.name else {GROUPS[self.group]: row.name}

    def show(self) -> None:
        """Fill plot and table."""
        table, report = self.table, self.report
        table.empty = safe(self.problem) if self.problem else "Loading …" if report is None else "Nothing was spent."
        rows: list[Row] = []
        if report is not None and report.total.requests:
            whole = Decimal(report.total.cost)
            rows = [Row(None, report.total, 1.0)]
            rows += [
                Row(name, total, float(Decimal(total.cost) / whole) if whole else 0.0)
                for total in report.items
                if self.matches(name := total.group.get(GROUPS[self.group]) or "")
            ]
        table.show(rows)
        frame = self.query_one("#frame", Vertical)
        words = [(name, place == self.group, f"screen.show_group({place})") for place, name in enumerate(GROUPS)]
        frame.border_title = Content.assemble("by ", tabs(words), self.filter_note)
        frame.border_subtitle = self.hints("→ group", "s span", "Enter requests", "e export CSV", "/ filter")
        self._plot()

    def _plot(self) -> None:
        panel = self.query_one("#plot", Panel)
        length, _, bucket = SPANS[self.span]
        row = self.table.current
        whose = "everything" if row is None or row.name is None else safe(row.name) or "(none)"
        panel.title(f"spend per {bucket} · last {length} · {whose}")
        if self.series is None:
            panel.update(NOT_YET)
            return
        step = timedelta(days=1) if bucket == "day" else timedelta(hours=1)
        found = {moment(item.group[bucket]): float(item.cost) for item in self.series.items}
        times = []
        time = self.since
        while time <= self.state.clock():
            times.append(time)
            time += step
        values = [found.get(time, 0.0) for time in times]
        width, height = panel.content_size
        shown = f"{times[0]:%d %b %H:%M}" if bucket == "hour" else f"{times[0]:%d %b}"
        top = f"peak {dollars(max(values))}"
        axis = f"{shown} {top:^{max(0, width - len(shown) - 5)}} now"
        panel.update(lines([*columns(values, width, max(1, height - 1)), Content.styled(axis[:width], MUTED)]))

    @on(Table.Moved, "#groups")
    def _moved(self) -> None:
        if self.report is not None and self.paig.admin_client is not None:
            self.set_timer(0.2, self._again)

    def _again(self) -> None:
        self.fetched = None
        self.stamp()

    def _anew(self) -> None:
        self.report = self.series = self.fetched = None
        self.table.set_reactive(Table.cursor, 0)
        self.draw(force=True)

    def action_group(self, step: int) -> None:
        """By something else."""
        self.action_show_group((self.group + step) % len(GROUPS))

    def action_show_group(self, place: int) -> None:
        """By that."""
        self.group = place
        self._anew()

    def action_span(self) -> None:
        """Another span."""
        self.span = (self.span + 1) % len(SPANS)
        self._anew()

    @on(Table.Chosen, "#groups")
    def action_drill(self) -> None:
        """The requests of the row."""
        from paig_tui.screens.requests import Requests

        row = self.table.current
        if row is None:
            return
        group = GROUPS[self.group]
        title = "everyone" if not row.name else f"{group} {row.name}"
        self.app.push_screen(Requests(title, self._only(), since=self.since))

    def action_export(self) -> None:
        """Into a file where paig was started; in a browser, among its downloads."""
        if self.report is None:
            self.notify("Nothing has been fetched yet.", markup=False)
            return
        group = GROUPS[self.group]
        name = f"paig-usage-by-{group}-{self.state.clock():%Y%m%d-%H%M%S}.csv"
        written = to_csv(group, self.report)
        if self.app.is_web:
            self.app.deliver_text(io.StringIO(written, newline=""), save_filename=name, encoding="utf-8")
            self.notify(f"{len(self.report.items)} rows to your browser: {name}", title="Exported", markup=False)
            return
        try:
            Path(name).write_text(written, "utf-8", newline="")
        except OSError as error:
            self.notify(f"{error}", title="Not written", severity="error", markup=False)
        else:
            self.notify(f"{len(self.report.items)} rows in {Path(name).resolve()}", title="Exported", markup=False)


def moment(text: str | None) -> datetime:
    """A bucket's beginning."""
    time = datetime.fromisoformat(text or "")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


SCREEN = Usage
