"""Splits the usage of an answer in which several models, or several passes of one, are billed.

The top-level usage of such an answer leaves some of it out: Anthropic's compaction and advisor iterations, the models
that a Groq compound system asked, the images that a tool of OpenAI's Responses API made, the transcription of speech in
its Realtime API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paig_gateway.formats.base import Json
from paig_gateway.formats.folding import dig, each, mapping, whole


@dataclass(frozen=True, slots=True)
class Part:
    """The usage of one model, as a body of its own.

    Attributes:
        body: A body with `usage`, and `model` where another model than the answer's was used.
        own: Whether the tokens are the answering model's own; those of other models are shown apart.
        flavor: genai-prices' name of the shape of that usage; None for the answer's own.
        doubt: Why the part may not be priced exactly, or None.
    """

    body: Json
    own: bool = True
    flavor: str | None = None
    doubt: str | None = None


def parts(fmt: str, body: Json) -> list[Part]:
    """The billed parts, the answer's own model first; the body itself if it has only one part."""
    if fmt in ("anthropic", "bedrock-invoke") and each(dig(body, "usage", "iterations")):
        return _iterations(body)
    if fmt == "openai-chat" and (models := each(dig(body, "usage_breakdown", "models"))):
        return [Part({"model": dig(one, "model"), "usage": mapping(dig(one, "usage"))}) for one in models]
    if fmt.startswith("openai-responses") and any(
        whole(dig(body, "tool_usage", "image_gen", f"{name}_tokens")) for name in ("input", "output", "total")
    ):
        return [Part(body), _images(body)]
    if fmt == "openai-realtime" and (transcriptions := each(body.get("transcriptions"))):
        return [*([Part(body)] if "usage" in body else []), *map(_transcription, transcriptions)]
    return [Part(body)]


def _transcription(found: object) -> Part:
    """The transcription of the client's speech by another model: billed by tokens, or by the second."""
    model, usage = dig(found, "model"), mapping(dig(found, "usage"))
    if usage.get("type") == "duration":
        return Part({"model": model, "usage": usage}, own=False, flavor="live")
    return Part({"model": model, "response": {"usage": usage}}, own=False, flavor="realtime")


_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_TIMES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
_IN_TOTAL = frozenset({"message", "fallback_message"})
_APART = frozenset({"compaction", "advisor_message"})
"""Iterations that the top-level counts leave out (the type `BetaIterationsUsage` of Anthropic's SDK)."""


def _iterations(body: Json) -> list[Part]:
    """The sum of each model's iterations; counts beyond them at the top level belong to the answer's own model."""
    usage = mapping(body.get("usage"))
    own = body.get("model")
    sums: dict[object, dict[str, int]] = {own: {}}
    included: dict[str, int] = {}
    unknown: str | None = None
    for entry in map(mapping, each(usage.get("iterations"))):
        model, counts = entry.get("model") or own, _counts(entry)
        _add(sums.setdefault(model, {}), counts)
        if entry.get("type") not in _APART:
            _add(included, counts)
            if entry.get("type") not in _IN_TOTAL:
                unknown = f"unknown: usage.iterations type {entry.get('type')}"
    rest = {name: max(0, number - included.get(name, 0)) for name, number in _counts(usage).items()}
    _add(sums[own], rest)
    found = [Part({**body, "usage": {**usage, **_shaped(sums.pop(own))}}, doubt=unknown)]
    others = (Part({"model": model, "usage": _shaped(counts)}, own=False) for model, counts in sums.items())
    return [*found, *others]


def _counts(usage: Json) -> dict[str, int]:
    found = {name: whole(usage.get(name)) or 0 for name in _COUNTS}
    found |= {name: whole(dig(usage, "cache_creation", name)) or 0 for name in _TIMES}
    return found


def _add(sums: dict[str, int], counts: Mapping[str, int]) -> None:
    for name, number in counts.items():
        sums[name] = sums.get(name, 0) + number


def _shaped(counts: Mapping[str, int]) -> dict[str, object]:
    """Counts as a usage object; the split of cache writes only if there is one."""
    found: dict[str, object] = {name: counts.get(name, 0) for name in _COUNTS}
    times = {name: counts.get(name, 0) for name in _TIMES}
    return {**found, "cache_creation": times} if any(times.values()) else found


_NO_IMAGES = {"input_tokens": 0, "output_tokens": 0, "input_tokens_details": {"text_tokens": 0, "image_tokens": 0}}
"""What the usage of an image tool may leave out."""


def _images(body: Json) -> Part:
    """The tokens of the image tool; its model is named among the answer's tools, if at all."""
    tools = (tool for tool in each(body.get("tools")) if dig(tool, "type") == "image_generation")
    named = next((model for tool in tools if (model := dig(tool, "model"))), None)
    usage = {**_NO_IMAGES, **mapping(dig(body, "tool_usage", "image_gen"))}
    cached = whole(usage.get("cached_tokens"))
    doubt = None if named and cached in (None, 0) else "estimated: image_generation"
    return Part({"model": named or "gpt-image-1", "usage": usage}, own=False, flavor="images", doubt=doubt)
