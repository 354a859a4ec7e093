"""How an exchange with a provider can fail, and what each of the HTTP client's exceptions means.

    send() ──► UpstreamUnreachable   no answer: never connected, or lost before the answer's headers
               └── Unsendable        no HTTP client could send it
           ──► UpstreamTimeout       one of the `Timeouts` ran out
           ──► UpstreamResponse ──► chunks() ──► the end: the connection returns to the pool
                                             ──► UpstreamBroken, UpstreamTimeout: the connection is dropped

`UpstreamError.sent` tells whoever would try another provider whether this one can have seen the request.
"""

from __future__ import annotations

import os
import ssl

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError


class UpstreamError(Exception):
    """A provider was not reached, or its answer did not come through whole.

    Attributes:
        reason: What happened, in a few words fit for a log; never a secret or a URL.
        sent: False only when it is certain that no byte of the request reached the provider.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason, self.sent = reason, sent


class UpstreamUnreachable(UpstreamError):
    """No answer: name, connection, TLS, or a connection lost before the answer's headers were complete."""


class Unsendable(UpstreamUnreachable):
    """A URL or headers that would not go out as they are; whoever is asked, nothing is sent."""


class UpstreamTimeout(UpstreamError):
    """No connection, no answer, no next chunk, or no end in time."""


class UpstreamBroken(UpstreamError):
    """The answer began and broke: a connection lost or a protocol violated in mid-body."""


# The client's exceptions that mean a failed exchange; whatever else it raises is a bug, ours or its own.
FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, RuntimeError)

# Those that come before the first byte of a request; ValueError while it is put together.
_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError, ValueError)

# What to say of each, first match first.
_REASONS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "name not resolved"),
    (aiohttp.ClientConnectorCertificateError, "TLS certificate not accepted"),
    (aiohttp.ClientConnectorSSLError, "TLS handshake failed"),
    (aiohttp.ClientProxyConnectionError, "proxy not reached"),
    (aiohttp.ClientHttpProxyError, "proxy refused the tunnel"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ClientPayloadError, "body cut short"),
    ((aiohttp.ClientResponseError, HttpProcessingError), "answer is not HTTP"),
    (ValueError, "request cannot be expressed in HTTP"),
    ((aiohttp.ServerDisconnectedError, RuntimeError), "connection closed"),
    ((aiohttp.ClientConnectionError, OSError), "connection lost"),
)


def failure(exc: Exception, *, answered: bool) -> UpstreamError:
    """What one of the client's exceptions means.

    Args:
        exc: An instance of one of `FAILURES`.
        answered: Whether the answer's headers had come.
    """
    if isinstance(exc, UpstreamError):
        return exc
    sent = answered or not isinstance(exc, _UNSENT)
    if isinstance(exc, TimeoutError):
        late = "no further data" if answered else "no answer" if sent else "no connection"
        return UpstreamTimeout(f"{late} in time", sent=sent)
    reason = next((text for kind, text in _REASONS if isinstance(exc, kind)), type(exc).__name__)
    if isinstance(exc, OSError) and (detail := _detail(exc)):
        reason = f"{reason}: {detail}"
    if answered:
        return UpstreamBroken(reason, sent=True)
    unsendable = isinstance(exc, ValueError) and not isinstance(exc, aiohttp.ClientConnectorError)
    return (Unsendable if unsendable else UpstreamUnreachable)(reason, sent=sent)


def _detail(exc: OSError) -> str:
    """The system's or the TLS library's own word for an error; the client's wording may quote the URL."""
    if isinstance(cause := getattr(exc, "certificate_error", exc), ssl.SSLCertVerificationError):
        return str(getattr(cause, "verify_message", ""))
    if isinstance(exc, ssl.SSLError):
        return str(getattr(exc, "reason", None) or "").replace("_", " ").lower()
    resolver = isinstance(exc, aiohttp.ClientConnectorDNSError)  # Its numbers are not the system's.
    return "" if resolver or exc.errno is None else os.strerror(exc.errno)
