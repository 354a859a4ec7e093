"""Values on their way into the database: times, text and JSON that both databases take."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import overload

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def milliseconds(at: datetime) -> int:
    """Whole milliseconds since the epoch, rounded down, so that a moment never lands in the next window.

    A time without a zone is UTC.
    """
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def moment(at: int) -> datetime:
    """The time, in UTC, of milliseconds since the epoch."""
    return _EPOCH + at * _MILLISECOND


@overload
def text(value: str) -> str: ...
@overload
def text(value: str | None) -> str | None: ...
def text(value: str | None) -> str | None:
    """Text that a client or a provider chose, without what a database refuses: NUL and lone surrogates."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def json_text(value: object) -> str | None:
    """A JSON document that both databases take, or None for None."""
    if value is None:
        return None
    try:
        encoded = msgspec.json.encode(value, enc_hook=_plain)
        if b"\\u0000" not in encoded:
            return encoded.decode()
    except (OverflowError, UnicodeEncodeError):  # an integer beyond 64 bits, a lone surrogate
        pass
    return json.dumps(_clean(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _clean(value: object) -> object:
    match value:
        case None | bool() | int():
            return value
        case str():
            return text(value)
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {text(str(name)): _clean(part) for name, part in value.items()}
        case list() | tuple():
            return [_clean(part) for part in value]
        case _:
            return text(str(value))
