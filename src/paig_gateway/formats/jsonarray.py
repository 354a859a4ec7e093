"""Streams that are one JSON array with an element for each chunk: Gemini's without server-sent events.

Cut at the elements of the top-level array (or at a lone top-level object, as which errors come) without decoding them.
"""

from __future__ import annotations

import re
from itertools import islice

from paig_gateway.formats import reading
from paig_gateway.formats.base import StreamEvent

# Up to and including what opens a string or opens or closes an object or array.
_TO_TOKEN = re.compile(rb'[^"{}\[\]]*+["{}\[\]]')
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SPACE = b" \t\r\n"


class JsonArraySplitter:
    """Cuts the array into raw elements, each with what stands before it: elements and rest, joined, are the input."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._depth = 0
        self._base: int | None = None
        self._in_string = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; return the elements they complete."""
        buffer = self._buffer
        buffer += chunk
        elements: list[bytes] = []
        start = 0
        position, size = self._position, len(buffer)
        while position < size:
            if self._in_string:
                body = _IN_STRING.match(buffer, position)
                position = body.end() if body else position
                if position == size or buffer[position] != 0x22:
                    break  # the chunk ends inside the string, perhaps after a backslash
                position += 1
                self._in_string = False
                continue
            token = _TO_TOKEN.match(buffer, position)
            if token is None:
                position = size
                break
            position = token.end()
            if self._closes_element(buffer[position - 1]):
                elements.append(bytes(buffer[start:position]))
                start = position
        if start:
            del buffer[:start]
        self._position = position - start
        return elements

    def rest(self) -> bytes:
        """The bytes after the last complete element."""
        return bytes(self._buffer)

    def give_up(self) -> bytes:
        """Release an element that is too long to wait for; see `framing.Splitter`."""
        rest = bytes(self._buffer[: self._position])
        del self._buffer[: self._position]
        self._position = 0
        return rest

    def _closes_element(self, token: int) -> bool:
        """Follow one token; whether it ends an element."""
        if token == 0x22:
            self._in_string = True
        elif token in b"{[":
            if self._base is None:
                self._base = 1 if token == 0x5B else 0
            self._depth += 1
        elif self._depth:
            self._depth -= 1
            return self._depth == self._base
        return False


def parse(raw: bytes) -> StreamEvent:
    """Read a raw element: its JSON without the bracket or comma before it."""
    data = raw.strip(_SPACE)
    if data[:1] in (b"[", b","):
        data = data[1:].lstrip(_SPACE)
    return StreamEvent("", data)


def is_sequence(body: bytes) -> bool:
    """Whether a body is several JSON objects: the chunks of a stream, which some servers send so."""
    objects = (raw for raw in JsonArraySplitter().feed(body) if reading.members(parse(raw).data))
    return len(list(islice(objects, 2))) == 2
