"""What a simulator records: the requests it received and what it billed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .reply import TokenCounts

_MOST_BYTES = 64 * 1024 * 1024
MESSAGES, MESSAGE_CHARS = 20, 1 << 18
"""Of a WebSocket, the latest messages are kept, and the beginning of each."""


def _messages() -> deque[str]:
    return deque(maxlen=MESSAGES)


@dataclass(frozen=True, slots=True)
class Received:
    """A request as received: raw path and query, headers in order, body bytes; of a WebSocket, its latest messages."""

    method: str
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    messages: deque[str] = field(default_factory=_messages)

    def header(self, name: str) -> str | None:
        """A header's last value; None if it was not sent."""
        found = dict(self.headers).get(name.lower().encode())
        return None if found is None else found.decode("latin-1")

    def shown(self) -> dict[str, Any]:
        """The request as JSON; the body is in base64 if it is not text."""
        try:
            body: dict[str, Any] = {"body": self.body.decode()}
        except UnicodeDecodeError:
            body = {"body_b64": self.body}
        if self.messages:
            body["messages"] = list(self.messages)
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers]
        return {"method": self.method, "path": self.path, "query": self.query, "headers": headers, **body}


class ReceivedLog:
    """The latest requests.

    Args:
        keep: How many are kept; their bodies never take more than 64 MiB.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._kept: deque[Received] = deque()
        self._bytes = 0

    def add(self, received: Received) -> None:
        """Record a request; the oldest ones make room."""
        self._kept.append(received)
        self._bytes += len(received.body)
        while self._kept and (len(self._kept) > self._keep or self._bytes > _MOST_BYTES):
            self._bytes -= len(self._kept.popleft().body)

    def all(self) -> list[Received]:
        """The requests that are kept, oldest first."""
        return list(self._kept)

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0


@dataclass(slots=True)
class Served:
    """What one mount served and billed. Free operations (counting tokens, listing models, look-ups) are not counted.

    Attributes:
        started: Requests accepted; each ends as completed, cut or failed.
        completed: Answered to the end.
        cut: Broken off by the client or by a fault. The input is billed, and the share of the output that was sent;
            nothing is billed before the answer began.
        failed: Refused by a fault, or answered with an error alone. Not billed.
        input_tokens: Billed input, tokens read from and written to the cache included.
        output_tokens: Billed output, reasoning included.
    """

    started: int = 0
    completed: int = 0
    cut: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def complete(self, tokens: TokenCounts) -> None:
        self.completed += 1
        self._bill(tokens, 1, 1)

    def cut_off(self, tokens: TokenCounts, gone: int, of: int) -> None:
        """Count an answer of which `gone` of `of` pieces were sent."""
        self.cut += 1
        self._bill(tokens, gone, of)

    def _bill(self, tokens: TokenCounts, gone: int, of: int) -> None:
        self.input_tokens += tokens.input
        self.cached_tokens += tokens.cached
        self.cache_write_tokens += tokens.written
        self.output_tokens += -(-tokens.output * gone // of)
        self.reasoning_tokens += -(-tokens.reasoning * gone // of)
