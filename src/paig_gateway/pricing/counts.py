"""How the units of an answer are counted: a function for each shape in which a provider states them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from paig_gateway.formats.base import Call, Json
from paig_gateway.formats.folding import PARTIAL, dig, each, mapping, whole

Count: TypeAlias = Callable[[Json, Call], int | float | None]
"""Counts a unit in an answer; None if the answer does not mention it."""


def present(body: Json) -> set[str]:
    """The members of an answer, of its usage, and of the messages of its choices."""
    found = {*body, *mapping(body.get("usage"))}
    for choice in each(body.get("choices")):
        message = choice.get("message") if type(choice) is dict else dig(choice, "message")
        if message is not None:
            found.update(mapping(message))
    return found


NEEDED: dict[Count, frozenset[str]] = {}
"""For each count: names, one of which is in `present` of every answer that has the unit."""


def number(found: object) -> int | float | None:
    """A plausible count, or None."""
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= 10**9:
        return None
    return int(found) if isinstance(found, float) and found.is_integer() else found


def at(*path: str) -> Count:
    """The number at a path."""

    def counted(body: Json, call: Call) -> int | float | None:
        return number(dig(body, *path))

    NEEDED[counted] = frozenset({path[1] if path[0] == "usage" and len(path) > 1 else path[0]})
    return counted


def first(*counts: Count) -> Count:
    """The first of several counts that the answer mentions."""

    def counted(body: Json, call: Call) -> int | float | None:
        for one in counts:
            if (number := one(body, call)) is not None:
                return number
        return None

    if all(one in NEEDED for one in counts):
        NEEDED[counted] = frozenset().union(*(NEEDED[one] for one in counts))
    return counted


def _output(body: Json, *kinds: str) -> Iterator[Json]:
    """The output items of those types that were not refused or failed."""
    for item in map(mapping, each(body.get("output"))):
        if item.get("type") in kinds and item.get("status") != "failed":
            yield item


def items(*kinds: str) -> Count:
    """Output items of these types."""
    return lambda body, call: sum(1 for _ in _output(body, *kinds)) or None


def searches(body: Json, call: Call) -> int | None:
    """Searches among web search calls: opening a page and finding text in it are not billed [D]."""
    actions = [dig(item, "action", "type") for item in _output(body, "web_search_call")]
    return sum(action in (None, "search") for action in actions) or None


_NOT_REASONING = re.compile(r"gpt-4(?!o(?:-mini)?-search)|chatgpt-4o")


def previews(body: Json, call: Call) -> int | None:
    """Searches of the preview tool by a model that does not reason, which cost more than others."""
    model = body.get("model") or call.model
    if not isinstance(model, str) or _NOT_REASONING.search(model.lower()) is None:
        return None
    tools = {str(dig(tool, "type")) for tool in each(body.get("tools"))} | call.server_tools
    return searches(body, call) if any(name.startswith("web_search_preview") for name in tools) else None


def unless(exception: Count, count: Count) -> Count:
    """What `count` counts, unless `exception` counts it."""
    return lambda body, call: None if exception(body, call) else count(body, call)


def containers(body: Json, call: Call) -> int | None:
    """Gigabytes of the containers that may be new sessions: of one at least."""
    calls = list(_output(body, "code_interpreter_call", "shell_call"))
    named = {item.get("container_id") or dig(item, "environment", "container_id") for item in calls}
    ids = {name for name in named if isinstance(name, str)}
    local = [item for item in calls if dig(item, "environment", "type") == "local"]
    if not calls or len(local) == len(calls):
        return None
    # By the gigabyte of memory: of several tools, the mean.
    asked, kinds = call.units.get("tool_containers", 1), len(call.server_tools & {"code_interpreter", "shell"}) or 1
    return max(1, len(ids)) * -(-asked // kinds)


def images(body: Json, call: Call) -> int | None:
    """Images that an image tool made, where the answer does not state their tokens."""
    if number(dig(body, "tool_usage", "image_gen", "output_tokens")):
        return None
    return sum(1 for _ in _output(body, "image_generation_call")) or None


def drawn(unit: str) -> Count:
    """Images, of the size and quality that count as that unit, of an answer that states no tokens."""

    def counted(body: Json, call: Call) -> int | None:
        asked = next(iter(call.units), "images")
        return None if asked != unit or mapping(body.get("usage")) else len(each(body.get("data"))) or None

    return counted


def _grounding(body: Json) -> Iterator[Json]:
    for candidate in each(body.get("candidates")):
        if found := mapping(dig(candidate, "groundingMetadata")):
            yield found


def _queries(body: Json, *names: str) -> int:
    """Different queries: the same one asked again is billed once [D]."""
    return sum(
        len({str(query) for found in _grounding(body) for query in each(found.get(name)) if query}) for name in names
    )


def search_queries(body: Json, call: Call) -> int | None:
    """Queries of Gemini's web and image search."""
    return _queries(body, "webSearchQueries", "imageSearchQueries") or None


