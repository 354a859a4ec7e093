"""The one seam to the upstream HTTP client: bytes go out as given and come in as sent; `failures` are of three kinds.

A request is sent at most once. Nothing is decoded, followed, remembered or added: no content coding, redirect, cookie
or user agent.

The client behind the seam is aiohttp; `docs/internals/upstream.md` says why, and which of its habits are undone here.
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from paig_gateway.proxy.upstream_errors import FAILURES, Unsendable, UpstreamError, UpstreamTimeout, failure

Headers = list[tuple[bytes, bytes]]  # Lower-case names, wire order, duplicates kept.

_KEEP_ALIVE = 15.0  # Seconds that an unused connection stays pooled: less than most servers allow.
_BUFFER = 1 << 16  # Half of the bytes held for a slow reader before the provider is held back.
_SLICE = 1 << 18  # Bytes of a request body handed over at a time.
_MAX_HEADER = 1 << 17  # Bytes of one of an answer's headers.
_MAX_HEADERS = 1000
_FRAMING = (b"content-length", b"transfer-encoding")

# An origin that needs no rewriting, and a target that may stand in a request line as it is: visible ASCII, no fragment.
_URL = re.compile(
    r"(?P<origin>https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)(?P<target>(?:[/?][!-\"$-~]*)?)"
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for a provider, in seconds."""

    connect: float = 10.0  # For a connection: a free place in the pool, name, TCP and TLS.
    first_byte: float = 600.0  # From the request's last byte to the answer's headers, and from these to the body's
    # first byte; see `send` on big bodies.
    idle: float = 600.0  # For the next chunk of the answer, while someone waits for it.
    total: float | None = None  # From `send()` to the last chunk.


