"""A WebSocket upgrade request: the connection that the app receives, before any answer is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from paig_gateway.listener.cycle import status_line

UPGRADE = "paig.upgrade"
"""The key of the `Upgrade` in a scope's extensions."""


class Takeover(Protocol):
    """A protocol that takes a connection over."""

    def shutdown(self) -> None:
        """End soon: the process is to end."""


class Upgrade:
    """The connection of a WebSocket upgrade request; nothing is read from it until it is taken over.

    Attributes:
        transport: The client's transport.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        connections: set[object],
        default_headers: Iterable[tuple[bytes, bytes]],
    ) -> None:
        self.transport = transport
        self.loop = loop
        self._connections = connections
        self._default_headers = tuple(default_headers)

    def refuse(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer with an HTTP response, and close the connection."""
        fields = [*self._default_headers, *headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        lines = [status_line(status), *(b"%b: %b\r\n" % field for field in fields), b"\r\n"]
        self.transport.write(b"".join((*lines, body)))
        self.transport.close()

    def take(self, protocol: asyncio.Protocol) -> None:
        """Hand the transport to a protocol, which is counted among the connections until it is dropped."""
        self._connections.add(protocol)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)

    def drop(self, protocol: asyncio.Protocol) -> None:
        self._connections.discard(protocol)