def searched_prompt(body: Json, call: Call) -> int | None:
    """One for a prompt for which Gemini ran any query."""
    return 1 if search_queries(body, call) else None


def has_maps(grounding: Json) -> bool:
    """Whether a grounding has a place of Google Maps, or the token of its widget."""
    chunks = map(mapping, each(grounding.get("groundingChunks")))
    return bool(grounding.get("googleMapsWidgetContextToken")) or any("maps" in chunk for chunk in chunks)


def maps(body: Json, call: Call) -> int | None:
    """One for a prompt that Gemini grounded with maps."""
    return 1 if any(map(has_maps, _grounding(body))) else None


def grounded(kind: str) -> Count:
    """Uses of a grounding tool that an interaction counts."""

    def counted(body: Json, call: Call) -> int | None:
        counts = map(mapping, each(dig(body, "usage", "grounding_tool_count")))
        return sum(whole(one.get("count")) or 0 for one in counts if one.get("type") == kind) or None

    return counted


def transcribed(body: Json, call: Call) -> int | float | None:
    """Seconds of sound; None if the answer counts it in tokens."""
    if seconds := number(dig(body, "usage", "prompt_audio_seconds")):
        return seconds
    if number(dig(body, "usage", "input_tokens")) or number(dig(body, "usage", "prompt_tokens")):
        return None
    return first(at("usage", "seconds"), _duration)(body, call)


def _duration(body: Json, call: Call) -> int | float | None:
    """`duration`, which some servers write as a string."""
    said = body.get("duration")
    try:
        return number(float(said) if isinstance(said, str) else said)
    except ValueError:
        return None


_SPEECH_BYTES = 4_000
"""Bytes a second of compressed speech (32 kbit/s), for estimates only."""


def sounding(body: Json, call: Call) -> int | float | None:
    """The approximate duration of the sounds in the request; None if the answer counts tokens."""
    if any(map(number, mapping(body.get("usage")).values())):
        return None
    sounds = [item for item in call.media if item.kind == "audio"]
    lengths = (item.size / _SPEECH_BYTES if item.seconds is None else item.seconds for item in sounds)
    return round(sum(lengths), 3) or None


def retrievals(body: Json, call: Call) -> int | None:
    """Queries of Gemini's retrieval."""
    return _queries(body, "retrievalQueries") or None


def blocks(*names: str) -> Count:
    """Calls of Anthropic's own tools among the content blocks."""

    def counted(body: Json, call: Call) -> int | None:
        blocks = [mapping(block) for block in each(body.get("content"))]
        used = [block.get("name") for block in blocks if block.get("type") == "server_tool_use"]
        return sum(name in names for name in used) or None

    return counted


def cut_off(*names: str) -> Count:
    """The same in an answer that was cut off before its usage."""
    begun = blocks(*names)
    return lambda body, call: begun(body, call) if PARTIAL in body else None


