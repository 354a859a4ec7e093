"""A table that draws only the rows in sight: ten thousand keys cost as much as twenty.

Cells are `Content`, so that nothing remote is parsed. The cursor stays on its row, by key, whatever happens around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style

RowT = TypeVar("RowT")


@dataclass(frozen=True)
class Column(Generic[RowT]):
    """One column.

    Attributes:
        title: Its heading.
        width: In cells; 0 takes what the others leave.
        cell: What it shows of a row.
        right: Whether it is aligned to the right.
        least: The width of the table from which on the column is shown.
        below: The width of the table from which on it is not.
        most: How wide one of width 0 may get.
    """

    title: str
    width: int
    cell: Callable[[RowT], Content]
    right: bool = False
    least: int = 0
    below: int = 10_000
    most: int = 10_000


class Table(ScrollView, Generic[RowT], can_focus=True):
    """Rows under headings, with a cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"table--header", "table--cursor", "table--empty"}
    DEFAULT_CSS = """
    Table {
        height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; background: transparent;
        & > .table--header { color: $secondary; text-style: bold; background: transparent; }
        & > .table--cursor { background: $primary 14%; }
        & > .table--empty { text-style: dim italic; }
        &:focus > .table--cursor { background: $primary 28%; }
        &:ansi > .table--cursor, &:nocolor > .table--cursor { background: transparent; text-style: underline; }
        &:ansi:focus > .table--cursor, &:nocolor:focus > .table--cursor {
            background: transparent; text-style: reverse;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up"),
        Binding("down,j", "move(1)", "Down"),
        Binding("pageup", "page(-1)", "A page up"),
        Binding("pagedown", "page(1)", "A page down"),
        Binding("home,g", "edge(-1)", "The first row"),
        Binding("end,G", "edge(1)", "The last row"),
        Binding("enter", "choose", "Open the row; so does a second click on it"),
    ]

    cursor: reactive[int] = reactive(0)

    class Chosen(Message):
        """A row was chosen, by Enter or by a click on it."""

        def __init__(self, table: Table[Any], row: Any) -> None:
            super().__init__()
            self.table, self.row = table, row

        @property
        def control(self) -> Table[Any]:
            """The table."""
            return self.table

    class Moved(Message):
        """The cursor went to another row."""

        def __init__(self, table: Table[Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table[Any]:
            """The table."""
            return self.table

    def __init__(
        self,
        columns: Sequence[Column[RowT]],
        key: Callable[[RowT], str],
        *,
        empty: str = "",
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.columns = columns
        self.key = key
        self.empty = empty
        self.rows: Sequence[RowT] = ()
        self._strips: dict[int, tuple[RowT, Strip]] = {}
        self._drawn_for: object = None

    def show(self, rows: Sequence[RowT], *, follow: bool = False) -> None:
        """Show these rows; the cursor stays on its row unless it follows the first."""
        before = self.current_key
        self.rows = rows
        self.virtual_size = Size(self.room, len(rows) + 1)
        if follow:
            self.set_reactive(Table.cursor, 0)
            self.scroll_to(y=0, animate=False)
        elif before is not None:
            old = self.cursor
            place = old if old < len(rows) and self.key(rows[old]) == before else self._find(before)
            self.set_reactive(Table.cursor, max(0, min(old if place is None else place, len(rows) - 1)))
            if place is not None and self.scroll_offset.y > 0:  # what is looked at stays in sight
                self.scroll_to(y=self.scroll_offset.y + place - old, animate=False)
        self.refresh()
        if self.current_key != before:
            self.post_message(self.Moved(self))

    def _find(self, key: str) -> int | None:
        return next((place for place, row in enumerate(self.rows) if self.key(row) == key), None)

    @property
    def current(self) -> RowT | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    @property
    def current_key(self) -> str | None:
        """Its key."""
        row = self.current
        return None if row is None else self.key(row)

    def point_at(self, key: str) -> None:
        """Put the cursor on a row, if it is there."""
        place = self._find(key)
        if place is not None:
            self.cursor = place

    def watch_cursor(self) -> None:
        """Keep the cursor in sight."""
        self.scroll_to_region(Region(0, self.cursor, 1, 2), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved(self))

    def validate_cursor(self, cursor: int) -> int:
        """A row that is there."""
        return max(0, min(cursor, len(self.rows) - 1))

    def action_move(self, step: int) -> None:
        """Up or down."""
        self.cursor += step

    def action_page(self, step: int) -> None:
        """A page up or down."""
        self.cursor += step * max(1, self.size.height - 2)

    def action_edge(self, step: int) -> None:
        """To the first or last row."""
        self.cursor = 0 if step < 0 else len(self.rows) - 1

    def action_choose(self) -> None:
        """Open the row."""
        if (row := self.current) is not None:
            self.post_message(self.Chosen(self, row))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor; on a second click open the row."""
        place = event.y - 1 + self.scroll_offset.y
        if event.y < 1 or not 0 <= place < len(self.rows):
            return
        same = place == self.cursor
        self.cursor = place
        if same or event.chain > 1:
            self.action_choose()

    def on_resize(self) -> None:
        """Columns come and go with the width."""
        self.virtual_size = Size(self.room, len(self.rows) + 1)
        self.refresh()

    @property
    def room(self) -> int:
        """The width that rows have."""
        return self.scrollable_content_region.width

    def _shown(self) -> list[tuple[Column[RowT], int]]:
        """The columns that there is room for, with their widths."""
        shown = [column for column in self.columns if column.least <= self.room < column.below]
        spare = self.room - sum(column.width for column in shown) - len(shown) - 1
        widths = [column.width for column in shown]
        elastic = sorted((place for place, size in enumerate(widths) if not size), key=lambda place: shown[place].most)
        for left, place in zip(range(len(elastic), 0, -1), elastic, strict=True):
            widths[place] = max(4, min(shown[place].most, spare // left))
            spare -= widths[place]
        return list(zip(shown, widths, strict=True))

    def render_line(self, y: int) -> Strip:
        """The headings, or a row; a row that was drawn before, and is not under the cursor, is not drawn again."""
        width = self.room
        base = self.visual_style
        drawn_for = (width, base, self.columns, self.app.theme)
        if drawn_for != self._drawn_for or len(self._strips) > 4 * self.size.height + 100:
            self._drawn_for = drawn_for
            self._strips.clear()
        if y == 0:
            cells = [(Content(column.title), size, column.right) for column, size in self._shown()]
            return self._line(cells, base + self.get_visual_style("table--header"), width)
        place = y - 1 + self.scroll_offset.y
        if not self.rows and y == 1:
            style = base + self.get_visual_style("table--empty", partial=True)
            return self._line([(Content(self.empty), width - 2, False)], style, width)
        if place >= len(self.rows):
            return Strip.blank(width, base.rich_style)
        row = self.rows[place]
        if place == self.cursor:
            return self._cursor(row, base, width)
        known = self._strips.get(id(row))
        if known is None or known[0] is not row:
            known = self._strips[id(row)] = row, self._row(row, base, width)
        return known[1]

    def _cursor(self, row: RowT, base: Style, width: int) -> Strip:
        """The row under the cursor; reversed, where there are no colours of ours, and then all of it alike."""
        style = base + self.get_visual_style("table--cursor", partial=True)
        if not self.get_component_styles("table--cursor").text_style.reverse:
            return self._row(row, style, width)
        cells = [(Content(column.cell(row).plain), size, column.right) for column, size in self._shown()]
        return self._line(cells, style + Style(reverse=True), width)  # Textual leaves it out of the visual style

    def _row(self, row: RowT, style: Style, width: int) -> Strip:
        return self._line([(column.cell(row), size, column.right) for column, size in self._shown()], style, width)

    def _line(self, cells: list[tuple[Content, int, bool]], style: Style, width: int) -> Strip:
        parse = self.app.stylesheet.parse_style
        segments = [Segment(" ", style.rich_style)]
        for content, size, right in cells:
            fitted = content.truncate(size, ellipsis=True)
            gap = " " * max(0, size - fitted.cell_length)
            if right and gap:
                segments.append(Segment(gap, style.rich_style))
            segments.extend(
                Segment(text, piece.rich_style) for text, piece in fitted.render(style, end="", parse_style=parse)
            )
            segments.append(Segment(" " if right else gap + " ", style.rich_style))
        return Strip(segments).adjust_cell_length(width, style.rich_style).simplify()
