"""Browsers at the data plane: which requests of pages are allowed, and how relayed answers are made harmless.

A provider's answer is untrusted content on the gateway's own origin. A browser must therefore never show it as a page,
run it as a script or follow its instructions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers

SEALED: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
"""Headers of every answer: even if it is shown as a page, it runs no script and has no origin."""

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_PREFLIGHT_SECONDS = b"600"


def check(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Refuse requests whose answers a browser would show, run or embed.

    Args:
        headers: The request's headers, names in lower case.

    Returns:
        Whether a page sent the request; a key in its query is refused, since others may see the address.

    Raises:
        GatewayError: `not-allowed`.
    """
    from_page = False
    destinations = []
    for name, value in headers:
        if name == b"service-worker" and value.strip().lower() == b"script":
            raise GatewayError("not-allowed", "A provider's answer cannot be a service worker.")
        if name.startswith(b"sec-fetch-"):
            from_page = True
            if name == b"sec-fetch-dest":
                destinations.append(value.strip().lower())
    if any(dest not in (b"", b"empty", b"websocket") for dest in destinations):
        raise GatewayError(
            "not-allowed",
            "A browser must not open this as a page or embed it: call it with fetch, or from a program.",
        )
    return from_page and b"websocket" not in destinations


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins whose pages may call the data plane (`cors_origins`).

    Attributes:
        origins: The origins, such as `https://app.example.com`.
    """

    origins: frozenset[bytes] = field(default_factory=frozenset)

    @staticmethod
    def of(origins: Iterable[str]) -> Cors:
        """Make it from the settings. Origins are normalised as browsers write them: lower case, no default port."""
        return Cors(frozenset(_plain(origin) for origin in origins))

    def headers(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        """The headers that let the calling page read an answer; none if it may not."""
        if not self.origins:
            return []
        origin = next((value for name, value in headers if name == b"origin"), None)
        if origin not in self.origins:
            return [(b"vary", b"origin")]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"*"),
            (b"vary", b"origin"),
        ]

    def preflight(self, method: str, headers: Headers) -> Headers | None:
        """The headers of the answer to a preflight request; None if the request is not one, or is not allowed."""
        if method != "OPTIONS":
            return None
        asked = dict(headers)
        if b"access-control-request-method" not in asked or asked.get(b"origin") is None:
            return None
        if asked[b"origin"] not in self.origins:
            return None
        found = [
            *self.headers(headers),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", asked.get(b"access-control-request-headers", b"*")),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
        ]
        if asked.get(b"access-control-request-private-network") == b"true":
            found.append((b"access-control-allow-private-network", b"true"))
        return found


NO_PAGES = Cors()
"""No page may call."""


def _plain(origin: str) -> bytes:
    scheme, _, host = origin.lower().partition("://")
    return f"{scheme}://{host.removesuffix(':443' if scheme == 'https' else ':80')}".encode()
