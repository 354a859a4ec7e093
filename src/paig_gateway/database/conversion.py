"""Rows of a backup in a database of the other kind: from SQLite to PostgreSQL, and back.

Both kinds have the same tables and columns at the same revision, and hold the same values: whole numbers, fractions,
booleans, texts, JSON as text, and bytes. Between them stands the text format of PostgreSQL's COPY: a line a row, a tab
between columns, `\\N` for NULL, and a backslash before what would be mistaken
(https://www.postgresql.org/docs/current/sql-copy.html).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, cast

from sqlalchemy import Connection

Value = str | int | float | bytes
_ROWS = 1000
"""Rows inserted by one statement."""

_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_READ: dict[str, Callable[[str], Value]] = {
    "BOOLEAN": lambda text: int(text == "t"),
    "INTEGER": int,
    "BIGINT": int,
    "FLOAT": float,
    "BLOB": lambda text: bytes.fromhex(text.removeprefix("\\x")),
}
"""How values of SQLite's column types are read; all others are text."""


def to_postgresql(source: sqlite3.Connection, table: str, target: Connection) -> None:
    """Copy a table of SQLite into the same table of PostgreSQL, which is empty."""
    names = [name for _, name, *_ in source.execute(f'PRAGMA table_info("{table}")')]
    columns = ", ".join(f'"{name}"' for name in names)
    with (
        cast("Any", target.connection.dbapi_connection).cursor() as cursor,
        cursor.copy(f'COPY "{table}" ({columns}) FROM STDIN') as copy,
    ):
        for row in source.execute(f'SELECT {columns} FROM "{table}"'):
            copy.write_row(row)


def to_sqlite(source: Iterable[bytes], target: sqlite3.Connection, table: str, columns: str) -> None:
    """Copy a table that PostgreSQL wrote in COPY's text format into the same table of SQLite, which is empty.

    Args:
        source: Its lines.
        target: The database, at the revision of the backup.
        table: The table's name.
        columns: The names of the columns, in the order of the lines, each quoted, with commas between them.
    """
    kinds = {name: kind for _, name, kind, *_ in target.execute(f'PRAGMA table_info("{table}")')}
    readers = [_READ.get(kinds[name.strip(' "')]) for name in columns.split(",")]
    insert = f'INSERT INTO "{table}" ({columns}) VALUES ({", ".join("?" * len(readers))})'
    rows = _rows(source, readers)
    while some := list(islice(rows, _ROWS)):
        target.executemany(insert, some)


def _rows(lines: Iterable[bytes], readers: list[Callable[[str], Value] | None]) -> Iterator[list[Value | None]]:
    for line in lines:
        fields = line.decode().removesuffix("\n").split("\t")
        yield [_value(field, reader) for field, reader in zip(fields, readers, strict=True)]


def _value(field: str, reader: Callable[[str], Value] | None) -> Value | None:
    if field == "\\N":
        return None
    text = re.sub(r"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), field) if "\\" in field else field
    return reader(text) if reader is not None else text
