"""Server-sent events, cut and parsed incrementally (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import re

from paig_gateway.formats.base import StreamEvent

_BOM = b"\xef\xbb\xbf"
# Two line ends in a row. Atomic, so that `\r\n` is not taken for two of them.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LONGEST_PART = 3
"""The beginnings of a blank line that may be at the end of a chunk."""


class SseSplitter:
    """Cuts a stream into raw events, terminators included: the events and the rest, joined, are the input."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._returns = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; return the events they complete."""
        buffer = self._buffer
        self._returns = self._returns or b"\r" in chunk
        buffer += chunk
        events: list[bytes] = []
        start, scan = 0, self._scanned
        while (end := self._end_of_event(scan)) > 0:
            events.append(bytes(buffer[start:end]))
            start = scan = end
        if start:
            del buffer[:start]
        self._scanned = max(0, len(buffer) - _LONGEST_PART)
        return events

    def feed_block(self, chunk: bytes) -> bytes | None:
        """`feed` with the events joined, for callers that need few among many.

        Returns:
            The events; None if their ends are not all two line feeds, and `feed` is to be called instead.
        """
        if self._returns or b"\r" in chunk:
            return None
        buffer = self._buffer
        buffer += chunk
        end = buffer.rfind(b"\n\n") + 2
        if end < 2:
            return b""
        block = bytes(buffer[:end])
        del buffer[:end]
        self._scanned = 0
        return block

    def rest(self) -> bytes:
        return bytes(self._buffer)

    def give_up(self) -> bytes:
        """Release an event that is too long to wait for; see `framing.Splitter`."""
        rest, self._buffer, self._scanned = bytes(self._buffer), bytearray(), 0
        return rest

    def _end_of_event(self, scan: int) -> int:
        if not self._returns:  # by far the usual case, and `find` is many times quicker
            found = self._buffer.find(b"\n\n", scan)
            return found + 2 if found >= 0 else 0
        match = _BLANK_LINE.search(self._buffer, scan)
        if match is None:
            return 0
        end = match.end()
        # The line feed that belongs to a final carriage return may be yet to come.
        return 0 if end == len(self._buffer) and self._buffer[end - 1] == 0x0D else end


def separated(raw: bytes) -> list[bytes]:
    """The events of a block, without the blank lines between them."""
    return _BLANK_LINE.split(raw) if b"\r" in raw else raw.split(b"\n\n")


def parse(raw: bytes) -> StreamEvent:
    """Read a raw event: its name and its joined `data` lines; comments and other fields are passed over."""
    name = b""
    data: list[bytes] = []
    for line in raw.removeprefix(_BOM).splitlines():
        field, colon, value = line.partition(b":")
        if field == b"data":
            data.append(value[1:] if value[:1] == b" " else value)
        elif field == b"event" and colon:
            name = value.strip(b" ")
    return StreamEvent(name.decode("utf-8", "replace"), b"\n".join(data))
