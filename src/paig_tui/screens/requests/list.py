"""A list of requests with something in common: one key, one model, one hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from paig_client.admin import AdminError
from paig_client.api.resources import Request
from paig_tui.screens.page import Page
from paig_tui.screens.requests.rows import REQUESTS
from paig_tui.text import plain, safe
from paig_tui.widgets.chrome import Frame, hints
from paig_tui.widgets.table import Table

PAGE = 200


class Requests(Page):
    """A list of requests, page by page.

    Args:
        title: What they have in common.
        which: The admin API's filters for it.
        since: The first time to include.
        keep: A further filter, for what the admin API cannot filter.
        where: Further filters of the admin API, by field.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "more", "Earlier ones"),
    ]

    def __init__(
        self,
        title: str,
        which: Mapping[str, str],
        *,
        since: datetime | None = None,
        keep: Callable[[Request], bool] = lambda _: True,
        where: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.keep = keep
        self.title_shown = title
        self.which: dict[str, Any] = {**which, "since": since, "where": where}
        self.rows: list[Request] = []
        self.cursor: str | None = None

    def body(self) -> Iterable[Widget]:
        with Frame(id="found"):
            yield Table(REQUESTS, lambda row: row.id, empty="Loading …", id="rows")

    def on_mount(self) -> None:
        super().on_mount()
        self._title()
        self.query_one(Table).focus()
        self.load()

    @work(exclusive=True, exit_on_error=False)
    async def load(self) -> None:
        table = self.query_one(Table)
        try:
            page = await self.paig.admin.requests(**self.which, limit=PAGE, cursor=self.cursor, sort=table.sort_field)
        except AdminError as error:
            table.empty = safe(error)
            table.refresh()
            return
        self.rows = [*(self.rows if self.cursor else ()), *filter(self.keep, page.items)]
        self.cursor = page.next_cursor
        table.empty = "No request."
        table.show(self.rows)
        self._title()

    def _title(self) -> None:
        more = "+" if self.cursor else ""
        frame = self.query_one("#found", Frame)
        frame.border_title = Content.assemble("requests of ", plain(self.title_shown), f" · {len(self.rows)}{more}")
        more_keys = ("m earlier ones",) if self.cursor else ()
        known = [*self.BINDINGS, *Table.BINDINGS, *Page.BINDINGS]
        frame.show_keys(hints(known, "Enter details", *more_keys, "o sort", "Esc back"))

    def action_more(self) -> None:
        if self.cursor is not None:
            self.load()

    @on(Table.Sorted)
    def _sorted(self) -> None:
        """Fetch the requests that come first in the new order: they need not be the latest."""
        self.cursor = None
        self.load()

    @on(Table.Chosen)
    def _open(self, event: Table.Chosen) -> None:
        from paig_tui.screens.requests.detail import RequestDetail

        if (row := event.table.current) is not None:
            self.app.push_screen(RequestDetail(row))
