"""Sending answers through ASGI, and breaking connections off when a fault asks for it."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from .operation import SimulatedAnswer

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_GZIP = (b"content-encoding", b"gzip")


class ClientChannel:
    """The client of one request: reads its body and writes its answer through ASGI."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def body(self) -> bytes | None:
        """The request's whole body; None if the client left first."""
        parts: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)

    async def leaves_within(self, seconds: float) -> bool:
        """Wait this long; return True at once if the client disconnects meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._gone()
        except TimeoutError:
            return False
        return True

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, answer: SimulatedAnswer, length: int | None = None) -> None:
        """Send the status and the headers; without a length the body is chunked."""
        headers = [(b"content-type", answer.content_type), *answer.headers]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})

    async def write(self, data: bytes, *, more: bool) -> None:
        """Send a piece of the body; `more` is False for the last one."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, answer: SimulatedAnswer) -> None:
        await self.start(answer, len(answer.body))
        await self.write(answer.body, more=False)

    async def drop(self, *, reset: bool = False) -> None:
        """Close the connection in the middle of the response, or reset it.

        ASGI has no message for this. uvicorn's `send` is a method of the object that has the transport; on any other
        server this raises, and the server closes the connection.

        Raises:
            ConnectionResetError: The server gives no access to the transport.
        """
        transport: asyncio.Transport | None = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport is None:
            raise ConnectionResetError("the simulated provider drops the connection")
        if reset:
            linger = struct.pack("ii", 1, 0)  # close with RST, not FIN
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        else:
            transport.close()
        await self._gone()


def compress(answer: SimulatedAnswer, headers: Mapping[bytes, bytes]) -> None:
    """Compress an answer if the request's headers allow; each event is flushed, so that it can be read at once."""
    if b"gzip" not in headers.get(b"accept-encoding", b""):
        return
    packer = zlib.compressobj(wbits=31)
    if answer.events is None:
        answer.body = packer.compress(answer.body) + packer.flush()
    else:
        answer.events = [packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in answer.events]
        answer.events[-1] += packer.flush()
    answer.headers = (*answer.headers, _GZIP)
