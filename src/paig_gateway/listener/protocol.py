"""The protocol of one client connection: uvicorn's httptools protocol with bounds.

uvicorn's classes are internal, so `pyproject.toml` pins one minor version, and `tests/gateway/listener` tests the parts
of `HttpToolsProtocol` that are used: its constructor, its attributes, its hook for upgrades and its flow control.
"""

from __future__ import annotations

import asyncio
import re
import select
import urllib.parse
from collections import deque
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats.errors import error_body
from paig_gateway.listener.connections import MAX_PIPELINED, PROBES, Connections
from paig_gateway.listener.cycle import EXTENSION, Cycle
from paig_gateway.listener.upgrade import UPGRADE, Upgrade

CLOSE_NOTIFY_SECONDS = 3
"""How long an unused TLS connection waits, at the end of the process, for the client to close it too. Clients that keep
connections in a pool do not read them meanwhile, and the event loop would wait for half a minute."""


class HttpProtocol(HttpToolsProtocol):
    """One client connection.

    The app that uvicorn loads has the connections of the process in its attribute `connections`.
    """

    cycle: Cycle | None  # type: ignore[assignment]
    pipeline: deque[Cycle]  # type: ignore[assignment]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.table: Connections = self.app.connections
        self.bounds = self.table.bounds
        self._longest_head = self.bounds.head_bytes
        self._refusal: GatewayError | None = None
        self._deaf = False
        """Whether further input is dropped, because the connection has got its last answer."""
        self._awaits_head = True
        self._in_head = False
        self._head_bytes = 0
        self._field_bytes = 0
        self._messages = 0
        self._unused = 0
        """Bytes since the last piece of a body: chunk extensions and trailers."""
        self._over_cap = False
        self._upgrades = False
        self._body_since = 0.0
        self._body_bytes = 0

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every answer: the date."""
        return self.server_state.default_headers

    # The transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self.table.opened(self, len(self.connections), self.loop):
            self.drop()
        self._over_cap = len(self.connections) > self.bounds.max_connections

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self.table.closed(self)
        for cycle in (self.cycle, *self.pipeline):
            if cycle is not None:
                cycle.disconnect()
        self.pipeline.clear()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]
        self._deaf = True

    def drop(self) -> None:
        """Close the connection at once, without an answer."""
        self.connections.discard(self)
        self._deaf = True
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass bytes within the bounds to the parser, and refuse the rest."""
        if self._deaf:
            return
        room = self._longest_head - self._head_bytes
        if self._awaits_head and len(data) > room:
            self._parse(data[:room])
            if self._deaf:
                return
            if self._awaits_head:
                self._refuse(_head_too_large(self.bounds.header_bytes))
                return
            data = data[room:]
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        messages, in_head = self._messages, self._awaits_head
        self._unused += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._refusal is None:
                self._upgrade()
                return
        except httptools.HttpParserError as error:
            self._refusal = self._refusal or GatewayError("bad-request", f"The request is not valid HTTP: {error}.")
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._awaits_head:
            if in_head and messages == self._messages:  # bytes after a complete request are not counted
                self._head_bytes += len(data)
            if self._in_head:
                self.table.head_begins(self, self.loop.time())
        elif self._unused > self._longest_head:
            self._refuse(_head_too_large(self.bounds.header_bytes))

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self.table.closed(self)
            self._deaf = True
            self.handle_websocket_upgrade()
        elif self.cycle is not None:
            # The parser stops at an upgrade, so nothing after this request could be read.
            self.cycle.keep_alive = False

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to the app, which accepts the WebSocket or refuses it."""
        self.connections.discard(self)
        self.transport.pause_reading()
        upgrade = Upgrade(self.transport, self.loop, self.connections, self.default_headers)  # type: ignore[arg-type]
        scheme = "wss" if self.scheme == "https" else "ws"
        scope = {**self.scope, "type": "websocket", "scheme": scheme, "extensions": {UPGRADE: upgrade}}
        task = self.loop.create_task(self.app(scope, _nothing_to_receive, _nothing_to_send))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    # The parser's side

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._in_head, self._upgrades = True, False
        self._field_bytes = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.bounds.target_bytes and self._refusal is None:
            self.url = b""
            self._refusal = GatewayError(
                "target-too-long",
                f"The path and query are longer than the gateway takes ({self.bounds.target_bytes} bytes); "
                "shorten them, or raise target_kb in paig.toml.",
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or after the body a trailer field, which is dropped."""
        if not self._awaits_head or self._refusal is not None:
            return
        self._field_bytes += len(name) + len(value)
        if self._field_bytes > self.bounds.header_bytes:
            self._refusal = _head_too_large(self.bounds.header_bytes)
        elif len(self.headers) >= self.bounds.header_fields:
            self._refusal = GatewayError(
                "headers-too-large",
                f"The request has more header fields than the gateway takes ({self.bounds.header_fields}); "
                "send fewer, or raise header_fields in paig.toml.",
            )
        else:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head of a request is complete: have it answered."""
        self._awaits_head = self._in_head = False
        self._head_bytes = self._unused = 0
        if self._refusal is not None:
            return
        self.table.head_ends(self)
        version = self.parser.get_http_version()
        target = _target(self.url)
        if target is None:
            self._refusal = GatewayError("bad-request", "The request target is not a path.")
            return
        if (wrong := _wrong_framing(self.headers, version)) is not None:
            self._refusal = GatewayError("bad-request", wrong)
            return
        path, raw_path, query = target
        if self._over_cap and len(self.connections) <= self.bounds.max_connections:
            self._over_cap = False
        if self._over_cap and path not in PROBES:
            self._refusal = overloaded("The gateway has more connections than it takes.")
            return
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,  # type: ignore[typeddict-item]
            "method": self.parser.get_method().decode("ascii"),
            "root_path": self.root_path,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
            "extensions": {},
        }
        self._upgrades = bool(self.parser.should_upgrade() and self._should_upgrade())
        if self._upgrades:
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refusal = GatewayError("bad-request", "Too many requests were sent ahead of their answers.")
            return
        previous = self.cycle if self.cycle is not None and not self.cycle.complete else None
        cycle = Cycle(
            self,
            self.scope,  # type: ignore[arg-type]
            keep_alive=version != "1.0" and self.parser.should_keep_alive() and not self.table.ending,
            expects_continue=b"100-continue" in [value.lower() for name, value in self.headers if name == b"expect"],
        )
        self.scope["extensions"][EXTENSION] = cycle  # type: ignore[assignment]
        self._reading = cycle
        if previous is None and not self.pipeline:
            self._run(cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.append(cycle)

    def on_body(self, body: bytes) -> None:
        self._unused = 0
        if self._refusal is not None or self._upgrades:
            return
        self._body_bytes += len(body)
        if not self._reading.complete:
            self._reading.feed(body)

    def on_message_complete(self) -> None:
        self._awaits_head = True
        self._messages += 1
        self._unused = 0
        if self._refusal is not None or self._upgrades:
            return
        self._reading.feed_end()
        self.table.body_ends(self)

    # The answer's side

    def _run(self, cycle: Cycle) -> None:
        self.cycle = cycle
        task = self.loop.create_task(cycle.run(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def body_is_wanted(self) -> None:
        """The app waits for an incomplete body: from now on its rate is checked."""
        if self.table.waits_for_body(self):
            self._body_since, self._body_bytes = self.loop.time(), 0

    def answered(self, cycle: Cycle) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not cycle.keep_alive:
            if cycle.more_body:
                self._linger()
            else:
                self.close()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._run(self.pipeline.popleft())
        else:
            self.table.waits_for_request(self, self.loop.time())

    def close(self) -> None:
        """Close the connection when all writes are sent, or when the client reads nothing for too long."""
        self._deaf = True
        self.transport.close()
        self.table.write_waits(self, self.loop.time())

    def _refuse(self, error: GatewayError) -> None:
        """Answer with the listener's own error, and serve nothing more on this connection."""
        self._deaf = True
        self.table.refused[error.code] += 1
        cycle = self.cycle
        if self.pipeline or (cycle is not None and cycle.started and not cycle.complete):
            # Another answer is being sent, so the refusal is only the end of the connection.
            self.drop()
            return
        if cycle is not None:
            cycle.disconnect()
        body, native = error_body("openai", error.status, error.code, error.message, error.details)
        lines = [b"HTTP/1.1 %d %s\r\n" % (error.status, error.code.encode())]
        headers = [
            *self.default_headers,
            (b"content-type", b"application/json"),
            *native,
            (b"x-paig-error", error.code.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if error.retry_after is not None:
            headers.append((b"retry-after", b"%d" % error.retry_after))
        lines += [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join((*lines, b"\r\n", body)))
        self._linger()

    def _linger(self) -> None:
        """Read and drop further input: if the connection were closed at once, the client could lose the answer."""
        self._deaf = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
            self.table.lingers(self, self.loop.time())
        else:
            self.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer arrives."""
        super().pause_writing()
        self.table.write_waits(self, self.loop.time())
        if self.cycle is not None and self.cycle.on_pressure is not None:
            self.cycle.on_pressure(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self.table.write_goes_on(self)
        if self.cycle is not None and self.cycle.on_pressure is not None:
            self.cycle.on_pressure(False)

    # Deadlines

    def head_is_late(self) -> None:
        """Refuse the request whose head did not arrive in time."""
        if not self._deaf:
            seconds = self.bounds.header_seconds
            self._refuse(
                GatewayError(
                    "too-slow", f"The request's headers did not arrive within {seconds:g} s. Send them faster."
                )
            )

    def check_body(self, now: float) -> None:
        """Refuse the request whose body arrives too slowly."""
        if self.flow.read_paused:  # the client is made to wait
            self._body_since, self._body_bytes = now, 0
            return
        if now - self._body_since < self.bounds.body_seconds:
            return
        if self._body_bytes < self.bounds.body_rate * self.bounds.body_seconds:
            rate, seconds = self.bounds.body_rate, self.bounds.body_seconds
            self._refuse(
                GatewayError(
                    "too-slow",
                    f"The body arrived at less than {rate} bytes per second for {seconds:g} s; send it faster.",
                )
            )
        else:
            self._body_since, self._body_bytes = now, 0

    def shutdown(self) -> None:
        """Serve no further request on this connection; uvicorn calls this when the process is to end."""
        if self.is_idle:
            if self._has_unread():
                return  # `Connections.ending` lets the answer close the connection
            is_sent = not self.transport.get_write_buffer_size()
            self.transport.close()
            if is_sent and self.transport.get_extra_info("sslcontext") is not None:
                self.loop.call_later(CLOSE_NOTIFY_SECONDS, self.transport.abort)
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.complete

    def _has_unread(self) -> bool:
        """Whether bytes have arrived that were not read yet; closing would reset the connection, and lose them."""
        if not hasattr(select, "poll"):
            return False  # Windows
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))


async def _nothing_to_receive() -> Any:
    raise RuntimeError("a WebSocket is not spoken through ASGI messages here: see Upgrade")


async def _nothing_to_send(message: Any) -> None:
    raise RuntimeError("a WebSocket is not spoken through ASGI messages here: see Upgrade")


_HOST = re.compile(rb"[A-Za-z0-9._~%-]+(?::\d*)?|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~%-]+)?\](?::\d*)?")


def _wrong_framing(headers: list[tuple[bytes, bytes]], version: str) -> str | None:
    """The error in the headers that state the length of the body and the host, or None."""
    if version not in ("1.0", "1.1"):
        return "The version of HTTP must be 1.0 or 1.1."
    coded = named = False
    for name, value in headers:
        if name == b"transfer-encoding":
            if coded or value.strip().lower() != b"chunked" or version == "1.0":
                return "The transfer-encoding must be 'chunked', given once, and not by a client of HTTP 1.0."
            coded = True
        elif name == b"host":
            if named or (value and not _HOST.fullmatch(value)):
                return "The host header must be given once, with a name or an address."
            named = True
    return None


def _target(url: bytes) -> tuple[str, bytes, bytes] | None:
    """The decoded path, the raw path and the query of a request target; None where it is not a path."""
    if not url.startswith(b"/"):
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            return None
        raw, query = parsed.path or b"", parsed.query or b""
    else:
        raw, _, query = url.partition(b"#")[0].partition(b"?")
    if not raw.startswith(b"/") or not url.isascii():
        return None
    path = raw.decode("ascii")
    return (urllib.parse.unquote(path) if "%" in path else path), raw, query


def _head_too_large(most: int) -> GatewayError:
    return GatewayError(
        "headers-too-large",
        f"The header fields are larger than the gateway takes ({most} bytes); "
        "send fewer, or raise header_kb in paig.toml.",
    )


def overloaded(why: str) -> GatewayError:
    """The refusal of a request that exceeds the present capacity."""
    return GatewayError("overloaded", f"{why} Try again shortly.", retry_after=1)
