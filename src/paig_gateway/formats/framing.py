"""How streams are cut into raw events, and how these are read: one row per framing.

Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html. A frame of an AWS event stream
(`application/vnd.amazon.eventstream`) is a prelude (length of the frame, length of its headers, CRC-32 of these two),
headers, a payload, and the CRC-32 of all before (https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from typing import Literal, Protocol
from zlib import crc32

from paig_gateway.formats import jsonarray
from paig_gateway.formats.base import Framing, StreamEvent

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
        end = buffer.rfind(b"\n\n", self._scanned) + 2
        if end < 2:
            self._scanned = max(0, len(buffer) - 1)
            return b""
        block = bytes(buffer[:end])
        del buffer[:end]
        self._scanned = 0
        return block

    def rest(self) -> bytes:
        return bytes(self._buffer)

    def give_up(self) -> bytes:
        """Release an event that is too long to wait for; see `Splitter`."""
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


def parse_sse(raw: bytes) -> StreamEvent:
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


MAX_FRAME = 24 * 1024 * 1024
"""Bytes of the largest frame taken for one; AWS sends none above 16 MiB of payload."""

MAX_FRAME_HEADERS = 128 * 1024
"""Bytes of the headers of a frame, as AWS documents."""

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_SHORT = struct.Struct(">H")
_OVERHEAD = _PRELUDE.size + _CRC.size
# Bytes of a header's value by its type; strings (7) and byte arrays (6) say their own length.
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_STRING = 7
_BYTES = 6

MessageKind = Literal["event", "exception", "error"]
_NAME_HEADER: dict[str, str] = {"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}


class CorruptFrame(ValueError):
    """Bytes that are not an event stream frame."""


class EventStreamSplitter:
    """Cuts a stream into raw frames: the frames and the rest, joined, are the input."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; return the frames they complete.

        Raises:
            CorruptFrame: The stream continues with something that is not a frame. Frames before it are returned first,
                and the next call raises; `rest` still has all bytes that were not returned.
        """
        buffer = self._buffer
        buffer += chunk
        frames: list[bytes] = []
        start = 0
        while len(buffer) - start >= _PRELUDE.size:
            try:
                length = _frame_length(buffer, start)
            except CorruptFrame:
                if not frames:
                    raise
                break
            if len(buffer) - start < length:
                break
            frames.append(bytes(buffer[start : start + length]))
            start += length
        if start:
            del buffer[:start]
        return frames

    def rest(self) -> bytes:
        return bytes(self._buffer)

    def give_up(self) -> bytes:
        """Nothing to release: no frame is longer than `MAX_FRAME`."""
        return b""


def is_frame(head: bytes) -> bool:
    """Whether the first bytes of a stream begin a frame."""
    try:
        return len(head) >= _PRELUDE.size and _frame_length(head, 0) > 0
    except CorruptFrame:
        return False


def _frame_length(buffer: bytes | bytearray, start: int) -> int:
    length, headers, check = _PRELUDE.unpack_from(buffer, start)
    if crc32(buffer[start : start + 8]) != check:
        raise CorruptFrame("the checksum of a frame's prelude is wrong")
    if not _OVERHEAD + headers <= length <= MAX_FRAME or headers > MAX_FRAME_HEADERS:
        raise CorruptFrame(f"a frame of {length} bytes with {headers} bytes of headers")
    return int(length)


def parse_frame(raw: bytes) -> StreamEvent:
    """Read a frame: its event, exception or error type, and its payload.

    Raises:
        CorruptFrame: A checksum or a length is wrong.
    """
    if len(raw) < _OVERHEAD or _frame_length(raw, 0) != len(raw):
        raise CorruptFrame("the frame is not as long as it says")
    if crc32(raw[: -_CRC.size]) != _CRC.unpack_from(raw, len(raw) - _CRC.size)[0]:
        raise CorruptFrame("the checksum of a frame is wrong")
    _, length, _ = _PRELUDE.unpack_from(raw)
    end = _PRELUDE.size + length
    headers = _frame_headers(raw, _PRELUDE.size, end)
    payload = raw[end : -_CRC.size]
    kind = headers.get(":message-type", "event")
    name = headers.get(_NAME_HEADER.get(kind, ":event-type"), "")
    if kind == "error" and not payload:
        payload = json.dumps({"message": headers.get(":error-message", "")}).encode()
    return StreamEvent(name, payload, is_exception=kind in ("exception", "error"))


def _frame_headers(raw: bytes, position: int, end: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    try:
        while position < end:
            size = raw[position]
            name = raw[position + 1 : position + 1 + size].decode()
            position += 1 + size
            kind = raw[position]
            position += 1
            if kind in (_STRING, _BYTES):
                size = _SHORT.unpack_from(raw, position)[0]
                position += _SHORT.size
            else:
                size = _FIXED[kind]
            if kind == _STRING:
                headers[name] = raw[position : position + size].decode()
            position += size
    except (KeyError, IndexError, UnicodeDecodeError, struct.error):
        raise CorruptFrame("the headers of a frame are malformed") from None
    if position != end:
        raise CorruptFrame("the headers of a frame run into its payload")
    return headers


def encode_frame(name: str, payload: bytes, *, kind: MessageKind = "event") -> bytes:
    """Write a frame.

    Args:
        name: The event's or exception's type.
        payload: Its payload.
        kind: What sort of message it is.

    Raises:
        ValueError: A header's value is longer than the format has room for.
    """
    values = {_NAME_HEADER[kind]: name, ":content-type": "application/json", ":message-type": kind}
    headers = b"".join(_frame_header(key, value.encode()) for key, value in values.items())
    start = struct.pack(">II", _OVERHEAD + len(headers) + len(payload), len(headers))
    frame = start + _CRC.pack(crc32(start)) + headers + payload
    return frame + _CRC.pack(crc32(frame))


def _frame_header(name: str, value: bytes) -> bytes:
    if len(value) > 0x7FFF:
        raise ValueError(f"the value of header {name} is too long")
    return bytes([len(name)]) + name.encode() + bytes([_STRING]) + _SHORT.pack(len(value)) + value


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
    "sse": (SseSplitter, parse_sse),
    "eventstream": (EventStreamSplitter, parse_frame),
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
    if is_frame(head):
        return "eventstream"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        return "json"
    return "sse" if _FIELD.match(text) else None
