"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import tracemalloc
import warnings
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

# A busy machine must not make a property test fail.
settings.register_profile("paig", deadline=None)
settings.load_profile("paig")

# How many frames to remember of where an object was made; 0 looks for no leaks.
LEAKS = int(os.environ.get("LEAKS", "0"))
if LEAKS:
    tracemalloc.start(LEAKS)

# No test may touch the keyring of the user.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what was imported, which stays."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """With LEAKS set, collect garbage after each test, so that a leak is reported at the test that made it."""
    result = yield
    if LEAKS:
        gc.collect()
    return result


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop under the async tests, for fixtures of any scope."""
    return "asyncio"


def _collect() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def imported() -> None:
    """Leave what is imported by now out of later collections: it is most of the heap, and it stays."""
    _collect()
    gc.freeze()


@pytest.fixture
def quiet_sockets(imported: None) -> Iterator[None]:
    """Collect the HTTP clients that pydantic-ai left open, unreported: else a later test is blamed for them.

    pydantic-ai closes the clients of agents that are entered, and some of its models never close theirs.
    """
    yield
    _collect()
