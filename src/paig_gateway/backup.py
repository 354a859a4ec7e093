"""Backups: the database, and the secrets that open it, in one file.

The file is a ZIP archive, readable by its owner alone: `manifest.json`, the secrets, and the database, which is read at
one moment while the gateway goes on: SQLite's online backup, or every table of PostgreSQL in one REPEATABLE READ
transaction. A backup is restored into an empty home folder and an empty database, with the same or a newer paig. The
database may be of the other kind: so a gateway moves from SQLite to PostgreSQL and back (`database.conversion`).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, MetaData, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlmodel import SQLModel

from paig_gateway.database import conversion, upgrade
from paig_gateway.database.engine import DatabaseError, check_postgresql, explain, open_engine, patient, utc_now
from paig_gateway.secrets.errors import SecretsError
from paig_gateway.secrets.home import admin_token, database_url, given, home_folder, secret_key

SECRETS = {"secret.key": ("PAIG_SECRET_KEY", secret_key), "admin.token": ("PAIG_ADMIN_TOKEN", admin_token)}
MANIFEST, SQLITE, TABLES = "manifest.json", "paig.db", "tables/"
REVISION = "alembic_version"
FORMAT = 1


class BackupError(Exception):
    """A backup cannot be written or restored; the message says why and what to do."""


def write(file: Path, *, secrets_only: bool = False, now: datetime | None = None) -> dict[str, Any]:
    """Write a backup of the gateway of `PAIG_HOME`, and return its manifest.

    Args:
        file: Where to write; must not exist.
        secrets_only: Leave the database out, for use beside `pg_dump`.
        now: The time that the manifest names.

    Raises:
        BackupError: The file exists, or the secrets or the database cannot be read.
    """
    engine: Engine | None = None
    try:
        home = home_folder()
        found: dict[str, Any] = {
            "format": FORMAT,
            "version": version("paig"),
            "time": (now or utc_now()).isoformat(),
            "database": "none" if secrets_only else make_url(database_url(home)).get_backend_name(),
            "revision": None,
            "rows": {},
            "secrets": list(SECRETS),
        }
        _check_secrets(home)
        engine = _existing(home) if not secrets_only else None
        with _new_archive(file) as archive:
            for name, (_, read) in SECRETS.items():
                archive.writestr(name, read(home))
            if engine is not None:
                with closing_engine(engine):
                    dump = _dump_sqlite if engine.dialect.name == "sqlite" else _dump_postgresql
                    found["revision"], found["rows"] = dump(engine, archive)
            archive.writestr(MANIFEST, json.dumps(found, indent=2))
        return found
    except (SecretsError, DatabaseError) as error:
        raise BackupError(str(error)) from error
    except (sqlite3.Error, SQLAlchemyError) as error:
        message = explain(engine, str(getattr(error, "orig", error))) if engine is not None else str(error)
        raise BackupError(message) from error
    except OSError as error:
        raise BackupError(f"cannot write the backup: {error}") from error


def manifest(file: Path) -> dict[str, Any]:
    """Read a backup's manifest, and check the file.

    Raises:
        BackupError: The file is not a backup of paig, or is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if (damaged := archive.testzip()) is not None:
                raise BackupError(f"{file} is damaged: {damaged} cannot be read")
            found: dict[str, Any] = json.loads(archive.read(MANIFEST))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise BackupError(f"{file} is not a backup of paig: {error}") from error
    if found.get("format") != FORMAT:
        raise BackupError(f"{file} was written by a newer paig ({found.get('version')}): upgrade this one first")
    return found


def restore(file: Path, url: str | None = None) -> None:
    """Restore a backup into a home folder without secrets, or with the same ones, and an empty database.

    Args:
        file: A backup.
        url: The database; by default what the environment says. It may be of another kind than the backup's.

    Raises:
        BackupError: The home folder or the database is not empty, or a part cannot be written.
    """
    found = manifest(file)
    try:
        home = home_folder()
        with zipfile.ZipFile(file) as archive:
            for name, (_, read) in SECRETS.items():
                if (home / name).exists() and read(home, {}) != archive.read(name).decode():
                    raise BackupError(f"{home} has another gateway's {name}: restore into an empty PAIG_HOME")
            if found["database"] != "none":
                _load(url or database_url(home), archive, found)
            for name in SECRETS:
                if not (home / name).exists():
                    _write_private(home / name, archive.read(name))
    except (DatabaseError, SecretsError, upgrade.UnknownRevisionError) as error:
        raise BackupError(str(error)) from error
    except ArgumentError:
        raise BackupError("that is not a database URL: write sqlite:///… or postgresql+psycopg://…") from None
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        raise BackupError(f"cannot restore the backup: {error}") from error


