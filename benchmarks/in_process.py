"""What a request costs in CPU time inside one process: real gateway, real ledger, no sockets.

    python benchmarks/in_process.py [--requests 6000] [--connections 32] [--stream] [--profile]

The client's and the provider's ends of every connection are functions, so that the kernel's work, which varies most on
a busy machine, is left out. CPU seconds are counted, not rates; the least of several rounds disturbs least. The ledger
is SQLite in /dev/shm where there is one. `--profile` prints where the event loop's and the ledger's thread spend it.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvloop
from common import KEY, SECRET
from servers import CONFIG, NO_TELEMETRY, answer, events

from paig_gateway import config as configuration
from paig_gateway.app import OpenDatabase
from paig_gateway.listener.server import GARBAGE, EmbeddedServer
from paig_gateway.proxy import upstream
from paig_gateway.server import _gateway, _uvicorn, listen

PIECES = 13
"""Reads of the socket that a stream of 200 events takes when nginx sends it."""


class Wire(asyncio.Transport):
    """A transport that gives what is written to a function."""

    def __init__(self, taken: Callable[[bytes], None]) -> None:
        super().__init__({"peername": ("127.0.0.1", 9), "sockname": ("127.0.0.1", 8)})
        self.taken = taken

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hand it over."""
        self.taken(bytes(data))

    def close(self) -> None:
        """Nothing is open."""

    abort = close

    def is_closing(self) -> bool:
        """It never is."""
        return False

    def pause_reading(self) -> None:
        """Nothing is read."""

    resume_reading = pause_reading

    def get_write_buffer_size(self) -> int:
        """What is written is gone at once."""
        return 0

    def can_write_eof(self) -> bool:
        """As a socket's."""
        return True


class Provider:
    """The provider's end: answers each request with the same bytes, in one read of the socket or several."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pieces: list[bytes]) -> None:
        self.loop, self.pieces = loop, pieces

    async def open(self, connection: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        """Connect a connection of the gateway's pool."""
        connection.connection_made(Wire(lambda _: self._answer(connection, 0)))

    def _answer(self, connection: asyncio.Protocol, number: int) -> None:
        if number:
            connection.data_received(self.pieces[number - 1])
        if number < len(self.pieces):
            self.loop.call_soon(self._answer, connection, number + 1)


class Client:
    """A client that sends the next request when the answer to the last one is complete."""

    def __init__(self, request: bytes, loop: asyncio.AbstractEventLoop, ends: bytes | None) -> None:
        self.request, self.loop, self.ends = request, loop, ends
        self.protocol: asyncio.Protocol
        self.left = 0
        self.done: asyncio.Future[None]
        self.buffer = b""

    def ask(self, times: int) -> asyncio.Future[None]:
        """Ask so many times."""
        self.left, self.done = times, self.loop.create_future()
        self._next()
        return self.done

    def _next(self) -> None:
        self.left -= 1
        self.loop.call_soon(self.protocol.data_received, self.request)

    def take(self, data: bytes) -> None:
        """A piece of the answer."""
        if self.ends is not None:
            complete = data.endswith(self.ends)
        else:
            self.buffer += data
            head, _, body = self.buffer.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(self.buffer.decode())
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            complete = len(body) >= length
        if complete:
            self.buffer = b""
            if self.left:
                self._next()
            else:
                self.done.set_result(None)


