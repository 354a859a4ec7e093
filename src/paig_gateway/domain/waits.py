"""How long a provider asks to be left alone, in whichever of its ways of saying so. No I/O.

`retry-after` in seconds or as a date, `retry-after-ms`; `x-ratelimit-remaining-…: 0` with `x-ratelimit-reset-…` in
seconds or as `6m0s` (OpenAI, Groq, Cerebras); `anthropic-ratelimit-…-remaining: 0` with `…-reset` in RFC 3339; Google's
`RetryInfo` in the body.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case."""

_EPOCH = 1_000_000_000
"""A bare number of seconds above this is a moment, not a length of time."""
_PARTS = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|[smhd]))")
_LENGTH = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|[smhd])){1,5}")
_NUMBER = re.compile(r"\d{1,13}(?:\.\d{1,9})?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RETRY_INFO = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,9}(?:\.\d{1,9})?)s"')


def asked(headers: Headers, now: datetime) -> float | None:
    """The seconds that a refusal asks to wait; None where it does not say, or says none.

    Args:
        headers: The answer's.
        now: The present.
    """
    given = dict(headers)
    if (milliseconds := _number(given.get(b"retry-after-ms"))) is not None:
        return milliseconds / 1000 or None
    if (value := given.get(b"retry-after")) is not None and (seconds := _retry_after(value, now)) is not None:
        return seconds or None
    return used_up(given.items(), now) or None


def asked_in_body(body: bytes) -> float | None:
    """The seconds that a refusal's body asks to wait, as Google's do."""
    found = _RETRY_INFO.search(body)
    return float(found[1]) or None if found else None


def used_up(headers: Headers, now: datetime) -> float | None:
    """The seconds until there is something left of a rate that an answer says is used up; None where none is.

    Where several are, the last of them to come back.
    """
    names = [name for name, value in headers if value == b"0" and b"ratelimit" in name and b"remaining" in name]
    if not names:
        return None
    given = dict(headers)
    waits = [_until(given.get(name.replace(b"remaining", b"reset")), now) for name in names]
    return max((wait for wait in waits if wait is not None), default=None)


def _retry_after(value: bytes, now: datetime) -> float | None:
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        at = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, IndexError, OverflowError):  # whatever its parser makes of a hostile date
        return None
    return _left(at, now)


def _until(value: bytes | None, now: datetime) -> float | None:
    """A reset as seconds from now: a length of time, a moment in RFC 3339, or one in seconds or milliseconds."""
    if value is None or len(value) > 40:
        return None
    text = value.decode("latin-1").strip()
    if (number := _number(value)) is not None:
        if number > _EPOCH * 1000:
            number /= 1000
        return number if number < _EPOCH else max(number - now.timestamp(), 0.0)
    if _LENGTH.fullmatch(text):
        return sum(float(count) * _SECONDS[unit] for count, unit in _PARTS.findall(text))
    try:
        return _left(datetime.fromisoformat(text), now)
    except (ValueError, OverflowError):
        return None


def _left(at: datetime, now: datetime) -> float:
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return max((at - now).total_seconds(), 0.0)


def _number(value: bytes | None) -> float | None:
    text = (value or b"").decode("latin-1").strip()
    return float(text) if _NUMBER.fullmatch(text) else None
