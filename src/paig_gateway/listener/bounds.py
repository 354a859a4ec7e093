"""The bounds of the listener, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

RESERVE = 32
"""Connections beyond the cap, on which only the probes are answered."""

PROBES = frozenset({"/healthz", "/readyz"})

MAX_PIPELINED = 16
"""Requests that one connection may send ahead of the answers to the earlier ones."""

LINGER_SECONDS = 2.0
"""How long the rest of a refused request is read and dropped, so that the client can read why it was refused."""


@dataclass(frozen=True, slots=True)
class ListenerBounds:
    """What a client may send, and how long it may take.

    Attributes:
        header_bytes: Names and values of one request's header fields together.
        header_fields: How many fields there are at most.
        target_bytes: The length of the request target: path and query.
        header_seconds: From the first byte of a request to the end of its head.
        idle_seconds: From the start of a connection to its first byte.
        keep_alive_seconds: From the end of an answer to the first byte of the next request.
        body_seconds: How long a body may be on its way before its rate counts.
        body_rate: Bytes per second that it must arrive at from then on.
        write_seconds: How long a client may read nothing of what is written to it.
        max_connections: Connections that are open at once. When there are more, the one that has waited longest without
            sending a complete head is closed.
    """

    header_bytes: int = 64 * 1024
    header_fields: int = 100
    target_bytes: int = 8 * 1024
    header_seconds: float = 10.0
    idle_seconds: float = 20.0
    keep_alive_seconds: float = 75.0
    body_seconds: float = 10.0
    body_rate: int = 1024
    write_seconds: float = 300.0
    max_connections: int = 10_000

    @property
    def head_bytes(self) -> int:
        """Bytes of a whole head on the wire; names, values and separators of all fields, and the request line."""
        return self.header_bytes + self.target_bytes + 4 * self.header_fields + 64


def most_connections() -> int:
    """How many connections a process can have, given that each may need another one to a provider."""
    try:
        import resource
    except ImportError:  # not a Unix
        return 1_000_000
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(16, (soft - 64) // 2 - RESERVE)
