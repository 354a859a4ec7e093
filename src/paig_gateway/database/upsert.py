"""`INSERT … ON CONFLICT` in the dialect of a connection."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite


def insert_into(connection: Connection, table: Any) -> sqlite.Insert:
    """An insertion that can say what happens if its row exists already; both dialects share its methods."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # slow to import, and not needed with SQLite

    return cast("sqlite.Insert", postgresql.insert(table))
