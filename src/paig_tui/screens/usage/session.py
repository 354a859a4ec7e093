"""One session of a coding agent: the tree of its agents and the cost of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from paig_client.admin import AdminError
from paig_client.api.resources import SessionAgent, SessionTree
from paig_client.trees import branches
from paig_tui.screens.usage.rows import count
from paig_tui.text import BAD, MUTED, bar, dollars, plain, pointed, safe, span
from paig_tui.widgets.chrome import hints
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


def _cached(row: AgentTableRow) -> Content:
    agent = row.agent
    share = agent.cache_read_tokens / agent.input_tokens if agent.input_tokens else 0.0
    return Content(f"{share:.0%}")


def _share(row: AgentTableRow, width: int) -> Content:
    return Content.assemble(bar(row.share, max(1, width - 6), "$primary"), f" {row.share:>4.0%}")


def _lasted(row: AgentTableRow) -> Content:
    return Content(span((row.agent.ended - row.agent.began).total_seconds()))


COLUMNS: tuple[Column[AgentTableRow], ...] = (
    Column("agent", 0, lambda row: row.name, most=60),
    Column("requests", 8, lambda row: Content(count(row.agent.requests)), right=True),
    Column("input", 8, lambda row: Content(count(row.agent.input_tokens)), right=True, least=110),
    Column("cached", 6, _cached, right=True),
    Column("output", 8, lambda row: Content(count(row.agent.output_tokens)), right=True, least=110),
    Column("lasted", 7, _lasted, right=True, least=90),
    Column("cost", 12, lambda row: Content(pointed(row.agent.cost)), right=True),
    Column("with below", 12, lambda row: Content.styled(pointed(row.agent.total_cost), "bold"), right=True),
    Column("share", 13, wide=_share, most=60),
    Column("models", 0, lambda row: plain(", ".join(row.agent.models), MUTED), least=110, most=60),
)


class SessionDetail(ModalScreen[None]):
    """The dialog of a session.

    Args:
        session: The session's id.
    """

    CSS = "SessionDetail { background: $background; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close"),
        Binding("x", "stop", "Stop the session, or let it go on"),
        Binding("l,enter", "requests", "Its requests"),
        Binding("y", "copy_id", "Copy the session's id"),
    ]

    def __init__(self, session: str) -> None:
        super().__init__()
        self.session = session
        self.tree_shown: SessionTree | None = None

    @property
    def paig(self) -> PaigApp:
        return cast("PaigApp", self.app)

    def compose(self) -> ComposeResult:
        with Vertical(classes="frame", id="found"):
            yield Table(COLUMNS, lambda row: row.agent.id or "main", empty="Loading …", id="agents")

    def on_mount(self) -> None:
        self._title()
        self.query_one(Table).focus()
        self.load()

    @work(exclusive=True, exit_on_error=False)
    async def load(self) -> None:
        """Ask for the session, and show it."""
        table = self.query_one(Table)
        try:
            found = await self.paig.admin.session(self.session)
        except AdminError as error:
            table.empty = f"✕ {safe(error)}"
            table.refresh()
            return
        self._show(found)

    def _show(self, found: SessionTree) -> None:
        self.tree_shown = found
        self.query_one(Table).show(rows(found))
        self._title()

    def _title(self) -> None:
        frame, found = self.query_one("#found", Vertical), self.tree_shown
        told = Content("")
        if found is not None:
            lasted = span((found.ended - found.began).total_seconds())
            told = Content.assemble(
                (f" · key {safe(found.key)} · {found.requests} requests in {lasted} · ", MUTED),
                (dollars(found.cost), "bold"),
                (f" · ■ stopped by {safe(found.stopped_by)}", BAD) if found.stopped_by else "",
            )
        frame.border_title = Content.assemble("session ", plain(self.session), told)
        stop = () if self._refusal() else ("x go on" if found is not None and found.stopped_by else "x stop",)
        frame.border_subtitle = hints(self.BINDINGS, "Enter requests", *stop, "y copy id", "Esc back")

    def _refusal(self) -> str | None:
        if self.paig.read_only:
            return "This is read-only: paig was started with --read-only."
        return None if self.paig.state.may("keys:write") else "Your token may not do that: it lacks keys:write."

    @work(exclusive=True, exit_on_error=False)
    async def action_stop(self) -> None:
        """Stop the session, so that its requests are refused, or resume it."""
        from paig_tui.app import Undo

        found, admin = self.tree_shown, self.paig.admin
        if (refusal := self._refusal()) is not None:
            self.notify(refusal, title="Not done", severity="warning")
            return
        if found is None:
            return
        stop, go_on = partial(admin.stop_session, self.session), partial(admin.resume_session, self.session)
        change, back, said = (go_on, stop, "goes on") if found.stopped_by else (stop, go_on, "is stopped")
        undo = Undo(f"session {self.session} {said}", lambda: back(key=found.key))
        changed = await self.paig.changing(change(key=found.key), f"The session {said}.", undo)
        if changed is not None:
            self._show(changed)

    def action_requests(self) -> None:
        """The requests of the session."""
        from paig_tui.screens.requests.list import Requests

        self.app.push_screen(Requests(f"session {self.session}", {}, where={"session": self.session}))

    def action_copy_id(self) -> None:
        """The id into the clipboard."""
        from paig_tui.clipboard import copy

        self.notify(copy(self.app, self.session))
