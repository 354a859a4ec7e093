"""How fast new connections are taken while the event loop has much to do."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack

import uvicorn
import uvloop

from paig_gateway.listener.connections import Connections, ListenerBounds
from paig_gateway.listener.protocol import HttpProtocol
from paig_gateway.listener.server import EmbeddedServer
from paig_gateway.server import listen
from tests.gateway.end_to_end.waiting import until
from tests.gateway.listener.serving import Echo

STRANGERS = 160


class Ending(Echo):
    """An app that ends at once."""

    lame_duck = 0.0
    shutdown_seconds = 0.0

    def not_ready(self) -> None:
        """Nothing looks."""

    def ending(self) -> None:
        """Nothing goes on."""


def embedded() -> EmbeddedServer:
    app = Ending(Connections(ListenerBounds()))
    config = uvicorn.Config(
        app, http=HttpProtocol, lifespan="off", log_config=None, server_header=False, proxy_headers=False
    )
    return EmbeddedServer(config)


class Shared(socket.socket):
    """A socket that another worker accepts on as well: both see whether it blocks."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self.blocked: list[bool] = []

    def dup(self) -> socket.socket:
        made = super().dup()
        self.blocked.append(os.get_blocking(self.fileno()))
        return made


def test_a_worker_that_starts_does_not_make_the_others_wait() -> None:
    """The socket, of which each worker makes several handles, never blocks.

    Else another worker that loses the race for a connection would wait for the next one, and answer nothing until it
    comes.
    """

    async def started() -> list[bool]:
        server = embedded()
        with Shared(fileno=listen("127.0.0.1", 0).detach()) as listener:
            running = asyncio.create_task(server.serve(sockets=[listener]))
            await until(lambda: server.started)
            server.should_exit = True
            await running
            return listener.blocked

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        blocked = runner.run(started())
    assert blocked
    assert not any(blocked)


def test_a_queue_of_strangers_is_taken_in_few_turns() -> None:
    """Under uvloop, which takes one connection a turn for each handle that listens."""

    async def turns() -> int:
        server = embedded()
        listener = listen("127.0.0.1", 0)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        with ExitStack() as opened:
            for _ in range(STRANGERS):  # the loop does not turn meanwhile, so all of them wait in the queue
                opened.enter_context(socket.create_connection(listener.getsockname()))
            used = 0
            while len(server.server_state.connections) < STRANGERS:
                await asyncio.sleep(0)
                used += 1
        server.should_exit = True
        await running
        return used

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns()) <= STRANGERS // 4
