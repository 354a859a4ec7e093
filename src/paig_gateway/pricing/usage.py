"""The usage that a finished answer states, in the counts of genai-prices.

`input_tokens` and `output_tokens` include their cached, audio and reasoning parts, each of which is also shown apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from genai_prices.types import UsageExtractor

from paig_gateway.formats.base import Json

Usage = dict[str, int | float]
"""Counts by genai-prices' usage key: tokens mostly, also `web_searches`, `audio_seconds` and the like; and the units of
`pricing.units` that genai-prices has no key for."""


_BUNDLED = get_snapshot()
"""The extractors of the installed version, which were tested; only prices are refreshed while running."""

MOST = 10**9
"""The largest plausible count; usage with a larger one is not believed."""

ALWAYS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
"""Counts that every usage has."""


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class Extracted:
    """Usage read from an answer.

    Attributes:
        raw: The provider's own usage object, untouched.
        model: The model the answer names, or None if its format names none.
    """

    usage: Usage
    raw: Json
    model: str | None


def extract(body: Json, *, provider: str, flavor: str, home: str) -> Extracted | None:
    """Read the usage of an answer in the shape of a non-streaming body.

    The provider's own extractor for the format comes first, then the format's own. A provider's default extractor is
    for the API that the provider invented, so it comes before the format's own only if it reads the same shape.

    Args:
        body: The answer's JSON.
        provider: The genai-prices provider that is billed.
        flavor: genai-prices' name of the API format.
        home: The genai-prices provider that invented the format.

    Returns:
        The usage, or None if the answer has none, or impossible counts.
    """
    body = with_totals(body, flavor)
    for extractor in extractors(provider, flavor, home):
        counts: Mapping[str, object]
        if (quick := _quickly(extractor, body)) is not None:
            model, counts = quick
        else:
            try:
                model, read = extractor.extract(body)
            except ValueError:
                continue
            counts = vars(read)
        raw = _at(body, extractor.root)
        usage: Usage = dict.fromkeys(ALWAYS, 0)
        for key, value in counts.items():
            if isinstance(value, int):
                usage[key] = value
            elif isinstance(value, (float, Decimal)):
                usage[key] = float(value)
        _complete(usage, raw, flavor)
        return Extracted(usage, raw, model) if all(0 <= count <= MOST for count in usage.values()) else None
    return None


Step = tuple[str, tuple[str, ...], bool]
"""A usage key, the path of its count in the usage object, and whether the count must be there."""


_COMPILED: dict[int, tuple[Step, ...] | None] = {}
"""By the id of an extractor; the bundled ones live as long as the process."""


def compiled(extractor: UsageExtractor) -> tuple[Step, ...] | None:
    """An extractor's mappings as plain data; None if one is more than a path of names."""
    if id(extractor) not in _COMPILED:
        _COMPILED[id(extractor)] = _compile(extractor)
    return _COMPILED[id(extractor)]


def _compile(extractor: UsageExtractor) -> tuple[Step, ...] | None:
    if not isinstance(extractor.root, str) or not isinstance(extractor.model_path, str):
        return None
    steps: list[Step] = []
    for row in extractor.mappings:
        path = (row.path,) if isinstance(row.path, str) else tuple(row.path)
        names = tuple(name for name in path if isinstance(name, str))
        if len(names) < len(path):
            return None
        if row.dest in extractor._reported_usage_keys:
            steps.append((row.dest, names, row.required))
    return tuple(steps)


def _quickly(extractor: UsageExtractor, body: Json) -> tuple[str | None, dict[str, int]] | None:
    """The result of `extractor.extract` if every count is a plain whole number; None if it must be called itself."""
    steps = compiled(extractor)
    if steps is None:
        return None
    usage = body.get(str(extractor.root))
    if type(usage) is not dict:
        return None
    counts: dict[str, int] = {}
    for key, path, required in steps:
        value: object = usage
        for name in path:
            if type(value) is not dict or name not in value:
                value = None
                break
            value = value[name]
        if type(value) is int and value >= 0:
            counts[key] = counts.get(key, 0) + value
        elif value is not None or required:
            return None
    if not counts:
        return None
    model = body.get(str(extractor.model_path))
    return model if isinstance(model, str) else None, counts


@lru_cache(maxsize=512)
def extractors(provider: str, flavor: str, home: str) -> tuple[UsageExtractor, ...]:
    """The extractors that may read an answer, the best match first."""

    def found() -> Iterator[UsageExtractor | None]:
        yield _extractor(provider, flavor)
        default = _extractor(provider, "default")
        if default is not None and (provider == home or _input_path(default) in _SHAPES.get(flavor, ())):
            yield default
        yield _extractor(home, flavor)
        yield _extractor(home, "default")
        yield default

    return tuple({id(one): one for one in found() if one is not None}.values())


