"""The table of endpoints: what a request to each of them costs, and which stored object it makes, shows or changes.

`endpoints.txt` is the table, one row an endpoint. A request is looked up by its method and path; if several rows match,
the kinds of the route's providers decide which one counts. A request without a row is `UNKNOWN`: it passes only if an
operator allows endpoints that cannot be metered.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Literal, NamedTuple, cast, get_args
from urllib.parse import unquote

from paig_gateway.formats.base import ErrorShape, Format
from paig_gateway.formats.registry import FORMATS
from paig_gateway.providers.kinds import KINDS

Charging = Literal["metered", "later", "free", "costly", "forbidden"]
"""How a request's cost is handled; see the head of `endpoints.txt`."""

Operation = Literal["create", "list", "read", "change", "delete"]
"""What a request does to a stored object. `change` includes every way of continuing from one."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table.

    Attributes:
        api: The API that the endpoint belongs to.
        kinds: The kinds of provider that have it.
        methods: Its HTTP methods.
        path: Its path after the version prefix, with placeholders.
        charging: How its cost is handled.
        format: The format of its requests and answers; its `path` matches the endpoint's paths.
        object: The kind of stored object that it uses, or None.
    """

    api: str
    kinds: frozenset[str]
    methods: frozenset[str]
    path: str
    charging: Charging
    format: Format
    object: str | None = None

    def operation(self, method: str) -> Operation | None:
        """The request's operation on the stored object, or None."""
        if self.object is None:
            return None
        looks = method in ("GET", "HEAD")
        if "{id}" not in self.path:
            return "list" if looks else "create"
        return "read" if looks else "delete" if method == "DELETE" else "change"


class Row(NamedTuple):
    """A row as it is written; `endpoint` gives it its format, whose pattern takes time to compile."""

    api: str
    kinds: frozenset[str]
    methods: frozenset[str]
    path: str
    charging: Charging
    format: str
    errors: ErrorShape
    object: str | None

    def endpoint(self) -> Endpoint:
        fmt = _format(self.format, self.path, self.methods, self.errors, self.charging)
        return Endpoint(self.api, self.kinds, self.methods, self.path, self.charging, fmt, self.object)


class Match(NamedTuple):
    """A request's endpoint: the format that reads it, the model that its path names, and the row."""

    format: Format
    model: str | None
    endpoint: Endpoint


