"""Waits for PostgreSQL have a bound: for a name, for a pooled connection, and for an answer."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from paig_gateway.database import bounded
from paig_gateway.database.engine import open_engine, patient
from paig_gateway.database.engine import quick as quick_engine
from tests.gateway.databases import Postgres
from tests.gateway.forwarder import Forwarder

pytestmark = pytest.mark.anyio


@pytest.fixture
async def forwarder(postgres: Postgres) -> AsyncIterator[Forwarder]:
    async with Forwarder(postgres.fresh_database()).running() as forwarder:
        yield forwarder


@pytest.fixture
def engine(forwarder: Forwarder) -> Iterator[Engine]:
    engine = open_engine(forwarder.url())
    yield engine
    engine.dispose()


def one(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT 1")).scalar_one())


async def test_silent_connection_in_the_pool_is_replaced(
    engine: Engine, forwarder: Forwarder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "PING_SECONDS", 0.3)
    assert await asyncio.to_thread(one, engine) == 1
    forwarder.silence()
    assert await asyncio.to_thread(one, engine) == 1


async def test_statement_without_an_answer_fails(engine: Engine, forwarder: Forwarder) -> None:
    def cut() -> None:
        with engine.execution_options(answer_seconds=0.3).connect() as connection:
            connection.execute(text("SELECT 1"))
            forwarder.silence()
            connection.execute(text("SELECT 1"))

    with pytest.raises(OperationalError, match=r"did not answer within 0\.3 s") as raised:
        await asyncio.to_thread(cut)
    assert raised.value.connection_invalidated
    assert await asyncio.to_thread(one, engine) == 1


async def test_a_long_statement_passes_where_no_bound_is_set(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "ANSWER_SECONDS", 0.2)

    def sleep(engine: Engine) -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_sleep(0.6)"))

    with pytest.raises(DBAPIError, match="did not answer"):
        await asyncio.to_thread(sleep, engine)
    await asyncio.to_thread(sleep, patient(engine))
    await asyncio.to_thread(sleep, quick_engine(engine))


async def test_a_name_server_that_does_not_answer_is_asked_again(
    forwarder: Forwarder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look-up does not wait for the first, which may hang for much longer than the outage."""
    monkeypatch.setattr(bounded, "NAME_SECONDS", 0.3)
    ended = threading.Event()
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def slow(host: str, *args: Any, **more: Any) -> Any:
        asked.append(host)
        if len(asked) == 1:
            ended.wait(60)
        return look_up("127.0.0.1", *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    engine = open_engine(forwarder.url("db.example"))
    try:
        with pytest.raises(OperationalError, match=r"name server did not answer for 'db\.example' within 0\.3 s"):
            await asyncio.to_thread(one, engine)
        assert await asyncio.to_thread(one, engine) == 1
    finally:
        ended.set()
        engine.dispose()
    assert asked == ["db.example", "db.example"]


def test_an_unknown_name_is_an_error_of_the_connection() -> None:
    engine = open_engine("postgresql+psycopg://paig@db.invalid/paig")
    with pytest.raises(OperationalError, match=r"failed to resolve host 'db\.invalid'"):
        one(engine)


async def test_address_needs_no_look_up(forwarder: Forwarder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "getaddrinfo")
    engine = open_engine(forwarder.url())
    assert await asyncio.to_thread(one, engine) == 1
    engine.dispose()
