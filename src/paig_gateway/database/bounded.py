"""Connections to PostgreSQL that never wait for ever: for a name, for the server, or for an answer.

The kernel finds a peer that no longer acknowledges (`tcp_user_timeout`, keepalives). It does not find one that
acknowledges and never answers: a pooler, a load balancer or a sidecar that has lost the server behind it. The server's
`statement_timeout` does not help either, because the server is what is gone. So each wait has a bound here, after which
the connection is closed, and the caller gets the error of a lost connection.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Generator
from typing import Any, cast

import psycopg
from psycopg.rows import TupleRow
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

PING_SECONDS = 3.0
"""How long a pooled connection may take to show that it still works."""
ANSWER_SECONDS = 60.0
"""How long a statement may take, where nothing else was chosen: reports over many rows take long."""
NAME_SECONDS = 3.0
"""How long the look-up of the server's name may take. A new look-up asks again at once, where a pending one may wait
for twenty seconds more: while a container restarts, its name is unknown."""
LOOKUPS = 16
"""Look-ups that may be pending at once."""

OPTION = "answer_seconds"
"""The execution option that sets the bound for an engine's transactions; None for no bound."""


class NoAnswerError(psycopg.OperationalError):
    """The server did not answer in time; the connection is closed."""


class BoundedConnection(psycopg.Connection[TupleRow]):
    """A connection whose waits have a bound.

    Attributes:
        answer_seconds: The bound of one wait for the server; None for none.
    """

    answer_seconds: float | None = ANSWER_SECONDS

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **more: Any) -> Any:
        """See `psycopg.Connection.wait`.

        Raises:
            NoAnswerError: The bound is reached.
        """
        if self.answer_seconds is None:
            return super().wait(gen, *args, **more)
        try:
            return super().wait(_bounded(gen, self.answer_seconds), *args, **more)
        except NoAnswerError:
            self.pgconn.finish()
            raise


def _bounded(gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """The driver's generator; the driver resumes it ten times a second where the server is silent."""
    deadline = time.monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                raise NoAnswerError(f"the database server did not answer within {seconds:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


def bound(engine: Engine) -> None:
    """Have an engine open such connections, and bound each transaction by its execution option `answer_seconds`."""
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "checkin", _returned)
    event.listen(engine, "engine_connect", _taken)


def set_bound(connection: object, seconds: float | None) -> None:
    """Set the bound of a driver's connection."""
    cast(BoundedConnection, connection).answer_seconds = seconds


def _connect(
    dialect: object, record: object, args: tuple[Any, ...], params: dict[str, Any]
) -> psycopg.Connection[TupleRow]:
    host, port = params.get("host"), params.get("port") or 5432
    if host and "hostaddr" not in params and _is_name(host):
        addresses = _look_up(host, int(port))
        params = {**params, "host": ",".join([host] * len(addresses)), "hostaddr": ",".join(addresses)}
    return BoundedConnection.connect(*args, **params)


def _returned(connection: object, record: ConnectionPoolEntry) -> None:
    if connection is not None:
        set_bound(connection, PING_SECONDS)  # the pool pings it before it is used again


def _taken(connection: Connection) -> None:
    set_bound(connection.connection.driver_connection, connection.get_execution_options().get(OPTION, ANSWER_SECONDS))


def _is_name(host: str) -> bool:
    """Whether it is one name: neither an address nor a folder, and not a list."""
    if host.startswith(("/", "@")) or "," in host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


_places = threading.BoundedSemaphore(LOOKUPS)


def _look_up(host: str, port: int) -> list[str]:
    """The addresses of a name.

    Raises:
        OperationalError: There are none, or the name server does not answer.
    """
    if not _places.acquire(blocking=False):
        raise psycopg.OperationalError(f"the name server does not answer for '{host}'")
    found: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            found.put([str(answer[4][0]) for answer in answers])
        except OSError as error:
            found.put(error)
        finally:
            _places.release()

    threading.Thread(target=ask, name="paig-lookup", daemon=True).start()
    try:
        answer = found.get(timeout=NAME_SECONDS)
    except queue.Empty:
        raise psycopg.OperationalError(
            f"the name server did not answer for '{host}' within {NAME_SECONDS:g} s"
        ) from None
    if isinstance(answer, OSError):
        raise psycopg.OperationalError(f"failed to resolve host '{host}': {answer}")
    return answer
