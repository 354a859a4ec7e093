"""What the gateway's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from paig_gateway.database.engine import migrate, open_engine
from tests.gateway.databases import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL server for all tests; it can be stopped and started."""
    with Postgres() as server:
        yield server


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
