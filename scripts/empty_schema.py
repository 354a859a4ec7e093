"""Write `database/empty.sql`: what the migrations make of an empty SQLite file.

Run as `python scripts/empty_schema.py` after adding a migration. Until then new files get the older schema first and
are migrated, which is slower and gives the same.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from paig_gateway.database import schema, upgrade
from paig_gateway.database.engine import open_engine, writing


def dump(file: Path, revision: str) -> str:
    """Make a database at that revision, by its migrations alone, and write down its statements."""
    engine = open_engine(f"sqlite:///{file}")
    with writing(engine) as connection:
        upgrade.to_revision(connection, revision)
    engine.dispose()
    with sqlite3.connect(file) as raw:
        statements = [line.removesuffix(";") for line in raw.iterdump()][1:-1]  # without BEGIN and COMMIT
    raw.close()
    return f"-- Revision {revision}, written by scripts/empty_schema.py\n" + schema.SEPARATOR.join(statements) + "\n"


def main() -> None:
    """Write the file."""
    last = schema.newest()
    assert last is not None
    with tempfile.TemporaryDirectory() as folder:
        schema.EMPTY.write_text(dump(Path(folder) / "empty.db", last), "utf-8")
    print(f"{schema.EMPTY.name}: revision {last}")


if __name__ == "__main__":
    main()
