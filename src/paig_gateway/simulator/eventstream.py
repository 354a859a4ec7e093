"""Writes AWS's binary event stream: frames of headers and payload, each with two CRCs."""

from __future__ import annotations

import struct
import zlib

from .wire import Document, encode

CONTENT_TYPE = b"application/vnd.amazon.eventstream"
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_STRING = 7


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One frame: total length, length of the headers, CRC of these, headers, payload, CRC of everything."""
    packed = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _STRING, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", len(packed) + len(payload) + 16, len(packed))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return body + struct.pack(">I", zlib.crc32(body))


def event(kind: str, payload: Document) -> bytes:
    """An event with a JSON payload; padding hides its length, as at Bedrock."""
    padded = {**payload, "p": _PADDING[: 5 + len(payload) * 11 % 50]}
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, encode(padded))


def exception(kind: str, message: str) -> bytes:
    """An exception frame, by which a stream fails after its 200."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, encode({"message": message}))
