"""Databases that the ledger cannot rely on are refused at start, each in one line that says what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
import pytest

from paig_gateway.database import engine as engines
from paig_gateway.database.engine import DatabaseError, migrate, open_engine
from tests.gateway.databases import Postgres


def refusal(url: str) -> str:
    """What the start says."""
    engine = open_engine(url)
    with pytest.raises(DatabaseError) as caught:
        migrate(engine)
    engine.dispose()
    message = str(caught.value)
    assert "\n" not in message
    return message


def plain(url: str) -> str:
    """The URL as psycopg takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_another_encoding(postgres: Postgres, encoding: str) -> None:
    """A model's name or an error in Chinese could not be recorded there."""
    url = postgres.new_database()
    name = f"enc_{encoding.lower()}"
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'".encode()
        )
        database = connection.info.dbname
    message = refusal(url.replace(database, name))
    assert encoding in message
    assert "ENCODING 'UTF8'" in message


def test_a_read_only_database(postgres: Postgres) -> None:
    """As a server is after it has lost its place as the primary."""
    url = postgres.new_database()
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET default_transaction_read_only = on".encode())
    assert "read-only" in refusal(url)


def test_a_role_that_may_create_nothing(postgres: Postgres) -> None:
    """It may connect, and that is all: the start names the right that it lacks."""
    url = postgres.new_database()
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS weak")
        connection.execute("CREATE ROLE weak LOGIN")
    assert "GRANT CREATE" in refusal(url.replace("postgres:@", "weak@", 1).replace("postgres@", "weak@", 1))


def test_a_migration_lock_that_is_never_released(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start waits for a bounded time, and then names the session that holds the lock."""
    monkeypatch.setattr(engines, "MIGRATION_SECONDS", 1)
    url = postgres.new_database()
    with psycopg.connect(plain(url), autocommit=True, application_name="left over") as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (engines.MIGRATION_LOCK,))
        began = time.monotonic()
        message = refusal(url)
        assert time.monotonic() - began < 10
        assert "'left over'" in message
        assert str(connection.info.backend_pid) in message


def test_a_current_schema_needs_no_lock(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session left over with the lock does not keep gateways from starting."""
    monkeypatch.setattr(engines, "MIGRATION_SECONDS", 1)
    url = postgres.fresh_database()
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (engines.MIGRATION_LOCK,))
        engine = open_engine(url)
        migrate(engine)
        engine.dispose()


@pytest.mark.parametrize("damage", [lambda data: b"not a database" * 500, lambda data: data[:100] + b"\xff" * 8000])
def test_a_damaged_file(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """It is named, with what to do."""
    file = tmp_path / "paig.db"
    engine = open_engine(f"sqlite:///{file}")
    migrate(engine)
    engine.dispose()
    data = file.read_bytes()
    for left in tmp_path.glob("paig.db-*"):
        left.unlink()
    file.write_bytes(damage(data))
    message = refusal(f"sqlite:///{file}")
    assert str(file) in message
    assert "backup" in message


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (("CREATE TABLE users (id int)",), "has tables of another application"),
        (
            ("CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('1a2b3c4d')"),
            "belongs to another application that uses Alembic: its schema is '1a2b3c4d'",
        ),
        (("DROP SCHEMA public CASCADE",), "search_path of the database role names no schema that exists"),
    ],
)
def test_a_database_that_is_not_for_paig(postgres: Postgres, statements: Sequence[str], says: str) -> None:
    """Another application's, or one without a schema: nothing of it is changed, and the start says what to do."""
    url = postgres.new_database()
    with psycopg.connect(plain(url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
    assert says in refusal(url)


def test_a_url_that_is_mistaken_is_refused_without_its_secrets(postgres: Postgres) -> None:
    """A part of a password, or one among the parameters, is not repeated."""
    with pytest.raises(DatabaseError, match="has an @: write %40") as caught:
        open_engine("postgresql+psycopg://u:one@two@host/db")
    assert "two" not in str(caught.value)
    url = postgres.new_database()
    message = refusal(url + ("&" if "?" in url else "?") + "schema=public&password=two")
    assert "has a parameter that PostgreSQL's client library does not know" in message
    assert "two" not in message
    message = refusal("postgresql+psycopg://u@127.0.0.1:1/db?password=two&connect_timeout=2")
    assert message.startswith("Cannot use the database 'db' at 127.0.0.1:1: ")
    assert "two" not in message
