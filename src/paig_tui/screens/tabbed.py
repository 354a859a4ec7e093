"""The base of the sections that show several tables as tabs, and beside them the requests for more of a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from textual.content import Content

from paig_tui.screens.section import Section
from paig_tui.text import NOT_YET, WARN
from paig_tui.widgets.chrome import tabs
from paig_tui.widgets.table import Table

TabT = TypeVar("TabT", bound=str)


class TabbedSection(Section, Generic[TabT]):
    """A section with tabs. Each is a part of the state that has a list of this name."""

    TABS: Mapping[TabT, str]
    """Each tab's title."""

    def __init__(self) -> None:
        super().__init__()
        self.tab: TabT = next(iter(self.TABS))

    def stamp(self) -> object:
        """Draw again after a poll, not after each request."""
        return self.state.fetches, self.tab

    def tabs_title(self) -> Content:
        """The tabs, each with the number of its objects."""
        words = []
        for tab, title in self.TABS.items():
            found = getattr(self.state, tab)
            count = NOT_YET if found is None else f"{len(found):,}"
            words.append((f"{title} {count}", tab == self.tab, f"screen.show_tab('{tab}')"))
        return tabs(words)

    def asks_note(self) -> Content:
        """The number of requests for more of a limit; empty if none waits."""
        waiting = len(self.state.asks or ())
        text = f" · a {waiting} ask{'s' if waiting == 1 else ''} for more" if waiting else ""
        return Content.styled(text, f"bold {WARN}")

    def action_tab(self, step: int) -> None:
        every = list(self.TABS)
        self.action_show_tab(every[(every.index(self.tab) + step) % len(every)])

    def action_show_tab(self, tab: TabT) -> None:
        self.tab = tab
        self.query_one(Table).set_reactive(Table.cursor, 0)
        self.redraw(force=True)

    def action_asks(self) -> None:
        from paig_tui.screens.keys.asks import LimitRequests

        self.app.push_screen(LimitRequests())