def _load(url: str, archive: zipfile.ZipFile, found: Mapping[str, Any]) -> None:
    """Fill an empty database with a backup's rows."""
    if make_url(url).get_backend_name() == "sqlite":
        return _load_sqlite(Path(make_url(url).database or "").expanduser(), archive, found)
    engine = patient(open_engine(url))
    with closing_engine(engine), tempfile.TemporaryDirectory() as folder:
        try:
            check_postgresql(engine)
            if found["database"] == "sqlite":
                with closing(sqlite3.connect(_extracted(archive, Path(folder) / SQLITE))) as source:
                    _load_postgresql(engine, found, lambda table, into: conversion.to_postgresql(source, table, into))
            else:
                _load_postgresql(engine, found, lambda table, into: _copy_from(archive, table, into))
        except DBAPIError as error:
            raise BackupError(explain(engine, str(error.orig))) from error


@contextmanager
def closing_engine(engine: Engine) -> Iterator[Engine]:
    """An engine whose connections are closed at the end."""
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _new_archive(file: Path) -> Iterator[zipfile.ZipFile]:
    """An archive that appears under its name only when it is complete; it never replaces a file."""
    if file.exists():
        raise BackupError(f"{file} exists already and is not overwritten")
    descriptor, name = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}-")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as out:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
                yield archive
            out.flush()
            os.fsync(out.fileno())
        os.link(name, file)
    except FileExistsError:
        raise BackupError(f"{file} exists already and is not overwritten") from None
    finally:
        os.unlink(name)


def _check_secrets(home: Path) -> None:
    """Refuse a home folder that is not a gateway's: reading its secrets would make new ones, which open nothing."""
    for name, (variable, _) in SECRETS.items():
        if given(variable, os.environ) is None and not (home / name).exists():
            raise BackupError(f"there is no {home / name}, and {variable} is not set: is PAIG_HOME the gateway's?")


def _existing(home: Path) -> Engine:
    url = make_url(database_url(home))
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").expanduser().is_file():
        raise BackupError(f"there is no database at {url.database}: is PAIG_HOME the gateway's?")
    return patient(open_engine(database_url(home)))


def _dump_sqlite(engine: Engine, archive: zipfile.ZipFile) -> tuple[str, dict[str, int]]:
    path = str(engine.url.database)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / SQLITE
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target, pages=1024)
            target.execute("PRAGMA journal_mode=DELETE")  # so that the copy is one file
            names = [name for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = {name: _count(target, name) for name in names if not name.startswith("sqlite_")}
            [(revision,)] = target.execute(f"SELECT version_num FROM {REVISION}")
        archive.write(copy, SQLITE)
    rows.pop(REVISION, None)
    return str(revision), rows


def _count(connection: sqlite3.Connection, table: str) -> int:
    [(count,)] = connection.execute(f'SELECT COUNT(*) FROM "{table}"')
    return int(count)


def _dump_postgresql(engine: Engine, archive: zipfile.ZipFile) -> tuple[str, dict[str, int]]:
    rows: dict[str, int] = {}
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        revision = str(connection.execute(text(f"SELECT version_num FROM {REVISION}")).scalar_one())
        for name, columns in _columns(connection).items():
            rows[name] = connection.execute(text(f'SELECT COUNT(*) FROM "{name}"')).scalar_one()
            with (
                archive.open(f"{TABLES}{name}", "w", force_zip64=True) as out,
                _cursor(connection) as cursor,
                cursor.copy(f'COPY (SELECT {columns} FROM "{name}") TO STDOUT') as copy,
            ):
                for piece in copy:
                    out.write(bytes(piece))
            archive.writestr(f"{TABLES}{name}.columns", columns)
    return revision, rows


def _load_sqlite(path: Path, archive: zipfile.ZipFile, found: Mapping[str, Any]) -> None:
    """Write the database file; it appears under its name only when it is complete."""
    if path.exists():
        raise BackupError(f"{path} exists already: move it away, or name another database")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".restore-") as folder:
        made = Path(folder) / SQLITE
        if found["database"] == "sqlite":
            _extracted(archive, made)
        else:
            _convert_to_sqlite(made, archive, found)
        made.chmod(0o600)
        with open(made, "rb") as file:
            os.fsync(file.fileno())
        os.link(made, path)


