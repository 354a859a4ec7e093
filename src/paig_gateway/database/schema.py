"""The schema's number, and a ready-made empty database: a start of the gateway does without Alembic.

Alembic takes half a second to import and to run every migration of an empty database. So a start reads which revision
is the newest from the migrations' files, and a new SQLite file is filled from `empty.sql`: what the migrations make of
an empty file, up to the revision in its first line. Migrations that are newer than that file run after it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text

EMPTY = Path(__file__).parent / "empty.sql"
"""Written by `scripts/empty_schema.py`."""

SEPARATOR = ";\n\n"
"""Stands between two statements of `EMPTY`."""

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_STATED = re.compile(r'^(down_)?revision\b[^=\n]*=\s*["\'](\w+)["\']', re.MULTILINE)


@lru_cache
def newest() -> str | None:
    """The newest revision; None if the files do not name exactly one, so that Alembic must find it."""
    own: set[str] = set()
    followed: set[str] = set()
    for path in _VERSIONS.glob("[0-9]*.py"):
        for down, revision in _STATED.findall(path.read_text("utf-8")):
            (followed if down else own).add(revision)
    last = own - followed
    return last.pop() if len(last) == 1 else None


def present(connection: Connection) -> str | None:
    """The revision that a database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return found[0] if len(found) == 1 else None


def is_newest(connection: Connection) -> bool:
    """Whether the schema is this version's, so that nothing has to be locked or changed."""
    last = newest()
    return last is not None and present(connection) == last


def fill(connection: Connection) -> None:
    """Give an empty SQLite database the schema of `EMPTY`, in the connection's transaction; any other is left alone."""
    if connection.dialect.name != "sqlite" or connection.execute(text("SELECT 1 FROM sqlite_master")).first():
        return
    for statement in EMPTY.read_text("utf-8").rstrip().split(SEPARATOR):
        connection.exec_driver_sql(statement)
