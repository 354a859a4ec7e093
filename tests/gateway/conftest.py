"""What the gateway's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.databases import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL server for all tests; it can be stopped and started."""
    with Postgres() as server:
        yield server
