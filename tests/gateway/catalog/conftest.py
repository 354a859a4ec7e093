"""Empty catalogues."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from paig_gateway.catalog import Catalog
from tests.gateway.catalogs import VAULT, open_catalog, sqlite_url


@pytest.fixture
def catalog(engine: Engine) -> Catalog:
    """An empty catalogue on each kind of database."""
    return Catalog(engine, VAULT)


@pytest.fixture
def plain_catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalogue on SQLite, for what does not depend on the database."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        yield catalog
