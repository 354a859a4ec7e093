"""Setting values in the text of a JSON, TOML or `.env` file without touching anything else in it.

The file keeps its comments, order, indentation, line ends and byte order mark. Each result is parsed again and compared
with what was wanted, so a file whose form is not understood is refused, never damaged.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Wanted = Mapping[str, object]
"""Values by name; a mapping is merged into what is there, None removes the name (only in TOML)."""

_GAP = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.S)
_REST_OF_LINE = re.compile(r"[ \t]*(?:/\*[^\n]*?\*/[ \t]*)*(?://[^\r\n]*)?")
_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,\]}/"]+', re.S)
_OPAQUE = re.compile(r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', re.S)
MOST_DEPTH = 50
"""Levels of a JSON file that are followed."""


def merged(old: Mapping[str, object], new: Wanted) -> dict[str, object]:
    """`old` with the values of `new` in it."""
    found = dict(old)
    for name, value in new.items():
        inner = found.get(name)
        if value is None:
            found.pop(name, None)
        elif isinstance(value, Mapping):
            found[name] = merged(inner if isinstance(inner, dict) else {}, value)
        else:
            found[name] = value
    return found


def json_of(text: str) -> dict[str, object]:
    """What a JSON file holds, which may have comments and trailing commas; nothing, if it is empty.

    Raises:
        ValueError: It does not hold a JSON object.
    """
    plain = text.removeprefix("\ufeff")
    return _json_file(plain).object() if _skip(plain, 0) < len(plain) else {}


def set_json(text: str, wanted: Wanted) -> str:
    """Set values in a JSON file, which may have comments and trailing commas.

    Raises:
        ValueError: It does not hold a JSON object.
    """
    return _preserving(text, wanted, _set_json, json_of)


def set_toml(text: str, wanted: Wanted) -> str:
    """Set values in a TOML file; new ones go below the last of their table.

    Raises:
        ValueError: It is not TOML, or has a table in a form that nothing can be added to.
    """
    return _preserving(text, wanted, _set_toml, tomllib.loads)


def set_dotenv(text: str, wanted: Mapping[str, str]) -> str:
    """Set variables in a `.env` file: where they are, else at its end."""
    return _keeping_line_ends(text, wanted, _set_dotenv)


def _set_dotenv(text: str, wanted: Wanted) -> str:
    for name, value in wanted.items():
        assigned = re.compile(rf"(?m)^([ \t]*(?:export[ \t]+)?{re.escape(name)}[ \t]*=).*$")
        line = f"{_line_end(text)}{name}={value}\n"
        text = assigned.sub(rf"\g<1>{value}", text) if assigned.search(text) else text + line
    return text


def _preserving(
    text: str, wanted: Wanted, edit: Callable[[str, Wanted], str], parse: Callable[[str], Mapping[str, object]]
) -> str:
    """The edited text, if parsing it gives just what was wanted.

    Raises:
        ValueError: It does not.
    """
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    before = parse(plain) if plain.strip() else {}
    found = _keeping_line_ends(text, wanted, edit)
    if parse(found.removeprefix("\ufeff").replace("\r\n", "\n")) != merged(before, wanted):
        raise ValueError("the place for the gateway is written in a form that this command does not edit")
    return found


def _keeping_line_ends(text: str, wanted: Wanted, edit: Callable[[str, Wanted], str]) -> str:
    """Edit text with its line ends as `\\n`, and without its byte order mark; both are as before afterwards."""
    mark, body = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    crlf = "\r\n" in body and body.count("\r\n") == body.count("\n")
    edited = edit(body.replace("\r\n", "\n") if crlf else body, wanted)
    return mark + (edited.replace("\n", "\r\n") if crlf else edited)


def _line_end(text: str) -> str:
    return "" if not text or text.endswith("\n") else "\n"


@dataclass(frozen=True, slots=True)
class _Node:
    """A JSON value in a text.

    Attributes:
        value: It, parsed.
        start: Where it begins.
        end: Where it ends.
        members: The values of an object, by name; of several of one name the last, as parsers take it.
        first: Where the first member of an object begins.
        comma: Whether a comma follows the last member.
    """

    value: object
    start: int
    end: int
    members: dict[str, _Node] = field(default_factory=dict)
    first: int | None = None
    comma: bool = False

    def object(self) -> dict[str, object]:
        """The value, which is an object.

        Raises:
            ValueError: It is not.
        """
        if not isinstance(self.value, dict):
            raise ValueError("it does not hold a JSON object")
        return self.value


def _json_file(text: str) -> _Node:
    start = _skip(text, 0)
    found = _node(text, start, 0)
    if _skip(text, found.end) != len(text):
        raise ValueError("it holds more than one JSON value")
    return found


def _skip(text: str, at: int) -> int:
    """Where white space and comments end."""
    found = _GAP.match(text, at)
    return found.end() if found else at


def _node(text: str, start: int, depth: int) -> _Node:
    if depth > MOST_DEPTH:
        raise ValueError("it is nested too deeply")
    if text[start : start + 1] in ("{", "["):
        return _collection(text, start, depth, "}" if text[start] == "{" else "]")
    found = _SCALAR.match(text, start)
    if found is None:
        raise ValueError(f"it is not JSON: a value is missing in line {text.count(chr(10), 0, start) + 1}")
    try:
        return _Node(json.loads(found[0], strict=False), start, found.end())
    except ValueError:
        raise ValueError(f"it is not JSON: see line {text.count(chr(10), 0, start) + 1}") from None


def _collection(text: str, start: int, depth: int, closing: str) -> _Node:
    """An object or an array; a comma may follow its last value."""
    at = first = _skip(text, start + 1)
    members: dict[str, _Node] = {}
    values: list[object] = []
    comma = False
    while text[at : at + 1] != closing:
        if values and not comma:
            raise ValueError(f"it is not JSON: a comma is missing in line {text.count(chr(10), 0, at) + 1}")
        item = _node(text, at, depth + 1)
        if closing == "}":
            name, at = item.value, _skip(text, item.end)
            if not isinstance(name, str) or text[at : at + 1] != ":":
                raise ValueError(f"it is not JSON: see line {text.count(chr(10), 0, at) + 1}")
            item = members[name] = _node(text, _skip(text, at + 1), depth + 1)
        values.append(item.value)
        at = _skip(text, item.end)
        if comma := text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    value = {name: item.value for name, item in members.items()} if closing == "}" else values
    return _Node(value, start, at + 1, members, first if values else None, comma)


def _set_json(text: str, wanted: Wanted) -> str:
    if _skip(text, 0) == len(text):
        return f"{text}{_line_end(text)}{json.dumps(merged({}, wanted), indent=2, ensure_ascii=False)}\n"
    root = _json_file(text)
    root.object()
    own = _indentation(text, root)
    for name, value in wanted.items():  # one after the other, as each moves what follows
        text = _set_member(text, (), name, value, own or "  ")
    return text


def _set_member(text: str, path: tuple[str, ...], name: str, value: object, unit: str) -> str:
    """Set a member of the object at `path`."""
    node = _json_file(text)
    for step in path:
        node = node.members[step]
    old = node.members.get(name)
    if isinstance(value, Mapping) and old is not None and isinstance(old.value, dict):
        for inner, one in value.items():
            text = _set_member(text, (*path, name), inner, one, unit)
        return text
    inside = _indentation(text, node)
    deeper = unit * (len(path) + 1) if inside is None else inside
    written = json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", f"\n{deeper}")
    if old is not None:
        return text[: old.start] + written + text[old.end :]
    member = f"{json.dumps(name)}: {written}"
    if not node.members:
        return f"{text[: node.end - 1].rstrip()}\n{deeper}{member}\n{unit * len(path)}{text[node.end - 1 :]}"
    last = max(item.end for item in node.members.values())
    after = _skip(text, last) + 1 if node.comma else last
    end = _line_after(text, after)
    separator = "" if node.comma else ","
    if inside is None and text[end : end + 1] != "\n":  # all in one line
        return f"{text[:after]}{separator} {member}{',' if node.comma else ''}{text[after:]}"
    return f"{text[:after]}{separator}{text[after:end]}\n{deeper}{member}{',' if node.comma else ''}{text[end:]}"


def _line_after(text: str, at: int) -> int:
    """The end of the comments in the same line, so that they stay with the value before them."""
    found = _REST_OF_LINE.match(text, at)
    return found.end() if found else at


def _indentation(text: str, node: _Node) -> str | None:
    """The indentation of an object's first member; None if that member does not begin a line."""
    if node.first is None:
        return None
    line = text[text.rfind("\n", 0, node.first) + 1 : node.first]
    return line if not line.strip() and "\n" in text[node.start : node.first] else None


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a TOML file.

    Attributes:
        path: Its name, in parts; none of the file's own table.
        end: Where something can be added to it.
        statements: The names that it assigns, with where the value begins and ends.
    """

    path: tuple[str, ...]
    end: int
    statements: dict[str, tuple[int, int]]


def _set_toml(text: str, wanted: Wanted, path: tuple[str, ...] = ()) -> str:
    for name, value in wanted.items():
        if isinstance(value, Mapping):
            text = _set_toml(text, value, (*path, name))
        else:
            text = _set_statement(text, path, name, value)
    return text


def _set_statement(text: str, path: tuple[str, ...], name: str, value: object) -> str:
    table = next((table for table in _tables(text) if table.path == path), None)
    place = table.statements.get(name) if table is not None else None
    if place is not None:
        start, end = place
        if value is not None:
            return text[:start] + json.dumps(value, ensure_ascii=False) + text[end:]
        begin = text.rfind("\n", 0, start) + 1
        return text[:begin] + text[_next_line(text, end) :]
    if value is None:
        return text
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
    if table is None:
        blank = "\n" if text.strip() else ""
        return f"{text}{_line_end(text)}{blank}[{'.'.join(path)}]\n{line}"
    return f"{text[: table.end]}{_line_end(text[: table.end])}{line}{text[table.end :]}"


def _next_line(text: str, at: int) -> int:
    found = text.find("\n", at)
    return found + 1 if found >= 0 else len(text)


def _tables(text: str) -> Iterator[_Table]:
    """The tables of a TOML file, as far as they have headers of their own."""
    # Strings and comments are covered, so that whatever they contain is neither a header nor an assignment.
    cover = _OPAQUE.sub(lambda found: ("#" if found[0].startswith("#") else "_") * len(found[0]), text)
    table = _Table((), 0, {})
    at = depth = 0
    while at < len(text):
        end = _next_line(cover, at)
        line = cover[at:end]
        if depth == 0 and line.lstrip().startswith("["):
            yield table
            table = _Table(_names(text[at:end]), end, {})
        elif line.strip() and not line.lstrip().startswith("#"):
            depth += sum(map(line.count, "[{")) - sum(map(line.count, "]}"))
            while depth > 0 and end < len(text):  # a value of several lines
                further = _next_line(cover, end)
                depth += sum(map(cover[end:further].count, "[{")) - sum(map(cover[end:further].count, "]}"))
                end = further
            equals = cover.find("=", at, end)
            names = _names(f"{text[at:equals]} = 0") if equals >= 0 else ()
            value = cover[equals + 1 : end].split("#")[0]
            start = equals + 1 + len(value) - len(value.lstrip())
            found = {
                **table.statements,
                **({names[0]: (start, equals + 1 + len(value.rstrip()))} if len(names) == 1 else {}),
            }
            table = _Table(table.path, end, found)
        at = end
    yield table


def _names(line: str) -> tuple[str, ...]:
    """The parts of the name in a header or an assignment; none of an array's header."""
    found: object = tomllib.loads(line)
    names: list[str] = []
    while isinstance(found, dict) and found:
        [(name, found)] = found.items()
        names.append(name)
    return tuple(names) if not isinstance(found, list) else ("",)
