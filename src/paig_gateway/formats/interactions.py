"""Gemini's Interactions API: asking a model or an agent, and looking again at a stored interaction.

The shapes are those of google-genai 3.6.1 (`types/interactions`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from paig_gateway.formats import folding, reading
from paig_gateway.formats.base import Call, Format, Json, MalformedRequest, StreamEvent
from paig_gateway.formats.folding import dig, each, joined, mapping, whole
from paig_gateway.formats.gemini import by_modality, context, searches_of
from paig_gateway.formats.openai_chat import DRAWN
from paig_gateway.formats.reading import Raw
from paig_gateway.formats.text import Media, bound

_CLIENT_TOOLS = frozenset({"function", "computer_use"})
_ENDS = frozenset({"completed", "failed", "cancelled", "incomplete", "requires_action"})
_TEXT = frozenset({"text", "thought", "function_call", "function_result", "user_input", "model_output"})


def _media_in(found: Raw | None, media: Media) -> None:
    """The media in an input: a text, a content, a list of contents, or steps that have contents."""
    for part in reading.objects(found) or [reading.members(found)]:
        kind = reading.string(part.get("type"))
        if "content" in part:
            _media_in(part["content"], media)
        elif kind == "image":
            media.image(part.get("data") if "data" in part else part.get("uri"))
        elif kind == "audio" and "data" in part:
            media.audio(part.get("data"))
        elif kind == "document" and "data" in part:
            media.document(part.get("data"))
        elif kind is not None and kind not in _TEXT:
            media.unbounded()


def _read(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    named = model or reading.string(top.get("model")) or reading.string(top.get("agent"))
    if not named:
        raise MalformedRequest('The request names no model: give "model" or "agent" as a string.')
    if reading.present(top.get("agent")) and reading.present(top.get("model")):
        raise MalformedRequest('The request names both a "model" and an "agent": give one of them.')
    media = Media()
    _media_in(top.get("input"), media)
    previous = reading.string(top.get("previous_interaction_id"))
    if previous:
        media.unbounded()
    config = reading.members(top.get("generation_config"))
    tools = reading.objects(top.get("tools"))
    at_google = {reading.string(tool.get("type")) or "" for tool in tools} - _CLIENT_TOOLS
    draws = "image" in named
    only_text = [str(kind).lower() for kind in each(reading.value(top.get("response_modalities")))] in ([], ["text"])
    tier = (reading.string(top.get("service_tier")) or "").lower()
    return Call(
        model=named,
        stream=reading.truth(top.get("stream")),
        input_tokens=bound(body, media, tools=len(tools)),
        output_tokens=reading.largest(config.get("max_output_tokens")),
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        media_out=not only_text or draws,
        extra_output=DRAWN if draws else 0,
        searches=len(at_google) * searches_of(named),
        unbounded_tools=bool(at_google) or reading.present(top.get("agent")),
        server_tools=frozenset(at_google),
        modifiers={"service_tier": tier} if tier else {},
        service_tier=tier or None,
        background=reading.truth(top.get("background")),
        asks_usage=True,
        stored=previous,
    )


_MARKER = re.compile(
    rb'"(?:usage"\s*:\s*\{|error"\s*:\s*[{"]|event_type"\s*:\s*"interaction\.)|:\s*(?:error|interaction\.[a-z_.]+)\b'
)


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take an event in. Usage is final with the interaction's end."""
    top = reading.members(event.data)
    folding.note_error(body, folding.error_of(event, top))
    kind = reading.string(top.get("event_type")) or event.name
    found = reading.members(top.get("interaction"))
    folding.keep(body, found, ("id", "model", "agent", "status"))
    ended = kind == "interaction.completed" or reading.string(found.get("status")) in _ENDS
    if ended:
        body[folding.END] = True
    folding.note_usage(body, folding.usage_in(found.get("usage") or top.get("usage")), final=ended)


def text(event: StreamEvent) -> str:
    """The model's output in an event or a body."""
    data = reading.value(event.data)
    pieces = [dig(data, "delta", "text"), dig(data, "delta", "arguments")]
    for output in (*each(dig(data, "outputs")), *each(dig(data, "steps"))):
        parts = each(dig(output, "content")) or [output]
        pieces += [dig(part, name) for part in parts for name in ("text", "summary")]
    return joined(*pieces)


_COUNTS = {
    "total_input_tokens": "promptTokenCount",
    "total_cached_tokens": "cachedContentTokenCount",
    "total_output_tokens": "candidatesTokenCount",
    "total_thought_tokens": "thoughtsTokenCount",
    "total_tool_use_tokens": "toolUsePromptTokenCount",
}
_PARTS = {
    "input_tokens_by_modality": "promptTokensDetails",
    "cached_tokens_by_modality": "cacheTokensDetails",
    "output_tokens_by_modality": "candidatesTokensDetails",
}


def as_generate_content(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    """An interaction's usage as `generateContent` words it, for the extractor; the body's own stays beside it."""
    usage = mapping(body.get("usage"))
    counts = {theirs: count for ours, theirs in _COUNTS.items() if (count := whole(usage.get(ours))) is not None}
    if "promptTokenCount" not in counts:
        return body
    if extra := counts.pop("toolUsePromptTokenCount", 0):
        counts["promptTokenCount"] += extra
    counts.setdefault("candidatesTokenCount", 0)
    parts = {
        theirs: found
        for ours, theirs in _PARTS.items()
        if (found := by_modality(each(usage.get(ours)), count="tokens"))
    }
    return {**body, "usageMetadata": {**counts, **parts}}


def work_id(body: Json) -> str | None:
    """The interaction's id."""
    found = body.get("id")
    return found if isinstance(found, str) and found else None


INTERACTIONS = Format(
    name="gemini-interactions",
    path=re.compile(r"(?:^|/)interactions/?$"),
    read=_read,
    home="google",
    errors="google",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    context=context,
    work_id=work_id,
    text=text,
    answer=frozenset({"outputs", "steps", "status"}),
    normalise=as_generate_content,
)


def _read_decision(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    media = Media()
    _media_in(top.get("input"), media)
    return Call(
        model=reading.model_of(top, model).removeprefix("models/"),
        input_tokens=bound(body, media),
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        asks_usage=True,
    )


DECISIONS = Format(
    name="gemini-decisions",
    path=re.compile(r"(?!)"),
    read=_read_decision,
    home="google",
    errors="google",
    context=context,
    answer=frozenset({"answers", "prompt_feedback"}),
    normalise=as_generate_content,
)
"""Questions about an input (google-genai 3.6.1, `types/decisions`); their usage is worded as an interaction's."""


LATER_LOOK = replace(
    INTERACTIONS,
    name="gemini-interactions-get",
    path=re.compile(r"(?:^|/)interactions/(?P<stored>[^/]+)/?$"),
    methods=frozenset({"GET"}),
    read=lambda model, body: Call(model=""),
    answer=frozenset(),
    later_look=True,
)
