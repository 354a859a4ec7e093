"""What every section has around it: the line at the top, the line at the bottom, framed panels."""

from __future__ import annotations

from datetime import datetime

from textual.content import Content
from textual.widgets import Static

from paig_tui.state import State
from paig_tui.text import BAD, GOOD, MUTED, WARN, plain, span

SECTIONS = (
    ("dashboard", "Dash"),
    ("keys", "Keys"),
    ("usage", "Usage"),
    ("providers", "Prov"),
    ("routes", "Routes"),
    ("log", "Log"),
)


def standing(state: State, now: datetime) -> Content:
    """The state of the connection: glyph, word, number."""
    link = state.link
    if link.standing == "connecting":
        return Content.styled("◌ connecting", WARN)
    age = span((now - link.at).total_seconds()) if link.at else ""
    if link.standing == "live":
        return Content.styled(f"● live {age}", GOOD)
    seen = f" · as of {link.at:%H:%M:%S}, {age} ago" if link.at else " · nothing fetched yet"
    retry = f" · retry in {span((link.retry_at - now).total_seconds())}" if link.retry_at else ""
    word = "token refused" if link.standing == "refused" else "lost"
    return Content.styled(f"✕ {word}{seen}{retry}", BAD)


class Header(Static):
    """Which gateway, how the connection stands, what one may do, what time it is."""

    DEFAULT_CSS = "Header { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }"

    def show(self, state: State, *, profile: str, host: str, role: str) -> None:
        """Draw it anew."""
        now = state.clock()
        wide = self.size.width or 80
        clock = f"{now:%H:%M:%S} UTC"
        left = Content.assemble(("paig", "bold $primary"), "  ", plain(f"{profile} @ {host}"), "  ")
        middle = Content.assemble(standing(state, now), "  ", (role, MUTED))
        room = wide - 2 - left.cell_length - len(clock) - 1
        middle = middle.truncate(max(0, room), ellipsis=True)
        gap = " " * max(1, wide - 2 - left.cell_length - middle.cell_length - len(clock))
        self.update(Content.assemble(left, middle, gap, clock))


class Footer(Static):
    """The sections and the keys that work everywhere; every word can be clicked."""

    DEFAULT_CSS = "Footer { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; }"

    def show(self, current: str, undo: str | None) -> None:
        """Draw it anew."""
        parts = []
        for number, (section, title) in enumerate(SECTIONS, 1):
            look = "bold $primary reverse" if section == current else ""
            parts.append(_link(f"{number} {title}", f"app.section('{section}')", look))
        parts += [
            _link("/ Filter", "screen.filter", ""),
            _link("? Help", "app.help", ""),
            _link(": Cmd", "app.command_palette", ""),
        ]
        if undo:
            parts.append(_link("u Undo", "app.undo", "bold"))
        self.update(Content("  ").join(parts))


def _link(words: str, action: str, look: str) -> Content:
    """Our own words as something to click; the key is set off."""
    key, _, word = words.partition(" ")
    inside = f"[{look}]{key} {word}[/]" if look else f"[bold]{key}[/] {word}"
    return Content.from_markup(f"[@click={action}]{inside}[/]")


class Panel(Static):
    """A frame with a title; its text is never parsed."""

    DEFAULT_CSS = """
    Panel { border: round $foreground 30%; border-title-color: $foreground; padding: 0 1; height: auto; }
    Panel:ansi { border: round ansi_default; }
    """

    def __init__(self, title: str, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("", id=id, classes=classes, markup=False)
        self.border_title = Content(title)

    def title(self, title: str) -> None:
        """Another title."""
        self.border_title = Content(title)
