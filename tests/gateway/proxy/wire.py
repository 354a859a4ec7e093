"""A provider's side of the wire: a raw-socket HTTP/1.1 server that tests script byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire; header names and target untouched."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header, in wire order."""
        return [value for key, value in self.headers if key.lower() == name]


@dataclass
class Connection:
    """One accepted connection, for a script to read from and write to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: list[Request]

    async def head(self) -> Request:
        """The next request's line and headers; EOFError when the client has closed."""
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as exc:
            raise EOFError(exc.partial) from exc
        line, *fields = raw[:-4].decode("latin-1").split("\r\n")
        method, target, _version = line.split(" ")
        pairs = (pair.encode("latin-1").partition(b":") for pair in fields)
        return Request(method, target, [(name, value.strip()) for name, _, value in pairs])

    async def request(self) -> Request:
        """The next request, body and all; recorded among those seen."""
        head = await self.head()
        body = b""
        if head.all(b"transfer-encoding") == [b"chunked"]:
            while chunk := await self.chunk():
                body += chunk
        elif length := head.all(b"content-length"):
            body = await self.reader.readexactly(int(length[0]))
        request = Request(head.method, head.target, head.headers, body)
        self.seen.append(request)
        return request

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def send(self, data: bytes) -> None:
        """Write, and wait until the client takes it."""
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client has closed, whatever it still sends."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def shut(self) -> None:
        """Close the socket this instant, not at the loop's next turn."""
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as twin:
            twin.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close with a reset in place of an orderly end."""
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Script = Callable[[Connection], Awaitable[None]]


@dataclass
class Provider:
    """A running server: where it is, and what it has seen."""

    url: str
    port: int
    connections: list[Connection] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


@contextlib.asynccontextmanager
async def provider(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Provider]:
    """Serve `script`, once per connection, on loopback; an assertion that fails in it fails the test."""
    tasks: set[asyncio.Task[None]] = set()
    failures: list[Exception] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        connection = Connection(reader, writer, served.requests)
        served.connections.append(connection)
        try:
            await script(connection)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass  # The client left, or the test is over.
        except Exception as exc:
            failures.append(exc)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls, backlog=2048)
    port: int = server.sockets[0].getsockname()[1]
    served = Provider(f"{'https' if tls else 'http'}://127.0.0.1:{port}", port)
    try:
        async with asyncio.timeout(30):  # No test that hangs outlives its provider.
            yield served
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failures:
        raise ExceptionGroup("the provider's script failed", failures)


def always(answer: bytes) -> Script:
    """A script that gives every request on a connection the same answer."""

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(answer)

    return script


def once(answer: bytes) -> Script:
    """A script that answers one request and closes."""

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer)

    return script


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """`data` framed as one chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)
