"""One HTTP/1.1 connection to a provider, and the answer that comes over it.

The socket's bytes go through httptools' parser, and the part of a body in one read goes to the answer in one piece. The
answer passes it to a sink (`pump`: nothing is awaited until the end) or keeps it for a reader (`read`). A slow sink or
reader pauses the socket, so that the provider waits.

    idle ──begin()──► answer's head ──► body ──► idle again, or closed
                                   └──► failed: the connection is closed, the answer knows why
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from itertools import chain
from typing import Protocol, cast

import httptools

from paig_gateway.domain.http import Headers
from paig_gateway.proxy.upstream_errors import failure
from paig_gateway.routing.deadlines import Timeouts
from paig_gateway.routing.failures import UpstreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable

MAX_HEADERS = 64 * 1024
"""The most bytes of an answer's headers, including interim answers."""
_MAX_BETWEEN = 64 * 1024  # Bytes of framing, or of trailers, without a byte of the body.
_BUFFER = 64 * 1024  # Bytes held for a slow reader before the provider is made to wait.
_BURST = 64 * 1024  # Bytes that one answer passes on before the event loop does something else.
_CLOCK = 0.001  # Seconds by which a timer may be early.


class ConnectionOwner(Protocol):
    """The pool that a connection belongs to."""

    def release(self, connection: Connection) -> None:
        """Take the connection back: it can serve another request."""

    def closed(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """A connection to one origin, for one request at a time.

    Attributes:
        host: The value of the `host` header.
        idle_since: When it last became idle, on the event loop's clock.
        open: Whether a request can be sent over it.
    """

    __slots__ = (
        "_between", "_complete", "_deadline", "_drained", "_headers", "_in_head", "_keep", "_late", "_loop", "_lost",
        "_no_body", "_owner", "_parser", "_parts", "_paused", "_problem", "_response", "_size", "_timer", "_timer_at",
        "_transport", "_until_close", "idle_since", "open", "upload",
    )  # fmt: skip

    def __init__(self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport
        self._parser = _parser(self)
        self._response: UpstreamResponse | None = None
        self._parts: list[bytes] = []
        self._headers: Headers = []
        self._in_head = True
        self._size = self._between = 0
        self._complete = self._keep = self._until_close = self._no_body = False
        self._problem = ""
        self._paused = False
        self._drained: asyncio.Future[None] | None = None
        self._lost = False
        self._deadline = math.inf
        self._late = ""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.upload: asyncio.Task[None] | None = None
        self.idle_since = 0.0
        self.open = True

    # What the pool does

    def begin(self, response: UpstreamResponse, request: bytes, *, head_only: bool) -> None:
        """Send a request, or its beginning; its answer goes to `response`.

        Args:
            response: Takes the answer.
            head_only: Whether the answer has no body despite its headers (HEAD).
        """
        self._response = response
        self._headers = []
        self._in_head, self._no_body = True, head_only
        self._size = self._between = 0
        self._complete = self._keep = self._until_close = False
        self._transport.write(request)

    def write(self, data: bytes) -> None:
        """Send a piece of the request's body."""
        self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the provider has taken most of what was sent.

        Raises:
            ConnectionError: The connection is closed.
        """
        if self._lost:
            raise ConnectionResetError
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def wait_until(self, deadline: float, late: str) -> None:
        """Fail the exchange at a moment of the loop's clock, unless another moment is set before; `inf` for never.

        One timer serves all deadlines of a connection: if it fires too early, it is set again.
        """
        self._deadline, self._late = deadline, late
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = self._loop.call_at(deadline, self._on_timer), deadline

    def pause(self) -> None:
        """Stop reading: the provider waits."""
        if not self._paused and self.open:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self.open:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, without sending buffered bytes."""
        self.open = False
        self._response = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.upload is not None:
            self.upload.cancel()
        self._transport.abort()

    def shut(self) -> None:
        """Close at once; a running request fails."""
        self.fail((UpstreamUnreachable if self._in_head else UpstreamBroken)("connection closed", sent=True))

    def fail(self, error: UpstreamError) -> None:
        response, self._response = self._response, None
        self.abort()
        if response is not None:
            response._break(error)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._response is None or self._deadline == math.inf:
            return
        if self._loop.time() < self._deadline - _CLOCK:
            self.wait_until(self._deadline, self._late)
        else:
            self.fail(UpstreamTimeout(self._late, sent=True))

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, and pass on the part of the body in them in one piece."""
        response = self._response
        if response is None:
            self.abort()  # There was no request.
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if not self._problem:
                upgrade = isinstance(exc, httptools.HttpParserUpgrade)
                self._problem = "an upgrade that was not asked for" if upgrade else str(failure(exc, "answer"))
        if parts := self._parts:
            self._parts, self._between = [], 0
            response._take(parts[0] if len(parts) == 1 else b"".join(parts))
            if self._response is not response:
                return  # The sink has paused the connection.
        else:
            self._between += len(data)
            if self._between > _MAX_BETWEEN:
                self._problem = self._problem or "headers too large"
        if self._complete:
            self._finish(response)
        elif self._problem:
            self.fail((UpstreamUnreachable if self._in_head else UpstreamBroken)(self._problem, sent=True))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost, self.open = True, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._owner.closed(self)
        response = self._response
        if response is None:
            return
        if self._until_close and not self._in_head and exc is None:
            self._complete, self._keep = True, False
            self._finish(response)
        elif isinstance(exc, OSError):
            self.fail(failure(exc, "answer" if self._in_head else "body"))
        else:
            kind, reason = (
                (UpstreamUnreachable, "connection closed") if self._in_head else (UpstreamBroken, "body cut short")
            )
            self.fail(kind(reason, sent=True))

    def pause_writing(self) -> None:
        """The provider reads the request slowly."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """The provider has caught up."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # What the parser calls

    def on_message_begin(self) -> None:
        """An answer begins; a second one after the end of ours is an error."""
        if self._complete:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is dropped."""
        if self._in_head:
            self._headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Hand the head over, unless it is an interim answer's."""
        if self._complete:
            return
        self._size += sum(map(len, chain.from_iterable(self._headers))) + 4 * len(self._headers)
        if self._size > MAX_HEADERS:
            self._problem = "headers too large"
            raise ValueError
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._headers = []
            return
        if not 200 <= status <= 599:
            self._problem = f"status {status} is outside 200-599"
            raise ValueError
        response = self._response
        if response is None:
            raise ValueError  # The request was given up during this read.
        self._in_head = False
        if self._no_body:
            # The parser cannot be told that no body follows the answer to a HEAD request.
            self._complete, self._keep = True, self._parser.should_keep_alive()
            self._parser = _parser(self)
        else:
            self._until_close = status not in (204, 304) and not _states_end(self._headers)
        response._head(status, self._headers)

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body until this read is parsed."""
        if self._complete:
            self._keep = False  # The answer to a HEAD request must not have a body.
        else:
            self._parts.append(data)

    def on_message_complete(self) -> None:
        if not self._in_head and not self._complete:
            self._complete, self._keep = True, self._parser.should_keep_alive()

    def _finish(self, response: UpstreamResponse) -> None:
        """The answer is complete: return the connection to the pool, or close it if it cannot be used again."""
        self._response = None
        self._deadline = math.inf
        if self._keep and self.open and not self._problem and self.upload is None:
            if self._paused:
                self.resume()
            self.idle_since = self._loop.time()
            self._owner.release(self)
        else:
            self.abort()
        response._finish()


def _parser(connection: Connection) -> httptools.HttpResponseParser:
    parser = httptools.HttpResponseParser(connection)
    parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)  # Some servers pad a chunk's size.
    return parser


def _states_end(headers: Headers) -> bool:
    for name, value in headers:
        if name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower()):
            return True
    return False


class UpstreamResponse:
    """A provider's answer: its headers now, its body as it comes.

    Its body is read once: by `pump`, by `chunks`, or by `read` followed by either.

    Attributes:
        status: The status code, 200 to 599.
        headers: As they were on the wire, names in lower case.
    """

    __slots__ = (
        "_buffer", "_buffered", "_burst", "_connection", "_ended", "_failure", "_idle", "_loop", "_paused",
        "_read_timeout", "_sink", "_total_at", "_waiter", "headers", "status",
    )  # fmt: skip

    def __init__(self, connection: Connection, limits: Timeouts, total_at: float, loop: asyncio.AbstractEventLoop):
        self.status = 0
        self.headers: Headers = []
        self._connection: Connection | None = connection
        self._loop = loop
        self._idle = limits.idle
        self._read_timeout = min(limits.idle, limits.first_byte)
        self._total_at = total_at
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._burst = 0
        self._ended = False
        self._failure: Exception | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False

    async def read(self) -> bytes:
        """The part of the body that arrived since the last call; waits for some, and returns nothing only at the end.

        Cancelling it loses no bytes.

        Raises:
            UpstreamBroken: The body ended early or is malformed; everything before that was returned.
            UpstreamTimeout: The provider fell silent, or the total ran out.
        """
        if not self._buffer and not self._ended and self._failure is None:
            self._watch()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._unwatch()
        if data := self.buffered():
            return data
        if self._failure is not None:
            raise self._failure
        return b""

    def buffered(self) -> bytes:
        """The part of the body that has arrived and was not read, without waiting; perhaps nothing."""
        parts = self._buffer
        if not parts:
            return b""
        self._buffer, self._buffered = [], 0
        if self._connection is not None and not self._paused:
            self._connection.resume()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def ended(self) -> bool:
        return self._ended and not self._buffer

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they arrive, undecoded; no chunk is empty. Raises as `read` does."""
        try:
            while data := await self.read():
                yield data
        finally:
            self._drop()

    async def pump(self, sink: Callable[[bytes], None]) -> None:
        """Pass the body to `sink` as it arrives, and return at its end.

        The sink is called once for each read of the socket; its exceptions are raised here. `pause` and `resume`
        control the provider.

        Raises:
            UpstreamBroken: The body ended early or is malformed; everything before that was passed on.
            UpstreamTimeout: The provider fell silent, or the total ran out.
        """
        try:
            if data := self.buffered():
                sink(data)
            if not self._ended and self._failure is None:
                self._sink = sink
                if not self._paused:
                    self._watch()
                self._waiter = self._loop.create_future()
                await self._waiter
            if self._failure is not None:
                raise self._failure
        finally:
            self._waiter = self._sink = None
            self._drop()

    def pause(self) -> None:
        """Make the provider wait; its timeout does not run until `resume`."""
        self._paused = True
        if self._connection is not None:
            self._connection.pause()
            self._unwatch()

    def resume(self) -> None:
        self._paused = False
        if self._connection is not None:
            if self._sink is not None:
                self._watch()
            self._connection.resume()

    async def aclose(self) -> None:
        """Release the connection; it is closed if the body was not read to its end. May be called again."""
        self._drop()

    def _drop(self) -> None:
        if (connection := self._connection) is not None:
            self._connection = None
            connection.abort()

    def _watch(self) -> None:
        """Start the timeout for the next bytes."""
        if self._connection is not None:
            at = self._loop.time() + self._read_timeout
            late = "no data in time" if self._read_timeout != self._idle else "no further data in time"
            self._connection.wait_until(min(at, self._total_at), late)

    def _unwatch(self) -> None:
        """Wait for the total timeout only."""
        if self._connection is not None:
            self._connection.wait_until(self._total_at, "no end in time")

    # What the connection calls

    def _head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self._unwatch()
        self._wake()

    def _take(self, data: bytes) -> None:
        self._read_timeout = self._idle
        if self._sink is not None:
            try:
                self._sink(data)
            except Exception as exc:
                self._failure = exc
                self._drop()
                self._wake()
                return
            if not self._paused:
                self._watch()
                self._burst += len(data)
                if self._burst >= _BURST and self._connection is not None:
                    self._connection.pause()
                    self._loop.call_soon(self._after_burst)
            return
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered > _BUFFER and self._connection is not None:
            self._connection.pause()
        if self._waiter is not None:
            self._wake()

    def _after_burst(self) -> None:
        self._burst = 0
        if self._connection is not None and not self._paused:
            self._connection.resume()

    def _finish(self) -> None:
        self._connection = None
        self._ended = True
        if self._waiter is not None:
            self._wake()

    def _break(self, error: UpstreamError) -> None:
        self._connection = None
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What `Upstream.send` calls

    async def answer(self) -> None:
        """Wait for the head.

        Raises:
            UpstreamUnreachable: The connection ended or broke, or the bytes are not an HTTP answer.
            UpstreamTimeout: It did not come in time.
        """
        if self.status == 0 and self._failure is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except BaseException:
                self._drop()
                raise
            finally:
                self._waiter = None
        if self.status == 0:
            assert self._failure is not None
            raise self._failure

    def give_up(self, error: Exception) -> None:
        """End the exchange with an error of the caller's own."""
        self._failure = error
        self._drop()
        self._wake()


async def upload(
    connection: Connection,
    response: UpstreamResponse,
    pieces: AsyncIterator[bytes],
    length: int | None,
    piece_seconds: float,
    first_byte: float,
    total_at: float,
) -> None:
    """Send a request's body piece by piece; `length` None means chunked.

    Each piece must arrive, and be sent to the provider, within `piece_seconds`; the answer must come within
    `first_byte` seconds of the last.
    """
    loop = asyncio.get_running_loop()

    def expect(seconds: float) -> None:
        if response.status == 0:
            connection.wait_until(min(loop.time() + seconds, total_at), "no answer in time")

    sent = 0
    try:
        async for piece in pieces:
            if piece:
                sent += len(piece)
                if length is None:
                    connection.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                elif sent <= length:
                    connection.write(piece)
                else:
                    break
                await connection.drain()
            expect(piece_seconds)
        if length is None:
            connection.write(b"0\r\n\r\n")
        elif sent != length:
            response.give_up(UpstreamUnreachable("the body is not as long as its content-length says", sent=True))
            return
        expect(first_byte)
        connection.upload = None
    except ConnectionError as exc:
        if connection.open:
            response.give_up(exc)  # The iterator's own error; a lost connection is reported by the answer.
    except Exception as exc:
        response.give_up(exc)
    finally:
        if isinstance(pieces, AsyncGenerator):
            with contextlib.suppress(RuntimeError):
                await pieces.aclose()