class UpstreamResponse:
    """A provider's answer: its headers now, its body as it comes.

    Attributes:
        status: The status code, 200 or above.
        headers: As they were on the wire, names in lower case.
    """

    __slots__ = ("_answer", "_idle", "_patience", "_timer", "_waiting_since", "headers", "status")

    def __init__(self, answer: aiohttp.ClientResponse, idle: float, first: float) -> None:
        self.status = answer.status
        self.headers: Headers = [(name.lower(), value) for name, value in answer.raw_headers]
        self._answer = answer
        self._idle = idle
        self._patience = min(idle, first)
        self._waiting_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they arrive, undecoded; no chunk is empty. To be iterated once.

        Raises:
            UpstreamBroken: The body ended early or in disorder; what had come before was yielded.
            UpstreamTimeout: The provider fell silent, or the total ran out.
        """
        stream = self._answer.content
        time = asyncio.get_running_loop().time
        closed = self._guard()
        try:
            while True:
                self._waiting_since = time()
                try:
                    data = await stream.readany()
                except (*FAILURES, UpstreamError) as exc:
                    self._waiting_since = None
                    late = isinstance(exc, (TimeoutError, UpstreamError))
                    if not late and (rest := stream._read_nowait(-1)):
                        yield rest  # The client reports a failure ahead of what arrived before it.
                    raise failure(exc, answered=True) from None
                self._waiting_since = None
                self._patience = self._idle
                if not data:
                    return
                yield data
        finally:
            if closed is not None:
                closed.remove_done_callback(self._on_closed)
            self._drop()

    async def aclose(self) -> None:
        """Let go of the connection: at once when the body was not read to its end. May be called again."""
        self._drop()

    def _drop(self) -> None:
        """Close the connection, unless the whole body came and gave it back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connection = self._answer.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()  # `close` would first send what is left of the request, and TLS's goodbye.
        self._answer.close()

    def _guard(self) -> asyncio.Future[None] | None:
        """Watch over a body that is still coming: for silence, and for a connection that ends without a word."""
        connection = self._answer.connection
        if connection is None or connection.protocol is None:
            return None
        self._watch()
        if (closed := connection.protocol.closed) is not None:
            closed.add_done_callback(self._on_closed)
            closed.remove_done_callback(_retrieve)  # A pooled connection has had it since its first answer.
            closed.add_done_callback(_retrieve)
        return closed

    def _watch(self) -> None:
        """Fail a read that has waited too long; else look again when one next could have."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        since = now if self._waiting_since is None else self._waiting_since
        if since + self._patience <= now:
            late = "no further data in time" if self._patience == self._idle else "no data in time"
            self._answer.content.set_exception(UpstreamTimeout(late, sent=True))
        else:
            self._timer = loop.call_at(since + self._patience, self._watch)

    def _on_closed(self, closed: asyncio.Future[None]) -> None:
        """Break a body that nobody ended: the client does not when framing is malformed or the session closes."""
        stream = self._answer.content
        if not stream.is_eof() and stream.exception() is None:
            stream.set_exception(aiohttp.ClientPayloadError("connection closed"))


class _Body(aiohttp.AsyncIterablePayload):
    """A request body that goes out piece by piece: too long a pause between two ends the request."""

    def __init__(self, pieces: AsyncIterator[bytes], limits: Timeouts) -> None:
        super().__init__(self._paced(pieces))
        self._patience = limits.connect + limits.first_byte
        self._pause: asyncio.Timeout | None = None  # While the answer is awaited.
        self._transport: asyncio.WriteTransport | None = None
        self.failure: Exception | None = None  # Of the iterator itself.

    async def answer(self, request: Awaitable[aiohttp.ClientResponse]) -> aiohttp.ClientResponse:
        """Await the answer to the request that this is the body of."""
        try:
            async with asyncio.timeout(self._patience) as self._pause:
                return await request
        except BaseException:
            if self._transport is not None:
                self._transport.abort()  # The client would wait for the provider to take what is buffered.
            raise
        finally:
            self._pause = None

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body; the client calls it."""
        self._transport = writer.transport
        await super().write_with_length(writer, content_length)

    async def _paced(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for piece in pieces:
                if self._pause is not None and not self._pause.expired():
                    self._pause.reschedule(asyncio.get_running_loop().time() + self._patience)
                yield piece
        except Exception as exc:
            self.failure = exc
            raise


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    """A big body in parts, so that it is never copied whole and the event loop can breathe."""
    for start in range(0, len(body), _SLICE):
        yield body[start : start + _SLICE]


def _text(value: bytes) -> str:
    """A header's value as the text that the client will write in UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


@lru_cache(maxsize=256)
def _client_timeout(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=timeouts.total,
        connect=timeouts.connect,
        sock_read=timeouts.first_byte,
        ceil_threshold=math.inf,  # Else what is longer than five seconds ends up to a second late.
    )


def _retrieve(closed: asyncio.Future[None]) -> None:
    """Take note of how a connection ended, lest the event loop complain that nobody did."""
    if not closed.cancelled():
        closed.exception()


@lru_cache(maxsize=4)
def _trust(ca_file: str | None) -> ssl.SSLContext:
    """Whom to trust: the system's authorities, which take a while to load, and those of a file."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


class Upstream:
    """A pool of connections to providers; open it with `async with`.

    Args:
        timeouts: For requests that bring none of their own.
        ca_file: A PEM file of authorities to trust besides the system's.
        proxy: URL of an HTTP proxy for every request, credentials included; the environment's is never used.
        max_connections_per_host: Connections open at once to one host; requests beyond it wait. 0 for no limit.

    Raises:
        OSError: The `ca_file` cannot be read, or holds no certificate (`ssl.SSLError`).
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts = Timeouts(),
        ca_file: str | None = None,
        proxy: str | None = None,
        max_connections_per_host: int = 0,
    ) -> None:
        self._timeouts = timeouts
        self._proxy = proxy
        self._limit = max_connections_per_host
        self._tls = _trust(ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self._tls, limit=0, limit_per_host=self._limit, keepalive_timeout=_KEEP_ALIVE
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
            trust_env=False,
            proxy=self._proxy,
            read_bufsize=_BUFFER,
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
            max_headers=_MAX_HEADERS,
        )
        self._session._retry_connection = False  # It would send idempotent requests twice.
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes] | None,
        *,
        timeouts: Timeouts | None = None,
    ) -> UpstreamResponse:
        """Send one request, once, and wait for the answer's headers; whoever gets the response closes it.

        Args:
            method: The HTTP method.
            url: Absolute, `http` or `https`; path and query go out exactly as written.
            headers: Sent as given, before the body's own `content-length` or `transfer-encoding`, which replace any
                given (a stream's given `content-length` is believed). A `host` given replaces the URL's.
                A value that is not UTF-8 is read as Latin-1 and sent as UTF-8.
            body: Bytes, or a stream, sent chunked unless its length is given.
            timeouts: Instead of the seam's own.

        Raises:
            UpstreamUnreachable: No answer came; `Unsendable` for a URL or headers that would not go out as they are.
            UpstreamTimeout: Connecting or the answer took too long, or, between two pieces of a streamed or big body,
                the provider made us wait for longer than both timeouts together.
            Exception: Whatever the body's own iterator raises.
        """
        if self._session is None:
            raise RuntimeError("Upstream is not open")
        if (parts := _URL.fullmatch(url)) is None:
            raise Unsendable("URL cannot be sent as it is", sent=False)
        target = parts["target"] if parts["target"].startswith("/") else f"/{parts['target']}"
        limits = timeouts or self._timeouts
        streamed: _Body | None = None
        given = [pair for pair in headers if pair[0] not in _FRAMING]
        if body is not None and not isinstance(body, bytes):
            streamed = _Body(body, limits)
            given += [pair for pair in headers if pair[0] == b"content-length"]
        elif body and len(body) > _SLICE:
            streamed = _Body(_slices(body), limits)
            given.append((b"content-length", b"%d" % len(body)))
        try:
            request = self._session.request(
                method,
                URL(parts["origin"], encoded=True).with_path(target, encoded=True),
                headers=[(name.decode("latin-1"), _text(value)) for name, value in given],
                data=streamed or body or None,
                allow_redirects=False,
                timeout=_client_timeout(limits),
            )
            answer = await (request if streamed is None else streamed.answer(request))
        except FAILURES as exc:
            if streamed is not None and (own := streamed.failure) is not None:
                raise own from own.__cause__
            raise failure(exc, answered=False) from None
        if answer.connection is not None and (protocol := answer.connection.protocol) is not None:
            protocol.read_timeout = None  # It was the first byte's; from here on the response watches itself.
            protocol.start_timeout()
        return UpstreamResponse(answer, limits.idle, limits.first_byte)
