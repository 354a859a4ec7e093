"""A new SQLite file is filled from a ready-made schema, which is what the migrations make."""

from __future__ import annotations

import re
import runpy
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from paig_gateway.database import schema
from paig_gateway.database.engine import DatabaseError, migrate, open_engine, writing

SCRIPT = Path(__file__).parents[3] / "scripts" / "empty_schema.py"


def everything(file: Path) -> list[list[str]]:
    """All statements that would make a database again, without what Alembic puts in any order.

    These are the indexes of a table, and its UNIQUE constraints, which come last; columns keep their order.
    """
    connection = sqlite3.connect(file)
    try:
        statements = [[line.rstrip(" ,;") for line in statement.splitlines()] for statement in connection.iterdump()]
    finally:
        connection.close()
    for lines in statements:
        lines.sort(key=lambda line: line if line.startswith("\tUNIQUE") else "")
    return sorted(statements)


def test_the_newest_revision_is_alembics() -> None:
    """What is read from the names in the migrations' files is what Alembic finds."""
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    assert schema.newest() == ScriptDirectory.from_config(config).get_current_head()


def test_the_ready_made_schema_is_what_migrations_make(tmp_path: Path) -> None:
    """Statement by statement, up to the revision that the file names."""
    named = re.match(r"-- Revision (\w+)", schema.EMPTY.read_text("utf-8"))
    assert named is not None
    runpy.run_path(str(SCRIPT))["dump"](tmp_path / "migrated.db", named[1])
    engine = open_engine(f"sqlite:///{tmp_path / 'filled.db'}")
    with writing(engine) as connection:
        schema.fill(connection)
    engine.dispose()
    assert everything(tmp_path / "filled.db") == everything(tmp_path / "migrated.db"), "run scripts/empty_schema.py"


@pytest.mark.parametrize("revision", ["0010", "0017"])
def test_an_older_ready_made_schema_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str) -> None:
    """Where a migration was added since, a new file ends at the newest revision all the same."""
    new, old = tmp_path / "new.db", tmp_path / "old.db"
    engine = open_engine(f"sqlite:///{new}")
    migrate(engine)
    engine.dispose()
    older = tmp_path / "empty.sql"
    older.write_text(runpy.run_path(str(SCRIPT))["dump"](tmp_path / "a.db", revision), "utf-8")
    monkeypatch.setattr(schema, "EMPTY", older)
    engine = open_engine(f"sqlite:///{old}")
    migrate(engine)
    engine.dispose()
    assert everything(old) == everything(new)


def test_a_ready_made_schema_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that ends in the middle of it leaves an empty file, which the next start fills."""
    broken = tmp_path / "empty.sql"
    broken.write_text(schema.EMPTY.read_text("utf-8").rstrip() + schema.SEPARATOR + "CREATE NONSENSE\n", "utf-8")
    engine = open_engine(f"sqlite:///{tmp_path / 'paig.db'}")
    with monkeypatch.context() as patched:
        patched.setattr(schema, "EMPTY", broken)
        with pytest.raises(DatabaseError, match="NONSENSE"):
            migrate(engine)
    with engine.connect() as connection:
        assert schema.present(connection) is None
    migrate(engine)
    with engine.connect() as connection:
        assert schema.is_newest(connection)
    engine.dispose()


def test_a_start_does_without_alembic(tmp_path: Path) -> None:
    """Neither a new SQLite file nor a present one needs Alembic, nor PostgreSQL's driver."""
    code = (
        "import sys, paig_gateway.server; from paig_gateway.database.engine import *\n"
        "for _ in range(2): engine = open_engine(sys.argv[1]); migrate(engine); engine.dispose()\n"
        "print([name for name in ('alembic', 'psycopg') if name in sys.modules])"
    )
    url = f"sqlite:///{tmp_path / 'paig.db'}"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
