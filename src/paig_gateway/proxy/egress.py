"""Outbound connections: TLS trust, forward proxies, name resolution and connecting a socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from paig_gateway.domain.route import ActiveProvider

_STAGGER = 0.25  # Seconds that one address of a name has before the next is tried beside it (RFC 8305).

SocketAddress = tuple[socket.AddressFamily, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """An HTTP proxy through which providers are reached.

    Attributes:
        authorization: The value of `proxy-authorization`, or None. Never log it.
    """

    tls: bool
    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Egress:
    """A provider's own settings for outbound connections.

    Attributes:
        proxy: The URL of a proxy, or `direct` for none; None for the server's setting.
        ca_file: A PEM file of authorities to trust besides the system's; None for the server's setting.
    """

    proxy: str | None = None
    ca_file: str | None = None


def own_egress(provider: ActiveProvider) -> Egress | None:
    """A provider's own settings for outbound connections; None if it uses the server's."""
    if provider.upstream_proxy is None and provider.upstream_ca is None:
        return None
    return Egress(provider.upstream_proxy, provider.upstream_ca)


@lru_cache(maxsize=64)
def parse_proxy(url: str) -> ForwardProxy | None:
    """Read a proxy's URL; `direct` and an empty text mean no proxy.

    A URL without a scheme means `http`, as in curl.

    Raises:
        ValueError: It is not an HTTP proxy; the message quotes no credentials.
    """
    if url in ("", "direct"):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"the proxy's scheme is '{parts.scheme}'; only http and https proxies are supported")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the proxy's port is not a number") from None
    if not host:
        raise ValueError("the proxy's URL has no host")
    authorization = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(login.encode())
    return ForwardProxy(parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80), authorization)


class EnvironmentProxies:
    """The proxies that `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name.

    The lower-case spelling wins. `NO_PROXY` is a list of host names (and all names below them), addresses, networks
    such as `10.0.0.0/8`, each optionally with a port; `*` means all.

    Raises:
        ValueError: A variable names no HTTP proxy.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        def value(name: str) -> str:
            return environ.get(name) or environ.get(name.upper()) or ""

        self._proxies: dict[bool, ForwardProxy | None] = {}
        for tls, name in ((False, "http_proxy"), (True, "https_proxy")):
            used = name if value(name) else "all_proxy"
            try:
                self._proxies[tls] = parse_proxy(value(used).strip())
            except ValueError as error:
                raise ValueError(f"{used.upper()}: {error}") from None
        self._excepted = [entry for entry in re.split(r"[,\s]+", value("no_proxy").lower()) if entry]

    def proxy(self, host: str, port: int, *, tls: bool) -> ForwardProxy | None:
        """The proxy for an origin, or None for a direct connection."""
        found = self._proxies[tls]
        if found is None or any(_excepts(entry, host.lower().rstrip("."), port) for entry in self._excepted):
            return None
        return found


def _excepts(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `NO_PROXY` covers an origin."""
    if entry == "*":
        return True
    with contextlib.suppress(ValueError):
        return ip_address(host) in ip_network(entry, strict=False)
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit() and not (":" in name and not name.endswith("]")):
        if int(number) != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").lstrip(".")
    return host == entry or host.endswith(f".{entry}")


@lru_cache(maxsize=64)
def trust(ca_file: str | None) -> ssl.SSLContext:
    """A TLS context that trusts the system's authorities and those of a file; cached, since loading is slow.

    Raises:
        OSError: The file cannot be read, or holds no certificate (`ssl.SSLError`).
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


async def resolve(host: str, port: int) -> list[SocketAddress]:
    """The addresses of a host, IPv6 and IPv4 alternating.

    Raises:
        OSError: The name is not known (`socket.gaierror`).
        UnicodeError: DNS cannot express the name.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [(family, address) for family, _, _, _, address in found]
    first = [pair for pair in addresses if pair[0] == addresses[0][0]]
    other = [pair for pair in addresses if pair[0] != addresses[0][0]]
    mixed: list[SocketAddress] = []
    for place in range(max(len(first), len(other))):
        mixed += first[place : place + 1] + other[place : place + 1]
    return mixed


async def connect(addresses: list[SocketAddress]) -> socket.socket:
    """Connect a socket to the first address that answers; slow addresses are tried in parallel.

    Raises:
        OSError: No address answers; the error is the first one's.
    """
    if len(addresses) == 1:
        return await _dial(*addresses[0])
    pending: set[asyncio.Task[socket.socket]] = set()
    won: list[socket.socket] = []
    errors: list[BaseException] = []
    left = iter(addresses)
    more = True
    try:
        while not won:
            if more and (address := next(left, None)) is not None:
                pending.add(asyncio.ensure_future(_dial(*address)))
            else:
                more = False
            if not pending:
                raise errors[0]
            done, pending = await asyncio.wait(
                pending, timeout=_STAGGER if more else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (error := task.exception()) is not None:
                    errors.append(error)
                else:
                    won.append(task.result())
        return won.pop(0)
    finally:
        for spare in won:
            spare.close()
        for task in pending:
            task.add_done_callback(_close)
            task.cancel()


async def _dial(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


def _close(task: asyncio.Task[socket.socket]) -> None:
    """Close a socket that connected after another one."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
