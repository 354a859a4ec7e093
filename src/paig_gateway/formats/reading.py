"""Lenient reading of JSON, only as deep as a question goes.

Bodies are decoded one level at a time into raw members, so a 6 MB image is passed over and never becomes an object.
Whatever has an unexpected type reads as absent: what a request means is the provider's to judge. Duplicate members
read as JSON parsers read them: the last one counts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeVar

import msgspec

from paig_gateway.formats.base import MalformedRequest

Raw = msgspec.Raw | bytes
Members = dict[str, msgspec.Raw]
"""A JSON object's members, undecoded."""

MOST = 10**9
"""No count of tokens or answers that a request means is larger; what is larger reads as absent."""

MOST_MENDED = 100_000
"""Escaped halves of surrogate pairs that are replaced; a body with more is not JSON."""

LONGEST_NAME = 2048
"""Characters of a model's name: as many as an ARN may have."""

_T = TypeVar("_T")
_MEMBERS = msgspec.json.Decoder(Members)
_OBJECTS = msgspec.json.Decoder(list[Members])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_VALUE = msgspec.json.Decoder()
_RAW = msgspec.json.Decoder(msgspec.Raw)
# Half of a surrogate pair, escaped: JSON by the grammar and sent by some, but the decoder refuses it.
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def mended(body: bytes) -> bytes:
    """`body` of the same length, each escaped half of a surrogate pair and each byte that is not UTF-8 replaced."""
    try:
        body.decode()
    except UnicodeDecodeError:
        body = _NOT_UTF8.sub("?", body.decode("utf-8", "surrogateescape")).encode()
    return _LONE_SURROGATE.sub(rb"\\ufffd", body, count=MOST_MENDED)


def _decode(decoder: msgspec.json.Decoder[_T], raw: Raw) -> _T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = bytes(raw)
        if (other := mended(text)) == text:
            raise
        return decoder.decode(other)


_LARGEST_KEPT = 64 * 1024
"""Bytes of a request body whose members are kept."""

_last: tuple[bytes, Members] = b"", {}
"""The body that was read last, and its members: it is checked first, and then read by its format."""


def request(body: bytes) -> Members:
    """The members of a request body, not to be changed.

    Raises:
        MalformedRequest: The body is not a JSON object.
    """
    global _last
    last, members = _last
    if body is last and body:
        return members
    members = _request(body)
    if len(body) <= _LARGEST_KEPT:
        _last = body, members
    return members


def _request(body: bytes) -> Members:
    try:
        return _decode(_MEMBERS, body)
    except msgspec.ValidationError:
        raise MalformedRequest("The request body must be a JSON object.") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedRequest(f"The request body is not JSON: {error}.") from None


