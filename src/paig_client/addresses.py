"""The gateway's addresses: its root, and what lies below it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

DEFAULT_ROOT = "http://127.0.0.1:8787"
"""The default address of `paig serve`."""

PROXY = "/proxy"
ADMIN = "/admin/v1"
_PORTS = {"http": 80, "https": 443}


def root(url: str) -> str:
    """The gateway's root address in one spelling, from any address that people write.

    `gw.example`, `https://GW.example:443/`, `https://gw.example/proxy` all give `https://gw.example`. Without a scheme,
    it is http for a loopback host and https for any other.

    Raises:
        ValueError: The address is not valid.
    """
    text = url.strip()
    if "://" not in text:
        text = f"{'http' if is_loopback(f'http://{text}') else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is not a valid gateway address: {error}") from error
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not host:
        raise ValueError(f"{url!r} is not a valid gateway address; write it like {DEFAULT_ROOT}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a gateway address has no user, password, query or fragment")
    netloc = f"[{host}]" if ":" in host else host
    if port not in (None, _PORTS[scheme]):
        netloc += f":{port}"
    path = parts.path.rstrip("/")
    return f"{scheme}://{netloc}{path.removesuffix(PROXY)}"


def from_here(url: str) -> str:
    """The address at which this machine reaches a gateway, which may listen at all addresses."""
    return url.replace("://0.0.0.0", "://127.0.0.1", 1).replace("://[::]", "://[::1]", 1)


def without_proxy(url: str) -> dict[str, None]:
    """The `mounts` of an HTTP client that reaches a gateway on this machine, whatever proxy the environment names."""
    host = urlsplit(url).hostname or ""
    return {f"all://[{host}]" if ":" in host else f"all://{host}": None} if is_loopback(url) else {}


def is_loopback(url: str) -> bool:
    """Whether the address stays on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
