"""The dialog of one request."""

from __future__ import annotations

import os
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from paig_client.api.resources import Request
from paig_tui.screens.drawing import draw_later
from paig_tui.screens.requests.text import TRACE_URL, described, trace_link
from paig_tui.text import safe
from paig_tui.widgets.chrome import Messages, hints, joined


class RequestDetail(ModalScreen[None]):
    """The dialog."""

    CSS_PATH = "detail.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy_id", "Copy the request's id"),
        Binding("t", "copy_trace", "Copy the trace's link, or its id"),
        Binding("o", "open_trace", "Open the trace in the browser"),
        Binding("escape,q,enter", "dismiss", "Close"),
    ]

    def __init__(self, row: Request) -> None:
        super().__init__()
        self.row = row
        self.link = trace_link(row, os.environ)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box") as box:
            box.border_title = Content(f"request {safe(self.row.id)}")
            trace = ("t copy trace", "o open trace") if self.row.trace_id else ()
            box.border_subtitle = joined(hints(self.BINDINGS, "y copy id", *trace, "Esc close"))
            yield Static("", markup=False, id="text")
        yield Messages()

    def on_resize(self) -> None:
        """What is drawn depends on the width."""
        draw_later(self, self._draw)

    def _draw(self) -> None:
        text = self.query_one("#text", Static)
        text.update(described(self.row, (text.content_size.width or 60) - 2, self.link))

    def action_copy_id(self) -> None:
        self._copy(self.row.id)

    def action_copy_trace(self) -> None:
        """The trace's link, or else its id, into the clipboard."""
        if self.row.trace_id is None:
            self.notify("No trace was recorded of this request.")
        else:
            self._copy(self.link or self.row.trace_id)

    def action_open_trace(self) -> None:
        if self.link is not None:
            self.app.open_url(self.link)
        elif self.row.trace_id is None:
            self.notify("No trace was recorded of this request.")
        else:
            self.notify(f"Say where traces are to be seen: {TRACE_URL}=https://…/{{trace_id}}", title="No link")

    def _copy(self, text: str) -> None:
        from paig_tui.clipboard import copy

        self.notify(copy(self.app, text))
