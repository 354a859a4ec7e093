"""Splices into JSON bytes: a few members go in, no other byte changes.

Where an object stands is found by decoding, not by searching: an answer may well contain text, or an object, that looks
just like the usage object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache

import msgspec

from paig_gateway.formats import reading

_SPACE = b" \t\r\n"
_CANDIDATES = 16
"""How many look-alikes of one value are tried; there is rarely more than one."""
_DATA_LINE = re.compile(rb"(?:^(?:\xef\xbb\xbf)?|(?<=[\r\n]))data:[ ]?([^\r\n]*)")


def splice_cost(
    body: bytes, paths: tuple[tuple[str, ...], ...], cost: str, known: Mapping[str, object] | None = None
) -> bytes:
    """Add the cost to the first object at one of `paths`, as its last members.

    Args:
        body: A JSON document.
        paths: Names of members from the top down, most wanted first.
        cost: US dollars, a decimal.
        known: The document's members, where it has been decoded.

    Returns:
        The document with the cost in it; unchanged if no path leads to an object, or the body is not JSON.
    """
    if known is not None and (span := _only_usage(body, paths, known)) is not None:
        return _append(body, span, _members(cost))
    text = _mended(body)
    for path in paths:
        span = locate(text, path)
        if span is not None and text[span[0] : span[0] + 1] == b"{":
            return _append(body, span, _members(cost))
    return body


_NAME = re.compile(rb'"usage"')
_FLAT = re.compile(rb'"usage"[ \t\r\n]*:[ \t\r\n]*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
"""The member `usage` and an object, of which only braces were looked at."""


def _only_usage(body: bytes, paths: tuple[tuple[str, ...], ...], known: Mapping[str, object]) -> tuple[int, int] | None:
    """Where the usage of a decoded document stands, where its name stands only once in the document's bytes.

    No letter is written as an escape then, so that the only place is that of the member that was decoded. Of what
    begins there with a brace, only the object itself decodes.
    """
    if paths[:1] != (("usage",),) or type(known.get("usage")) is not dict or reading.has_escape(body):
        return None
    first = _NAME.search(body)
    found = _FLAT.match(body, first.start()) if first is not None else None
    if found is None or _NAME.search(body, found.start() + 1):
        return None
    try:
        msgspec.json.decode(found[1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found.span(1)


def splice_event(raw: bytes, paths: tuple[tuple[str, ...], ...], cost: str) -> bytes:
    """Put the cost into the usage object of a raw server-sent event, which must have a single `data:` line."""
    lines = list(_DATA_LINE.finditer(raw))
    if len(lines) != 1:
        return raw
    start, end = lines[0].span(1)
    return raw[:start] + splice_cost(raw[start:end], paths, cost) + raw[end:]


def splice_member(body: bytes, path: tuple[str, ...], member: bytes) -> bytes:
    """Set the member at `path` to the JSON `member`.

    Where there is one already its value is replaced; else it goes to the front of the object that `path` leads to,
    which must exist. Unchanged where it does not, or the body is not JSON.
    """
    text = _mended(body)
    if (span := locate(text, path)) is not None:
        return body[: span[0]] + member + body[span[1] :]
    parent = locate(text, path[:-1])
    if parent is None or not _is_object(text[parent[0] : parent[1]]):
        return body
    start = parent[0] + 1
    comma = b"" if text[start : parent[1] - 1].strip(_SPACE) == b"" else b","
    return body[:start] + msgspec.json.encode(path[-1]) + b":" + member + comma + body[start:]


def _members(cost: str) -> bytes:
    number = cost
    if not cost.replace(".", "", 1).isdecimal() or not cost.isascii():
        try:
            number = format(Decimal(cost), "f")
        except InvalidOperation:
            raise ValueError(f"not a decimal: {cost!r}") from None
    return b'"logfire_ai_gateway":{"cost":"%b"},"pydantic_ai_gateway":{"cost_estimate":%b}' % (
        cost.encode(),
        number.encode(),
    )


def _is_object(text: bytes) -> bool:
    try:
        msgspec.json.decode(reading.mended(text), type=reading.Members)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _append(body: bytes, span: tuple[int, int], inserted: bytes) -> bytes:
    start, end = span[0] + 1, span[1] - 1
    comma = b"," if body[start:end].strip(_SPACE) else b""
    view = memoryview(body)  # joined once: each copy of a body of some megabytes costs milliseconds
    return b"".join((view[:end], comma, inserted, view[end:]))


def _mended(body: bytes) -> bytes:
    """A text of the same length that decodes, where escaped halves of surrogate pairs are in the way of that."""
    return reading.mended(body) if b"\\ud" in body or b"\\uD" in body else body


def locate(text: bytes, path: tuple[str, ...]) -> tuple[int, int] | None:
    """Where the value at `path` starts and ends; None if there is none."""
    start = len(text) - len(text.lstrip(_SPACE))
    end = len(text.rstrip(_SPACE))
    for name in path:
        inner = text[start:end]
        found = _position(inner, name)
        if found is None:
            return None
        start, end = start + found[0], start + found[1]
    return start, end


def _position(text: bytes, name: str) -> tuple[int, int] | None:
    """Where the value of an object's member stands in the object's bytes.

    Its bytes are known from decoding. In JSON a name and a colon are never part of a string, so where these bytes
    follow them only once, that is the place; else the place is where a change of the bytes changes the member.
    """
    raw = reading.members(text).get(name)
    if raw is None:
        return None
    wanted = bytes(raw)
    named = _named(name, escaped=b"\\u" in text)
    places = [at for match in named.finditer(text) if text.startswith(wanted, at := match.end())]
    if len(places) == 1:
        return places[0], places[0] + len(wanted)
    other = b"0" if wanted[:1] != b"0" else b"1"
    for place in places[: -_CANDIDATES - 1 : -1]:
        changed = reading.members(text[:place] + other + text[place + len(wanted) :]).get(name)
        if changed is not None and bytes(changed) == other:
            return place, place + len(wanted)
    return None


@lru_cache(maxsize=64)
def _named(name: str, *, escaped: bool) -> re.Pattern[bytes]:
    if not escaped:
        return re.compile(rb'"%b"[ \t\r\n]*:[ \t\r\n]*' % re.escape(name.encode()))
    # Any letter of a name may be written as an escape.
    letters = [rb"(?:%b|\\u(?i:%04x))" % (re.escape(letter.encode()), ord(letter)) for letter in name]
    return re.compile(rb'"%b"[ \t\r\n]*:[ \t\r\n]*' % b"".join(letters))
