"""Forwarded addresses: `X-Forwarded-For` and `X-Forwarded-Proto`, trusted from the operator's proxies alone."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from paig_gateway.proxy.request import Scope

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
