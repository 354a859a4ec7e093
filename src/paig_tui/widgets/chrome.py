"""The frame of every screen: header, messages, footer, and framed panels with their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.notifications import SeverityLevel
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
    ("sessions", "Sess", "Sessions"),
)
"""The sections: name, title in a narrow terminal, title in a wide one."""
KEYS = {"question_mark": "?", "colon": ":", "slash": "/", "escape": "Esc", "left": "←", "right": "→", "enter": "Enter",
        "up": "↑", "down": "↓", "pageup": "PgUp", "pagedown": "PgDn", "home": "Home", "end": "End",
        "space": "Space", "plus": "+", "minus": "-", "tab": "Tab", "delete": "Del", "f1": "F1"}  # fmt: skip
"""How people write keys, by Textual's names."""


SLOW = 4.0
"""Seconds without an answer from which the header says so."""


def link_status(state: AppState, now: datetime) -> Content:
    """The state of the connection: glyph, word, number."""
    link = state.link
    unanswered = (now - link.asked_at).total_seconds() if link.asked_at else 0.0
    waits = f" · no answer for {span(unanswered)}" if unanswered >= SLOW else ""
    if link.state == "connecting":
        return Content.styled(f"◌ connecting{waits}", WARN)
    age = span((now - link.at).total_seconds()) if link.at else ""
    if link.state == "live" and waits:
        return Content.styled(f"▲ slow{waits}", WARN)
    if link.state == "live":
        return Content.styled(f"● live {age}", GOOD)
    seen = f" · as of {link.at:%H:%M:%S}, {age} ago" if link.at else " · nothing fetched yet"
    retry = f" · retry in {span((link.retry_at - now).total_seconds())}" if link.retry_at else ""
    word = "token refused" if link.state == "refused" else "lost"
    return Content.styled(f"✕ {word}{retry}{seen}", BAD)


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
        width = self.size.width or 80
        looks = (_words(current, undo, long, gap) for long, gap in ((True, " "), (True, ""), (False, "")))
        self.update(next((shown for shown in looks if shown.cell_length <= width), _words(current, undo, False, "")))


def _words(current: str, undo: str | None, long: bool, gap: str) -> Content:
    """The line at the bottom, in long or in short words."""
    parts = [
        link(str(number), title if long else short, f"app.section('{section}')", here=section == current)
        for number, (section, short, title) in enumerate(SECTIONS, 1)
    ]
    if long or not undo:
        parts.append(link("/", "Filter" if long else "", "screen.filter"))
    words = ("Help", "Commands") if long else ("", "")
    parts += [link("?", words[0], "app.help"), link(":", words[1], "app.command_palette")]
    return Content(gap).join([*parts, link("u", "Undo", "app.undo")] if undo else parts)


PILL = "bold $background on $primary"


def link(key: str, word: str, action: str, *, here: bool = False) -> Content:
    """A key and a word to click on; `word` is never remote text."""
    if here:
        return Content.styled(f" {key} {word} ", PILL)
    word = f" {word}" if word else ""
    return Content.from_markup(f"[@click={action}] [bold $primary]{key}[/]{word} [/]")


def hints(bindings: Iterable[BindingType], *wanted: str) -> list[Content]:
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
    return parts


def joined(parts: Sequence[Content], width: int | None = None) -> Content:
    """Hints in one line: those without room are left out, the last ones first, but never how to leave.

    Args:
        width: Cells; None for as many as it takes.
    """
    shown = list(parts)
    while len(shown) > 1 and width is not None and sum(one.cell_length + 2 for one in shown) - 2 > width:
        del shown[-2 if shown[-1].plain.startswith("Esc") else -1]
    return Content("  ").join(shown)


class Frame(Vertical):
    """A frame around a table, with a title above and keys below; keys that have no room are left out whole."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="frame")
        self._keys: Sequence[Content] = ()

    def show_keys(self, keys: Sequence[Content]) -> None:
        self._keys = keys
        self.on_resize()

    def on_resize(self) -> None:
        """Another width has room for more of them, or for fewer."""
        self.border_subtitle = joined(self._keys, max(1, self.size.width - 4) if self.size.width else None)


@dataclass
class Notice:
    """A message.

    Attributes:
        seconds: How long it is shown.
        until: When it goes, by the app's monotonic clock; None as long as it was not shown.
    """

    text: str
    severity: SeverityLevel
    seconds: float
    until: float | None = None


SIGNS: dict[SeverityLevel, tuple[str, str]] = {"information": ("●", GOOD), "warning": ("▲", WARN), "error": ("✕", BAD)}


class Messages(Static):
    """The latest messages, above the footer. They take room of their own, so that they cover no row and no dialog."""

    DEFAULT_CSS = "Messages { display: none; height: auto; max-height: 9; padding: 0 1; background: $panel; }"

    def __init__(self) -> None:
        super().__init__("", id="messages", markup=False)
        self._shown: list[str] = []

    def show(self, messages: Sequence[Notice]) -> None:
        """Show these, the newest last."""
        texts = [one.text for one in messages]
        if texts == self._shown:
            return
        self._shown = texts
        drawn = []
        for one in messages:
            sign, style = SIGNS[one.severity]
            drawn.append(Content.assemble((f"{sign} ", style), one.text))
        self.update(Content("\n").join(drawn))
        self.display = bool(drawn)


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
        self.border_title = title if isinstance(title, Content) else Content(title)
