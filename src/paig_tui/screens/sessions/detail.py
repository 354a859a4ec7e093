"""One session of a coding agent: the tree of its agents and the cost of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from paig_client.admin import AdminError
from paig_client.api.resources import Session, SessionAgent, SessionTree
from paig_client.trees import branches
from paig_tui.screens.page import Page
from paig_tui.screens.sessions.rows import about, budgets_of, cached
from paig_tui.screens.usage.rows import count
from paig_tui.text import BAD, MUTED, bar, plain, pointed, safe, span
from paig_tui.widgets.chrome import Frame, Panel, hints
from paig_tui.widgets.table import Column, Table

if TYPE_CHECKING:
    from paig_tui.app import PaigApp


@dataclass(frozen=True)
class AgentTableRow:
    """One agent.

    Attributes:
        stem: The tree's lines before its name.
        share: The share of the session's cost that it and the agents below it spent.
    """

    agent: SessionAgent
    stem: str
    share: float

    @property
    def name(self) -> Content:
        """The agent's name, after the tree's lines."""
        agent = self.agent
        named = agent.name or ("main" if agent.id is None else agent.id)
        return Content.assemble((self.stem, MUTED), plain(named))


def rows(tree: SessionTree) -> list[AgentTableRow]:
    """The agents of a session, each before those that it started."""
    whole, stems = tree.cost, branches([agent.depth for agent in tree.tree])
    return [
        AgentTableRow(agent, stem, float(agent.total_cost / whole) if whole else 0.0)
        for agent, stem in zip(tree.tree, stems, strict=True)
    ]


def _share(row: AgentTableRow, width: int) -> Content:
    return Content.assemble(bar(row.share, max(1, width - 6), "$primary"), f" {row.share:>4.0%}")


def _lasted(row: AgentTableRow) -> Content:
    return Content(span((row.agent.ended - row.agent.began).total_seconds()))


COLUMNS: tuple[Column[AgentTableRow], ...] = (
    Column("agent", 0, lambda row: row.name, most=60),
    Column("requests", 8, lambda row: Content(count(row.agent.requests)), right=True),
    Column("input", 8, lambda row: Content(count(row.agent.input_tokens)), right=True, least=110),
    Column("cached", 6, lambda row: Content(f"{cached(row.agent):.0%}"), right=True),
    Column("output", 8, lambda row: Content(count(row.agent.output_tokens)), right=True, least=110),
    Column("lasted", 7, _lasted, right=True, least=90),
    Column("cost", 12, lambda row: Content(pointed(row.agent.cost)), right=True),
    Column("with below", 12, lambda row: Content.styled(pointed(row.agent.total_cost), "bold"), right=True),
    Column("share", 13, wide=_share, most=60),
    Column("models", 0, lambda row: plain(", ".join(row.agent.models), MUTED), least=110, most=60),
)


async def switch_session(app: PaigApp, session: Session) -> SessionTree | None:
    """Stop a session, or resume a stopped one; None if the gateway refused."""
    from paig_tui.app import Undo

    admin, id = app.admin, session.session
    stop, resume = partial(admin.stop_session, id), partial(admin.resume_session, id)
    change, back, said = (resume, stop, "is resumed") if session.stopped_by else (stop, resume, "is stopped")
    undo = Undo(f"session {id} {said}", lambda: back(key=session.key))
    return await app.changing(change(key=session.key), f"The session {said}.", undo)


class SessionDetail(Page):
    """The page of one session.

    Args:
        session: Its id.
        key: Its key, if sessions of several keys may have that id.
    """

    CSS = "SessionDetail #facts { height: auto; min-height: 3; max-height: 14; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop", "Stop the session, or resume it"),
        Binding("l,enter", "requests", "Its requests"),
        Binding("y", "copy_id", "Copy the session's id"),
    ]

    def __init__(self, session: str, key: str | None = None) -> None:
        super().__init__()
        self.session = session
        self.of_key = key
        self.tree_shown: SessionTree | None = None

    def body(self) -> Iterable[Widget]:
        yield Panel("session", id="facts", classes="data")
        with Frame(id="found"):
            yield Table(COLUMNS, lambda row: row.agent.id or "main", empty="Loading …", id="agents")

    def on_mount(self) -> None:
        super().on_mount()
        self._title()
        self.query_one(Table).focus()
        self.load()

    @work(exclusive=True, exit_on_error=False)
    async def load(self) -> None:
        table = self.query_one(Table)
        try:
            found = await self.paig.admin.session(self.session, key=self.of_key)
        except AdminError as error:
            table.empty = f"✕ {safe(error)}"
            table.refresh()
            return
        self._show(found)

    def _show(self, found: SessionTree) -> None:
        self.tree_shown = found
        self.query_one(Table).show(rows(found))
        panel, width = self.query_one("#facts", Panel), max(20, self.size.width - 4)
        panel.update(about(found, budgets_of(self.state, self.session), width))
        self._title()

    def on_resize(self) -> None:
        """Wrap the lines for the new width."""
        super().on_resize()
        if self.tree_shown is not None:
            self._show(self.tree_shown)

    def _title(self) -> None:
        frame, found = self.query_one("#found", Frame), self.tree_shown
        stopped = f" · ■ stopped by {safe(found.stopped_by)}" if found is not None and found.stopped_by else ""
        self.query_one("#facts", Panel).title(Content.assemble("session ", plain(self.session), (stopped, BAD)))
        frame.border_title = Content("agents: what each spent")
        may = self.lacking("keys:write") is None
        stop = ("x resume" if found is not None and found.stopped_by else "x stop",) if may else ()
        frame.show_keys(hints([*self.BINDINGS, *Page.BINDINGS], "Enter requests", *stop, "y copy id", "Esc back"))

    @work(exclusive=True, exit_on_error=False)
    async def action_stop(self) -> None:
        """Stop the session, so that its requests are refused, or resume it."""
        if (refusal := self.lacking("keys:write")) is not None:
            self.notify(refusal, title="Not done", severity="warning")
        elif self.tree_shown is not None and (changed := await switch_session(self.paig, self.tree_shown)) is not None:
            self._show(changed)

    def action_requests(self) -> None:
        from paig_tui.screens.requests.list import Requests

        which = {"key": self.tree_shown.key} if self.tree_shown is not None else {}
        self.app.push_screen(Requests(f"session {self.session}", which, where={"session": self.session}))

    def action_copy_id(self) -> None:
        from paig_tui.clipboard import copy

        self.notify(copy(self.app, self.session))
