"""JSON and server-sent events as bytes, in the styles of the providers."""

from __future__ import annotations

import json
import random
from typing import Any, TypeAlias

import msgspec

Document: TypeAlias = dict[str, Any]
"""A JSON object of any content."""

HeaderFields: TypeAlias = tuple[tuple[bytes, bytes], ...]

encode = msgspec.json.encode


def pretty(value: object) -> bytes:
    """JSON indented by two spaces and ended by a newline, as OpenAI and Google send it."""
    return msgspec.json.format(encode(value), indent=2) + b"\n"


def spaced(value: object) -> bytes:
    """JSON with a space after each colon, as Google sends it in events."""
    return json.dumps(value, separators=(",", ": "), ensure_ascii=False).encode()


def sse(value: object, event: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return head + b"data: " + encode(value) + b"\n\n"


def new_id(prefix: str, length: int) -> str:
    """A new id: the prefix and `length` hexadecimal digits."""
    return f"{prefix}{random.getrandbits(4 * length):0{length}x}"


def inner(record: Document, name: str) -> Document:
    """The object under a name; an empty object if there is none."""
    found: Document = record.get(name) or {}
    return found


def objects(value: Any) -> list[Document]:
    """A list of objects, from one object, a list or None."""
    if value is None:
        return []
    return [value] if isinstance(value, dict) else [item for item in value if isinstance(item, dict)]
