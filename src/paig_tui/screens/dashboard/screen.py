"""The dashboard: current spend, rate, latency and errors, the fullest caps, providers, and live requests."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget

from paig_client.api.refusals import failed
from paig_client.api.resources import Request
from paig_tui.screens.dashboard import panels
from paig_tui.screens.dashboard.guide import guide
from paig_tui.screens.requests.rows import TAIL
from paig_tui.screens.section import Section
from paig_tui.text import ACCENT, GOOD, WARN
from paig_tui.widgets.chrome import Frame, Panel
from paig_tui.widgets.table import Table


class DashboardSection(Section):
    """Spend, rate, latency, errors; the fullest caps; providers; requests as they finish."""

    NAME = "dashboard"
    TITLE_SHOWN = "Dashboard"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "The request in full"),
        Binding("p", "pause", "Pause the live requests, or follow again"),
        Binding("x", "errors", "Show errors only, or all"),
        Binding("n", "guide_next", "First run: go to the next step"),
        Binding("y", "guide_copy", "Copy a line that sends a first request"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.paused = False
        self.errors_only = False
        self._kept: list[Request] = []

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="tiles", classes="data"):
            yield Panel("spend today", id="today")
            yield Panel("requests/min", id="rate")
            yield Panel("p50 / p95 · 5m", id="latency")
            yield Panel("errors · 5m", id="errors")
        yield Panel("first run", id="guide")
        with Horizontal(id="middle", classes="data"):
            yield Panel("spend $/min · 60m", id="spend")
            yield Panel("closest to cap", id="caps")
            yield Panel("spending · 5m", id="spending")
            yield Panel("providers · 5m", id="providers")
        with Frame(id="live"):
            yield Table(TAIL, lambda row: row.id, empty="No request yet. They appear here as they finish.", id="tail")

    def stamp(self) -> object:
        """Draw again each second: the shown ages change."""
        return self.state.version, self.paused, self.errors_only, int(self.state.clock().timestamp())

    def show(self) -> None:
        state = self.state
        self._panel("today").paint(lambda width, _: panels.today(state, width))
        self._panel("rate").paint(lambda width, _: panels.rate(state, width))
        self._panel("latency").paint(lambda width, _: panels.latency(state))
        self._panel("errors").paint(lambda width, _: panels.errors(state, width))
        self.set_class(bool(steps := guide(state, self.paig.root)), "-first")
        if steps:
            self._panel("guide").update(steps)
        self._panel("spend").paint(self._spend)
        self._panel("caps").paint(partial(panels.caps, state))
        self._panel("spending").paint(partial(panels.spending, state))
        self._panel("providers").paint(partial(panels.providers, state))
        self._tail()

    def _panel(self, name: str) -> Panel:
        return self.query_one(f"#{name}", Panel)

    def _spend(self, width: int, height: int) -> Content:
        title, drawn = panels.spend(self.state, width, height)
        self._panel("spend").title(title)
        return drawn

    def _tail(self) -> None:
        newest = self.state.recent.tail
        if not self.paused:
            self._kept = newest
        rows = [
            row
            for row in self._kept
            if (not self.errors_only or failed(row))
            and self.matches(row.key, row.model, row.status, row.provider, row.route, row.project, row.user, row.id)
        ]
        table = self.query_one("#tail", Table)
        table.empty = self.nothing("newest", "No request yet. They appear here as they finish.")
        table.show(rows, follow=not self.paused and table.cursor == 0)
        frame = self.query_one("#live", Frame)
        if self.paused:
            kept = {row.id for row in self._kept}
            missed = sum(row.id not in kept for row in newest)
            following = Content.styled(f"■ paused, {missed} new", WARN)
        else:
            following = Content.styled("● following", GOOD)
        only = Content.styled(" · errors only", ACCENT) if self.errors_only else Content("")
        frame.border_title = Content.assemble("live requests · ", following, only, self.filter_note)
        pause = "p follow" if self.paused else "p pause"
        frame.show_keys(self.hints(
            "Enter details", pause, "x all" if self.errors_only else "x errors", "/ filter"
        ))  # fmt: skip

    def action_pause(self) -> None:
        self.paused = not self.paused
        self.redraw(force=True)

    def action_errors(self) -> None:
        self.errors_only = not self.errors_only
        self.redraw(force=True)

    def action_guide_next(self) -> None:
        from paig_tui.screens.dashboard.guide import next_section

        if (section := next_section(self.state)) is not None:
            self.paig.action_section(section)

    def action_guide_copy(self) -> None:
        from paig_tui.clipboard import copy
        from paig_tui.screens.dashboard.first_request import line

        self.notify(copy(self.app, line(self.paig.root, self.state.providers or ())))

    @on(Table.Chosen, "#tail")
    def action_open(self) -> None:
        from paig_tui.screens.requests.detail import RequestDetail

        if (row := self.query_one("#tail", Table).current) is not None:
            self.app.push_screen(RequestDetail(row))


SCREEN = DashboardSection
