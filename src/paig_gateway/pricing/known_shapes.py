"""Reads and prices answers whose usage has the same shape as an earlier one, by a plan made from that one.

Nearly all answers of a model differ only in their counts. The tables of `units`, `unexplained`, `modifiers`, `parts`
and the extractors then give the same result for all of them, and the cost is the same formula of other counts. So the
first answer of a shape is read in full (`answer.read_in_full`), and a plan is kept for the next ones: which counts make
up each number of the usage, at which price, with which doubts. A plan has conditions (no part is larger than its whole,
no total is more than its parts); an answer that breaks one is read in full.

A shape is everything besides the counts that a full reading depends on: names, texts, which counts are zero. An answer
with a member that is not listed here, or with work of the provider's own tools, has no shape. Plans belong to one
`PriceLookup`; they are dropped with it after a minute, when a price changes, or when there are more than `MOST_PLANS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from paig_gateway.domain.money import nanodollars
from paig_gateway.formats.base import Format, Json
from paig_gateway.formats.folding import dig
from paig_gateway.pricing.formula import Formula
from paig_gateway.pricing.modifiers import Modifiers
from paig_gateway.pricing.price import Price
from paig_gateway.pricing.usage import (
    ALWAYS,
    ELSEWHERE,
    MOST,
    TOTALLED,
    FieldPath,
    Usage,
    compiled,
    extractors,
    with_totals,
)

MOST_PLANS = 64
"""The most plans that one price lookup keeps."""

LONGEST = 64
"""The most characters of a name or a text in a shape."""

MOST_MEMBERS = 100
"""The most members of a shape's objects, all together."""

Shape = tuple[object, ...]

# Placeholders for values in a shape; a text is kept as it is.
_ZERO, _POSITIVE, _OBJECT, _END, _NULL, _FALSE, _TRUE, _ZERO_FRACTION, _FRACTION = range(9)


@dataclass(frozen=True, slots=True)
class Readable:
    """The answers of a format that have a shape.

    Attributes:
        members: Members that an answer may have; their values do not matter, except those of `looked_at`.
        looked_at: Members whose values are part of the shape.
        content: Adds the content to the shape; returns whether only the model produced it.
    """

    members: frozenset[str]
    looked_at: tuple[str, ...]
    content: Callable[[Json, list[object]], bool]


_MESSAGE = frozenset(
    {"role", "content", "refusal", "annotations", "tool_calls", "function_call", "reasoning", "reasoning_content"}
)


def _choices(body: Json, shape: list[object]) -> bool:
    choices = body.get("choices")
    if type(choices) is not list or len(choices) > 16:
        return choices is None
    for choice in choices:
        message = choice.get("message") if type(choice) is dict else None
        if message is None:
            shape.append(_NULL)
            continue
        if type(message) is not dict or not message.keys() <= _MESSAGE:
            return False
        if calls := message.get("tool_calls"):
            names = [dig(call, "function", "name") for call in calls] if type(calls) is list else [None]
            if not all(type(name) is str and not name.startswith("$") for name in names):
                return False  # built-in functions are named so
        shape.append(tuple(message))
    return True


_PLAIN_ITEMS = frozenset({"message", "reasoning", "function_call", "custom_tool_call"})
_PLAIN_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})


def _all_of(place: str, kinds: frozenset[str]) -> Callable[[Json, list[object]], bool]:
    def plain(body: Json, shape: list[object]) -> bool:
        items = body.get(place)
        if type(items) is not list:
            return items is None
        return all(type(item) is dict and type(kind := item.get("type")) is str and kind in kinds for item in items)

    return plain


_CHAT = Readable(
    frozenset({"id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint"})
    | {"stream_end", "x_groq", "provider", "time_info", "prompt_filter_results"},
    ("model", "service_tier", "usage"),
    _choices,
)

