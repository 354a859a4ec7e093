"""How fast new connections are taken while the event loop has much to do."""

from __future__ import annotations

import asyncio
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


def test_a_queue_of_strangers_is_taken_in_few_turns() -> None:
    """Under uvloop, which takes one connection a turn for each handle that listens."""

    async def turns() -> int:
        app = Ending(Connections(ListenerBounds()))
        config = uvicorn.Config(
            app, http=HttpProtocol, lifespan="off", log_config=None, server_header=False, proxy_headers=False
        )
        server = EmbeddedServer(config)
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