def check(body: bytes) -> None:
    """See that a body is JSON.

    Raises:
        MalformedRequest: It is not.
    """
    try:
        _decode(_RAW, body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedRequest(f"The request body is not JSON: {error}.") from None


def model_of(top: Members, model: str | None) -> str:
    """The requested model: from the path, else from the body.

    Raises:
        MalformedRequest: Neither names one.
    """
    named = model or string(top.get("model"))
    if not named:
        raise MalformedRequest('The request names no model: give "model" as a string.')
    if len(named) > LONGEST_NAME:
        raise MalformedRequest(f"The model's name is longer than {LONGEST_NAME} characters.")
    return named


def members(raw: Raw | None) -> Members:
    """An object's members; empty if it is not an object."""
    try:
        return _decode(_MEMBERS, raw) if raw is not None and _opens(raw, _OBJECT) else {}
    except (msgspec.DecodeError, RecursionError):
        return {}


def objects(raw: Raw | None) -> list[Members]:
    """The objects among an array's elements."""
    if raw is None or not _opens(raw, _LIST):
        return []
    try:
        return _decode(_OBJECTS, raw)
    except msgspec.ValidationError:
        return [members(each) for each in array(raw) if _opens(each, _OBJECT)]
    except (msgspec.DecodeError, RecursionError):
        return []


def array(raw: Raw | None) -> list[msgspec.Raw]:
    """An array's elements; empty if it is not an array."""
    try:
        return _decode(_ARRAY, raw) if raw is not None else []
    except (msgspec.DecodeError, RecursionError):
        return []


def is_whole(raw: Raw) -> bool:
    """Whether JSON has its end, however wrong it may be before."""
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return "truncated" not in str(error)
    except RecursionError:
        return True
    return True


def value(raw: Raw | None) -> object:
    """The value, decoded in full, or None."""
    try:
        return _decode(_VALUE, raw) if raw is not None else None
    except (msgspec.DecodeError, RecursionError):
        return None


def string(raw: Raw | None) -> str | None:
    """A string, or None."""
    if raw is None or not _opens(raw, _STRING):
        return None
    found = value(raw)
    return found if isinstance(found, str) else None


def integer(raw: Raw | None) -> int | None:
    """A whole number that is not negative and not absurd, or None."""
    found = value(raw) if raw is not None and len(memoryview(raw)) < 32 else None
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MOST else None


_TRUE_WORDS = frozenset({"true", "1", "yes", "on", "t", "y"})


def truth(raw: Raw | None) -> bool:
    """Whether the value is `true`, or what lenient servers take for it: OpenAI refuses `1`, vLLM reads it so."""
    if raw is None or len(memoryview(raw)) > 16:
        return False
    found = value(raw)
    return found.lower() in _TRUE_WORDS if isinstance(found, str) else found is True or found == 1


def literally(raw: Raw | None) -> bool:
    """Whether the value is `true` to everybody."""
    return raw is not None and bytes(raw) == b"true"


def present(raw: Raw | None) -> bool:
    """Whether there is a value other than null."""
    return raw is not None and bytes(memoryview(raw)[:5]).strip() != b"null"


def count(raw: Raw | None, default: int, name: str) -> int:
    """How much a member allows; digits in a string count too, since lenient servers take them.

    Args:
        raw: The member's value.
        default: What counts where there is none.
        name: The member's name, for the error.

    Raises:
        MalformedRequest: It is something else than a whole number, which each server may read in its own way.
    """
    if not present(raw):
        return default
    if (text := string(raw)) is not None and text.isdecimal() and len(text) < 10:
        return int(text)
    found = value(raw)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or found != found // 1 or not 0 <= found <= MOST:
        raise MalformedRequest(f'"{name}" must be a whole number.')
    return int(found)


def answers(raw: Raw | None, name: str = "n") -> int:
    """How many answers `n` and the like ask for; see `count`."""
    return count(raw, 1, name) or 1


def with_budget(most: int | None, budget: Raw | None) -> int | None:
    """The output maximum together with a budget for thinking: a budget that is larger comes on top of it.

    None where either of them cannot be read as a count.
    """
    if most is None or not present(budget):
        return most
    thinking = integer(budget)
    return None if thinking is None else most if thinking <= most else most + thinking


def largest(*raws: Raw | None) -> int | None:
    """The largest of several members that may bound the output, because servers differ in which one they read.

    None where one of them is not a count above zero: a lenient server may read `"100000"` or `-1` as more than another
    one says, and for Google's and Ollama's servers 0 means no bound.
    """
    found = [integer(raw) or None for raw in raws if present(raw)]
    return None if None in found else max((number for number in found if number is not None), default=None)


def size(raw: Raw | None) -> int:
    """The bytes of the value as written."""
    return 0 if raw is None else len(memoryview(raw))


_OBJECT, _LIST, _STRING = b'{["'
_BEFORE = frozenset(b" \t\r\n\xef")


def _opens(raw: Raw, bracket: int) -> bool:
    view = memoryview(raw)
    if not view:
        return False
    start = view[0]
    if start in _BEFORE:  # only whole bodies are read with white space before them
        return bytes(raw).lstrip()[:1] == bytes((bracket,))
    return start == bracket


_ESCAPE = re.compile(rb"\\u")  # a pattern finds two bytes in a quarter of the time that `in` takes


def has_escape(body: bytes) -> bool:
    """Whether a JSON document may have a letter that is written as an escape."""
    # One byte is found ten times quicker still: base64 has no backslash, and a body of megabytes is mostly that.
    return b"\\" in body and _ESCAPE.search(body) is not None


def spelt(name: str) -> bytes:
    """A pattern of `name` as a JSON string, any letter of which may be written as an escape."""
    letters = [rb"(?:%b|\\u(?i:%04x))" % (re.escape(letter.encode()), ord(letter)) for letter in name]
    return rb'"%b"' % b"".join(letters)


@lru_cache(maxsize=64)
def _name(name: str) -> re.Pattern[bytes]:
    return re.compile(spelt(name))


def mentions(body: bytes, name: str) -> bool:
    """Whether a JSON document contains `name` as a string, however its letters are escaped."""
    return b'"%b"' % name.encode() in body or (b"\\u00" in body and _name(name).search(body) is not None)
