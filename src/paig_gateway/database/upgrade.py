"""Brings a database's schema to this version's, by the migrations in `migrations/`."""

from __future__ import annotations

import re
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


class UnknownRevisionError(Exception):
    """This version cannot use the database's schema; the message says what to do."""


def check_known(connection: Connection) -> None:
    """Check that the schema is of this version or an earlier one, or that there is none yet.

    Raises:
        UnknownRevisionError: A newer paig has migrated the database.
    """
    scripts = _scripts(Config())
    current = _revision(connection)
    if current is not None and not re.fullmatch(r"\d{4}", current):
        raise UnknownRevisionError(
            f"The database belongs to another application that uses Alembic: its schema is '{current}'. Create a"
            " database for paig alone, and name it in PAIG_DATABASE_URL."
        )
    if current is not None and current not in {known.revision for known in scripts.walk_revisions()}:
        raise UnknownRevisionError(
            f"The database was last used by a newer paig: its schema is '{current}', this version knows up to "
            f"'{scripts.get_current_head()}'. Upgrade paig, or give it another database with PAIG_DATABASE_URL."
        )


def to_head(connection: Connection) -> None:
    """Apply the migrations that are missing, in the connection's transaction.

    Raises:
        UnknownRevisionError: A newer paig has migrated the database.
    """
    check_known(connection)
    config = Config()
    if _scripts(config).get_current_head() != _revision(connection):
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def to_revision(connection: Connection, revision: str) -> None:
    """Give an empty database the schema of a release that need not be this one, in the connection's transaction.

    Raises:
        UnknownRevisionError: It is that of a newer paig.
    """
    config = Config()
    if revision not in {known.revision for known in _scripts(config).walk_revisions()}:
        raise UnknownRevisionError(f"The schema '{revision}' is that of a newer paig: upgrade paig.")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _scripts(config: Config) -> ScriptDirectory:
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
