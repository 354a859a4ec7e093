"""Requests for higher limits from the holders of keys; one keystroke approves or declines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from paig_client.admin import AdminError
from paig_client.api.resources import LimitRequest
from paig_client.api.specs import AnswerSpec
from paig_tui.screens.page import Page
from paig_tui.text import amount, plain, safe
from paig_tui.widgets.chrome import Frame, Panel, hints
from paig_tui.widgets.table import Column, Table


def _limit(one: LimitRequest) -> Content:
    whose = "" if one.owner_kind == "key" and one.owner == one.key else f" of {one.owner_kind} {one.owner}"
    return plain(f"{one.window}{whose}")


def _to(one: LimitRequest) -> Content:
    return Content.styled(amount(one.amount, one.unit), "bold")


COLUMNS: tuple[Column[LimitRequest], ...] = (
    Column("asked", 12, lambda one: Content(f"{one.time:%m-%d %H:%M}"), sort=lambda one: one.time),
    Column("key", 0, lambda one: plain(one.key), sort=lambda one: one.key.casefold()),
    Column("limit", 0, _limit, sort=lambda one: _limit(one).plain),
    Column("to", 10, _to, right=True, sort=lambda one: one.amount),
    Column("why", 0, lambda one: plain(one.why)),
)


class LimitRequests(Page):
    """The requests that wait for an answer."""

    CSS = "LimitRequests #why { min-height: 4; max-height: 8; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "approve", "Approve: the limit is raised until its window ends"),
        Binding("x", "decline", "Decline: the limit stays as it is"),
    ]

    @property
    def table(self) -> Table[LimitRequest]:
        return self.query_one(Table)

    def body(self) -> Iterable[Widget]:
        with Frame(id="found"):
            yield Table(COLUMNS, lambda one: one.id, empty="Loading …", id="requests")
        yield Panel("why", id="why")

    def on_mount(self) -> None:
        super().on_mount()
        frame = self.query_one("#found", Frame)
        frame.border_title = Content("requests for more")
        allowed = () if self.lacking("limits:write") else ("a approve", "x decline")
        frame.show_keys(hints([*self.BINDINGS, *Page.BINDINGS], *allowed, "Esc back"))
        self.table.focus()
        self._show(self.state.asks)
        self.load()

    @work(exclusive=True, exit_on_error=False)
    async def load(self) -> None:
        try:
            found = await self.paig.admin.limit_requests()
        except AdminError as error:
            self.table.empty = f"✕ {safe(error)}"
            self.table.refresh()
            return
        self._show(found)

    def _show(self, found: Sequence[LimitRequest] | None) -> None:
        """Show them; None while they are not known."""
        if found is not None:
            self.table.empty = "No one asks for more."
            self.table.show(found)

    @on(Table.Moved)
    def _why(self) -> None:
        """Show the whole reason of the request under the cursor; it may be longer than its column."""
        one, panel = self.table.current, self.query_one("#why", Panel)
        panel.title("why" if one is None else f"why {safe(one.key)} asks")
        panel.update(Content("") if one is None else plain(one.why))

    def action_approve(self) -> None:
        self.answer(approve=True)

    def action_decline(self) -> None:
        self.answer(approve=False)

    @work(exclusive=True, group="answer", exit_on_error=False)
    async def answer(self, *, approve: bool) -> None:
        one, admin = self.table.current, self.paig.admin
        if (refusal := self.lacking("limits:write")) is not None:
            self.notify(refusal, title="Not done", severity="warning")
            return
        if one is None:
            return
        answered = (admin.approve_limit_request if approve else admin.decline_limit_request)(one.id, AnswerSpec())
        limit = f"{safe(one.key)}: {one.window} {amount(one.amount, one.unit)}"
        if await self.paig.changing(answered, f"{'Approved' if approve else 'Declined'} for {limit}.") is not None:
            self.load()