def chat(*, stream: bool) -> bytes:
    """A chat's request of 2 KB, as wrk sends it."""
    body: dict[str, object] = {
        "model": "gpt-5",
        "messages": [
            {"role": "system", "content": "You are helpful."},
            {"role": "user", "content": "Tell me about it. " * 100},
        ],
        "max_completion_tokens": 500,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    data = json.dumps(body).encode()
    return (
        b"POST /proxy/openai/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nauthorization: Bearer %s\r\n"
        b"content-type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (KEY.encode(), len(data), data)
    )


def served(*, stream: bool) -> list[bytes]:
    """The provider's answer, as nginx sends it."""
    body = events().encode() if stream else json.dumps(answer("word " * 180)).encode()
    kind = b"text/event-stream" if stream else b"application/json"
    head = (
        b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Type: %s\r\n"
        b"Content-Length: %d\r\nLast-Modified: Mon, 23 Nov 2026 12:00:00 GMT\r\nConnection: keep-alive\r\n"
        b'ETag: "65b-1"\r\nAccept-Ranges: bytes\r\n\r\n' % (kind, len(body))
    )
    if not stream:
        return [head + body]
    size = -(-len(body) // PIECES)
    return [head, *(body[at : at + size] for at in range(0, len(body), size))]


async def measure(options: argparse.Namespace, home: Path) -> None:
    """Start the gateway, ask, and say what it cost."""
    loop = asyncio.get_running_loop()
    path = home / "paig.toml"
    path.write_text(CONFIG.format(server="", telemetry=NO_TELEMETRY, provider=9, slow=9, more="", scheme="http"))
    os.environ |= {"PAIG_HOME": str(home), "PAIG_SECRET_KEY": SECRET, "PAIG_ADMIN_TOKEN": SECRET, "BENCH_KEY": KEY}
    wanted = configuration.load(path)
    store = OpenDatabase.open(config=wanted)
    configuration.apply(configuration.plan(wanted, store.catalog), store.catalog, actor="bench")
    gateway = _gateway(store, wanted)
    uvicorn = _uvicorn(gateway, wanted.server)
    server = EmbeddedServer(uvicorn)
    listener = listen("127.0.0.1", 0)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    gc.set_threshold(*GARBAGE)
    gc.collect()
    gc.freeze()
    upstream._Origin._open = Provider(loop, served(stream=options.stream)).open  # type: ignore[method-assign,assignment]
    clients = []
    for _ in range(options.connections):
        client = Client(chat(stream=options.stream), loop, b"0\r\n\r\n" if options.stream else None)
        protocol = uvicorn.http_protocol_class(uvicorn, server.server_state, server.lifespan.state)  # type: ignore[call-arg]
        protocol.connection_made(Wire(client.take))
        client.protocol = protocol
        clients.append(client)

    async def load(count: int) -> tuple[float, float, float]:
        threads, process, began = time.thread_time(), time.process_time(), time.perf_counter()
        await asyncio.gather(*(client.ask(count // len(clients)) for client in clients))
        loop_time, wall = time.thread_time() - threads, time.perf_counter() - began
        ledger = gateway._parts.core.ledger  # type: ignore[union-attr]
        await ledger.flush()
        return loop_time / count * 1e6, (time.process_time() - process) / count * 1e6, wall / count * 1e6

    await load(1000)
    if options.profile:
        profiles = [cProfile.Profile(time.thread_time), cProfile.Profile(time.thread_time)]
        writer = gateway._parts.core.ledger._writer  # type: ignore[union-attr]
        turn, first = writer._turn, threading.Event()

        def profiled() -> None:
            if not first.is_set():
                first.set()
                profiles[1].enable()
            turn()

        writer._turn = profiled  # type: ignore[method-assign]
        profiles[0].enable()
        await load(options.requests)
        profiles[0].disable()
        for profile, name in zip(profiles, ("event loop", "ledger's thread"), strict=True):
            print(f"--- {name}; divide by {options.requests}")
            pstats.Stats(profile).sort_stats(options.sort).print_stats(options.lines)
    else:
        found = [await load(options.requests) for _ in range(options.rounds)]
        print("µs of CPU for each request: event loop, process; and wall")
        for row in found:
            print("  " + "  ".join(f"{value:7.1f}" for value in row))
        print("least: " + "  ".join(f"{min(column):7.1f}" for column in zip(*found, strict=True)))
    for client in clients:
        client.protocol.connection_lost(None)  # the end looks for unread bytes in the sockets of open connections
    server.should_exit = True
    await running


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--sort", default="tottime")
    parser.add_argument("--lines", type=int, default=60)
    options = parser.parse_args()
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        uvloop.run(measure(options, Path(folder)))


if __name__ == "__main__":
    main()
