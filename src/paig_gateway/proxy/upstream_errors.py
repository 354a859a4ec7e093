"""What each exception of sockets, TLS and the HTTP parser means: one of `routing.failures`."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Literal

from httptools import HttpParserError

from paig_gateway.routing.failures import UpstreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable

Stage = Literal["connect", "answer", "body"]
"""The progress of an exchange.

`connect`: no connection yet. `answer`: the request may have been sent. `body`: the answer's headers have arrived.
"""

FAILURES = (OSError, HttpParserError, ValueError)
"""What the socket, TLS and the parser raise for a failed exchange; anything else is a bug.

`TimeoutError`, `ssl.SSLError` and `socket.gaierror` are kinds of `OSError`; `UnicodeError`, for a host name that DNS
cannot express, is a `ValueError`.
"""

# The reason given for each; the first match counts.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (socket.gaierror, "name not resolved"),
    (ssl.SSLCertVerificationError, "TLS certificate not accepted"),
    (ssl.SSLError, "TLS handshake failed"),
    (HttpParserError, "answer is not HTTP"),
    (UnicodeError, "name not resolved"),
    (ValueError, "request cannot be expressed in HTTP"),
)
_LATE: dict[Stage, str] = {
    "connect": "no connection in time",
    "answer": "no answer in time",
    "body": "no further data in time",
}


def failure(exc: Exception, stage: Stage) -> UpstreamError:
    """The error that one of `FAILURES` means at a stage of the exchange."""
    if isinstance(exc, UpstreamError):
        return exc
    sent = stage != "connect"
    if isinstance(exc, TimeoutError):
        return UpstreamTimeout(_LATE[stage], sent=sent)
    lost = "connection lost" if sent else "no connection"
    reason = next((text for kind, text in _REASONS if isinstance(exc, kind)), lost)
    if isinstance(exc, OSError) and (detail := _detail(exc)):
        reason = f"{reason}: {detail}"
    return (UpstreamBroken if stage == "body" else UpstreamUnreachable)(reason, sent=sent)


def _detail(exc: OSError) -> str:
    """The system's or the TLS library's own word for an error; other wording may quote a host or a URL."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return str(getattr(exc, "verify_message", ""))
    if isinstance(exc, ssl.SSLError):
        return str(getattr(exc, "reason", None) or "").replace("_", " ").lower()
    resolver = isinstance(exc, socket.gaierror)  # Its numbers are not those of the operating system.
    return "" if resolver or exc.errno is None else os.strerror(exc.errno)
