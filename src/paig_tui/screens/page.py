"""A whole screen between header and footer, and what is opened above a section."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from paig_tui.data.state import AppState
from paig_tui.screens.drawing import draw_later
from paig_tui.widgets.chrome import Footer, Header, Messages

if TYPE_CHECKING:
    from paig_client.api.vocabulary import Permission
    from paig_tui.app import PaigApp

SMALLEST = (80, 24)


class Framed(Screen[None]):
    """A screen with header, messages and footer. A subclass composes its `body`."""

    @property
    def paig(self) -> PaigApp:
        return cast("PaigApp", self.app)

    @property
    def state(self) -> AppState:
        return self.paig.state

    def body(self) -> Iterable[Widget]:
        """The widgets between header and footer."""
        return ()

    def compose(self) -> ComposeResult:
        """Header, body, messages, footer."""
        yield Header(markup=False, id="header")
        yield from self.body()
        yield Messages()
        yield Footer(id="footer")
        yield Static("", id="small", markup=False)

    def on_mount(self) -> None:
        draw_later(self, partial(self.redraw, force=True))

    def on_screen_resume(self) -> None:
        draw_later(self, partial(self.redraw, force=True))

    def on_resize(self) -> None:
        """Below the smallest size, show a message instead of half a screen."""
        width, height = self.size
        self.set_class(width < SMALLEST[0] or height < SMALLEST[1], "-small")
        self.query_one("#small", Static).update(
            Content(
                f"This terminal is {width}×{height}.\npaig needs {SMALLEST[0]}×{SMALLEST[1]}: make it larger, or the"
                " font smaller.\n\nq quits."
            )
        )
        draw_later(self, partial(self.redraw, force=True))

    def redraw(self, *, force: bool = False) -> None:
        """Draw header and footer again."""
        if not self.is_mounted or (not self.is_current and not force):
            return
        self.query_one(Header).show(self.state, profile=self.paig.profile, host=self.paig.host, role=self.paig.role)
        self.query_one(Footer).show(self.app.current_mode, self.paig.undo_label)
        self.set_class(self.state.stale, "-stale")

    def lacking(self, needed: Permission) -> str | None:
        """Why something that needs a permission is not to be done here, or None."""
        if self.paig.read_only:
            return "This is read-only: paig was started with --read-only."
        return None if self.state.may(needed) else f"Your token may not do that: it lacks {needed}."


class Page(Framed):
    """A list or an object in full, above a section: `Esc` leads back, and a section's number to that section."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Back")]
