"""What holds for every request to the admin app and every answer of it."""

from __future__ import annotations

from urllib.parse import unquote

from paig_gateway.proxy.request import AsgiMessage, Scope, Send

_SEALED = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
"""Headers of every answer, unless it has its own."""


def seal(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with those that every answer has."""
    own = {name for name, _ in headers}
    return [
        *(header for header in headers if header[0] != b"cache-control"),
        (b"cache-control", b"no-store"),
        *(header for header in _SEALED if header[0] not in own),
    ]


def plain_path(scope: Scope) -> None:
    """Keep a percent-encoded slash part of the name that it stands in.

    The framework, which routes by the decoded path, gets a path whose parts are still encoded where it matters
    (`objects.Reference` decodes the rest).
    """
    if raw := scope.get("raw_path"):
        scope["path"] = "/".join(map(_half_decoded, raw.decode("latin-1").split("/")))


def _half_decoded(part: str) -> str:
    return unquote(part).replace("%", "%25").replace("/", "%2F")


def sealed(send: Send) -> Send:
    """Sends answers with the headers that every answer has."""

    async def send_sealed(message: AsgiMessage) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = seal(message["headers"])
        await send(message)

    return send_sealed
