"""A pass-through that does nothing else: two protocols on httptools, no key, no meter, no ledger, no ASGI.

    python benchmarks/bare.py PORT http://127.0.0.1:PROVIDER

What is pushed in at one side goes out at the other: the least that a proxy in Python can cost.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

HOP = frozenset({b"connection", b"keep-alive", b"host", b"content-length"})


class ToProvider(asyncio.Protocol):
    """A connection to the provider, for one request at a time."""

    def __init__(self, idle: list[ToProvider]) -> None:
        self.idle = idle
        self.client: FromClient | None = None
        self.transport: asyncio.WriteTransport
        self.parser = httptools.HttpResponseParser(self)
        self.head: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Be forgotten."""
        if self in self.idle:
            self.idle.remove(self)

    def data_received(self, data: bytes) -> None:
        """Parse the answer."""
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        """An answer begins."""
        self.head = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Pass a header on, but those of the connection."""
        if name.lower() != b"connection":
            self.head.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        """Write the head."""
        assert self.client is not None
        self.client.chunked = not any(line.lower().startswith(b"content-length:") for line in self.head)
        line = b"HTTP/1.1 %d OK\r\n" % self.parser.get_status_code()
        self.client.transport.write(b"".join((line, *self.head, b"\r\n")))

    def on_body(self, body: bytes) -> None:
        """Write a piece of the body."""
        assert self.client is not None
        piece = b"%x\r\n%b\r\n" % (len(body), body) if self.client.chunked else body
        self.client.transport.write(piece)

    def on_message_complete(self) -> None:
        """Serve the next request."""
        client, self.client = self.client, None
        if client is not None and client.chunked:
            client.transport.write(b"0\r\n\r\n")
        self.idle.append(self)


class FromClient(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, base: str, idle: list[ToProvider]) -> None:
        parts = urlsplit(base)
        self.place = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.idle = idle
        self.chunked = False
        self.transport: asyncio.WriteTransport
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.head: list[bytes] = []
        self.body: list[bytes] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse the request."""
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self.url, self.head, self.body = b"", [], []

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, but those of the connection."""
        if name.lower() not in HOP:
            self.head.append(b"%b: %b\r\n" % (name, value))

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self.body.append(body)

    def on_message_complete(self) -> None:
        """Send the request on."""
        if self.idle:
            self._send(self.idle.pop())
        else:
            task = asyncio.ensure_future(self._connect())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _connect(self) -> None:
        _, made = await asyncio.get_running_loop().create_connection(lambda: ToProvider(self.idle), *self.place)
        self._send(made)

    def _send(self, provider: ToProvider) -> None:
        body = b"".join(self.body)
        provider.client = self
        line = b"%b %b HTTP/1.1\r\nhost: provider\r\n" % (self.parser.get_method(), self.url)
        provider.transport.write(b"".join((line, *self.head, b"content-length: %d\r\n\r\n" % len(body), body)))


async def main(port: int, base: str) -> None:
    """Serve until killed."""
    idle: list[ToProvider] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: FromClient(base, idle), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
