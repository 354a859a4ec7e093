"""One gateway per test module; each test gives its objects names of their own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from paig_client.admin import AdminClient
from tests.gateway.admin.harness import Gateway, running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A running gateway on a fresh SQLite file."""
    with running(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def admin(gateway: Gateway) -> AdminClient:
    """The typed client, as the owner."""
    return gateway.client()


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> Iterator[httpx2.Client]:
    """A plain client of `/admin/v1`, with the admin token."""
    with gateway.http() as client:
        yield client
