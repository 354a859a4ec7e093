"""How streams are cut: one row per framing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Protocol

from paig_gateway.formats import eventstream, jsonarray, sse
from paig_gateway.formats.base import Framing, StreamEvent


class Splitter(Protocol):
    """Cuts a stream into raw events, whatever the chunks: the events and the rest, joined, are the input."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; return the raw events they complete. Raises ValueError if they are not such a stream."""

    def rest(self) -> bytes:
        """The bytes that are not part of a complete event."""

    def give_up(self) -> bytes:
        """Release the beginning of an event that is too long to wait for; the rest becomes a separate event.

        Returns:
            The released bytes.
        """


FRAMINGS: Mapping[Framing, tuple[Callable[[], Splitter], Callable[[bytes], StreamEvent]]] = {
    "sse": (sse.SseSplitter, sse.parse),
    "eventstream": (eventstream.EventStreamSplitter, eventstream.parse),
    "json": (jsonarray.JsonArraySplitter, jsonarray.parse),
}
"""The splitter and the parser of each framing; the parser raises ValueError where a raw event is corrupt."""


def framing_of(content_type: str) -> Framing | None:
    """The framing that a response's content type names, or None if it is not a stream of events.

    `application/json` may be either a body or, where a Gemini stream was asked for, a stream of the framing `json`.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return "sse"
    return "eventstream" if kind == "application/vnd.amazon.eventstream" else None


_FIELD = re.compile(rb"(?:data|event|id|retry)?:")


def sniffed(head: bytes) -> Framing | None:
    """What the first bytes of an answer show it to be, whatever its content type; None if they show nothing yet.

    `json` is a document: a body, or a stream of that framing.
    """
    if head[:1] == b"{":  # no frame has this length
        return "json"
    if eventstream.is_frame(head):
        return "eventstream"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        return "json"
    return "sse" if _FIELD.match(text) else None
