"""A simulator served on loopback, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from paig_gateway.simulator import Simulator
from paig_gateway.simulator.serve import running_simulator

ANY_KEY = {"authorization": "Bearer k", "x-api-key": "k", "x-goog-api-key": "k"}


@pytest.fixture(scope="package")
async def running() -> AsyncIterator[tuple[Simulator, str]]:
    """One simulator with the default settings for all tests, and where it listens."""
    simulator = Simulator()
    async with running_simulator(simulator) as url:
        yield simulator, url


@pytest.fixture
def simulator(running: tuple[Simulator, str]) -> Simulator:
    """That simulator as if new."""
    running[0].reset()
    return running[0]


@pytest.fixture
def base_url(running: tuple[Simulator, str], simulator: Simulator) -> str:
    """Where it listens."""
    return running[1]


@pytest.fixture(scope="package")
async def plain_client(running: tuple[Simulator, str]) -> AsyncIterator[httpx2.AsyncClient]:
    """A plain client with a key wherever a provider looks for one."""
    async with httpx2.AsyncClient(base_url=running[1], headers=ANY_KEY, timeout=10, verify=False) as client:
        yield client


@pytest.fixture
def http(plain_client: httpx2.AsyncClient, simulator: Simulator) -> httpx2.AsyncClient:
    """A plain client of the simulator as if new."""
    return plain_client
