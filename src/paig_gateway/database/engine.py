"""The database: opened with the settings that the ledger's promises rest on, and brought to the present schema.

SQLite runs in WAL mode with `synchronous=FULL`: a commit that returned survives a power cut. No connection checkpoints
by itself (`wal_autocheckpoint=0`), because a checkpoint inside a commit holds requests up for milliseconds;
`checkpoint.Checkpointer` does it aside. PostgreSQL needs no tuning, only bounds on how long a dead network may stall.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

BUSY_SECONDS = 5.0
"""How long an ordinary SQLite connection waits for another's write."""
MIGRATION_LOCK = 0x70616967  # "paig": the PostgreSQL advisory lock that a migration holds
MIGRATION_SECONDS = 60.0
"""How long a starting process waits for another's migration."""


class DatabaseError(Exception):
    """The database cannot be used; the message says why and what to do."""


class NewerSchemaError(DatabaseError):
    """The database was written by a newer paig than this one."""


def utc_now() -> datetime:
    """The present, in UTC: the clock that is used where none is handed in."""
    return datetime.now(UTC)


def open_engine(url: str) -> Engine:
    """Open a database; a SQLite file is made where there is none, readable by its owner alone.

    Args:
        url: `sqlite:///path/to/file.db` or `postgresql+psycopg://user@host/name`.

    Returns:
        An engine; nothing is migrated yet.

    Raises:
        DatabaseError: Not such a URL, or the file cannot be made.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DatabaseError(
            "PAIG_DATABASE_URL is not a database URL: write sqlite:///path/to/file.db or "
            "postgresql+psycopg://user:password@host/name"
        ) from None
    match parsed.get_backend_name():
        case "sqlite":
            return _open_sqlite(parsed)
        case "postgresql" | "postgres":
            return _open_postgresql(parsed.set(drivername="postgresql+psycopg"))
        case other:
            raise DatabaseError(
                f"{other} is not a database that paig runs on: use sqlite:///… or postgresql+psycopg://…"
            )


def _open_sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise DatabaseError("paig keeps its ledger in a file: write sqlite:///path/to/file.db")
    path = Path(url.database).expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise DatabaseError(f"The database file {path} cannot be opened: {error.strerror}.") from error
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS},
        hide_parameters=True,  # errors are logged, values are nobody's business
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say BEGIN, not where the driver guesses
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA wal_autocheckpoint=0")


def _to_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL, once in its life. SQLite does not wait here for other processes, so we do."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _open_postgresql(url: URL) -> Engine:
    defaults: Mapping[str, Any] = {
        "application_name": "paig",
        "connect_timeout": 3,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 5000,
    }
    given = {name: value for name, value in defaults.items() if name not in url.query}
    return create_engine(url, connect_args=given, pool_pre_ping=True, hide_parameters=True)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads and then writes.

    On SQLite it takes the write lock at once: a transaction that reads first and asks for the lock later fails at
    once, without waiting, if anyone wrote in between.
    """
    with engine.execution_options(immediate=True).begin() as connection:
        yield connection


def migrate(engine: Engine) -> None:
    """Bring the database to this version's schema. Several processes may call it at once; one does the work.

    Raises:
        NewerSchemaError: The database is that of a newer paig.
        DatabaseError: The database cannot be reached, or another process kept it locked for a minute.
    """
    deadline = time.monotonic() + MIGRATION_SECONDS
    while True:
        try:
            with writing(engine) as connection:
                _upgrade(connection)
            return
        except OperationalError as error:
            if "database is locked" not in str(error.orig) or time.monotonic() > deadline:
                raise DatabaseError(f"The database cannot be used: {str(error.orig).strip()}") from error


def _upgrade(connection: Connection) -> None:
    # Alembic is slow to import and needed nowhere else.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise NewerSchemaError(
            f"The database was last used by a newer paig: its schema is '{current}', this version knows up to "
            f"'{head}'. Upgrade paig, or give it another database with PAIG_DATABASE_URL."
        )
    if current != head:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
