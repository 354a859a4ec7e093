"""The client's connection and address, and work that must finish even if its task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from paig_gateway.domain.http import Headers
from paig_gateway.listener.cycle import Cycle
from paig_gateway.proxy.request import Scope


async def run_shielded(work: Awaitable[None]) -> None:
    """Run `work` to its end even if the task is cancelled, and cancel the task after it."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
            if task.cancelled():
                break
    task.result()
    if cancelled:
        raise asyncio.CancelledError


@dataclass(slots=True)
class ClientConnection:
    """The client's connection: writes are sent at once, and nothing is awaited.

    Attributes:
        cycle: The request and its answer at the listener.
        sealed: Headers that are added to every answer.
    """

    cycle: Cycle
    sealed: Headers

    @property
    def started(self) -> bool:
        """Whether a status has been sent."""
        return self.cycle.started

    @property
    def gone(self) -> bool:
        """Whether the client has disconnected; later writes are dropped."""
        return self.cycle.gone

    def start(self, status: int, headers: Headers) -> None:
        self.cycle.start(status, [*headers, *self.sealed])

    def write(self, data: bytes) -> None:
        self.cycle.write(data)

    def end(self) -> None:
        self.cycle.end()

    def answer(self, status: int, headers: Headers, data: bytes) -> None:
        self.cycle.answer(status, [*headers, *self.sealed], data)


Network = IPv4Network | IPv6Network


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: tuple[Network, ...] = tuple(map(ip_network, networks))

    def apply(self, scope: Scope) -> None:
        """Set the client's own address and scheme in a request that came through a trusted proxy."""
        peer = scope.get("client")
        if not self._networks or not peer or not self._trusts(_address(peer[0])):
            return
        named: list[str] = []
        scheme = ""
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                named += value.decode("latin-1").split(",")
            elif name == b"x-forwarded-proto":
                scheme = value.decode("latin-1").rpartition(",")[2].strip().lower()
        # Each proxy appends the address of its client; addresses before the first untrusted one are not reliable.
        for text in reversed(named):
            address = _address(text.strip())
            if address is None:
                break
            scope["client"] = (str(address), 0)
            if not self._trusts(address):
                break
        if scheme in ("http", "https"):
            web = scope["type"] != "websocket"
            scope["scheme"] = scheme if web else {"http": "ws", "https": "wss"}[scheme]

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def is_local(host: str) -> bool:
    """Whether an address is this machine's own; names are not looked up."""
    found = _address(host)
    return found is not None and found.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address, with or without a port; None if it is invalid."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
