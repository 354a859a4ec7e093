"""Requests that two parsers could read in two ways.

A provider may read the first of two equal members while the gateway reads the last, or accept a spelling that the
gateway does not know. That must never change the price, so such a request is refused if it happens where prices are
decided: at the request's top level, in its settings, and in each of its tools. The insides of messages, tool parameters
and schemas are not checked, because they decide nothing.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import unquote

from paig_gateway.formats import reading
from paig_gateway.formats.base import MalformedRequest
from paig_gateway.formats.reading import Members, Raw

# Objects inside a request that hold settings, as APIs with camel case write them; by their canonical names.
_SETTINGS = {
    name.lower(): name
    for name in (
        *("additionalModelRequestFields", "audio", "conversation", "generationConfig", "imageConfig"),
        *("imageGenerationConfig", "inferenceConfig", "options", "outputConfig", "parameters", "performanceConfig"),
        *("reasoning", "searchParameters", "serviceTier", "speechConfig", "streamOptions", "textGenerationConfig"),
        *("thinking", "thinkingConfig", "usage", "videoGenerationConfig", "webSearchOptions"),
    )
}
# Members that multiply or raise what a request costs, likewise: in another case (`N`, `mAX_TOKENS`) a server that
# ignores case would read them, and the gateway would not.
_VALUES = {
    name.lower(): name
    for name in (
        *("background", "bestOf", "candidateCount", "maxCompletionTokens", "maxOutputTokens", "maxTokens", "model"),
        *("models", "n", "numGenerations", "sampleCount", "stream", "tools"),
    )
}
_DECIDING = _SETTINGS | _VALUES
_LARGEST_REREAD = 256 * 1024
"""Bytes of an object that is read a second time, by a slower parser, where names may be written with escapes."""

MOST_MEMBERS = 1_000
"""Members that a request body may have at its top level, and each of its settings and tools."""

MOST_TOOLS = 10_000
"""Tools of a request; OpenAI takes 128."""

MOST_VALUES = 500_000
"""Values in a request body; an object or a list counts as five, because reading it takes that much longer."""

MOST_OVERLONG = 10_000
"""ASCII characters of a body that are written in more bytes than one, which is not UTF-8."""

MOST_BROKEN = 100_000
"""Bytes of a body that are not UTF-8."""

BATCH_FACTOR = 20
"""How many times as many values the body of a batch may have: its requests are read in a thread."""

_WHITESPACE = (b" ", b"\n", b"\r", b"\t")


def check_json(body: bytes, most_values: int = MOST_VALUES) -> None:
    """Check that a JSON request states everything that decides its price only once.

    Args:
        body: The decoded body. A body that is not a JSON object passes: its format refuses it, or does not read it.
        most_values: The values that it may have.

    Raises:
        MalformedRequest: A member is there twice, or in two spellings, or in a case that only some servers know; or
            the body has too many values.
    """
    # Nothing else is served while a body is read, so what takes long for its size is refused.
    if has_more_values(body, most_values):
        raise MalformedRequest(
            f"The body has more than {most_values:,} values (objects and lists count as five): send less at once, "
            "or raise `[server] max_body_values`."
        )
    if not body.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"{"):
        return
    is_utf8 = body.isascii() or _is_utf8(body)
    if not is_utf8 and is_broken(body):
        raise MalformedRequest("The request body is not UTF-8: send it as UTF-8.")
    found = reading.request(body)
    _check_object(body, found, "")
    if not is_utf8:
        # Some servers drop bytes that are not UTF-8, or read letters in too many bytes: they would find other names.
        shortened, number = _OVERLONG.subn(_letter, body, MOST_OVERLONG + 1)
        if number > MOST_OVERLONG:
            raise MalformedRequest("The request body is not UTF-8: send it as UTF-8.")
        for other in (body, shortened):
            text = other.decode("utf-8", "ignore").encode()
            theirs = reading.request(text)
            _check_object(text, theirs, "")
            if set(_deciding(theirs, "")) != set(_deciding(found, "")):
                raise MalformedRequest("The request body is not UTF-8, and may be read in two ways: send it as UTF-8.")


_AT_ONCE = 1024 * 1024
_BRACKETS = (b"{", b"[")
_UNESCAPED = re.compile(rb"[^\\]")


def has_more_values(body: bytes, most: int) -> bool:
    """Whether a JSON document has more than `most` values, an object or a list counting as five.

    What stands in strings does not count, however many commas and brackets a prompt has.
    """
    if len(body) * 5 <= most or _marks(body) <= most:
        return False
    found, inside, start = 0, 0, 0
    while start < len(body) and found <= most:
        end = start + _AT_ONCE
        if body[end - 1 : end] == b"\\":  # nothing is cut between a backslash and what it escapes
            rest = _UNESCAPED.search(body, end)
            end = rest.end() if rest is not None else len(body)
        # In JSON a backslash stands in strings alone, so each quotation mark that is left begins or ends one.
        pieces = body[start:end].replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        found += _marks(b"".join(pieces[inside::2]))
        inside, start = (inside + len(pieces) - 1) % 2, end
    return found > most


def _marks(text: bytes) -> int:
    return text.count(b",") + 5 * sum(map(text.count, _BRACKETS))


_OVERLONG = re.compile(rb"[\xc0\xc1]([\x80-\xbf])|\xe0[\x80\x81]([\x80-\xbf])")


def _letter(overlong: re.Match[bytes]) -> bytes:
    """The ASCII character that two or three bytes stand for."""
    whole = overlong[0]
    return bytes([(whole[-2] & 1) << 6 | whole[-1] & 63])


def _is_utf8(body: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(body), _AT_ONCE):  # a large body is not held a second time
            decoder.decode(body[start : start + _AT_ONCE], final=start + _AT_ONCE >= len(body))
    except UnicodeDecodeError:
        return False
    return True


def is_broken(body: bytes) -> bool:
    """Whether so much of a body is not UTF-8 that mending it would take long."""
    broken = 0
    for start in range(0, len(body), _AT_ONCE):
        piece = body[start : start + _AT_ONCE]
        broken += len(piece) - len(piece.decode("utf-8", "ignore").encode())
        if broken > MOST_BROKEN:
            return True
    return False


def _deciding(found: Members, where: str) -> Iterator[str]:
    """The deciding members of an object and of the settings in it, by their places."""
    yield from (_at(where, name) for name in found if decides(name))
    for inner, value in _settings(found, _named_settings(tuple(found), where), where):
        yield from _deciding(reading.members(value), inner)


def decides(name: str) -> bool:
    """Whether a member of that name may decide what a request costs, in whichever spelling."""
    return _plainest(name) in _DECIDING


def is_plain_value(name: str) -> bool:
    """Whether a member of that name decides by a plain value, which no file may stand for."""
    return _plainest(name) in _VALUES


def read_once(raw: bytes, where: str) -> Members:
    """Read an object whose own members all matter.

    Args:
        where: Its place, for the error.

    Raises:
        MalformedRequest: It is not an object, or a member is there twice, or in two spellings.
    """
    found = reading.request(raw)
    check_names(found, where)
    if _hides_text(raw, found) and not _names_are_distinct(raw):
        raise MalformedRequest(f'A member in "{where}" is given twice: give each name once.')
    return found


def _check_object(raw: bytes, found: Members, where: str) -> None:
    if len(found) > MOST_MEMBERS:
        place = f'"{where}"' if where else "The request body"
        raise MalformedRequest(f"{place} has more than {MOST_MEMBERS} members.")
    settings = _named_settings(tuple(found), where)
    if _hides_text(raw, found) and not _names_are_distinct(raw):
        place = f'in "{where}"' if where else "in the request body"
        raise MalformedRequest(f"A member {place} is given twice: give each name once.")
    for inner, value in _settings(found, settings, where):
        members = reading.members(value)
        if members:
            _check_object(bytes(value), members, inner)


_CHECKED: dict[tuple[str, ...], tuple[str, ...]] = {}
"""Names of objects that passed `check_names`, and those of them that hold settings: clients repeat the same ones."""


def _named_settings(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The names of an object's members that hold settings, after a check that no two of all its names are alike.

    Raises:
        MalformedRequest: See `check_names`.
    """
    found = _CHECKED.get(names)
    if found is None:
        check_names(names, where)
        found = tuple(name for name in names if (meaning := canonical(name)) in _SETTINGS or meaning == "tools")
        if sum(map(len, names)) <= 1000:
            if len(_CHECKED) >= 1000:
                _CHECKED.clear()
            _CHECKED[names] = found
    return found


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _settings(found: Members, names: Iterable[str], where: str) -> Iterator[tuple[str, Raw]]:
    """The settings under those names, each tool apart, by their places."""
    for name in names:
        value, inner = found[name], _at(where, name)
        if canonical(name) != "tools" or bytes(memoryview(value)[:1]) == b"{":
            yield inner, value
        else:
            tools = reading.array(value)
            if len(tools) > MOST_TOOLS:
                raise MalformedRequest(f'"{inner}" has more than {MOST_TOOLS} tools.')
            for number, tool in enumerate(tools):
                yield f"{inner}[{number}]", tool


