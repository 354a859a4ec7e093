"""The gateway's addresses: its root, and what lies below it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

DEFAULT_ROOT = "http://127.0.0.1:8787"
"""Where `paig serve` listens unless told otherwise."""

PROXY = "/proxy"
ADMIN = "/admin/v1"
_PORTS = {"http": 80, "https": 443}


def root(url: str) -> str:
    """The gateway's root address in its one spelling, from any address that people write.

    `gw.example`, `https://GW.example:443/`, `https://gw.example/proxy` all give `https://gw.example`. Without a scheme,
    a loopback host is asked by http, any other by https.

    Raises:
        ValueError: The address cannot be a gateway's.
    """
    text = url.strip()
    if "://" not in text:
        text = f"{'http' if is_loopback(f'http://{text}') else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no address of a gateway: {error}") from error
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not host:
        raise ValueError(f"{url!r} is no address of a gateway: write it like {DEFAULT_ROOT}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("the address of a gateway has no user, password, query or fragment")
    netloc = f"[{host}]" if ":" in host else host
    if port not in (None, _PORTS[scheme]):
        netloc += f":{port}"
    path = parts.path.rstrip("/")
    return f"{scheme}://{netloc}{path.removesuffix(PROXY)}"


def proxy_url(url: str) -> str:
    """The address that API requests go below, `…/proxy`, from the gateway's root or from that address itself.

    Raises:
        ValueError: The address cannot be a gateway's.
    """
    return root(url) + PROXY


def is_loopback(url: str) -> bool:
    """Whether the address stays on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