_SHAPES: Mapping[str, tuple[str, ...]] = {"chat": ("prompt_tokens",), "default": ()}
"""The name of the required input count, by which an extractor belongs to a format."""


def _input_path(extractor: UsageExtractor) -> object:
    required = (row.path for row in extractor.mappings if row.dest == "input_tokens" and row.required)
    return next(required, None)


def _extractor(provider: str, flavor: str) -> UsageExtractor | None:
    found = find_provider_by_id(_BUNDLED.providers, provider)
    return next((e for e in (found.extractors or ()) if e.api_flavor == flavor), None) if found else None


def _at(body: Json, path: object) -> Json:
    steps = [path] if isinstance(path, str) else path
    value: object = body
    for step in steps if isinstance(steps, (list, tuple)) else ():
        value = value.get(step) if isinstance(value, Mapping) and isinstance(step, str) else None
    return value if isinstance(value, Mapping) else {}


# Counts that extractors leave out

FieldPath = tuple[str, ...]

ELSEWHERE: Mapping[str, Mapping[str, tuple[FieldPath, ...]]] = {
    "chat": {
        "cache_read_tokens": (
            ("prompt_tokens_details", "cached_tokens"),
            ("cached_tokens",),  # Moonshot, Together
            ("prompt_token_details", "cached_tokens"),  # Mistral
            ("num_cached_tokens",),  # Mistral
            ("prompt_cache_hit_tokens",),  # DeepSeek
            ("cache_read_input_tokens",),  # Databricks, LiteLLM
            ("prompt_tokens_details", "cache_read_input_tokens"),
            ("input_tokens_details", "cached_tokens"),
        ),
        "cache_write_tokens": (
            ("prompt_tokens_details", "cache_write_tokens"),
            ("prompt_tokens_details", "cache_creation_tokens"),
            ("prompt_tokens_details", "cache_creation_input_tokens"),
            ("cache_creation_input_tokens",),
        ),
        "cache_write_12h_tokens": (("prompt_tokens_details", "cache_write_tokens_details", "ttl_12h_tokens"),),
        "input_audio_tokens": (("prompt_tokens_details", "audio_tokens"),),
        "input_image_tokens": (("prompt_tokens_details", "image_tokens"),),
        "input_video_tokens": (("prompt_tokens_details", "video_tokens"),),
        "output_audio_tokens": (("completion_tokens_details", "audio_tokens"),),
        "output_image_tokens": (("completion_tokens_details", "image_tokens"),),
        "output_reasoning_tokens": (
            ("completion_tokens_details", "reasoning_tokens"),
            ("reasoning_tokens",),
            ("output_tokens_details", "reasoning_tokens"),
        ),
    },
    "responses": {
        "cache_read_tokens": (
            ("input_tokens_details", "cached_tokens"),
            ("input_tokens_details", "cache_read_input_tokens"),
            ("cached_tokens",),
        ),
        "cache_write_tokens": (
            ("input_tokens_details", "cache_write_tokens"),
            ("input_tokens_details", "cache_creation_input_tokens"),
        ),
        "cache_write_12h_tokens": (("input_tokens_details", "cache_write_tokens_details", "ttl_12h_tokens"),),
        "input_audio_tokens": (("input_tokens_details", "audio_tokens"), ("input_token_details", "audio_tokens")),
        "input_image_tokens": (("input_tokens_details", "image_tokens"),),
        "output_audio_tokens": (("output_tokens_details", "audio_tokens"), ("output_token_details", "audio_tokens")),
        "output_image_tokens": (("output_tokens_details", "image_tokens"),),
        "output_reasoning_tokens": (("output_tokens_details", "reasoning_tokens"),),
    },
    "anthropic": {
        "cache_write_5m_tokens": (("cache_creation", "ephemeral_5m_input_tokens"),),
        "cache_write_1h_tokens": (("cache_creation", "ephemeral_1h_input_tokens"),),
        "output_reasoning_tokens": (("output_tokens_details", "thinking_tokens"),),
    },
}
"""Other places of a count in a usage object, by flavor and key: used if the extractor found none."""


def _complete(usage: Usage, raw: Json, flavor: str) -> None:
    """Add the counts that the provider's extractor did not look for."""
    for key, places in ELSEWHERE.get(flavor, {}).items():
        if usage.get(key):
            continue
        found = 0
        for place in places:
            if place[0] not in raw:
                continue
            number = _dig(raw, place)
            if found := number if type(number) is int and 0 <= number <= MOST else _count(number) or 0:
                break
        if not found:
            continue
        total = usage["output_tokens" if key.startswith("output_") else "input_tokens"]
        # A part is never more than the whole; one that is larger is counted on top by a rule that is not known here.
        if found <= total:
            usage[key] = found
    if flavor == "anthropic":
        _add_unsummed_writes(usage)
    if flavor in TOTALLED:
        _add_excess(usage, raw)


