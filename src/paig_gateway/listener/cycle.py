"""One request and its answer on a connection."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl

log = logging.getLogger(__name__)

AsgiMessage = MutableMapping[str, Any]
AsgiApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[AsgiMessage]], Callable[[AsgiMessage], Awaitable[None]]],
    Awaitable[None],
]

EXTENSION = "paig.cycle"
"""The key of the cycle in the scope's extensions: the data plane writes to it without ASGI messages."""

# Characters that would end a header line early, or hide something in it.
_BAD_NAME = re.compile(rb'[\x00-\x20\x7f()<>@,;:\\"/\[\]?={}]')
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_PLAIN: set[bytes] = set()
"""Names that are valid and in lower case; bounded, because some come from providers."""


def _plain_name(name: bytes) -> bytes:
    """A header's name in lower case.

    Raises:
        ValueError: It is not valid.
    """
    if _BAD_NAME.search(name):
        raise ValueError(f"not a valid header: {name!r}")
    plain = name.lower()
    if len(_PLAIN) < 1000:
        _PLAIN.add(plain)
    return plain


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_LONG = 64 * 1024
"""A body of more bytes is not joined to its head."""

_STATUS_LINES = {status: status_line(status) for status in range(200, 600)}


class CycleConnection(Protocol):
    """The connection that a cycle belongs to."""

    flow: FlowControl
    transport: asyncio.Transport

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]: ...

    def body_is_wanted(self) -> None: ...

    def answered(self, cycle: Cycle) -> None: ...

    def close(self) -> None: ...


