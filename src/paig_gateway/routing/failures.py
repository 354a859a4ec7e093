"""How an exchange with a provider can fail. No I/O.

    send() ──► UpstreamUnreachable   no answer: never connected, or lost before the answer's headers
               └── Unsendable        no HTTP client could send it
           ──► UpstreamTimeout       one of the `Timeouts` ran out
           ──► UpstreamResponse ──► the body ──► its end: the connection returns to the pool
                                            ──► UpstreamBroken, UpstreamTimeout: the connection is dropped

`UpstreamError.sent` tells the failover loop whether the provider may have seen the request.
"""

from __future__ import annotations


class UpstreamError(Exception):
    """A provider was not reached, or its answer is incomplete.

    Attributes:
        reason: The reason, in a few words for the log; never a secret or a URL.
        sent: False only when it is certain that no byte of the request reached the provider.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason, self.sent = reason, sent


class UpstreamUnreachable(UpstreamError):
    """No answer: name, connection, TLS, or a connection lost before the answer's headers were complete."""


class Unsendable(UpstreamUnreachable):
    """A URL or headers that are not valid in HTTP."""


class UpstreamTimeout(UpstreamError):
    """No connection, no answer, no next chunk, or no end in time."""


class UpstreamBroken(UpstreamError):
    """The answer began and broke: the connection was lost, or the protocol violated, in the middle of the body."""