# A path that a provider may resolve to another path could be priced as the wrong endpoint.
_AMBIGUOUS = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\;]|$)|[\x00-\x1f\x7f?#\\]")
_PLACEHOLDER = re.compile(r"\{(model|id|sub)(?:-(\w+))?\}")


def _pattern(path: str) -> re.Pattern[str]:
    """The pattern of a row's path: its groups are `model` and `stored`."""
    rest = "(?:/.*)?" if path.endswith("/**") else "/?"
    parts: list[str] = []
    place = 0
    path = path.removesuffix("/**")
    for found in _PLACEHOLDER.finditer(path):
        parts.append(_literal(path[place : found.start()]))
        # A verb comes after a colon, which no id before it has.
        end = path[found.end() :]
        several = found[1] == "model" and not end.startswith(":") and path.startswith("model/")
        one = ".+" if several else "[^/:]+?" if end.startswith(":") else "[^/]+"
        if found[2]:
            one = f"[^/:]*{found[2]}[^/:]*?"
        named = {"model": f"(?P<model>{one})", "id": f"(?P<stored>{one})", "sub": one}
        parts.append(named[found[1]])
        place = found.end()
    parts.append(_literal(path[place:]))
    return re.compile(f"(?:^|/){''.join(parts)}{rest}$")


def _literal(text: str) -> str:
    return re.escape(text).replace(":", "(?::|%3[Aa])")


_BY_NAME: Mapping[str, tuple[Format, ...]] = {
    name: tuple(fmt for fmt in FORMATS if fmt.name == name) for name in {fmt.name for fmt in FORMATS}
}


def _format(name: str, path: str, methods: frozenset[str], errors: ErrorShape, charging: Charging) -> Format:
    """The format of a row; if the format's own pattern does not match the row's path, it gets the row's."""
    example = _PLACEHOLDER.sub(lambda found: found[2] or "x", path.removesuffix("/**"))
    of_name = _BY_NAME[name]
    of_method = [fmt for fmt in of_name if methods <= fmt.methods]
    claims = [fmt for fmt in of_method if any(fmt.path.search(f"/{version}/{example}") for version in ("v1", "v2"))]
    if charging in ("metered", "later") and claims:
        return claims[0]
    fmt = replace(of_name[0], path=_pattern(path), methods=methods)
    if charging in ("metered", "later"):
        return fmt
    return replace(fmt, errors=errors, title=f"{','.join(sorted(methods))} /{path}")


_HEADING = re.compile(r"\[([\w-]+)\] ([^:]+): (\w+)")
_DEFAULT: Mapping[Charging, str] = {"free": "other-free", "costly": "unmetered", "forbidden": "unmetered"}


def parse(text: str) -> tuple[Row, ...]:
    """Read a table.

    Args:
        text: The table; `endpoints.txt` says in its head how it is written.

    Returns:
        Its rows; within a section, paths with fewer placeholders before those with more.

    Raises:
        ValueError: A line is not a heading, a comment or a row.
    """
    sections: list[list[Row]] = []
    errors: ErrorShape
    api, kinds, errors = "", frozenset[str](), "openai"
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if (heading := _HEADING.fullmatch(line)) is not None:
            api, errors = heading[1], cast(ErrorShape, heading[3])
            words = heading[2].split()
            kinds = frozenset(kind for word in words if word[0] != "-" for kind in _kinds(word))
            kinds -= {word[1:] for word in words if word[0] == "-"}
            sections.append([])
            continue
        cells = line.split()
        if len(cells) not in (3, 4) or not sections:
            raise ValueError(f"line {number} is not a row: {line}")
        charging, _, name = cells[2].partition(":")
        if charging not in get_args(Charging):
            raise ValueError(f"line {number}: '{charging}' is not a class of endpoints")
        charging = cast(Charging, charging)
        name = name or _DEFAULT[charging]
        methods = frozenset(cells[0].split(","))
        if "GET" in methods and charging not in ("metered", "later"):
            methods |= {"HEAD"}
        stored = cells[3] if len(cells) == 4 else None
        sections[-1].append(Row(api, kinds, methods, cells[1], charging, name, errors, stored))
    return tuple(row for section in sections for row in sorted(section, key=_rank))


def _kinds(word: str) -> Iterable[str]:
    if not word.startswith("*"):
        return (word,)
    shape = word[1:]
    return (kind.name for kind in KINDS.values() if shape in kind.speaks or shape in kind.adapters)


def _rank(endpoint: Row) -> list[int]:
    # If one path begins with the other, the longer one comes first.
    segments = endpoint.path.split("/")
    return [*(3 if one == "**" else 2 if one.endswith("}") else int("{" in one) for one in segments), 4]


@lru_cache(maxsize=1)
def rows() -> tuple[Row, ...]:
    """The table as it is written."""
    return parse(files("paig_gateway.providers").joinpath("endpoints.txt").read_text("utf-8"))


_endpoint = cache(Row.endpoint)


def endpoints() -> tuple[Endpoint, ...]:
    """The table."""
    return tuple(map(_endpoint, rows()))


@lru_cache(maxsize=1)
def _index() -> Mapping[tuple[str, str], list[Row]]:
    """The rows by method and by the first word of their path."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows():
        word = row.path.partition("/")[0].partition(":")[0]
        for method in row.methods:
            found.setdefault((method, word), []).append(row)
    return found


LONGEST_KNOWN = 256
"""The most characters of a path whose rows are remembered."""


def matches(method: str, path: str) -> Sequence[Match]:
    """The rows that match a request.

    Args:
        path: What follows the route's name, percent-encoded, without a query.

    Returns:
        Rows that match more of the path come first; otherwise they are in the table's order.
    """
    return _known(method, path) if len(path) <= LONGEST_KNOWN else _matches(method, path)


def _matches(method: str, path: str) -> Sequence[Match]:
    index = _index()
    found: list[Match] = []
    ambiguous: bool | None = None
    for word in dict.fromkeys(segment.partition(":")[0].partition("%3")[0] for segment in path.split("/")):
        for row in map(_endpoint, index.get((method, word), ())):
            if (match := row.format.path.search(path)) is None:
                continue
            if ambiguous is None:
                ambiguous = is_ambiguous(path)
            if ambiguous:
                return ()
            model = match.groupdict().get("model")
            found.append(Match(row.format, unquote(model) if model else None, row))
    return tuple(found)


_known = lru_cache(maxsize=2048)(_matches)


def is_ambiguous(path: str) -> bool:
    """Whether a provider may resolve a path to another one."""
    return _AMBIGUOUS.search(unquote(unquote(path))) is not None


def choose(found: Sequence[Match], kinds: Iterable[str]) -> Match | None:
    """The row that counts for a route whose members are of these kinds, in their order; None if there is none."""
    for kind in kinds:
        for one in found:
            if kind in one.endpoint.kinds:
                return one
    return None


def detect(method: str, path: str, kind: str | None = None) -> Match | None:
    """The endpoint of a request at one kind of provider, else at the first kind that has it; None if no kind has it."""
    return choose(matches(method, path), KINDS if kind is None else (kind,))


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})

UNKNOWN = Endpoint(
    "unknown",
    frozenset(KINDS),
    _METHODS,
    "**",
    "costly",
    replace(_BY_NAME["unmetered"][0], path=re.compile("^.*$"), methods=_METHODS, title="an unknown endpoint"),
)
"""The endpoint of requests without a row."""

_FORBIDDEN_WORDS = frozenset(
    row.path.partition("/")[0] for row in rows() if row.charging == "forbidden" and row.path.endswith("/**")
) - {"accounts", "deployments", "users", "projects", "presets", "tags"}


def unknown(method: str, path: str) -> Match | None:
    """The match of a request without a row; None if it must never pass."""
    # A server that answers TRACE and the like sends back what it got, and so the provider's credential.
    if method not in _METHODS and method != "OPTIONS":
        return None
    if is_ambiguous(path) or not _FORBIDDEN_WORDS.isdisjoint(re.split(r"[/:]", _plain(path).lower())):
        return None
    if not _rows_of(_plain(path), re.IGNORECASE) <= _rows_of(path):
        return None  # a lenient server would serve an endpoint that the gateway meters, filters or never passes
    return Match(UNKNOWN.format, None, UNKNOWN)


def _rows_of(path: str, flags: re.RegexFlag = re.NOFLAG) -> frozenset[Row]:
    words = {segment.partition(":")[0].partition("%3")[0].lower() for segment in path.split("/")}
    found = (row for word in words for row in _by_word().get(word, ()))
    return frozenset(row for row in found if re.search(_endpoint(row).format.path.pattern, path, flags))


@lru_cache(maxsize=1)
def _by_word() -> Mapping[str, list[Row]]:
    """The rows by the first word of their path, in lower case."""
    found: dict[str, list[Row]] = {}
    for row in rows():
        found.setdefault(row.path.partition("/")[0].partition(":")[0].lower(), []).append(row)
    return found


def _plain(path: str) -> str:
    """A path as a lenient server reads it: without escapes, look-alikes, invisible characters and parameters."""
    text = unicodedata.normalize("NFKC", unquote(unquote(path))).replace("\\", "/").replace("\ufffd", "/")
    shown = "".join(one for one in text if unicodedata.category(one)[0] != "C")
    return "/".join(segment.partition(";")[0].strip() for segment in shown.split("/"))


@lru_cache(maxsize=64)
def _collections(kind: str) -> frozenset[str]:
    """The words, in lower case, after which a path at a kind of provider names a stored object."""
    rows = [row.path.split("/") for row in endpoints() if row.object is not None and kind in row.kinds]
    words = {word.lower() for path in rows for word, after in pairwise(path) if after.startswith("{id")}
    return frozenset(words) - {"models"}


def stored_at_unknown(path: str, kinds: Iterable[str]) -> str | None:
    """The id of the stored object that a path without a row may name at one of these kinds of provider, or None."""
    collections = frozenset[str]().union(*map(_collections, kinds))
    segments = [segment for segment in _plain(path).split("/") if segment]
    for word, id in pairwise(segments):
        if word.lower() in collections:
            return id if id.startswith("arn:") else id.partition(":")[0]
    return None
