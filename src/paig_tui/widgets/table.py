"""A table that draws only the visible rows: ten thousand keys cost as much as twenty.

Cells are `Content`, so that remote text is never parsed. The cursor stays on its row, found by its key, when rows come
and go.
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
MOST_EMPTY = 6
"""Lines of what is said where there are no rows."""
MEASURED = 100
"""The first rows, which determine the width of columns together with the visible rows."""


@dataclass(frozen=True)
class Column(Generic[RowT]):
    """One column.

    Attributes:
        width: Its width in cells; 0 means as wide as its content, if there is room.
        least: The table's width from which the column is shown.
        below: The table's width from which it is hidden.
        most: The largest width of a column without a fixed width.
        wide: In place of `cell`, makes a cell of a given width; such a column has at least `width` cells, and takes the
            room that the others leave.
        sort: The value to sort rows by; None if the column cannot be sorted.
        field: The admin API's name of the column, for tables whose pages the API sorts.
    """

    title: str
    width: int
    cell: Callable[[RowT], Content] = lambda _: Content("")
    right: bool = False
    least: int = 0
    below: int = 10_000
    most: int = 10_000
    wide: Callable[[RowT, int], Content] | None = None
    sort: Callable[[RowT], Any] | None = None
    field: str = ""

    def drawn(self, row: RowT, width: int) -> Content:
        """The cell of a row, `width` cells wide."""
        return self.cell(row) if self.wide is None else self.wide(row, width)


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
        Binding("o", "sort", "Sort by the next column; so does a click on its heading"),
        Binding("O", "reverse", "Sort the other way round; so does a second click on the heading"),
    ]

    cursor: reactive[int] = reactive(0)

    class _Event(Message):
        def __init__(self, table: Table[Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table[Any]:
            return self.table

    class Chosen(_Event):
        """The row under the cursor was chosen, by Enter or by a click on it."""

    class Moved(_Event):
        """The cursor went to another row."""

    class Sorted(_Event):
        """The rows are to be sorted in another way."""

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
        self.sorted_by = ""
        """The heading of the column that the rows are sorted by; empty if they are in the given order."""
        self.largest_first = False
        self._given: Sequence[RowT] = ()
        self._widest: dict[Column[RowT], int] = {}
        self._widths: list[tuple[Column[RowT], int]] = []
        self._measured_for = -1
        self._strips: dict[int, tuple[RowT, Strip]] = {}
        self._drawn_for: object = None

    def show(self, rows: Sequence[RowT], *, follow: bool = False) -> None:
        """Show these rows; the cursor stays on its row unless it follows the first."""
        before = self.current_key
        self._given = rows
        self.rows = rows = self._in_order(rows)
        self.virtual_size = Size(self.room, len(rows) + 1)
        self._measure()
        if follow:
            self.set_reactive(Table.cursor, 0)
            self.scroll_to(y=0, animate=False)
        elif before is not None:
            old = self.cursor
            place = old if old < len(rows) and self.key(rows[old]) == before else self._find(before)
            self.set_reactive(Table.cursor, max(0, min(old if place is None else place, len(rows) - 1)))
            if place is not None and self.scroll_offset.y > 0:  # the visible rows stay visible
                self.scroll_to(y=self.scroll_offset.y + place - old, animate=False)
        self.refresh()
        if self.current_key != before:
            self.post_message(self.Moved(self))

    def _find(self, key: str) -> int | None:
        return next((place for place, row in enumerate(self.rows) if self.key(row) == key), None)

    @property
    def current(self) -> RowT | None:
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    @property
    def current_key(self) -> str | None:
        row = self.current
        return None if row is None else self.key(row)

    def point_at(self, key: str) -> None:
        """Put the cursor on a row, if it is there."""
        place = self._find(key)
        if place is not None:
            self.cursor = place

    def watch_cursor(self) -> None:
        self.scroll_to_region(Region(0, self.cursor, 1, 2), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved(self))

    def validate_cursor(self, cursor: int) -> int:
        return max(0, min(cursor, len(self.rows) - 1))

    def action_move(self, step: int) -> None:
        self.cursor += step

    def action_page(self, step: int) -> None:
        self.cursor += step * max(1, self.size.height - 2)

    def action_edge(self, step: int) -> None:
        self.cursor = 0 if step < 0 else len(self.rows) - 1

    def action_choose(self) -> None:
        if self.current is not None:
            self.post_message(self.Chosen(self))

    # Sorting

    @property
    def sort_field(self) -> str | None:
        """The order in the admin API's form, `-cost`; None if the rows are in the given order."""
        column = self._sorting()
        return None if column is None or not column.field else ("-" if self.largest_first else "") + column.field

    def _sorting(self) -> Column[RowT] | None:
        named = (column for column in self.columns if column.sort is not None and column.title == self.sorted_by)
        return next(named, None)

    def _in_order(self, rows: Sequence[RowT]) -> Sequence[RowT]:
        column = self._sorting()
        if column is None or column.sort is None:
            return rows
        keyed = [(column.sort(row), row) for row in rows]
        known = [one for one in keyed if one[0] is not None]
        known.sort(key=lambda one: one[0], reverse=self.largest_first)
        return [row for _, row in known] + [row for value, row in keyed if value is None]

    def sort_by(self, title: str, *, largest_first: bool) -> None:
        """Sort by the column of a heading; an empty one keeps the given order."""
        self.sorted_by, self.largest_first = title, largest_first
        self.show(self._given)
        self.post_message(self.Sorted(self))

    def _sort_naturally(self, column: Column[RowT]) -> None:
        """Sort numbers and bars with the largest first, names from A to Z."""
        self.sort_by(column.title, largest_first=column.right or column.wide is not None)

    def action_sort(self) -> None:
        """Sort by the next column; after the last one, restore the given order."""
        columns = [column for column, _ in self._widths if column.sort is not None]
        titles = [column.title for column in columns]
        following = titles.index(self.sorted_by) + 1 if self.sorted_by in titles else 0
        if following < len(columns):
            self._sort_naturally(columns[following])
        else:
            self.sort_by("", largest_first=False)

    def action_reverse(self) -> None:
        if self.sorted_by:
            self.sort_by(self.sorted_by, largest_first=not self.largest_first)

    def _click_heading(self, x: int) -> None:
        end = 1
        for column, size in self._widths:
            end += size + 1
            if x < end:
                if column.sort is not None:
                    if column.title == self.sorted_by:
                        self.action_reverse()
                    else:
                        self._sort_naturally(column)
                return

    def on_click(self, event: events.Click) -> None:
        """Move the cursor, or open the row on a second click; on a heading, sort by it."""
        if event.y == 0:
            self._click_heading(event.x)
            return
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
        self._measure()
        self.refresh()

    @property
    def room(self) -> int:
        return self.scrollable_content_region.width

    def _measure(self) -> None:
        """Compute the columns' widths; they grow with their content, and shrink only when other columns are shown."""
        shown = [column for column in self.columns if column.least <= self.room < column.below]
        if [column for column, _ in self._widths] != shown:
            self._widest.clear()
        self._measured_for = self.room
        top = self.scroll_offset.y
        looked_at = [*self.rows[:MEASURED], *self.rows[top : top + self.size.height]]
        for column in shown:
            if not column.width:
                drawn = max((column.drawn(row, column.most).cell_length for row in looked_at), default=0)
                widest = max(4, len(column.title), drawn, self._widest.get(column, 0))
                self._widest[column] = min(column.most, widest)
        self._widths = self._shared(shown)

    def _shared(self, shown: Sequence[Column[RowT]]) -> list[tuple[Column[RowT], int]]:
        """Divide the room: each column gets what it needs, and the rest goes to columns that can grow."""
        widths = [column.width for column in shown]
        spare = self.room - sum(widths) - len(shown) - 1
        elastic = [place for place, size in enumerate(widths) if not size]
        needed = sorted(elastic, key=lambda place: self._widest[shown[place]])
        for left, place in zip(range(len(needed), 0, -1), needed, strict=True):
            widths[place] = max(4, min(self._widest[shown[place]], spare // left))
            spare -= widths[place]
        growing = [place for place, column in enumerate(shown) if column.wide is not None] or elastic[-1:]
        for left, place in zip(range(len(growing), 0, -1), growing, strict=True):
            more = max(0, min(shown[place].most - widths[place], spare // left))
            widths[place] += more
            spare -= more
        return list(zip(shown, widths, strict=True))

    def render_line(self, y: int) -> Strip:
        """Draw the headings or a row; a row that was drawn before is taken from the cache, except under the cursor."""
        width = self.room
        if width != self._measured_for:  # a scrollbar came or went
            self._measure()
        base = self.visual_style
        drawn_for = (width, base, self.columns, [size for _, size in self._widths], self.app.theme)
        if drawn_for != self._drawn_for or len(self._strips) > 4 * self.size.height + 100:
            self._drawn_for = drawn_for
            self._strips.clear()
        if y == 0:
            return self._headings(base + self.get_visual_style("table--header"), width)
        place = y - 1 + self.scroll_offset.y
        if not self.rows and 1 <= y <= MOST_EMPTY:
            style = base + self.get_visual_style("table--empty", partial=True)
            told = Content(self.empty).wrap(max(10, width - 2)) if self.empty else []
            return self._line([(told[y - 1] if y <= len(told) else Content(""), width - 2, False)], style, width)
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
        """The row under the cursor; if the theme has no colours of its own, the whole row is reversed."""
        style = base + self.get_visual_style("table--cursor", partial=True)
        if not self.get_component_styles("table--cursor").text_style.reverse:
            return self._row(row, style, width)
        cells = [(Content(column.drawn(row, size).plain), size, column.right) for column, size in self._widths]
        return self._line(cells, style + Style(reverse=True), width)  # Textual leaves it out of the visual style

    def _row(self, row: RowT, style: Style, width: int) -> Strip:
        cells = [(column.drawn(row, size), size, column.right) for column, size in self._widths]
        return self._line(cells, style, width)

    def _headings(self, style: Style, width: int) -> Strip:
        """The headings; an arrow marks the column that the rows are sorted by."""
        cells = []
        for column, size in self._widths:
            by = column.sort is not None and column.title == self.sorted_by
            heading = Content(column.title)
            if by:
                heading = Content.assemble(heading.truncate(max(1, size - 1)), "▼" if self.largest_first else "▲")
            cells.append((heading, size, column.right))
        return self._line(cells, style, width)

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