class Cycle:
    """One request and its answer.

    `receive` and `send` are the ASGI interface. `start`, `write` and `end` are the same without messages and without
    awaiting, for the data plane. `write` never blocks; `on_pressure` is called with True when the client reads more
    slowly than the answer arrives, and with False when it has caught up. `on_gone` is called when the client
    disconnects; later writes are dropped.

    Attributes:
        keep_alive: Whether the connection serves further requests after this answer.
        more_body: Whether the request's body is incomplete.
        started: Whether a status has been written.
        complete: Whether the whole answer has been written.
        gone: Whether the client disconnected, or was refused by the listener.
    """

    __slots__ = (
        "_buffered", "_chunked", "_chunks", "_connection", "_event", "_expects_continue", "_head", "_left", "_news",
        "_transport", "complete", "gone", "keep_alive", "more_body", "on_gone", "on_pressure", "scope", "started",
    )  # fmt: skip

    def __init__(
        self, connection: CycleConnection, scope: MutableMapping[str, Any], *, keep_alive: bool, expects_continue: bool
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.more_body = True
        self.started = False
        self.complete = False
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.on_pressure: Callable[[bool], None] | None = None
        self._connection = connection
        self._transport = connection.transport
        self._expects_continue = expects_continue
        self._news = False
        self._event: asyncio.Event | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._head = scope["method"] == "HEAD"
        self._chunked = False
        self._left: int | None = 0
        """Bytes of the body still to come; None where the end of the connection ends it."""

    # The connection's side

    def feed(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > HIGH_WATER_LIMIT:
            self._connection.flow.pause_reading()
        self._tell()

    def feed_end(self) -> None:
        self.more_body = False
        self._tell()

    def disconnect(self) -> None:
        """The client disconnected, or gets no further answer from the app."""
        if self.complete or self.gone:
            return
        self.gone = True
        self._chunks.clear()
        self._tell()
        if self.on_gone is not None:
            self.on_gone()

    def _tell(self) -> None:
        self._news = True
        if self._event is not None:
            self._event.set()

    # The app's side

    @property
    def is_under_pressure(self) -> bool:
        """Whether the client has not read most of what was written; `on_pressure` is called when that changes."""
        return self._connection.flow.write_paused

    async def run(self, app: AsgiApp) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.abort()  # the process ends
        except Exception:
            log.exception("A request failed unexpectedly")
            self._fail()
        else:
            if not self.complete and not self.gone:
                if not self.started:
                    log.error("The application returned without an answer")
                # If the provider broke a stream off, the client's stream is broken off too.
                self._fail()
        finally:
            # It is in its own scope, which would keep both alive until garbage is collected.
            self.scope["extensions"].pop(EXTENSION, None)

    def _fail(self) -> None:
        if self.started or self.gone:
            self.abort()
            return
        body = b"Internal Server Error"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        self.start(500, [*headers, (b"connection", b"close")])
        self.write(body)
        self.end()

    def abort(self) -> None:
        """Close the connection at once, so that the client does not take half an answer for a complete one."""
        if not self.complete and not self._transport.is_closing():
            self._connection.close()

    async def receive(self) -> AsgiMessage:
        if self.more_body and not self.gone and not self.complete:
            if self._expects_continue:
                self._expects_continue = False
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._connection.flow.resume_reading()
            self._connection.body_is_wanted()
        if not self.gone and not self.complete:
            if not self._news:  # nearly always the body has come with the head
                self._event = self._event or asyncio.Event()
                self._event.clear()
                await self._event.wait()
            self._news = False
        if self.gone or self.complete:
            return {"type": "http.disconnect"}
        chunks, self._chunks = self._chunks, []
        self._buffered = 0
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: AsgiMessage) -> None:
        flow = self._connection.flow
        if flow.write_paused and not self.gone:
            await flow.drain()
        if self.gone:
            return
        kind = message["type"]
        if kind == "http.response.body" and self.started:
            if self.complete:
                return
            if body := message.get("body", b""):
                self.write(body)
            if not message.get("more_body", False):
                self.end()
        elif kind == "http.response.start" and not self.started:
            self.start(message["status"], message.get("headers", ()))
        else:
            raise RuntimeError(f"unexpected ASGI message '{kind}'")

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Write the status line and the headers.

        Raises:
            ValueError: A header is not valid; nothing was written.
        """
        if not self.gone:
            self._transport.write(self._begin(status, headers))

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], data: bytes) -> None:
        """Write a whole answer, its head and its body in one piece.

        Raises:
            ValueError: A header is not valid; nothing was written.
        """
        if self.gone:
            return
        head = self._begin(status, [*headers, (b"content-length", b"%d" % len(data))])
        if self._head or status in (204, 304):
            data = b""
        if len(data) < _LONG:
            self._transport.write(head + data)
        else:  # copying it would cost more than a second write
            self._transport.write(head)
            self._transport.write(data)
        self._left = 0
        self.end()

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The bytes of the status line and the headers; the answer has started."""
        if self.more_body:
            # The rest of the body would have to be read before the next request.
            self.keep_alive = False
        lines = [_STATUS_LINES[status]]
        length: int | None = None
        headers = [*self._connection.default_headers, *headers]
        if _BAD_VALUE.search(b"".join([value for _, value in headers])):
            bad = next(name for name, value in headers if _BAD_VALUE.search(value))
            raise ValueError(f"not a valid header: {bad!r}")
        for name, value in headers:
            if name not in _PLAIN:
                name = _plain_name(name)
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                if b"close" in value.lower():
                    self.keep_alive = False
                continue
            elif name == b"transfer-encoding":
                continue
            lines += (name, b": ", value, b"\r\n")
        bodiless = self._head or status in (204, 304)
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        self.started = True
        self._expects_continue = False
        if length is None and self.scope["http_version"] == "1.0":
            self._left = None
        else:
            self._chunked = length is None and not bodiless
            self._left = 0 if length is None or bodiless else length
        if self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def write(self, data: bytes) -> None:
        """Write a piece of the answer's body.

        Raises:
            RuntimeError: The body is longer than its `content-length`.
        """
        if self.gone or self._head or not data:
            return
        if self._chunked:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            if self._left is not None:
                self._left -= len(data)
                if self._left < 0:
                    raise RuntimeError("the answer is longer than its content-length")
            self._transport.write(data)

    def end(self) -> None:
        """Write the end of the answer.

        Raises:
            RuntimeError: The body is shorter than its `content-length`.
        """
        if self.gone or self.complete:
            return
        if self._left:
            raise RuntimeError("the answer is shorter than its content-length")
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self.complete = True
        self._tell()
        self._connection.answered(self)
