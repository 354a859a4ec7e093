"""AWS event streams (`application/vnd.amazon.eventstream`), cut, checked and written.

A frame is a prelude (length of the frame, length of its headers, CRC-32 of these two), headers, a payload, and the
CRC-32 of all before (https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html).
"""

from __future__ import annotations

import json
import struct
from typing import Literal
from zlib import crc32

from paig_gateway.formats.base import StreamEvent

MAX_FRAME = 24 * 1024 * 1024
"""Bytes of the largest frame taken for one; AWS sends none above 16 MiB of payload."""

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
    if not _OVERHEAD + headers <= length <= MAX_FRAME:
        raise CorruptFrame(f"a frame of {length} bytes with {headers} bytes of headers")
    return int(length)


def parse(raw: bytes) -> StreamEvent:
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
    headers = _headers(raw, _PRELUDE.size, end)
    payload = raw[end : -_CRC.size]
    kind = headers.get(":message-type", "event")
    name = headers.get(_NAME_HEADER.get(kind, ":event-type"), "")
    if kind == "error" and not payload:
        payload = json.dumps({"message": headers.get(":error-message", "")}).encode()
    return StreamEvent(name, payload, is_exception=kind in ("exception", "error"))


def _headers(raw: bytes, position: int, end: int) -> dict[str, str]:
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


def encode(name: str, payload: bytes, *, kind: MessageKind = "event") -> bytes:
    """Write a frame.

    Args:
        name: The event's or exception's type.
        payload: Its payload.
        kind: What sort of message it is.

    Raises:
        ValueError: A header's value is longer than the format has room for.
    """
    values = {_NAME_HEADER[kind]: name, ":content-type": "application/json", ":message-type": kind}
    headers = b"".join(_header(key, value.encode()) for key, value in values.items())
    start = struct.pack(">II", _OVERHEAD + len(headers) + len(payload), len(headers))
    frame = start + _CRC.pack(crc32(start)) + headers + payload
    return frame + _CRC.pack(crc32(frame))


def _header(name: str, value: bytes) -> bytes:
    if len(value) > 0x7FFF:
        raise ValueError(f"the value of header {name} is too long")
    return bytes([len(name)]) + name.encode() + bytes([_STRING]) + _SHORT.pack(len(value)) + value
