"""The database: opened with the settings that the ledger's promises rest on, and brought to the present schema.

SQLite runs in WAL mode with `synchronous=FULL`: a commit that returned survives a power cut. No connection checkpoints
by itself (`wal_autocheckpoint=0`), because a checkpoint inside a commit delays requests by milliseconds; the ledger's
`Checkpointer` does it on a thread of its own. PostgreSQL needs no tuning, only bounds on how long a dead network may
stall.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from paig_gateway.database import schema

BUSY_SECONDS = 5.0
"""How long an ordinary SQLite connection waits for another's write."""
CONNECTIONS = 5
"""How many connections a process opens to PostgreSQL at most, not counting the ledger writer's."""
QUICK_SECONDS = 5.0
"""How long a statement of the ledger or of the readiness probe may take on PostgreSQL."""
MIGRATION_LOCK = 0x70616967  # "paig": the PostgreSQL advisory lock that a migration holds
MIGRATION_SECONDS = 60
"""How long a starting process waits for another's migration."""


class DatabaseError(Exception):
    """The database cannot be used; the message says why and what to do."""


class NewerSchemaError(DatabaseError):
    """The database was written by a newer paig than this one."""


def utc_now() -> datetime:
    """The present, in UTC; the default clock."""
    return datetime.now(UTC)


def open_engine(url: str, connections: int = CONNECTIONS) -> Engine:
    """Open a database; a SQLite file is made if there is none, readable only by its owner.

    Args:
        url: `sqlite:///path/to/file.db` or `postgresql+psycopg://user@host/name`.
        connections: How many connections to PostgreSQL may be open, not counting the ledger writer's.

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
    if "@" in (parsed.host or ""):
        raise DatabaseError("The password in PAIG_DATABASE_URL has an @: write %40 for it, and %25 for a %")
    match parsed.get_backend_name():
        case "sqlite":
            return _open_sqlite(parsed)
        case "postgresql" | "postgres":
            return _open_postgresql(parsed.set(drivername="postgresql+psycopg"), connections)
        case other:
            raise DatabaseError(f"{other} is not a supported database: use sqlite:///… or postgresql+psycopg://…")


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
        hide_parameters=True,  # errors are logged, and must not contain values
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # transactions begin with our BEGIN, not with the driver's
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


def _open_postgresql(url: URL, connections: int) -> Engine:
    defaults: Mapping[str, Any] = {
        "application_name": "paig",
        "client_encoding": "utf8",
        "connect_timeout": 3,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 5000,
    }
    given: dict[str, Any] = {name: value for name, value in defaults.items() if name not in url.query}
    given["prepare_threshold"] = None  # a pooler in transaction mode does not keep prepared statements
    engine = create_engine(
        url, connect_args=given, pool_pre_ping=True, pool_size=connections, max_overflow=0, hide_parameters=True
    )
    from paig_gateway.database.bounded import bound  # psycopg is slow to import, and not needed with SQLite

    bound(engine)
    return engine


def quick(engine: Engine) -> Engine:
    """The same engine for transactions that are short or lost: a statement must be answered within `QUICK_SECONDS`."""
    return engine.execution_options(answer_seconds=QUICK_SECONDS)


def patient(engine: Engine) -> Engine:
    """The same engine for statements that may take as long as they need, such as those of a migration or a backup."""
    return engine.execution_options(answer_seconds=None)


_IDLE = "SELECT set_config('idle_in_transaction_session_timeout', '60s', true)"


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads and then writes.

    On SQLite it takes the write lock at once: a transaction that reads first and asks for the lock later fails at
    once, without waiting, if anyone wrote in between. PostgreSQL ends a transaction whose client has gone silent, so
    that its locks do not hold the other nodes up until the server's keepalives notice, two hours later.
    """
    with engine.execution_options(immediate=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(_IDLE)
        yield connection


def migrate(engine: Engine) -> None:
    """Bring the database to this version's schema. Several processes may call it at once; one does the work.

    Raises:
        NewerSchemaError: The database is that of a newer paig.
        DatabaseError: The database cannot be used, or another process kept it locked for a minute; the message is one
            line.
    """
    deadline = time.monotonic() + MIGRATION_SECONDS
    while True:
        try:
            if engine.dialect.name == "postgresql":
                check_postgresql(engine)
            with engine.connect() as connection:
                current = schema.is_newest(connection)
            if not current:
                with writing(patient(engine)) as connection:
                    if connection.dialect.name == "postgresql":
                        connection.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_SECONDS}s'"))
                        connection.execute(text("SET LOCAL statement_timeout = 0"))
                        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                    _to_newest(connection)
            return
        except DBAPIError as error:
            message = str(error.orig)
            if "database is locked" in message and time.monotonic() <= deadline:
                continue
            raise DatabaseError(explain(engine, message)) from error