READABLE: Mapping[str, Readable] = {
    "openai-chat": _CHAT,
    "openai-completions": _CHAT,
    "openai-responses": Readable(
        frozenset({"id", "object", "created_at", "completed_at", "status", "background", "billing", "error", "model"})
        | {"incomplete_details", "instructions", "max_output_tokens", "max_tool_calls", "output", "metadata", "usage"}
        | {"parallel_tool_calls", "previous_response_id", "prompt_cache_key", "prompt_cache_retention", "reasoning"}
        | {"safety_identifier", "service_tier", "store", "temperature", "text", "tool_choice", "tools", "top_logprobs"}
        | {"top_p", "truncation", "user", "frequency_penalty", "presence_penalty", "stream_end", "tool_usage"}
        | {"moderation", "content_filters"},
        ("model", "service_tier", "usage", "tool_usage"),
        _all_of("output", _PLAIN_ITEMS),
    ),
    "anthropic": Readable(
        frozenset({"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage", "stream_end"})
        | {"stop_details", "context_management"},
        ("model", "usage"),
        _all_of("content", _PLAIN_BLOCKS),
    ),
}
"""By API format; an answer of another format has no shape."""


def outline(fmt: Format, body: Json) -> tuple[Shape, list[int]] | None:
    """The shape of an answer, and its counts in order with a zero at the end; None if it has no shape."""
    readable = READABLE.get(fmt.name)
    if readable is None or type(body) is not dict or not body.keys() <= readable.members:
        return None
    usage = body.get("usage")
    if type(usage) is not dict or not usage:
        return None
    shape: list[object] = [fmt.name, fmt.context, *body]
    counts: list[int] = []
    for name in readable.looked_at:
        if name in body and not _note(name, body[name], shape, counts):
            return None
    if len(shape) > 2 * MOST_MEMBERS or not readable.content(body, shape):
        return None
    counts.append(0)
    return tuple(shape), counts


def _note(name: str, value: object, shape: list[object], counts: list[int]) -> bool:
    """Add a member to a shape; returns whether it can be part of one."""
    if len(name) > LONGEST:
        return False
    kind = type(value)
    if kind is int:
        number: int = value  # type: ignore[assignment]
        counts.append(number)
        shape += (name, _POSITIVE if number else _ZERO)
        return 0 <= number <= MOST
    if kind is dict:
        members: dict[str, object] = value  # type: ignore[assignment]
        shape += (name, _OBJECT)
        if len(shape) > 2 * MOST_MEMBERS:
            return False
        for inner, found in members.items():
            if not _note(inner, found, shape, counts):
                return False
        shape.append(_END)
        return True
    if kind is str:
        text: str = value  # type: ignore[assignment]
        shape += (name, text)
        return len(text) <= LONGEST
    if kind is float:
        shape += (name, _FRACTION if value else _ZERO_FRACTION)
        return value >= 0  # type: ignore[operator]
    shape += (name, _NULL if value is None else _TRUE if value else _FALSE)
    return value is None or kind is bool


Sums = tuple[tuple[str, int, tuple[int, ...]], ...]
"""See `Plan.sums`."""

_NOWHERE = -1
"""The place of the zero at the end of the counts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How answers of one shape are read and priced.

    Attributes:
        model: The model that the answer names.
        sums: Each number of the usage, with the places of the counts that it is the sum of.
        within: Places of counts that must not exceed a number of the usage.
        total: The place of the count that must not exceed input plus output.
        formula: The cost, before the price's factor.
        modifiers: See `UsageReading`.
        doubts: See `UsageReading`; None if they are not known, because the provider stated its own charge.
    """

    model: str | None
    sums: Sums
    within: tuple[tuple[int, str], ...]
    total: int
    price: Price
    formula: Formula
    modifiers: Modifiers
    doubts: tuple[str, ...] | None

    def apply(self, counts: list[int]) -> tuple[Usage, int] | None:
        """The usage, and its cost in nanodollars; None if the answer must be read in full."""
        usage: Usage = {}
        for key, place, more in self.sums:
            number = counts[place]
            for one in more:
                number += counts[one]
            usage[key] = number
        if counts[self.total] > usage["input_tokens"] + usage["output_tokens"] or max(usage.values()) > MOST:
            return None
        for place, whole in self.within:
            if counts[place] > usage[whole]:
                return None
        dollars = self.formula.cost(usage)
        return None if dollars is None else (usage, nanodollars(dollars * self.price.factor))