def _add_unsummed_writes(usage: Usage) -> None:
    """Count cache writes of which only the split by time is stated."""
    split = usage.get("cache_write_5m_tokens", 0) + usage.get("cache_write_1h_tokens", 0)
    missing = split if not usage["cache_write_tokens"] else 0
    usage["cache_write_tokens"] += missing
    usage["input_tokens"] += missing


TOTALLED = frozenset({"chat", "responses"})
"""Flavors whose total may include more than input and output."""


def _add_excess(usage: Usage, raw: Json) -> None:
    """Count what the total has beyond input and output as output: reasoning that the provider left out of it.

    Where sound is billed by its length (Mistral), the rest is the sound's tokens, and billed already.
    """
    if _count(raw.get("prompt_audio_seconds")):
        return
    total = _count(raw.get("total_tokens"))
    excess = (total or 0) - int(usage["input_tokens"]) - int(usage["output_tokens"])
    if excess > 0:
        usage["output_tokens"] += excess
        if usage.get("output_reasoning_tokens", 0) < excess:
            usage["output_reasoning_tokens"] = excess


def with_totals(body: Json, flavor: str) -> Json:
    """A body with its usage where the extractors look, and with both counts of a chat even if one was left out."""
    usage = body.get("usage")
    if flavor in SYNONYMS and isinstance(usage, Mapping) and (named := _in_usual_names(usage, SYNONYMS[flavor])):
        body = {**body, "usage": {**usage, **named}}
        usage = body["usage"]
    if flavor != "chat":
        return body
    if type(usage) is dict and _plain(usage) and usage["prompt_tokens"] >= 0 and usage["completion_tokens"] >= 0:
        return body
    if not isinstance(usage, Mapping) or not usage:
        usage = _chat_usage(body)
        if not usage:
            return body
    if any(isinstance(count, int) and count < 0 for count in (usage.get(f"{name}_tokens") for name in _CHAT_COUNTS)):
        return {**body, "usage": {}}  # tells nothing
    prompt, completion, total = (_count(usage.get(f"{name}_tokens")) for name in _CHAT_COUNTS)
    changed: dict[str, object] = {}
    if prompt is None and total is not None:
        changed = {"prompt_tokens": total - min(total, completion or 0), "completion_tokens": completion or 0}
    elif prompt is not None and completion is None:
        changed = {"completion_tokens": max(0, (total or prompt) - prompt)}
    elif prompt is not None and not _plain(usage):
        changed = {"prompt_tokens": prompt, "completion_tokens": completion}
    if usage is body.get("usage") and not changed:
        return body
    return {**body, "usage": {**usage, **changed}}


SYNONYMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "chat": {
        "prompt_tokens": ("input_tokens", "promptTokens", "inputTokens"),
        "completion_tokens": ("output_tokens", "completionTokens", "outputTokens"),
        "total_tokens": ("totalTokens",),
    },
    "responses": {"input_tokens": ("prompt_tokens",), "output_tokens": ("completion_tokens",)},
}
"""Other names of counts, by flavor and usual name: what servers that imitate an API call them."""


def _in_usual_names(usage: Json, names: Mapping[str, tuple[str, ...]]) -> dict[str, object]:
    """Counts that a usage object has under another name alone, by their usual names."""
    found: dict[str, object] = {}
    for usual, others in names.items():
        if usage.get(usual) is None and (other := next((name for name in others if usage.get(name)), None)):
            found[usual] = usage[other]
    return found


_CHAT_COUNTS = ("prompt", "completion", "total")


def _plain(usage: Json) -> bool:
    return type(usage.get("prompt_tokens")) is int and type(usage.get("completion_tokens")) is int


def _chat_usage(body: Json) -> Json:
    """The usage of a chat that is not at OpenAI's place: Moonshot's in a choice, Groq's, Cloudflare's."""
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for place in (_dig(body, ("x_groq", "usage")), _dig(first, ("usage",)), _dig(body, ("result", "usage"))):
        if isinstance(place, Mapping) and place:
            return place
    return {}


def _dig(found: object, path: FieldPath) -> object:
    for step in path:
        if type(found) is not dict and not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def _count(found: object) -> int | None:
    """A count; also one that a lenient server writes as a float or a string."""
    if isinstance(found, str) and found.isdecimal() and len(found) < 11:
        return int(found)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MOST else None
