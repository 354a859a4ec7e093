"""The frame of every section: header, footer and framed panels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.style import Style
from textual.widgets import Static

from paig_tui.data.state import AppState
from paig_tui.text import BAD, GOOD, MUTED, WARN, plain, span

SECTIONS = (
    ("dashboard", "Dash", "Dashboard"),
    ("keys", "Keys", "Keys"),
    ("usage", "Usage", "Usage"),
    ("providers", "Prov", "Providers"),
    ("routes", "Route", "Routes"),
    ("log", "Log", "Log"),
    ("limits", "Limit", "Limits"),
)
"""The sections: name, title in a narrow terminal, title in a wide one."""
WIDE = 110
KEYS = {"question_mark": "?", "colon": ":", "slash": "/", "escape": "Esc", "left": "←", "right": "→", "enter": "Enter",
        "up": "↑", "down": "↓", "pageup": "PgUp", "pagedown": "PgDn", "home": "Home", "end": "End",
        "space": "Space", "plus": "+", "minus": "-", "tab": "Tab", "delete": "Del", "f1": "F1"}  # fmt: skip
"""How people write keys, by Textual's names."""


def link_status(state: AppState, now: datetime) -> Content:
    """The state of the connection: glyph, word, number."""
    link = state.link
    if link.state == "connecting":
        return Content.styled("◌ connecting", WARN)
    age = span((now - link.at).total_seconds()) if link.at else ""
    if link.state == "live":
        return Content.styled(f"● live {age}", GOOD)
    seen = f" · as of {link.at:%H:%M:%S}, {age} ago" if link.at else " · nothing fetched yet"
    retry = f" · retry in {span((link.retry_at - now).total_seconds())}" if link.retry_at else ""
    word = "token refused" if link.state == "refused" else "lost"
    return Content.styled(f"✕ {word}{seen}{retry}", BAD)


class Header(Static):
    """The gateway, the state of the connection, the user and the time."""

    DEFAULT_CSS = "Header { height: 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }"

    def show(self, state: AppState, *, profile: str, host: str, role: str) -> None:
        now = state.clock()
        clock = Content.assemble((f"{now:%H:%M:%S}", "bold"), (" UTC ", MUTED))
        named = ((plain(profile).plain, "bold"), (" @ ", MUTED)) if profile else ()
        left = Content.assemble((" paig ", PILL), " ", *named, plain(host), "  ")
        middle = Content.assemble(link_status(state, now), "  ", (role, MUTED))
        room = (self.size.width or 80) - left.cell_length - clock.cell_length - 1
        middle = middle.truncate(max(0, room), ellipsis=True)
        self.update(Content.assemble(left, middle, " " * (1 + max(0, room - middle.cell_length)), clock))


class Footer(Static):
    """The sections and the keys that work everywhere; every word can be clicked."""

    DEFAULT_CSS = """
    Footer {
        height: 1; background: $panel; text-wrap: nowrap;
        link-style: none; link-style-hover: reverse; link-background-hover: $primary 30%;
    }
    """

    def show(self, current: str, undo: str | None) -> None:
        wide = (self.size.width or 80) >= WIDE
        parts = []
        for number, (section, short, title) in enumerate(SECTIONS, 1):
            word = title if wide else short
            parts.append(link(str(number), word, f"app.section('{section}')", here=section == current))
        parts += [
            link("/", "Filter" if wide else "", "screen.filter"),
            link("?", "Help", "app.help"),
            link(":", "Cmd" if wide else "", "app.command_palette"),
        ]
        if undo:
            parts.append(link("u", "Undo", "app.undo"))
        self.update(Content("" if not wide else " ").join(parts))


PILL = "bold $background on $primary"


def link(key: str, word: str, action: str, *, here: bool = False) -> Content:
    """A key and a word to click on; `word` is never remote text."""
    if here:
        return Content.styled(f" {key} {word} ", PILL)
    word = f" {word}" if word else ""
    return Content.from_markup(f"[@click={action}] [bold $primary]{key}[/]{word} [/]")


def hints(bindings: Iterable[BindingType], *wanted: str) -> Content:
    """The keys shown below a frame, to click on: `c caps` names the binding of `c`.

    A key without a binding is left out: it is not allowed here.
    """
    actions = {key: b.action for b in bindings if isinstance(b, Binding) for key in b.key.split(",")}
    names = {shown: key for key, shown in KEYS.items()}
    parts = []
    for key, _, words in (hint.partition(" ") for hint in wanted):
        if action := actions.get(names.get(key, key)):
            shown = Content.assemble((key, "bold $primary"), f" {words}")
            parts.append(shown.stylize_before(Style.from_meta({"@click": f"screen.{action}"})))
    return Content("  ").join(parts)


def tabs(words: Iterable[tuple[str, bool, str]]) -> Content:
    """Tabs: the selected one is in brackets, and a click selects another.

    Args:
        words: Each tab's word, whether it is selected, and the action of a click.
    """
    parts = []
    for word, shown, action in words:
        look = f"[$primary]\\[[/][bold $primary]{word}[/][$primary]][/]" if shown else f" [dim]{word}[/] "
        parts.append(Content.from_markup(f"[@click={action}]{look}[/]"))
    return Content(" ").join(parts)


class Panel(Static):
    """A frame with a title; its text is never parsed."""

    DEFAULT_CSS = """
    Panel { border: round $foreground 20%; border-title-color: $foreground 75%; padding: 0 1; height: auto; }
    Panel:ansi { border: round ansi_default; }
    """

    def __init__(self, title: str, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("", id=id, classes=classes, markup=False)
        self.border_title = Content(title)
        self._picture: Callable[[int, int], Content] | None = None

    def paint(self, picture: Callable[[int, int], Content]) -> None:
        """Draw by a function of the panel's width and height, now and whenever these change."""
        self._picture = picture
        self._repaint()

    def on_resize(self) -> None:
        self._repaint()

    def _repaint(self) -> None:
        width, height = self.content_size
        if self._picture is not None and width > 0 and height > 0:
            self.update(self._picture(width, height))

    def title(self, title: str | Content) -> None:
        """Set the title."""
        self.border_title = title if isinstance(title, Content) else Content(title)
