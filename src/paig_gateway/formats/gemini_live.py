"""Gemini's Live API over a WebSocket, at the Gemini API and on Vertex AI. Names come in camel case or in snake case.

Each generation of a turn reports its usage in a message of its own or with the turn's end; a turn in which the model
calls functions has several generations, each billed for all it has read. So the counts of a turn are added up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from paig_gateway.formats import folding, reading
from paig_gateway.formats.base import Call, Format, Json, MalformedRequest, StreamEvent
from paig_gateway.formats.folding import dig, each, joined, mapping, whole
from paig_gateway.formats.gemini import by_modality, context

_MARKER = re.compile(rb'"(?:usageMetadata|usage_metadata|turnComplete|turn_complete|groundingMetadata)"')
_COUNTS = {
    "promptTokenCount": "promptTokensDetails",
    "responseTokenCount": "responseTokensDetails",
    "candidatesTokenCount": "candidatesTokensDetails",
    "cachedContentTokenCount": "cacheTokensDetails",
    "toolUsePromptTokenCount": "toolUsePromptTokensDetails",
}
# What Vertex AI and Gemini's other API call them.
_OTHERWISE = {"responseTokenCount": "candidatesTokenCount", "responseTokensDetails": "candidatesTokensDetails"}
_QUERIES = ("webSearchQueries", "imageSearchQueries", "retrievalQueries")


def _read(model: str | None, body: bytes) -> Call:
    raise MalformedRequest("The Live API is spoken over a WebSocket.")


def either(top: Mapping[str, reading.Raw], camel: str, snake: str) -> reading.Raw | None:
    """A member by either of its names."""
    return top.get(camel, top.get(snake))


def camel_case(name: str) -> str:
    """`usage_metadata` as `usageMetadata`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


_DEEPEST = 32
"""Levels of a message whose names are put into camel case; none below them matters."""


def in_camel_case(found: object, levels: int = _DEEPEST) -> object:
    """Names in camel case; values unchanged."""
    if not levels:
        return found
    if isinstance(found, Mapping):
        return {camel_case(str(name)): in_camel_case(value, levels - 1) for name, value in found.items()}
    return [in_camel_case(value, levels - 1) for value in found] if isinstance(found, list) else found


def usage_of(top: Mapping[str, reading.Raw]) -> Json:
    """The usage in a message; empty if there is none."""
    return mapping(in_camel_case(reading.value(either(top, "usageMetadata", "usage_metadata"))))


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take a message in."""
    top = reading.members(event.data)
    if usage := usage_of(top):
        body["usageMetadata"] = _sum(mapping(body.get("usageMetadata")), usage)
    content = mapping(in_camel_case(reading.value(either(top, "serverContent", "server_content"))))
    if content.get("turnComplete") is True:
        body[folding.END] = True
    if grounding := mapping(content.get("groundingMetadata")):
        known = mapping(dig(next(iter(each(body.get("candidates"))), {}), "groundingMetadata"))
        queries = {name: folding.appended(known.get(name), each(grounding.get(name))) for name in _QUERIES}
        body["candidates"] = [{"groundingMetadata": {name: found for name, found in queries.items() if found}}]


def _sum(known: Json, new: Json) -> dict[str, object]:
    """Two usage objects added up, the parts of counts by modality."""
    total: dict[str, object] = {**known, **new}
    for name in {*known, *new}:
        if name.endswith("TokenCount"):
            total[name] = (whole(known.get(name)) or 0) + (whole(new.get(name)) or 0)
    for count, details in _COUNTS.items():
        parts = by_modality((*each(known.get(details)), *each(new.get(details))))
        if parts and count in total:
            total[details] = parts
    return total


def _as_candidates(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    usage = mapping(body.get("usageMetadata"))
    if not usage:
        return body
    return {**body, "usageMetadata": {_OTHERWISE.get(name, name): value for name, value in usage.items()}}


def text(event: StreamEvent) -> str:
    """The model's text in a message."""
    parts = each(dig(in_camel_case(reading.value(event.data)), "serverContent", "modelTurn", "parts"))
    return joined(*(dig(part, "text") for part in parts))


LIVE = Format(
    name="gemini-live",
    path=re.compile(
        r"(?:^|/)ws/google\.(?:ai\.generativelanguage\.v\d\w*\.GenerativeService\.|cloud\.aiplatform\.v\d\w*\."
        r"LlmBidiService/)BidiGenerateContent/?$"
    ),
    methods=frozenset({"GET"}),
    read=_read,
    home="google",
    errors="google",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    context=context,
    text=text,
    normalise=_as_candidates,
)
