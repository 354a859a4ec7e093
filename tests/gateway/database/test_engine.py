"""Opening a database and bringing it to the present schema."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlmodel import SQLModel

from paig_gateway.database import schema, tables
from paig_gateway.database.engine import DatabaseError, NewerSchemaError, migrate, open_engine, writing


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_migrations_make_exactly_the_tables(url: str) -> None:
    """What the revisions build and what the tables declare differ in nothing."""
    assert tables.RequestRow.metadata is SQLModel.metadata
    engine = open_engine(url)
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
    engine.dispose()


def test_migrating_twice_is_nothing(url: str) -> None:
    """A second start finds the schema as it is, and its data in place."""
    engine = open_engine(url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO meta (name, value) VALUES ('x', 1)"))
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT value FROM meta WHERE name = 'x'")).scalar() == 1
    engine.dispose()


def test_a_newer_schema_is_refused_in_words(url: str) -> None:
    """An older binary says what is wrong and what to do, and changes nothing."""
    engine = open_engine(url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerSchemaError, match=r"newer paig.*'9999'.*Upgrade paig"):
        migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    engine.dispose()


def test_several_processes_may_start_at_once(url: str) -> None:
    """Three processes that migrate an empty database at the same moment all succeed."""
    code = "import sys; from paig_gateway.database.engine import *; migrate(open_engine(sys.argv[1]))"
    processes = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()


def test_a_failed_migration_leaves_nothing_behind(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a migration happens or none of it, on both databases."""
    from alembic import op

    real = op.create_table

    def fail_late(name: str, *columns: object) -> object:
        if name == "rollups":
            raise RuntimeError("power cut")
        return real(name, *columns)  # type: ignore[arg-type]

    engine = open_engine(url)
    monkeypatch.setattr(schema, "fill", lambda connection: None)  # nothing but the migrations makes the tables
    monkeypatch.setattr(op, "create_table", fail_late)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate(engine)
    monkeypatch.undo()
    migrate(engine)
    engine.dispose()


def test_the_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The file, and the log beside it, are readable only by their owner; a folder that is missing is made."""
    path = tmp_path / "new" / "paig.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    engine.dispose()


def test_sqlite_keeps_what_it_committed(tmp_path: Path) -> None:
    """Every connection is in WAL mode, syncs each commit and leaves checkpoints to the checkpointer."""
    engine = open_engine(f"sqlite:///{tmp_path / 'paig.db'}")
    for _ in range(2):
        with engine.connect() as connection:
            pragmas = ("journal_mode", "synchronous", "wal_autocheckpoint", "foreign_keys")
            found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
            assert found == ["wal", 2, 0, 1]
    engine.dispose()


def test_a_transaction_that_reads_first_can_write(tmp_path: Path) -> None:
    """`writing` has the lock from the start, so that another's write in between cannot make it fail."""
    engine = open_engine(f"sqlite:///{tmp_path / 'paig.db'}")
    migrate(engine)
    with writing(engine) as connection:
        connection.execute(text("SELECT * FROM meta")).all()
        other = sqlite3.connect(tmp_path / "paig.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("INSERT INTO meta (name, value) VALUES ('theirs', 1)")
        other.close()
        connection.execute(text("INSERT INTO meta (name, value) VALUES ('ours', 1)"))
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "not a database URL"),
        ("mysql://root@localhost/x", "not a supported database"),
        ("sqlite://", "in a file"),
        ("sqlite:///:memory:", "in a file"),
        ("sqlite:////proc/nowhere/paig.db", "cannot be opened"),
    ],
)
def test_a_database_that_cannot_be_is_refused_in_words(url: str, says: str) -> None:
    """Whoever set the URL reads what is wrong with it."""
    with pytest.raises(DatabaseError, match=says):
        open_engine(url)


def test_a_database_that_is_not_there_is_reported_in_words() -> None:
    """A PostgreSQL that does not answer is no stack of a driver's errors."""
    engine = open_engine("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseError, match="Cannot use the database"):
        migrate(engine)
    engine.dispose()