def canonical(name: str) -> str:
    """A name as a lenient server would compare it: without case, underscores and hyphens."""
    return _canonical(name) if len(name) <= _LONGEST_KEPT else _canonical.__wrapped__(name)


_LONGEST_KEPT = 256
"""Characters of a name whose canonical form is kept: clients may send names of many megabytes."""


@lru_cache(maxsize=4096)
def _canonical(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()


def _plainest(name: str) -> str:
    """A name as the most lenient server would compare it: cut at a null byte, without marks, width and escapes."""
    if name.isascii() and name.isprintable() and "%" not in name and " " not in name:
        return canonical(name)
    plain = unicodedata.normalize("NFKC", unquote(name[:_LONGEST_KEPT]).partition("\0")[0])
    return canonical("".join(one for one in plain if one.isprintable()).strip())


def check_names(names: Iterable[str], where: str = "") -> None:
    """Check that no two names mean the same to a lenient server, and that no name means the same as a deciding one.

    Raises:
        MalformedRequest: Two do, or one does.
    """
    seen: dict[str, str] = {}
    for name in names:
        meaning = canonical(name)
        if (other := seen.get(meaning)) is not None:
            raise MalformedRequest(
                f'"{_at(where, name)}" is given beside "{other}", which some servers take for the same: give one.'
            )
        known = _DECIDING.get(_plainest(name))
        if known is not None and name != known and not _SNAKE.fullmatch(name):
            raise MalformedRequest(
                f'Write "{_at(where, name)}" in lower case, as "{_written(known)}": some servers read it anyway.'
            )
        seen[meaning] = name


_SNAKE = re.compile(r"[a-z0-9_-]+")


def _written(known: str) -> str:
    """A deciding name, as the error advises it: as in Python's APIs."""
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", known)


def _hides_text(raw: bytes, found: Members) -> bool:
    """Whether an object's text has more in it than the members found there, punctuation and white space.

    What is left over is a member that another one of the same name replaced, or a name's longer spelling with escapes.
    Counting finds it without reading the values again.
    """
    names = [name.encode("utf-8", "surrogatepass") for name in found]
    left = len(raw) - 2 * len(found) - 1 - sum(map(len, names)) - 2 * len(names)
    left -= sum([len(memoryview(value)) for value in found.values()])
    if not found:
        left -= 1
    if left == 0:
        return False
    if left == 2 * len(found) - 1 and raw == _spaced(names, found):
        return False
    spaces = [space for space in _WHITESPACE if space in raw]
    left -= sum(map(raw.count, spaces))
    for part in (*names, *map(bytes, found.values())):
        left += sum(map(part.count, spaces))
    return left != 0


def _spaced(names: Iterable[bytes], found: Members) -> bytes:
    """An object's text with one space after each colon and comma, as Python's `json` writes it."""
    parts: list[Raw] = []
    for name, value in zip(names, found.values(), strict=True):
        parts += (b', "' if parts else b'{"', name, b'": ', value)
    return b"".join((*parts, b"}"))


def _names_are_distinct(raw: bytes) -> bool:
    """Whether an object's own names are distinct, by a parser that sees them all; False for a very large object."""
    if len(raw) > _LARGEST_REREAD:
        return False
    names: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        names[:] = (name for name, _ in pairs)  # the outermost object comes last

    try:
        json.loads(reading.mended(raw), object_pairs_hook=note)
    except (ValueError, RecursionError):
        return False
    return len(set(names)) == len(names)
