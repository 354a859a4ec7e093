"""The uvicorn server around the listener: how it starts listening, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Protocol, cast

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from paig_gateway.listener.certificate import RenewedCertificate
from paig_gateway.listener.connections import Connections

log = logging.getLogger(__name__)

GARBAGE = (10_000, 20, 50)
"""The arguments of `gc.set_threshold`: a request makes hundreds of objects and no cycle."""

BREAK_SECONDS = 10.0
"""How long it may take to record the requests that were broken off at the end."""

STOP_LINGER_SECONDS = 0.5
"""How long idle connections stay open at the end. A proxy may just be sending a request into one of them, and must not
send it again if the connection is closed; under load it uses them all within this time, and each answer closes one."""

ACCEPTS = 16
"""Connections that are accepted in one turn of the event loop. libuv accepts one for each listening handle.

If turns are long, as with many large streams, a queue of other connections would keep clients out; so each socket has
several handles.
"""

CERTIFICATE_TICKS = 50
"""Tenths of a second between two checks of the certificate's files."""


class App(Protocol):
    """The part of the app that the server uses.

    Attributes:
        lame_duck: Seconds that new requests are still accepted after the signal to end.
        shutdown_seconds: Seconds that requests are then given to end by themselves.
    """

    connections: Connections

    @property
    def lame_duck(self) -> float: ...

    @property
    def shutdown_seconds(self) -> float: ...

    def not_ready(self) -> None:
        """Stop being ready, so that load balancers send no more requests."""

    def ending(self) -> None:
        """End streams that last until their reader disconnects."""


class Server(uvicorn.Server):
    """A server that ends in three steps: it reports not ready, drains, and breaks off the remaining requests.

    Attributes:
        on_hangup: Called, on the event loop, after `hangup`.
        linger: See `STOP_LINGER_SECONDS`.
    """

    linger = STOP_LINGER_SECONDS

    def __init__(self, config: uvicorn.Config, on_hangup: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self.on_hangup = on_hangup
        self._hung_up = False
        self._certificate: RenewedCertificate | None = None

    @property
    def app(self) -> App:
        return cast(App, self.config.loaded_app)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, then listen.

        As uvicorn does, but a TLS handshake has the same timeout as the head of a request.
        """
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        config, loop = self.config, asyncio.get_running_loop()
        if config.ssl is not None and config.ssl_certfile and config.ssl_keyfile:
            self._certificate = RenewedCertificate(config.ssl, Path(config.ssl_certfile), Path(config.ssl_keyfile))
        for listening in sockets or []:
            # Else `dup` makes the socket block, and with it every worker that shares it: one that loses the race for a
            # connection would then wait in `accept` for the next one.
            listening.setblocking(False)
        self.servers = [
            await loop.create_server(
                self._protocol, sock=sock, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=self._handshake
            )
            for listening in sockets or []
            for sock in (listening, *(listening.dup() for _ in range(ACCEPTS - 1)))
        ]
        # The present objects stay; leaving them out of each garbage collection saves a tenth of the time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        self.started = True

    @property
    def _handshake(self) -> float | None:
        """The seconds that a TLS handshake may take."""
        return self.app.connections.bounds.header_seconds if self.config.ssl is not None else None

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def hangup(self) -> None:
        """Note that the process was told to read its configuration again; may be called by a signal handler."""
        self._hung_up = True

    async def on_tick(self, counter: int) -> bool:
        """Do periodic work, every tenth of a second."""
        if self._hung_up:
            self._hung_up = False
            if self.on_hangup is not None:
                self.on_hangup()
        if self._certificate is not None and counter % CERTIFICATE_TICKS == 0:
            self._certificate.look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Report not ready, drain, break off the remaining requests, and stop the app when all are recorded."""
        app, state = self.app, self.server_state
        app.not_ready()
        app.connections.ending = True  # each answer from now on says `connection: close`
        await self._until(lambda: False, app.lame_duck)
        await self._accept_waiting(sockets or [])
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        app.ending()
        await self._until(lambda: not any(getattr(one, "is_idle", False) for one in state.connections), self.linger)
        for connection in list(state.connections):
            connection.shutdown()
        if not await self._until(lambda: not state.connections and not state.tasks, app.shutdown_seconds):
            if state.tasks:
                log.warning("Breaking off %d requests: the time to end is over", len(state.tasks))
                for task in tuple(state.tasks):
                    task.cancel()
                await asyncio.wait(tuple(state.tasks), timeout=BREAK_SECONDS)
            for connection in list(state.connections):
                if (transport := getattr(connection, "transport", None)) is not None:
                    transport.abort()
            await asyncio.sleep(0)
        app.connections.stop()
        await self.lifespan.shutdown()

    async def _accept_waiting(self, sockets: list[socket.socket]) -> None:
        """Accept the connections that wait in the kernel's queue: closing their socket would reset them.

        A proxy may have sent a request into one, and must not send it again.
        """
        loop = asyncio.get_running_loop()
        accepted: list[socket.socket] = []
        for listener in sockets:
            listener.setblocking(False)
            with contextlib.suppress(OSError):  # no more are waiting
                while True:
                    accepted.append(listener.accept()[0])
        handshakes = []
        for client in accepted:
            client.setblocking(False)
            handshakes.append(
                loop.connect_accepted_socket(
                    self._protocol, client, ssl=self.config.ssl, ssl_handshake_timeout=self._handshake
                )
            )
        with contextlib.suppress(TimeoutError):  # a handshake that fails, or takes longer, is closed by the loop
            async with asyncio.timeout(STOP_LINGER_SECONDS):
                await asyncio.gather(*handshakes, return_exceptions=True)

    async def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition, for at most some seconds, or until a second Ctrl-C."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not done():
            if loop.time() >= end or self.force_exit:
                return False
            await asyncio.sleep(min(0.05, seconds))
        return True


class EmbeddedServer(Server):
    """A server inside a program that handles signals itself, and whose clients end with it."""

    linger = 0.0

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield


class Worker(multiprocess.Process):
    """One of several processes with such a server."""

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Server(self.config)
        return self._server


class Workers(multiprocess.Multiprocess):
    """The parent of several processes."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], on_hangup: Callable[[], None] | None = None
    ) -> None:
        multiprocess.Process = Worker  # type: ignore[misc]  # uvicorn makes its own, and takes no other
        super().__init__(config, sockets)
        self._on_hangup = on_hangup

    def handle_hup(self) -> None:
        """Read the configuration again; uvicorn would restart all processes."""
        if self._on_hangup is not None:
            self._on_hangup()
