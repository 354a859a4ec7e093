"""Sessions of coding agents: which of them spend fast, are in a loop, or have used up their budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from paig_client.admin import AdminError
from paig_client.api.resources import Session
from paig_client.api.vocabulary import Permission
from paig_tui.screens.section import Section
from paig_tui.screens.sessions.detail import switch_session
from paig_tui.screens.sessions.rows import COLUMNS, SessionTableRow, about, session_rows
from paig_tui.screens.usage.rows import SPANS, trends
from paig_tui.text import MUTED, NOT_YET, safe
from paig_tui.widgets.chrome import Frame, Panel
from paig_tui.widgets.table import Table

STALE_AFTER = timedelta(seconds=10)
MOST = 200
"""Sessions that are listed."""


class SessionsSection(Section):
    """The section Sessions."""

    NAME = "sessions"
    TITLE_SHOWN = "Sessions"
    CSS_PATH = "screen.tcss"
    CHANGING: ClassVar[Mapping[str, Permission]] = {"stop": "keys:write"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "The tree of its agents: which of them spent what"),
        Binding("x", "stop", "Stop the session, or resume it"),
        Binding("l", "requests", "Its requests"),
        Binding("s", "span", "The last 24 hours, 7 days, 30 days"),
        Binding("y", "copy_id", "Copy the session's id"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.span = SPANS[0]
        self.trends: dict[str | None, dict[datetime, Decimal]] | None = None
        self.fetched: datetime | None = None
        self.problem = ""

    def body(self) -> Iterable[Widget]:
        """A table and, if there is room, details of the row under the cursor."""
        with Frame(id="frame"):
            yield Table(COLUMNS, lambda row: row.key, id="rows")
        yield Panel("about", id="about", classes="data")

    @property
    def table(self) -> Table[SessionTableRow]:
        return self.query_one("#rows", Table)

    def stamp(self) -> object:
        """Draw again when sessions were fetched; fetch them if they are old."""
        due = self.fetched is None or self.state.clock() - self.fetched > STALE_AFTER
        if due and self.is_current and self.paig.admin_client is not None and self.state.link.state == "live":
            self.fetched = self.state.clock()
            self.load()
        return self.span, id(self.state.sessions), id(self.trends), self.state.fetches, self.problem

    @work(exclusive=True, group="sessions", exit_on_error=False)
    async def load(self) -> None:
        """The latest sessions, and what each cost over time."""
        admin, span = self.paig.admin, self.span
        since = span.since(self.state.as_of)
        try:
            found = await admin.sessions(since=since, limit=MOST)
            report = await admin.usage(by=[span.bucket, "session"], since=since) if found else None
            self.trends = None if report is None else trends(report, span.bucket, "session")
            self.state.sessions, self.problem = found, ""
        except AdminError as error:
            self.problem = str(error)
        self.fetched = self.state.clock()
        self.redraw(force=True)

    def show(self) -> None:
        table, found = self.table, self.state.sessions
        empty = "No session. Coding agents name their own; in a program, paig_client.session() names one."
        table.empty = f"✕ {safe(self.problem)}" if self.problem and found is None else self.nothing("sessions", empty)
        rows = session_rows(found or (), self.trends, list(self.span.times(self.state.as_of)), self.state)
        table.show([row for row in rows if self._wanted(row)])
        frame = self.query_one("#frame", Frame)
        count = NOT_YET if found is None else f"{len(found):,}{'+' if len(found) == MOST else ''}"
        frame.border_title = Content.assemble(
            f"sessions {count}", (f" · last {self.span.words}", MUTED), self.filter_note
        )
        self._about()

    def _wanted(self, row: SessionTableRow) -> bool:
        one = row.session
        return self.matches(one.session, one.key, one.project, one.user, row.state[0])

    @on(Table.Moved, "#rows")
    def _about(self) -> None:
        row, panel = self.table.current, self.query_one("#about", Panel)
        stop = "x resume" if row is not None and row.session.stopped_by else "x stop"
        keys = self.hints("Enter agents", stop, "l requests", "s span", "y copy id", "/ filter")
        self.query_one("#frame", Frame).show_keys(keys)
        panel.title(f"about {safe(row.session.session)}" if row else "about")
        panel.paint(lambda width, _: about(row.session, row.budgets, width) if row else Content(""))

    @property
    def current(self) -> Session | None:
        row = self.table.current
        return None if row is None else row.session

    @on(Table.Chosen, "#rows")
    def action_open(self) -> None:
        from paig_tui.screens.sessions.detail import SessionDetail

        if (one := self.current) is not None:
            self.app.push_screen(SessionDetail(one.session, one.key))

    @work(exclusive=True, group="change", exit_on_error=False)
    async def action_stop(self) -> None:
        """Stop the session, so that its requests are refused, or resume it; can be undone."""
        if (one := self.current) is not None and await switch_session(self.paig, one) is not None:
            self.fetched = None
            self.stamp()

    def action_requests(self) -> None:
        from paig_tui.screens.requests.list import Requests

        if (one := self.current) is not None:
            where = {"session": one.session}
            self.app.push_screen(Requests(f"session {one.session}", {"key": one.key}, where=where))

    def action_span(self) -> None:
        self.span = SPANS[(SPANS.index(self.span) + 1) % len(SPANS)]
        self.state.sessions = self.trends = self.fetched = None
        self.redraw(force=True)

    def action_copy_id(self) -> None:
        from paig_tui.clipboard import copy

        if (one := self.current) is not None:
            self.notify(copy(self.app, one.session))


SCREEN = SessionsSection
