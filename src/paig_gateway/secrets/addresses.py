"""Addresses that a gateway must not connect to: metadata services of the machine's cloud account."""

from __future__ import annotations

import contextlib
import socket
import unicodedata
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_METADATA_HOSTS = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_METADATA_ADDRESSES = frozenset(
    map(ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"))
)
"""Alibaba Cloud's, Azure's, Oracle Cloud's, and those of EC2 and Google over IPv6; most others are link-local."""
_TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"), ip_network("::/96"))
"""Networks whose last four bytes are an IPv4 address (RFC 6052, RFC 8215, RFC 4291)."""


def is_metadata_address(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is link-local, as metadata services are, or a known one of them.

    Check it when connecting, too.
    """
    return any(one.is_link_local or one in _METADATA_ADDRESSES for one in (address, *_inside(address)))


def _inside(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to: mapped, by 6to4, or by a translator."""
    if isinstance(address, IPv6Address):
        yield from (one for one in (address.ipv4_mapped, address.sixtofour) if one is not None)
        if any(address in network for network in _TRANSLATED):
            yield IPv4Address(int(address) & 0xFFFFFFFF)


def is_metadata_host(host: str) -> bool:
    """Whether a host, as a URL names it, is a metadata service; names are not looked up.

    Args:
        host: A name, or an address in any spelling that connecting understands, such as `0xa9fea9fe`.
    """
    # As names are written before they are looked up; an ideographic full stop is a dot.
    host = unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower().rstrip(".")
    if host in _METADATA_HOSTS:
        return True
    try:
        return is_metadata_address(ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return is_metadata_address(IPv4Address(socket.inet_aton(host)))
    except OSError:
        return False


def leads_to_metadata(host: str, addresses: Iterable[str]) -> bool:
    """Whether a name resolves to the address of a cloud's metadata service.

    An address in the place of a name leads nowhere else: it was checked when it was set.
    """
    with contextlib.suppress(ValueError):
        ip_address(host)
        return False
    return any(is_metadata_address(ip_address(address.partition("%")[0])) for address in addresses)
