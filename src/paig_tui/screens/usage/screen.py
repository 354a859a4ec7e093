"""Usage: spend by group, plotted over time, with its requests, and exported as CSV."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from paig_client.admin import AdminError
from paig_client.api.resources import UsageReport
from paig_tui.screens.section import Section
from paig_tui.screens.usage.csv import to_csv
from paig_tui.screens.usage.rows import CHARGED, COLUMNS, GROUPS, MOST_TRENDS, SPANS, UsageTableRow, rows, trends
from paig_tui.text import MUTED, NOT_YET, dollars, lines, safe
from paig_tui.widgets.chrome import Frame, Panel, tabs
from paig_tui.widgets.plot import SHADES, chart, stacked
from paig_tui.widgets.table import Table

STALE_AFTER = timedelta(seconds=15)
STACKED = 9
"""The plot's height from which it shows the groups stacked."""
LOOKED_AT = 0.2
"""Seconds that the cursor stays on a row before its cost over time is fetched."""


class UsageSection(Section):
    """The section Usage."""

    NAME = "usage"
    TITLE_SHOWN = "Usage"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "group(1)", "By model, key, project, user, provider, route, session"),
        Binding("left", "group(-1)", "Back to the previous grouping"),
        Binding("s", "span", "The last 24 hours, 7 days, 30 days"),
        Binding("enter", "drill", "Its requests; of a session, the tree of its agents"),
        Binding("e", "export", "Export as CSV"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.group = 0
        self.span = SPANS[0]
        self.report: UsageReport | None = None
        self.trends: dict[str | None, dict[datetime, Decimal]] | None = None
        self.fetched: datetime | None = None
        self.problem = ""

    def body(self) -> Iterable[Widget]:
        yield Panel("spend", id="plot", classes="data")
        with Frame(id="frame"):
            yield Table(COLUMNS, lambda row: row.key, id="groups")

    @property
    def table(self) -> Table[UsageTableRow]:
        return self.query_one("#groups", Table)

    def stamp(self) -> object:
        """Draw again when usage was fetched; fetch it if it is old."""
        fetched = self.fetched
        due = self.is_current and (fetched is None or self.state.clock() - fetched > STALE_AFTER)
        if due and self.paig.admin_client is not None and self.state.link.state == "live":
            self.fetched = self.state.clock()
            self.load()
        return self.group, self.span, id(self.report), id(self.trends), self.problem

    @work(exclusive=True, group="usage", exit_on_error=False)
    async def load(self) -> None:
        """Fetch totals by group and each group's cost over time; with very many groups, only that under the cursor."""
        admin, span, group = self.paig.admin, self.span, GROUPS[self.group]
        since = span.since(self.state.as_of)
        row = self.table.current
        only: dict[str, Any] = {} if row is None or not row.name else {group: row.name}
        try:
            report = await admin.usage(by=[group], since=since)
            if len(report.items) <= MOST_TRENDS:
                found = trends(await admin.usage(by=[span.bucket, group], since=since), span.bucket, group)
            else:
                one = trends(await admin.usage(by=[span.bucket], since=since, **only), span.bucket, None)
                found = {(row.name if row and only else None): one[None]}
            self.report, self.trends, self.problem = report, found, ""
        except AdminError as error:
            self.problem = str(error)
        self.fetched = self.state.clock()
        self.redraw(force=True)

    def show(self) -> None:
        table, report = self.table, self.report
        if self.problem and report is None:
            table.empty = f"✕ {safe(self.problem)}"
        else:
            table.empty = self.unreachable if report is None else "Nothing was spent."
        shown: list[UsageTableRow] = []
        if report is not None and report.total.requests:
            # If a provider states its own charges, show list prices beside them.
            charged = any(item.difference for item in (report.total, *report.items))
            table.columns = CHARGED if charged else COLUMNS
            every = rows(report, GROUPS[self.group], self.trends, list(self.span.times(self.state.as_of)))
            shown = [row for row in every if row.name is None or self.matches(row.name)]
        table.show(shown)
        frame = self.query_one("#frame", Frame)
        words = [(name, place == self.group, f"screen.show_group({place})") for place, name in enumerate(GROUPS)]
        frame.border_title = Content.assemble("by ", tabs(words), self.filter_note)
        frame.show_keys(self.hints("→ group", "s span", "Enter requests", "e export CSV", "/ filter"))
        self._plot()

    def _plot(self) -> None:
        panel = self.query_one("#plot", Panel)
        row = self.table.current
        whose = "everything" if row is None or row.name is None else safe(row.name) or "(none)"
        panel.title(f"spend per {self.span.bucket} · last {self.span.words} · {whose}")
        if row is None or row.trend is None:
            panel.paint(lambda _, __: Content.styled(NOT_YET, MUTED))
            return
        drawn = partial(chart, row.trend, ticks=self.span.ticks(self.state.as_of), unit=dollars)
        parts = [one for one in self.table.rows if one.name is not None and one.trend is not None]
        if row.name is None and len(parts) > 1 and not self.filter_text:
            panel.paint(partial(self._parts, row, sorted(parts, key=lambda one: -one.share), drawn))
        else:
            panel.paint(drawn)

    def _parts(
        self,
        whole: UsageTableRow,
        parts: Sequence[UsageTableRow],
        alone: Callable[[int, int], Content],
        width: int,
        height: int,
    ) -> Content:
        """The cost of the most expensive groups, stacked, with a legend; if there is no room, the whole cost."""
        if height < STACKED or whole.trend is None:
            return alone(width, height)
        shown = parts[: len(SHADES) if len(parts) == len(SHADES) else len(SHADES) - 1]
        series = [[*(one.trend or ())] for one in shown]
        named = [(one.shown, one.total.cost) for one in shown]
        if len(shown) < len(parts):
            sums = [sum(values) for values in zip(*series, strict=True)]
            series.append([max(0.0, every - sum_) for every, sum_ in zip(whole.trend, sums, strict=True)])
            rest = whole.total.cost - sum((one.total.cost for one in shown), Decimal(0))
            named.append((Content(f"{len(parts) - len(shown)} others"), max(rest, Decimal(0))))
        legend = Content("   ").join(
            Content.assemble(shade, " ", name, (f" {dollars(cost)}", MUTED))
            for shade, (name, cost) in zip(SHADES, _shortened(named, width), strict=False)
        )
        ticks = self.span.ticks(self.state.as_of)
        return lines([legend, stacked(series, width, height - 1, ticks=ticks, unit=dollars)])

    @on(Table.Moved, "#groups")
    def _moved(self) -> None:
        self._plot()
        row = self.table.current
        if row is not None and row.trend is None and self.paig.admin_client is not None:
            self.set_timer(LOOKED_AT, self._again)

    def _again(self) -> None:
        self.fetched = None
        self.stamp()

    def _anew(self) -> None:
        self.report = self.trends = self.fetched = None
        self.table.set_reactive(Table.cursor, 0)
        self.redraw(force=True)

    def action_group(self, step: int) -> None:
        self.action_show_group((self.group + step) % len(GROUPS))

    def action_show_group(self, place: int) -> None:
        self.group = place
        self._anew()

    def action_span(self) -> None:
        self.span = SPANS[(SPANS.index(self.span) + 1) % len(SPANS)]
        self._anew()

    @on(Table.Chosen, "#groups")
    def action_drill(self) -> None:
        from paig_tui.screens.requests.list import Requests
        from paig_tui.screens.sessions.detail import SessionDetail

        row = self.table.current
        if row is None:
            return
        group, since = GROUPS[self.group], self.span.since(self.state.as_of)
        if group == "session" and row.name:
            self.app.push_screen(SessionDetail(row.name))
        elif row.name is None:
            self.app.push_screen(Requests("everyone", {}, since=since))
        elif row.name:
            self.app.push_screen(Requests(f"{group} {row.name}", {group: row.name}, since=since))
        else:  # the admin API has no filter for requests without a group
            self.app.push_screen(Requests(f"no {group}", {}, since=since, keep=lambda one: not getattr(one, group)))

    def action_export(self) -> None:
        """Write a file in the current folder; in a browser, start a download."""
        if self.report is None:
            self.notify("Nothing has been fetched yet.")
            return
        group = GROUPS[self.group]
        name = f"paig-usage-by-{group}-{self.state.clock():%Y%m%d-%H%M%S}.csv"
        written = to_csv(group, self.report)
        if self.app.is_web:
            self.app.deliver_text(io.StringIO(written, newline=""), save_filename=name, encoding="utf-8")
            self.notify(f"{len(self.report.items)} rows to your browser: {name}", title="Exported")
            return
        try:
            Path(name).write_text(written, "utf-8", newline="")
        except OSError as error:
            self.notify(f"{error}", title="Not written", severity="error")
        else:
            self.notify(f"{len(self.report.items)} rows in {Path(name).resolve()}", title="Exported")


def _shortened(named: Sequence[tuple[Content, Decimal]], width: int) -> list[tuple[Content, Decimal]]:
    """The names of a legend, the longest ones cut until all of them fit into its line."""
    room = width - sum(len(dollars(cost)) + 6 for _, cost in named) + 3
    longest = max(name.cell_length for name, _ in named)
    while longest > 4 and sum(min(longest, name.cell_length) for name, _ in named) > room:
        longest -= 1
    return [(name.truncate(longest, ellipsis=True), cost) for name, cost in named]


SCREEN = UsageSection