def executed(*kinds: str) -> Count:
    """Tools that a Groq model ran."""

    def counted(body: Json, call: Call) -> int | None:
        tools = (
            tool for choice in each(body.get("choices")) for tool in each(dig(choice, "message", "executed_tools"))
        )
        return sum(dig(tool, "type") in kinds for tool in tools) or None

    NEEDED[counted] = frozenset({"executed_tools"})
    return counted


def called(name: str) -> Count:
    """Calls of a built-in function under a reserved name; billed only where they end the answer (Moonshot's docs)."""

    def counted(body: Json, call: Call) -> int | None:
        choices = (one for one in each(body.get("choices")) if dig(one, "finish_reason") == "tool_calls")
        calls = (one for choice in choices for one in each(dig(choice, "message", "tool_calls")))
        return sum(dig(one, "function", "name") == name for one in calls) or None

    NEEDED[counted] = frozenset({"tool_calls"})
    return counted


_ROUTER = re.compile(r"(?:.*/)?model[-_]router(?:-.*)?")


def routed(body: Json, call: Call) -> int | float | None:
    """Input tokens of a request to a router between models."""
    if _ROUTER.fullmatch(call.model.lower()) is None:
        return None
    return first(at("usage", "prompt_tokens"), at("usage", "input_tokens"))(body, call)


def one_each_time(body: Json, call: Call) -> int:
    """One for each request."""
    return 1


def requested(name: str) -> Count:
    """Units that the request alone makes billable."""
    return lambda body, call: call.units.get(name)


GUARDRAIL = {
    "guardrail_text_units": ("contentPolicyUnits", "topicPolicyUnits"),
    "guardrail_filter_units": ("sensitiveInformationPolicyUnits", "contextualGroundingPolicyUnits"),
    "guardrail_reasoning_units": ("automatedReasoningPolicyUnits",),
    "guardrail_images": ("contentPolicyImageUnits",),
}
"""Units of Bedrock's guardrails that cost the same; words, regular expressions and free filters cost nothing [L]."""


def guardrail(*names: str) -> Count:
    """Units of a Bedrock guardrail, from its trace."""

    def counted(body: Json, call: Call) -> int | None:
        trace = dig(body, "trace", "guardrail") or dig(body, "amazon-bedrock-trace", "guardrail")
        return sum(_units_in(trace, names)) or None

    return counted


def _units_in(found: object, names: tuple[str, ...]) -> Iterator[int]:
    """The counts below every `invocationMetrics.usage` of a guardrail's assessments."""
    if isinstance(found, list):
        for one in found:
            yield from _units_in(one, names)
    elif isinstance(found, Mapping):
        usage = mapping(dig(found, "invocationMetrics", "usage"))
        yield from (whole(usage.get(name)) or 0 for name in names)
        yield from (
            number for name, one in found.items() if name != "invocationMetrics" for number in _units_in(one, names)
        )


def unseen_guardrail(body: Json, call: Call) -> int | None:
    """A guardrail that ran without a trace: it is billed, but the amount is not stated."""
    traced = dig(body, "trace", "guardrail") or dig(body, "amazon-bedrock-trace", "guardrail")
    return 1 if "guardrail" in call.server_tools and not traced else None


def guardrail_units(*names: str) -> Count:
    """Units of a guardrail that was called by itself."""

    def counted(body: Json, call: Call) -> int | None:
        usage = mapping(body.get("usage"))
        return sum(whole(usage.get(name)) or 0 for name in names) or None

    return counted


def charged_before(body: Json, call: Call) -> None:
    """Units that the request alone states; they were charged with its worst case."""


def bedrock_images(body: Json, call: Call) -> int | None:
    """Images of a model at Bedrock."""
    return len(each(body.get("images"))) or len(each(body.get("artifacts"))) or None


def predicted(body: Json, call: Call) -> int | None:
    """Images; those that a filter removed are not billed."""
    made = [mapping(one) for one in each(body.get("predictions"))]
    return sum("bytesBase64Encoded" in one or "gcsUri" in one for one in made)