@dataclass(slots=True)
class KnownShapes:
    """The plans of one price lookup, as long as prices come from the same sources."""

    _sources: tuple[object, ...] = ()
    _plans: dict[Shape, Plan | None] = field(default_factory=dict)

    def find(self, shape: Shape, sources: tuple[object, ...]) -> Plan | None:
        """The plan of a shape, or None.

        Args:
            shape: See `outline`.
            sources: The present sources of prices: plans made from other ones are dropped.
        """
        if sources is not self._sources:
            self._sources, self._plans = sources, {}
        return self._plans.get(shape)

    def keep(self, shape: Shape, plan: Plan | None) -> None:
        """Keep the plan of a shape: None for a shape that is always read in full."""
        if len(self._plans) >= MOST_PLANS:
            self._plans.clear()
        self._plans[shape] = plan

    def __len__(self) -> int:
        return len(self._plans)

    def is_known(self, shape: Shape) -> bool:
        return shape in self._plans


def sums(fmt: Format, provider: str, body: Json) -> tuple[Sums, tuple[tuple[int, str], ...], int] | None:
    """The counts that make up an answer's usage, as `usage.extract` reads it: `sums`, `within`, `total` of a plan.

    None if that depends on more than the shape, for example if a count is written as a text.
    """
    flavor, usage = fmt.flavor, body["usage"]
    places, kinds = _places(fmt.name, body)
    first = next(iter(extractors(provider, flavor, fmt.home)), None)
    steps = compiled(first) if first is not None and first.root == "usage" and first.model_path == "model" else None
    if steps is None or with_totals(body, flavor) is not body:
        return None
    found: dict[str, list[int]] = {key: [] for key in ALWAYS}
    values = dict.fromkeys(ALWAYS, 0)
    for key, path, required in steps:
        if path in places:
            found.setdefault(key, []).append(places[path])
            values[key] = values.get(key, 0) + _number(usage, path)
        elif required or kinds.get(path, _NULL) != _NULL:
            return None
    within: list[tuple[int, str]] = []
    for key, others in ELSEWHERE.get(flavor, {}).items():
        if any(kinds.get(path, _NULL) not in (_ZERO, _POSITIVE, _NULL) for path in others):
            return None
        place = next((path for path in others if kinds.get(path) == _POSITIVE), None)
        if values.get(key) or place is None:
            continue
        whole = "output_tokens" if key.startswith("output_") else "input_tokens"
        if _number(usage, place) > values[whole]:
            return None
        found[key] = [places[place]]
        within.append((places[place], whole))
    total = ("total_tokens",)
    if flavor in TOTALLED and kinds.get(total, _NULL) != _NULL and total not in places:
        return None
    made = tuple((key, *_split(used or [_NOWHERE])) for key, used in found.items())
    return made, tuple(within), places.get(total, _NOWHERE) if flavor in TOTALLED else _NOWHERE


def _split(places: list[int]) -> tuple[int, tuple[int, ...]]:
    return places[0], tuple(places[1:])


def _number(usage: object, path: FieldPath) -> int:
    number = dig(usage, *path)
    return number if type(number) is int else 0


def _places(fmt: str, body: Json) -> tuple[dict[FieldPath, int], dict[FieldPath, object]]:
    """The place of each count of the usage object among the counts of `outline`, and the value at each path."""
    places: dict[FieldPath, int] = {}
    kinds: dict[FieldPath, object] = {}
    before = 0
    for name in READABLE[fmt].looked_at:
        shape: list[object] = []
        counts: list[int] = []
        if name in body:
            _note(name, body[name], shape, counts)
        if name != "usage":
            before += len(counts)
            continue
        path: list[str] = []
        members = iter(shape[2:-1])
        for member in members:
            if member == _END:
                path.pop()
                continue
            here, kind = (*path, str(member)), next(members)
            kinds[here] = kind
            if kind == _OBJECT:
                path.append(str(member))
            elif kind in (_ZERO, _POSITIVE):
                places[here] = before + len(places)
        before += len(counts)
    return places, kinds