def _convert_to_sqlite(path: Path, archive: zipfile.ZipFile, found: Mapping[str, Any]) -> None:
    engine = open_engine(f"sqlite:///{path}")
    with closing_engine(engine), engine.begin() as connection:
        upgrade.to_revision(connection, str(found["revision"]))
    with closing(sqlite3.connect(path)) as target:
        for table, count in found["rows"].items():
            target.execute(f'DELETE FROM "{table}"')  # what a migration itself put there
            columns = archive.read(f"{TABLES}{table}.columns").decode()
            with archive.open(f"{TABLES}{table}") as source:
                conversion.to_sqlite(source, target, table, columns)
            _check_count(table, count, _count(target, table))
        target.commit()
        target.execute("PRAGMA journal_mode=DELETE")  # so that it is one file


def _load_postgresql(engine: Engine, found: Mapping[str, Any], load: Callable[[str, Connection], None]) -> None:
    with engine.begin() as connection:
        taken = {REVISION, *SQLModel.metadata.tables} & set(inspect(connection).get_table_names())
        if taken:
            raise BackupError(
                f"the database has the tables {', '.join(sorted(taken)[:3])} already: name an empty one in"
                f" PAIG_DATABASE_URL"
            )
        upgrade.to_revision(connection, str(found["revision"]))
        metadata = MetaData()
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            if table.name not in found["rows"]:
                continue
            connection.execute(table.delete())  # what a migration itself put there
            load(table.name, connection)
            count = connection.execute(text(f'SELECT COUNT(*) FROM "{table.name}"')).scalar_one()
            _check_count(table.name, found["rows"][table.name], count)
            _advance_sequences(connection, table.name, [column.name for column in table.columns])


def _copy_from(archive: zipfile.ZipFile, table: str, connection: Connection) -> None:
    """Fill a table of PostgreSQL from PostgreSQL's own copy of it."""
    columns = archive.read(f"{TABLES}{table}.columns").decode()
    with (
        archive.open(f"{TABLES}{table}") as source,
        _cursor(connection) as cursor,
        cursor.copy(f'COPY "{table}" ({columns}) FROM STDIN') as copy,
    ):
        while piece := source.read(1 << 16):
            copy.write(piece)


def _check_count(table: str, wanted: int, there: int) -> None:
    if there != wanted:
        raise BackupError(f"{table} has {there:,} rows and the backup {wanted:,}: the backup is damaged")


def _extracted(archive: zipfile.ZipFile, path: Path) -> Path:
    with archive.open(SQLITE) as source, open(path, "xb") as target:
        shutil.copyfileobj(source, target)
    return path


def _advance_sequences(connection: Connection, table: str, columns: list[str]) -> None:
    """Let the database's sequences continue after the highest restored number."""
    for column in columns:
        given = {"table": f'"{table}"', "column": column}
        sequence = connection.execute(text("SELECT pg_get_serial_sequence(:table, :column)"), given).scalar_one()
        if sequence is not None:
            top = f'SELECT setval(:sequence, (SELECT COALESCE(MAX("{column}"), 0) + 1 FROM "{table}"), false)'
            connection.execute(text(top), {"sequence": sequence})


def _columns(connection: Connection) -> dict[str, str]:
    """The stored columns of every table, in the form of COPY."""
    found = {}
    inspector = inspect(connection)
    for name in inspector.get_table_names():
        if name != REVISION:
            stored = [column["name"] for column in inspector.get_columns(name) if not column.get("computed")]
            found[name] = ", ".join(f'"{column}"' for column in stored)
    return found


def _cursor(connection: Connection) -> Any:
    return cast("Any", connection.connection.dbapi_connection).cursor()


def _write_private(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