def _to_newest(connection: Connection) -> None:
    schema.fill(connection)
    if schema.is_newest(connection):
        return
    from paig_gateway.database import upgrade  # Alembic is slow to import, and needed only here

    try:
        upgrade.to_head(connection)
    except upgrade.UnknownRevisionError as error:
        raise NewerSchemaError(str(error)) from None


def check_postgresql(engine: Engine) -> None:
    """Refuse a server or a database that the ledger cannot rely on.

    Raises:
        DatabaseError: It cannot.
    """
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT current_setting('server_encoding'), current_setting('transaction_read_only'), "
                "pg_is_in_recovery(), current_database()"
            )
        ).one()
    encoding, read_only, replica, name = found
    if encoding != "UTF8":
        raise DatabaseError(
            f"The database '{name}' has the encoding {encoding}, which cannot store every model's name: create a "
            f"database with ENCODING 'UTF8' TEMPLATE template0, and name it in PAIG_DATABASE_URL."
        )
    if replica:
        raise DatabaseError("The database server is a read-only replica: name the primary in PAIG_DATABASE_URL.")
    if read_only != "off":
        raise DatabaseError(
            f"The database '{name}' is read-only: set default_transaction_read_only = off for it, or name another one "
            f"in PAIG_DATABASE_URL."
        )


def explain(engine: Engine, message: str) -> str:
    """A driver's error as one line that says what to do."""
    said = " ".join(message.split())
    found = next((line for signs, line in _EXPLAINED if any(sign in said.lower() for sign in signs)), None)
    holder = _lock_holder(engine) if found is _LOCK_HELD else ""
    return (found or "Cannot use the database {where}: {said}").format(
        where=shown_database(engine.url), said=said, seconds=MIGRATION_SECONDS, holder=holder
    )


_LOCK_HELD = (
    "Another session holds the migration lock of {where} for more than {seconds} seconds{holder}: wait for the other"
    " gateway's migration, or end that session."
)
_EXPLAINED = (
    (
        ("malformed", "not a database"),
        "The database file {where} is damaged ({said}): restore a backup, or move the file away to start with an"
        " empty database.",
    ),
    (
        ("database is locked", "table is locked", "locking protocol"),
        "The database file {where} is locked by another program ({said}): end it, such as an open sqlite3 shell, and"
        " start again.",
    ),
    (
        ("readonly", "read-only"),
        "The database {where} cannot be written ({said}): check the disk and the rights of its folder.",
    ),
    (("lock timeout",), _LOCK_HELD),
    (
        ("permission denied", "must be owner"),
        "The database role may not create or change paig's tables ({said}): as an administrator run GRANT CREATE, "
        "USAGE ON SCHEMA public TO the role, or make the role the database's owner.",
    ),
    (
        ("already exists",),
        "The database {where} has tables of another application ({said}): create a database for paig alone, and name it"
        " in PAIG_DATABASE_URL.",
    ),
    (
        ("no schema has been selected",),
        "The search_path of the database role names no schema that exists in {where}: create the schema, or change the"
        " role's search_path.",
    ),
    (
        ("invalid connection option", "invalid uri query parameter"),
        "PAIG_DATABASE_URL has a parameter that PostgreSQL's client library does not know ({said}): remove it. For a"
        " schema, write ?options=-csearch_path%3DNAME.",
    ),
    (
        ("disk is full", "no space left"),
        "The disk of the database {where} is full ({said}): free space, and start again.",
    ),
)
"""What a driver's error has in it, and what to say and do about it; the first that fits counts."""


def shown_database(url: URL) -> str:
    """A database as errors name it: without user, password and parameters, which may hold secrets."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    host = url.host or str(url.query.get("host", "this machine"))
    return f"'{url.database or ''}' at {host}" + (f":{url.port}" if url.port else "")


def _lock_holder(engine: Engine) -> str:
    """Which session holds the migration lock, as far as this role may see it."""
    query = text(
        "SELECT a.pid, a.application_name, a.state FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) "
        "WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = :key"
    )
    try:
        with engine.connect() as connection:
            found = connection.execute(query, {"key": MIGRATION_LOCK}).first()
    except DBAPIError:
        return ""
    return f" (process {found.pid}, '{found.application_name}', {found.state})" if found else ""


P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread; a cancelled task waits until the thread has ended.

    Otherwise the thread would go on with a connection of an engine that is being closed, and leave it open.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        if not work.cancelled():
            work.exception()  # the task is cancelled, so an error of the thread has no reader
        raise
