"""A small ASGI app behind the real listener on a real port, and raw sockets that speak to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from paig_gateway.listener.connections import Connections, ListenerBounds
from paig_gateway.listener.cycle import EXTENSION, Cycle
from paig_gateway.listener.protocol import HttpProtocol
from paig_gateway.listener.upgrade import UPGRADE, Upgrade
from paig_gateway.server import listen
from tests.gateway.end_to_end.waiting import until


class Hello(asyncio.Protocol):
    """Says hello, takes what comes as what it is told, and ends when the server does."""

    def __init__(self, upgrade: Upgrade) -> None:
        self.upgrade, self.got, self.shut_down = upgrade, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        self.upgrade.transport.write(b"hello")
        self.upgrade.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Say it again."""
        self.upgrade.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """No connection any more."""
        self.upgrade.drop(self)

    def shutdown(self) -> None:
        """End with the server."""
        self.upgrade.transport.write(b"bye")
        self.upgrade.transport.close()


@dataclass
class Echo:
    """Answers with what it was asked; `/stream` streams, `/wait` waits until it is let go."""

    connections: Connections
    seen: list[dict[str, Any]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            upgrade = scope["extensions"][UPGRADE]
            if scope["path"] == "/refused":
                upgrade.refuse(402, [(b"x-why", b"as asked")], b"no")
            else:
                upgrade.take(Hello(upgrade))
            return
        path = scope["path"]
        if path == "/unread":
            await self._answer(send, 401, b"no")
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ends.append("disconnect")
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.seen.append({**scope, "body": body})
        if path == "/wait":
            await self.go.wait()
        elif path == "/stream":
            await self._stream(scope, send)
            return
        elif path == "/fail":
            raise RuntimeError("as asked")
        elif path == "/half":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            return
        elif path == "/push":
            self._push(scope["extensions"][EXTENSION])
            return
        told = {"path": path, "query": scope["query_string"].decode(), "length": len(body)}
        told["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
        await self._answer(send, 200, json.dumps(told).encode())

    async def _answer(self, send: Any, status: int, body: bytes) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, scope: dict[str, Any], send: Any) -> None:
        count = int(parse_qs(scope["query_string"].decode())["count"][0])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(count):
            await send({"type": "http.response.body", "body": b"%06d" % number * 1000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _push(self, cycle: Cycle) -> None:
        cycle.start(200, [(b"content-type", b"text/plain")])
        cycle.write(b"one")
        cycle.write(b"two")
        cycle.end()


@dataclass
class Served:
    """A running server."""

    port: int
    app: Echo
    server: uvicorn.Server

    @property
    def open(self) -> int:
        """How many connections it has."""
        return len(self.server.server_state.connections)

    async def connect(self) -> Socket:
        """A new connection."""
        return Socket(*await asyncio.open_connection("127.0.0.1", self.port))

    async def ask(self, data: bytes) -> bytes:
        """What comes to some bytes on a connection of their own, until it is closed."""
        async with await self.connect() as socket:
            await socket.send(data)
            return await socket.rest()


@dataclass
class Socket:
    """A client's raw connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def __aenter__(self) -> Socket:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def send(self, data: bytes) -> None:
        """Send bytes; it does not matter if the other side is gone."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def rest(self, seconds: float = 20.0) -> bytes:
        """All bytes until the server closes."""
        found = b""
        async with asyncio.timeout(seconds):
            try:
                while chunk := await self.reader.read(65536):
                    found += chunk
            except ConnectionError:
                pass
        return found

    async def answer(self, seconds: float = 20.0) -> bytes:
        """The head and, by its content-length, the body of one answer."""
        async with asyncio.timeout(seconds):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            return head + await self.reader.readexactly(int(length or b"0"))

    async def is_open(self) -> bool:
        """Whether the server has not closed it."""
        try:
            async with asyncio.timeout(0.05):
                return await self.reader.read(1) != b""
        except TimeoutError:
            return True
        except ConnectionError:
            return False


@contextlib.asynccontextmanager
async def serving(bounds: ListenerBounds | None = None, ws: Any = "websockets-sansio") -> AsyncIterator[Served]:
    """The app, served within those bounds."""
    table = Connections(bounds or ListenerBounds())
    app = Echo(table)
    config = uvicorn.Config(
        app, http=HttpProtocol, ws=ws, lifespan="off", log_config=None, proxy_headers=False, server_header=False
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
    listener = listen("127.0.0.1", 0)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    port = listener.getsockname()[1]
    await until(lambda: server.started)
    try:
        yield Served(port, app, server)
    finally:
        app.go.set()
        server.should_exit = True
        await running
        table.stop()
        listener.close()


GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


def code(answer: bytes) -> tuple[int, str]:
    """The status and the gateway's error code of an answer."""
    status = int(answer.split(b" ", 2)[1]) if answer else 0
    return status, answer.partition(b"x-paig-error: ")[2].partition(b"\r\n")[0].decode()
