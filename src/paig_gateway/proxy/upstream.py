"""The HTTP client for providers: bytes are sent as given and returned as received; it fails in three ways (`failures`).

A request is sent at most once. It decodes no content coding, follows no redirect, keeps no cookie and adds no user
agent. `docs/internals/upstream.md` says what the conformance test demands and why the client is our own.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Self, cast

from paig_gateway.domain.http import Headers
from paig_gateway.proxy import egress
from paig_gateway.proxy.egress import Egress, EnvironmentProxies, ForwardProxy, SocketAddress
from paig_gateway.proxy.upstream_connection import Connection, UpstreamResponse, upload
from paig_gateway.proxy.upstream_errors import FAILURES, failure
from paig_gateway.routing.deadlines import Timeouts
from paig_gateway.routing.failures import Unsendable, UpstreamUnreachable
from paig_gateway.secrets.addresses import leads_to_metadata

__all__ = ["Egress", "Headers", "RequestHead", "Timeouts", "Upstream", "UpstreamResponse"]

_DEFAULT = Timeouts()
_KEEP_ALIVE = 15.0  # Seconds that an unused connection stays pooled: less than most servers allow.
_ADDRESSES_SECONDS = 10.0  # How long a resolved name is remembered.
_SLICE = 1 << 18  # Bytes of a request body handed over at a time.
_MAX_TUNNEL_ANSWER = 1 << 14  # Bytes of a proxy's answer to CONNECT.

# An origin that needs no rewriting, and a target that may stand in a request line as it is: visible ASCII, no fragment.
_URL = re.compile(
    r"(?P<origin>https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)(?P<target>(?:[/?][!-\"$-~]*)?)"
)
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = (b"content-length", b"transfer-encoding")


class Upstream:
    """A pool of connections to providers; open it with `async with`.

    Args:
        timeouts: For requests that bring none of their own.
        ca_file: A PEM file of authorities to trust besides the system's.
        proxy: URL of an HTTP proxy for every request, credentials included.
        environment: Where `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are read from, when `proxy` is None;
            None to ignore them.
        max_connections_per_host: Connections open at once to one host; requests beyond it wait. 0 for no limit.

    Raises:
        OSError: The `ca_file` cannot be read, or holds no certificate (`ssl.SSLError`).
        ValueError: The proxy, or one that the environment names, is not an HTTP proxy.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts = _DEFAULT,
        ca_file: str | None = None,
        proxy: str | None = None,
        environment: Mapping[str, str] | None = None,
        max_connections_per_host: int = 0,
    ) -> None:
        self._timeouts = timeouts
        self._limit = max_connections_per_host
        self._ca_file = ca_file
        if ca_file is not None:
            egress.trust(ca_file)
        self._proxy = None if proxy is None else egress.parse_proxy(proxy)
        self._environment = EnvironmentProxies(environment) if environment is not None and proxy is None else None
        self._origins: dict[tuple[str, Egress | None], _Origin] = {}
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._open = False
        for origin in self._origins.values():
            origin.close()
        self._origins.clear()
        await asyncio.sleep(0)  # The sockets are then closed when this returns.

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes] | None,
        *,
        timeouts: Timeouts | None = None,
        way: Egress | None = None,
    ) -> UpstreamResponse:
        """Send one request, once, and wait for the answer's headers; the caller closes the response.

        Args:
            url: Absolute, `http` or `https`; path and query go out exactly as written.
            headers: Sent as given, before the body's own `content-length` or `transfer-encoding`, which replace any
                given (a stream's given `content-length` is believed). A `host` given replaces the URL's.
                A value that is not UTF-8 is read as Latin-1 and sent as UTF-8.
            body: Bytes, or a stream, sent chunked unless its length is given.
            timeouts: In place of the client's.
            way: The provider's own settings for outbound connections, in place of the client's.

        Raises:
            UpstreamUnreachable: There was no answer; `Unsendable` for a URL or headers that are not valid.
            UpstreamTimeout: Connecting or the answer took too long; or the provider paused between two pieces of a
                streamed or large body for longer than both timeouts together.
            Exception: Whatever the body's own iterator raises.
        """
        length = _given_length(headers)
        return await self.send_after(self.head(method, url, headers, way=way), body, length=length, timeouts=timeouts)

    def head(self, method: str, url: str, headers: Headers, *, way: Egress | None = None) -> RequestHead:
        """The beginning of a request; `send_after` may send it again and again. See `send` for the arguments.

        Raises:
            Unsendable: The URL or the headers are not valid.
        """
        if (parts := _URL.fullmatch(url)) is None:
            raise Unsendable("URL cannot be sent as it is", sent=False)
        origin = self._origins.get((parts["origin"], way)) or self._origin(parts["origin"], way)
        target = parts["target"]
        if not target.startswith("/"):
            target = f"/{target}"
        return RequestHead(origin, method, _head(method, target, headers, origin))

    async def send_after(
        self,
        head: RequestHead,
        body: bytes | AsyncIterator[bytes] | None,
        *,
        more: Headers | None = None,
        length: int | None = None,
        timeouts: Timeouts | None = None,
    ) -> UpstreamResponse:
        """`send` with a head that was made before.

        Args:
            head: The beginning of the request.
            body: As for `send`.
            more: Headers of this request alone.
            length: How long a streamed body is; None if that is not known.
            timeouts: As for `send`.
        """
        if not self._open:
            raise RuntimeError("Upstream is not open")
        origin, method, limits = head.origin, head.method, timeouts or self._timeouts
        pieces: AsyncIterator[bytes] | None = None
        payload = b""
        if body is None or isinstance(body, bytes):
            payload = body or b""
            length = len(payload)
            if length > _SLICE:
                pieces = _slices(payload)
        else:
            pieces = body
        framing = (
            b"transfer-encoding: chunked\r\n"
            if length is None
            else b"content-length: %d\r\n" % length
            if length or body is not None or method in ("POST", "PUT", "PATCH")
            else b""
        )
        lines = head.lines + _lines(more) if more else head.lines
        request = b"%b%b\r\n" % (lines, framing)
        loop = asyncio.get_running_loop()
        now = loop.time()
        total_at = now + limits.total
        connection = origin.take(now)
        if connection is None:
            connection = await origin.connect(min(now + limits.connect, total_at))
        response = UpstreamResponse(connection, limits, total_at, loop)
        if pieces is None:
            connection.begin(response, request + payload, head_only=method == "HEAD")
            connection.wait_until(min(loop.time() + limits.first_byte, total_at), "no answer in time")
        else:
            connection.begin(response, request, head_only=method == "HEAD")
            within = limits.connect + limits.first_byte
            connection.wait_until(min(loop.time() + within, total_at), "no answer in time")
            connection.upload = asyncio.ensure_future(
                upload(connection, response, pieces, length, within, limits.first_byte, total_at)
            )
        await response.answer()
        return response

    async def dial(self, url: str, protocol: asyncio.Protocol, seconds: float, *, way: Egress | None = None) -> None:
        """Connect a protocol other than plain HTTP, such as WebSocket, as `send` connects.

        Args:
            url: Absolute, `http` or `https`.
            protocol: Is connected; the caller closes its transport.
            seconds: How long it may take.
            way: As for `send`.

        Raises:
            UpstreamUnreachable: It could not connect; `Unsendable` for a URL that is not valid.
            UpstreamTimeout: It took too long.
        """
        if (parts := _URL.fullmatch(url)) is None:
            raise Unsendable("URL cannot be sent as it is", sent=False)
        origin = self._origins.get((parts["origin"], way)) or self._origin(parts["origin"], way)
        await origin.dial(protocol, seconds)

    def _origin(self, url: str, way: Egress | None) -> _Origin:
        secure, _, place = url.partition("://")
        tls = secure == "https"
        host, _, port_text = place.rpartition(":") if re.search(r":\d+$", place) else (place, "", "")
        port = int(port_text) if port_text else 443 if tls else 80
        if port > 65535:
            raise UpstreamUnreachable("port out of range", sent=False)
        bare = host.strip("[]")
        proxy = self._proxy
        if way is not None and way.proxy is not None:
            try:
                proxy = egress.parse_proxy(way.proxy)
            except ValueError as error:
                raise Unsendable(str(error), sent=False) from None
        elif self._environment is not None:
            proxy = self._environment.proxy(bare, port, tls=tls)
        ca_file = self._ca_file if way is None or way.ca_file is None else way.ca_file
        made = _Origin(tls, bare, port, place.encode(), proxy, ca_file, self._limit)
        self._origins[url, way] = made
        return made


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The beginning of a request, without what states the length of its body; credentials are among it.

    Attributes:
        origin: Where it is sent.
        lines: The request line and headers, each with its end.
    """

    origin: _Origin
    method: str
    lines: bytes

    def __repr__(self) -> str:
        return f"RequestHead({self.method})"


class _Origin:
    """The connections to one host and port, with the same settings.

    Attributes:
        authority: Host and port as the URL has them: the `host` header's value.
        prefix: What precedes the target in a request line: nothing, or the origin if a proxy is used.
        extra: Header lines that the proxy needs.
    """

    def __init__(
        self,
        tls: bool,
        host: str,
        port: int,
        authority: bytes,
        proxy: ForwardProxy | None,
        ca_file: str | None,
        limit: int,
    ) -> None:
        self._tls, self._host, self._port = tls, host, port
        self._proxy, self._ca_file, self._limit = proxy, ca_file, limit
        self.authority = authority
        forwarded = proxy is not None and not tls
        self.prefix = "http://" + authority.decode() if forwarded else ""
        self.extra = _proxy_lines(proxy) if forwarded and proxy is not None else b""
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._connecting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._addresses: list[SocketAddress] = []
        self._addresses_until = 0.0
        self._closed = False

    def take(self, now: float) -> Connection | None:
        """An idle connection, the last used first; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.open and now - connection.idle_since < _KEEP_ALIVE:
                return connection
            connection.abort()
        return None

    async def connect(self, until: float) -> Connection:
        """A new connection, or one that becomes idle while the limit of connections is reached.

        Args:
            until: The moment of the loop's clock at which to give up.

        Raises:
            UpstreamUnreachable: It could not connect.
            UpstreamTimeout: It took too long.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(until):
                while self._limit and len(self._all) + self._connecting >= self._limit:
                    place = loop.create_future()
                    self._waiting.append(place)
                    try:
                        await place
                    except BaseException:
                        if place.done() and not place.cancelled():
                            self._wake()  # This task had been given the free place: wake the next one.
                        raise
                    finally:
                        if place in self._waiting:
                            self._waiting.remove(place)
                    if (connection := self.take(loop.time())) is not None:
                        return connection
                self._connecting += 1
                try:
                    connection = Connection(self, loop)
                    await self._open(connection, loop)
                except BaseException:
                    self._wake()
                    raise
                finally:
                    self._connecting -= 1
        except FAILURES as exc:
            self._addresses = []
            raise failure(exc, "connect") from None
        if self._closed or not connection.open:
            connection.abort()
            raise UpstreamUnreachable("connection closed", sent=False)
        self._all.add(connection)
        return connection

    async def dial(self, protocol: asyncio.Protocol, seconds: float) -> None:
        """Connect a caller's protocol, outside the pool."""
        try:
            async with asyncio.timeout(seconds):
                await self._open(protocol, asyncio.get_running_loop())
        except FAILURES as exc:
            self._addresses = []
            raise failure(exc, "connect") from None

    def release(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_KEEP_ALIVE, self._close_idle)
        if self._waiting:
            self._wake()

    def closed(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake()

    def close(self) -> None:
        """Close every connection; running requests fail."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._all):
            connection.shut()
        self._idle.clear()

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - _KEEP_ALIVE
        for connection in [one for one in self._idle if one.idle_since <= oldest]:
            self._idle.remove(connection)
            connection.abort()
        self._sweep = loop.call_later(_KEEP_ALIVE, self._close_idle) if self._idle else None

    def _wake(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return

    async def _open(self, connection: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        via = self._proxy
        host, port = (self._host, self._port) if via is None else (via.host, via.port)
        try:
            if loop.time() >= self._addresses_until or not self._addresses:
                self._addresses = await egress.resolve(host, port)
                if leads_to_metadata(host, (str(address[0]) for _, address in self._addresses)):
                    self._addresses = []
                    raise UpstreamUnreachable("the name leads to a metadata service", sent=False)
                self._addresses_until = loop.time() + _ADDRESSES_SECONDS
            dialled = await egress.connect(self._addresses)
        except OSError as exc:
            if via is None or isinstance(exc, TimeoutError):
                raise
            raise UpstreamUnreachable(f"proxy not reached: {failure(exc, 'connect').reason}", sent=False) from None
        try:
            trust = await _trusted(self._ca_file) if self._tls or (via is not None and via.tls) else None
            if via is None or not (self._tls or via.tls):
                await loop.create_connection(
                    lambda: connection,
                    sock=dialled,
                    ssl=trust,
                    server_hostname=self._host if trust is not None else None,
                )
                return
            tunnel = _Tunnel(loop)
            await loop.create_connection(
                lambda: tunnel if self._tls else connection,
                sock=dialled,
                ssl=trust if via.tls else None,
                server_hostname=via.host if via.tls else None,
            )
        except BaseException:
            dialled.close()
            raise
        if self._tls:
            try:
                await tunnel.open(self._host, self._port, via)
                assert trust is not None
                secured = await loop.start_tls(tunnel.transport, connection, trust, server_hostname=self._host)
            except BaseException:
                tunnel.transport.abort()
                raise
            if secured is None:
                raise ConnectionResetError
            connection.connection_made(secured)


class _Tunnel(asyncio.Protocol):
    """A connection to a proxy until it has opened the tunnel."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.transport: asyncio.Transport
        self._answer = bytearray()
        self._opened: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._opened.done():
            return
        if b"\r\n\r\n" in self._answer or len(self._answer) > _MAX_TUNNEL_ANSWER:
            self._opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    async def open(self, host: str, port: int, via: ForwardProxy) -> None:
        """Request the tunnel.

        Raises:
            UpstreamUnreachable: The proxy refuses.
        """
        place = b"%s:%d" % (f"[{host}]".encode() if ":" in host else host.encode(), port)
        self.transport.write(b"CONNECT %s HTTP/1.1\r\nhost: %s\r\n%s\r\n" % (place, place, _proxy_lines(via)))
        await self._opened
        if not re.match(rb"HTTP/1\.[01] 2\d\d[ \r].*?\r\n\r\n\Z", self._answer, re.DOTALL):
            raise UpstreamUnreachable("proxy refused the tunnel", sent=False)


def _proxy_lines(proxy: ForwardProxy) -> bytes:
    return b"" if proxy.authorization is None else b"proxy-authorization: %s\r\n" % proxy.authorization


async def _trusted(ca_file: str | None) -> ssl.SSLContext:
    """Load the authorities in a thread: this takes tens of milliseconds, once."""
    try:
        return await asyncio.to_thread(egress.trust, ca_file)
    except OSError:
        raise UpstreamUnreachable("the certificates of upstream_ca cannot be read", sent=False) from None


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    """A large body in parts, so that it is never copied whole and other tasks may run in between."""
    for start in range(0, len(body), _SLICE):
        yield body[start : start + _SLICE]


def _given_length(headers: Headers) -> int | None:
    given = next((value for name, value in headers if name == b"content-length"), b"")
    return int(given) if given.isdigit() else None


def _head(method: str, target: str, headers: Headers, origin: _Origin) -> bytes:
    """The request line and headers.

    Raises:
        Unsendable: A header would break the framing.
    """
    line = f"{method} {origin.prefix}{target} HTTP/1.1\r\n".encode()
    host = b"" if any(name == b"host" for name, _ in headers) else b"host: %s\r\n" % origin.authority
    if line.count(b"\n") != 1 or line.count(b"\r") != 1 or b"\0" in line:
        raise Unsendable("request cannot be expressed in HTTP", sent=False)
    return line + host + _lines(headers) + origin.extra


def _lines(headers: Headers) -> bytes:
    """Headers as they are sent, without those that state the length of a body.

    Raises:
        Unsendable: A header would break the framing.
    """
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] not in _FRAMING]
    found = b"".join(lines)
    # One line break per line, and only tokens as names: otherwise a header could end its line early.
    if found.count(b"\n") != len(lines) or found.count(b"\r") != len(lines) or b"\0" in found:
        raise Unsendable("request cannot be expressed in HTTP", sent=False)
    if not all(_is_token(name) for name, _ in headers):
        raise Unsendable("request cannot be expressed in HTTP", sent=False)
    return found if found.isascii() else b"".join(map(_in_utf8, lines))


_NAMES: set[bytes] = set()
"""Header names known to be tokens."""


def _is_token(name: bytes) -> bool:
    if name in _NAMES:
        return True
    if not _TOKEN.fullmatch(name):
        return False
    if len(_NAMES) < 1000:
        _NAMES.add(name)
    return True


def _in_utf8(line: bytes) -> bytes:
    try:
        line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1").encode()
    return line
