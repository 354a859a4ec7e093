"""`paig tui --web`: the socket, the printed link, and the keys of the terminal it was started from."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from paig_client.addresses import is_loopback, root
from paig_tui.text import safe
from paig_tui.web.app import WebTerminal
from paig_tui.web.child import Opening
from paig_tui.web.login import LINK_LIFE, BrowserLogins

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8788
_WILDCARDS = ("0.0.0.0", "::", "")


class AddressRefused(Exception):
    """The address is not safe for browsers; the message says why, and what to do."""


@dataclass(frozen=True)
class Tls:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256 fingerprint, as browsers show it."""
        first = self.certificate.read_text("ascii").partition("-----END CERTIFICATE-----")
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0] + first[1])).hexdigest().upper()
        return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))


def origin_of(host: str, port: int, *, tls: bool = False, public_url: str | None = None) -> str:
    """The one address that browsers use.

    Args:
        host: The address that the server listens at.
        port: Its port.
        tls: Whether it serves https itself.
        public_url: The address of a proxy in front of the server.

    Raises:
        AddressRefused: Keys would cross a network unencrypted, or there is no such address.
    """
    if public_url is None and host in _WILDCARDS:
        raise AddressRefused(
            f"{host} means every address of this machine, and a browser needs one: name it with --host, or with"
            " --public-url the address that browsers use."
        )
    name = f"[{host}]" if ":" in host else host
    try:
        origin = root(public_url or f"{'https' if tls else 'http'}://{name}:{port}")
    except ValueError as error:
        raise AddressRefused(str(error).replace("gateway address", "address for browsers")) from error
    if origin.count("/") > 2:
        raise AddressRefused(
            f"--public-url must end with the host: {origin} has a path, and the terminal UI needs a host of its own."
        )
    if not origin.startswith("https:") and not is_loopback(origin):
        raise AddressRefused(
            f"{origin} would show keys and your admin rights to anybody who listens on the network. From another"
            f" machine use ssh -L {port}:127.0.0.1:{port} and leave out --host; or serve https with --tls; or put an"
            " https proxy in front and name it with --public-url."
        )
    return origin


def listen(host: str, port: int) -> socket.socket:
    """The bound socket; port 0 finds a free one.

    Raises:
        OSError: The port is taken or not allowed.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family)


def _of_interest(record: logging.LogRecord) -> bool:
    """Filter out what uvicorn logs as errors though nothing is wrong here: malformed requests, cancelled downloads."""
    failure = record.exc_info[1] if record.exc_info else None
    return type(failure).__name__ != "LocalProtocolError" and "without completing" not in record.getMessage()


IDLE_SECONDS = 5.0
"""How long a connection may take to its first request."""
MOST_IDLE = 32
"""Connections without a request; a new one drops the oldest, so that they cannot be used up."""


class Protocol(H11Protocol):
    """A connection that is dropped if its first request does not come soon."""

    waiting: ClassVar[dict[Protocol, asyncio.TimerHandle]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.waiting) >= MOST_IDLE:
            next(iter(self.waiting)).drop()
        self.waiting[self] = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.drop)

    def handle_events(self) -> None:
        """Mark the connection as used once a whole request has come."""
        super().handle_events()
        if self.cycle is not None or self.transport.is_closing():
            self._used()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._used()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._used()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close a connection without a request."""
        self._used()
        self.connections.discard(self)
        self.transport.abort()

    def _used(self) -> None:
        if (timer := self.waiting.pop(self, None)) is not None:
            timer.cancel()


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the program around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def serving(app: WebTerminal, listener: socket.socket, tls: Tls | None = None) -> AsyncIterator[None]:
    """Serve for as long as the context lasts."""
    logging.getLogger("uvicorn.error").addFilter(_of_interest)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="websockets-sansio",
        ws_max_size=1024 * 1024,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        log_level="error",  # lower levels log malformed requests of any client
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=64,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=str(tls.key) if tls else None,
    )
    server = _Server(config)
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.wait((running,), timeout=0.01)
            if running.done():
                await running
                raise RuntimeError("the server ended before it had started")
        yield
    finally:
        server.should_exit = True
        await running
        listener.close()


def main(
    opening: Opening,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    public_url: str | None = None,
    tls: Tls | None = None,
) -> int:
    """Serve the terminal UI to browsers until Ctrl+C.

    Args:
        opening: The gateway that the terminals connect to.
        host: The address to listen at.
        port: The port; 0 finds a free one.
        public_url: The address that browsers use, if it differs.
        tls: The certificate for https.

    Returns:
        The exit code.
    """
    host = "127.0.0.1" if host == "localhost" else host  # as ::1 it may be another user's
    try:
        origin_of(host, port or 1, tls=tls is not None, public_url=public_url)
    except AddressRefused as error:
        print(f"paig: {error}", file=sys.stderr)
        return 2
    try:
        listener = listen(host, port)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        print(f"paig: cannot listen at {host} port {port}: {reason}. See --port.", file=sys.stderr)
        return 1
    origin = origin_of(host, listener.getsockname()[1], tls=tls is not None, public_url=public_url)
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(opening, origin, listener, tls))
    return 0


async def _serve(opening: Opening, origin: str, listener: socket.socket, tls: Tls | None) -> None:
    logins = BrowserLogins(lambda: datetime.now(UTC))
    app = WebTerminal(origin, opening, logins, _tell)
    if (task := asyncio.current_task()) is not None and os.name == "posix":
        for number in (signal.SIGTERM, signal.SIGHUP):  # as with Ctrl+C, terminals end cleanly
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with serving(app, listener, tls):
        may = "look, but change nothing" if opening.read_only else "do all that your admin token may"
        print(f"The terminal UI of {opening.url} for browsers. Anybody who opens the link can {may}.")
        if tls is not None:
            print(f"The certificate's SHA-256 fingerprint: {tls.fingerprint}")
        _invite(origin, logins)
        loop = asyncio.get_running_loop()
        typed: asyncio.Queue[str] = asyncio.Queue()
        if sys.stdin.isatty():
            _listen_to_keys(lambda line: loop.call_soon_threadsafe(typed.put_nowait, line))
        while True:
            match (await typed.get()).strip().lower():
                case "":
                    _invite(origin, logins)
                case "x":
                    _tell(f"· logged out: {logins.leave()} browser(s)")
                case other:
                    print(f"Unknown: {safe(other)}. Enter prints a new link, x logs every browser out, Ctrl+C stops.")


def _invite(origin: str, logins: BrowserLogins) -> None:
    minutes = int(LINK_LIFE.total_seconds() // 60)
    print(f"\nOpen within {minutes} minutes; it works once:\n\n  {origin}/login#{logins.link()}\n")
    keys = "Enter: a new link · x Enter: log every browser out · " if sys.stdin.isatty() else ""
    print(f"{keys}Ctrl+C: stop", flush=True)


def _tell(line: str) -> None:
    """Print a line with the time; parts of it come from browsers."""
    print(f"{datetime.now(UTC):%H:%M:%S} {safe(line)}", flush=True)


def _listen_to_keys(act: Callable[[str], object]) -> None:
    """Read lines in a thread: event loops cannot read a console on every platform."""
    if hasattr(signal, "SIGTTIN"):
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # in the background (`&`), reading keys must not stop the process

    def read() -> None:
        with contextlib.suppress(OSError):
            while line := sys.stdin.readline():
                act(line)

    threading.Thread(target=read, daemon=True, name="keys").start()
