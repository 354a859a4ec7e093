"""Databases for the store's tests: a SQLite file, or one of a real PostgreSQL's, freshly migrated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from paig_gateway.store.engine import migrate, open_engine
from tests.gateway.databases import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'paig.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A migrated database of either kind."""
    if request.param == "sqlite":
        engine = open_engine(f"sqlite:///{tmp_path / 'paig.db'}")
        migrate(engine)
    else:
        server: Postgres = request.getfixturevalue("postgres")
        engine = open_engine(server.fresh_database())
    yield engine
    engine.dispose()
