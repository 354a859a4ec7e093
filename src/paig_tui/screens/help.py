"""The help: a searchable list of every key."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from paig_tui.commands import everything
from paig_tui.text import MUTED, lines

if TYPE_CHECKING:
    from paig_tui.app import PaigApp

SIGNS = (
    ("● active  ■ limit  ✕ blocked  ◌ expired  ○ disabled", "a key's state"),
    ("429→200", "the first attempt's status, then what the client got"),
    ("~ $0.01   ≤ $0.01", "the cost is estimated; charged at its ceiling"),
    ("$0.0041 ▄   0.8s ▃", "small to large: $0.0001 to $1, 0.1 s to 60 s; each step is the same factor"),
    ("▲ 93%   100%!", "a cap is nearly used up; it is"),
)


class Help(ModalScreen[None]):
    """A list of every key, with a search field."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1", "dismiss", "Close"),
        Binding("up", "scroll(-1)", "A line up"),
        Binding("down", "scroll(1)", "A line down"),
        Binding("pageup", "scroll(-15)", "A page up"),
        Binding("pagedown", "scroll(15)", "A page down"),
    ]

    def compose(self) -> ComposeResult:
        """A search field over a list."""
        with Vertical(id="box") as box:
            box.border_title = Content("help · type to search")
            box.border_subtitle = Content("↑ ↓ scroll · Esc close")
            yield Input(placeholder="search: key, undo, csv …", compact=True)
            with VerticalScroll():
                yield Static("", markup=False, id="list")

    def on_mount(self) -> None:
        self._fill("")

    def action_scroll(self, lines: int) -> None:
        """Up or down, while the search field keeps the focus."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def _fill(self, wanted: str) -> None:
        shown: list[Content] = []
        place: str | None = "?"
        words = wanted.casefold().split()
        for command in everything(cast("PaigApp", self.app)):
            if not all(word in f"{command.place} {command.key} {command.says}".casefold() for word in words):
                continue
            if command.place != place:
                place = command.place
                title = Content.styled((place or "everywhere").capitalize(), "bold $secondary")
                shown += [Content(""), title] if shown else [title]
            shown.append(Content.assemble((f"  {command.key:<13}", "bold $primary"), command.says))
        signs = [sign for sign in SIGNS if all(word in " ".join(sign).casefold() for word in words)]
        if signs:
            shown += [Content(""), Content.styled("Signs", "bold $secondary")]
            for sign, meaning in signs:
                shown.append(Content.assemble(f"  {sign}", (f"  {meaning}", MUTED)))
        self.query_one("#list", Static).update(lines(shown) if shown else "Nothing fits.")
