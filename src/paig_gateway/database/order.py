"""Sorted lists, page by page: a page's cursor holds the place of its last row, so rows that are added move no page.

Rows without a value come last, whichever way the others are sorted. Texts are compared by code point, as Python does,
so that pages of several tables can be merged.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Dialect, Select, and_, case, func, literal, or_, tuple_

Kind = Literal["text", "number"]
SortPosition = tuple[bool, str | float, int, str]
"""A row's position: whether it has no value, its value, its time and its id."""

LACKS, VALUE = "sort_lacks", "sort_value"


class BadOrder(ValueError):
    """A field that rows cannot be sorted by, or a cursor of another list; the message says what to do.

    Attributes:
        field: `sort` or `cursor`.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Order:
    """How rows are sorted, and the place after which a page begins.

    Attributes:
        field: The field to sort by; then by time and id.
        kind: What its values are.
        down: Whether the largest come first.
        after: The place of the last row of the page before.
    """

    field: str
    kind: Kind
    down: bool
    after: SortPosition | None = None

    @staticmethod
    def read(sort: str | None, cursor: str | None, known: Mapping[str, Kind], usual: str = "-time") -> Order:
        """Read a query's `sort` and `cursor`.

        Raises:
            BadOrder: There is no such field, or the cursor is not one of this list in this order.
        """
        text = sort or usual
        field, down = text.removeprefix("-"), text.startswith("-")
        if field not in known:
            raise BadOrder("sort", field)
        order = Order(field, known[field], down)
        return order if cursor is None else Order(field, known[field], down, order._read(cursor))

    def _read(self, cursor: str) -> SortPosition:
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            field, down, lacks, value, time, id = msgspec.json.decode(
                raw, type=tuple[str, bool, bool, str | float, int, str]
            )
        except (ValueError, msgspec.DecodeError):
            field, down, lacks, value, time, id = "", False, False, "", 0, ""
        if (field, down) != (self.field, self.down) or isinstance(value, str) != (self.kind == "text"):
            raise BadOrder("cursor", "is not one that this list gave in this order: begin again without it")
        if not 0 <= time < 2**62:
            raise BadOrder("cursor", "is not one that this list gave in this order: begin again without it")
        return lacks, value, time, id

    def cursor(self, row: Any) -> str:
        """The place of a row that `of` selected."""
        lacks, value, time, id = self.place(row)
        document = msgspec.json.encode((self.field, self.down, lacks, value, time, id))
        return base64.urlsafe_b64encode(document).decode().rstrip("=")

    def place(self, row: Any) -> SortPosition:
        value = getattr(row, VALUE)
        return bool(getattr(row, LACKS)), value if self.kind == "text" else float(value), row.time, row.id

    def merged(self, rows: list[Any]) -> list[Any]:
        """Rows of several tables in this order."""
        found = sorted(rows, key=lambda row: self.place(row)[1:], reverse=self.down)
        return sorted(found, key=lambda row: self.place(row)[0])

    def of(
        self,
        query: Select[Any],
        value: ColumnElement[Any] | None,
        time: ColumnElement[int],
        id: ColumnElement[str],
        dialect: Dialect,
    ) -> Select[Any]:
        """A query's rows in this order, after the place.

        Args:
            value: The value to sort by; None for a table without such values.
            dialect: The database's.
        """
        if self.field == "time":  # as the index of the table has it
            query = query.add_columns(literal(0).label(LACKS), literal(0).label(VALUE))
            if self.after is not None:
                query = query.where(self._beyond(time, id))
            return query.order_by(*(column.desc() if self.down else column.asc() for column in (time, id)))
        text, after = self.kind == "text", self.after
        if text and dialect.name == "postgresql":
            value, id = None if value is None else value.collate("C"), id.collate("C")
        nothing = literal("" if text else 0)
        if value is None:
            query = query.add_columns(literal(1).label(LACKS), nothing.label(VALUE))
            if after is not None and after[0]:
                query = query.where(self._beyond(time, id))
            return query.order_by(*(column.desc() if self.down else column.asc() for column in (time, id)))
        lacks, filled = case((value.is_(None), 1), else_=0), func.coalesce(value, nothing)
        query = query.add_columns(lacks.label(LACKS), filled.label(VALUE))
        if after is not None:
            beyond = self._beyond(time, id)
            if after[0]:
                query = query.where(value.is_(None), beyond)
            else:
                further = value < after[1] if self.down else value > after[1]
                query = query.where(or_(value.is_(None), further, and_(value == after[1], beyond)))
        return query.order_by(lacks, *(column.desc() if self.down else column.asc() for column in (filled, time, id)))

    def _beyond(self, time: ColumnElement[int], id: ColumnElement[str]) -> ColumnElement[bool]:
        assert self.after is not None
        place = tuple_(time, id)
        return place < self.after[2:] if self.down else place > self.after[2:]
