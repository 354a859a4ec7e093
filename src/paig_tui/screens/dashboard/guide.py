"""The guide of the first run: the steps to the first request."""

from __future__ import annotations

from textual.content import Content

from paig_tui.data.state import AppState
from paig_tui.screens.dashboard.first_request import line
from paig_tui.text import ACCENT, GOOD, MUTED, lines, plain


def steps(state: AppState) -> list[tuple[str, str, bool]]:
    """The steps: each with its section, and whether it is done."""
    return [
        ("Tell paig of a provider: press 4, then n", "providers", bool(state.providers)),
        ("Make a key for your program: press 2, then n; it is shown once", "keys", bool(state.keys)),
        ("Send the first request; it appears below as it finishes", "dashboard",
         bool(state.recent.tail) or bool(state.today and state.today.total.requests)),
    ]  # fmt: skip


def next_section(state: AppState) -> str | None:
    """The section of the next step."""
    return next((section for _, section, done in steps(state) if not done), None)


def guide(state: AppState, root: str) -> Content | None:
    """The steps as text; None after the first request, and while the state is not known."""
    if state.providers is None or state.keys is None or state.today is None:
        return None
    todo = steps(state)
    if todo[-1][2]:
        return None
    now = next(number for number, (_, _, done) in enumerate(todo) if not done)
    shown: list[Content] = []
    for number, (words, _, done) in enumerate(todo):
        glyph, style = ("✓ done ", GOOD) if done else ("▶ next ", ACCENT) if number == now else ("◌ later", MUTED)
        shown.append(Content.assemble((glyph, style), f"  {number + 1}. ", (words, "bold" if number == now else "")))
    if now == len(todo) - 1:
        shown.append(plain(line(root, state.providers), "$secondary"))
        shown.append(Content.from_markup("[bold $primary]y[/] copies that line; the key's dialog has its export lines"))
    else:
        shown.append(Content.from_markup("[bold $primary]n[/] goes there · [bold $primary]?[/] lists every key"))
    return lines(shown)
