"""Gemini's generateContent, at the Gemini API and on Vertex AI. Names come in camel case or in snake case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from paig_gateway.formats import folding, reading
from paig_gateway.formats.base import Call, Format, Generated, Json, Marker, StreamEvent
from paig_gateway.formats.embeddings import embedding
from paig_gateway.formats.folding import dig, each, in_base64, joined, mapping, text_size, whole
from paig_gateway.formats.openai_chat import DRAWN, SEARCHES
from paig_gateway.formats.reading import Members, Raw
from paig_gateway.formats.text import Media, bound

# Tools that the client runs; whatever else there is runs at Google and feeds its results back into the input.
_CLIENT_TOOLS = frozenset({"functionDeclarations", "function_declarations", "computerUse", "computer_use"})
_SEARCH_TOOL = re.compile(r"search|maps|retrieval", re.IGNORECASE)
_ONE_SEARCH = re.compile(r"gemini-[12](?!\d)")
_TEXT_TYPE = re.compile(r"text/|application/(?:json|xml)$")
# Counts that a later chunk may repeat without their parts, and the parts.
_PARTS = (
    ("promptTokenCount", "promptTokensDetails"),
    ("candidatesTokenCount", "candidatesTokensDetails"),
    ("cachedContentTokenCount", "cacheTokensDetails"),
    ("toolUsePromptTokenCount", "toolUsePromptTokensDetails"),
)


def _both(top: Members, camel: str, snake: str) -> list[Raw]:
    """A member's values, by either name: which of two counts is Google's to say, so the dearer reading does here."""
    return [top[name] for name in (camel, snake) if name in top]


def media_in(contents: Raw | None, media: Media) -> Media:
    """The media in a list of contents, or in a single one."""
    for content in reading.objects(contents) or [reading.members(contents)]:
        _media_in_parts(content.get("parts"), media)
    return media


def _media_in_parts(parts: Raw | None, media: Media) -> None:
    for part in reading.objects(parts) or [reading.members(parts)]:
        inline = [reading.members(raw) for raw in _both(part, "inlineData", "inline_data")]
        stored = [reading.members(raw) for raw in _both(part, "fileData", "file_data")]
        for blob in filter(None, (*inline, *stored)):
            kinds = [(reading.string(raw) or "").lower() for raw in _both(blob, "mimeType", "mime_type")] or [""]
            if all(kind.startswith("image/") for kind in kinds):
                media.image(blob.get("data"))
            elif blob not in stored and all(kind.startswith("audio/") for kind in kinds):
                media.audio(blob.get("data"))
            elif blob not in stored and all(kind == "application/pdf" for kind in kinds):
                media.document(blob.get("data"))
            elif blob in stored or not all(map(_TEXT_TYPE.match, kinds)):
                media.unbounded()
        for raw in _both(part, "functionResponse", "function_response"):
            answer = reading.members(raw)
            if "parts" in answer:
                _media_in_parts(answer["parts"], media)


def _only_text(config: Members) -> bool:
    modalities = _both(config, "responseModalities", "response_modalities")
    kinds = [str(kind).upper() for raw in modalities for kind in each(reading.value(raw))]
    return bool(kinds) and set(kinds) == {"TEXT"}


def _read(model: str | None, body: bytes, *, stream: bool) -> Call:
    top = reading.request(body)
    media = media_in(top.get("contents"), Media())
    for instruction in _both(top, "systemInstruction", "system_instruction"):
        media_in(instruction, media)
    cached = _both(top, "cachedContent", "cached_content")
    if any(map(reading.present, cached)):
        media.unbounded()
    configs = [reading.members(raw) for raw in _both(top, "generationConfig", "generation_config")]

    def settings(camel: str, snake: str) -> list[Raw]:
        return [raw for config in configs for raw in _both(config, camel, snake)]

    counts = settings("candidateCount", "candidate_count")
    answers = max((reading.answers(raw, "candidateCount") for raw in counts), default=1)
    most = reading.largest(*settings("maxOutputTokens", "max_output_tokens"))
    tools = reading.objects(top.get("tools")) or [reading.members(top.get("tools"))]
    at_google = {name for tool in tools for name in tool if name not in _CLIENT_TOOLS}
    declared = [raw for tool in tools for raw in _both(tool, "functionDeclarations", "function_declarations")]
    tiers = [(reading.string(raw) or "").lower() for raw in _both(top, "serviceTier", "service_tier")]
    named = reading.model_of(top, model)
    media_out = not configs or not all(map(_only_text, configs))
    return Call(
        model=named,
        stream=stream,
        input_tokens=bound(
            body,
            media,
            tools=sum(len(reading.array(functions)) for functions in declared),
            built_in=sum("computerUse" in tool or "computer_use" in tool for tool in tools),
        ),
        # Thinking counts into the maximum.
        output_tokens=None if most is None else most * answers,
        extra_output=DRAWN * answers if media_out and "image" in named else 0,
        answers=answers,
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        media_out=media_out,
        searches=sum(_SEARCH_TOOL.search(name) is not None for name in at_google) * searches_of(named),
        unbounded_tools=bool(at_google),
        server_tools=frozenset(at_google),
        modifiers={"service_tier": tier} if (tier := max(tiers, key="priority".__eq__, default="")) else {},
        thinking=_budget(settings("thinkingConfig", "thinking_config")),
        asks_usage=True,
        service_tier=max(tiers, key="priority".__eq__, default="") or None,
        stored=next(((reading.string(raw) or "").rpartition("/")[2] for raw in cached), "") or None,
    )


def searches_of(model: str) -> int:
    """The searches that a tool is billed for at most: to Gemini 2 one for a prompt, to later models each query."""
    return 1 if _ONE_SEARCH.search(model) else SEARCHES


def _budget(configs: list[Raw]) -> int | None:
    """The largest budget for thinking that the request states."""
    stated = [raw for config in configs for raw in _both(reading.members(config), "thinkingBudget", "thinking_budget")]
    return reading.largest(*stated)


_MARKER = Marker(
    rb'"usageMetadata"\s*:\s*\{',
    rb'"finishReason"',
    rb'"blockReason"',
    rb'"groundingMetadata"',
    rb'"error"\s*:\s*\{',
)
# The billed part of grounding; the texts and links of its chunks are not kept.
_QUERIES = ("webSearchQueries", "imageSearchQueries", "retrievalQueries")
_MAPS_WIDGET = "googleMapsWidgetContextToken"

MOST_CANDIDATES = 32
"""Candidates of one answer that are kept; Gemini gives at most 8 (`candidateCount` in its API reference)."""


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take a chunk in. Counts are cumulative; they are final once each candidate seen has a finish reason."""
    top = reading.members(event.data)
    folding.keep(body, top, ("modelVersion", "responseId"))
    folding.note_error(body, folding.error_of(event, top))
    seen = {dig(one, "index"): dict(mapping(one)) for one in each(body.get("candidates"))}
    for candidate in reading.objects(top.get("candidates")):
        index = reading.integer(candidate.get("index")) or 0
        if index not in seen and len(seen) >= MOST_CANDIDATES:
            continue
        kept = seen.setdefault(index, {"index": index, "finishReason": None})
        kept["finishReason"] = reading.string(candidate.get("finishReason")) or kept["finishReason"]
        if grounding := _grounding(candidate.get("groundingMetadata")):
            kept["groundingMetadata"] = _joined_grounding(mapping(kept.get("groundingMetadata")), grounding)
    body["candidates"] = list(seen.values())
    new = folding.usage_in(top.get("usageMetadata"))
    usage = folding.updated(_still_true(body, new), new)
    body.pop(folding.PARTIAL, None)
    counted = any(name.endswith("TokenCount") for name in usage)  # else a stub, with the traffic type alone
    blocked = "blockReason" in reading.members(top.get("promptFeedback"))
    ended = blocked or (bool(seen) and all(kept["finishReason"] for kept in seen.values()))
    if ended:
        body[folding.END] = True
    final = "usageMetadata" in body or ended
    if usage:
        body["usageMetadata" if final and counted else folding.PARTIAL] = usage


def _grounding(raw: Raw | None) -> dict[str, object]:
    """The billed part of a candidate's grounding."""
    found = mapping(reading.value(raw))
    kept: dict[str, object] = {name: queries for name in _QUERIES if (queries := found.get(name))}
    if found.get(_MAPS_WIDGET) or any("maps" in mapping(chunk) for chunk in each(found.get("groundingChunks"))):
        kept["groundingChunks"] = [{"maps": {}}]
    return kept


def _joined_grounding(known: Json, new: Json) -> dict[str, object]:
    """The grounding of several chunks, of which each may have only the queries that are new."""
    joined: dict[str, object] = {**known, **new}
    for name in joined.keys() & set(_QUERIES):
        asked = each(known.get(name))
        if len(asked) < folding.MOST_ITEMS:
            asked = [*{str(one): one for one in (*asked, *each(new.get(name)))}.values()][: folding.MOST_ITEMS]
        joined[name] = asked
    return joined


def generated(event: StreamEvent) -> Generated:
    """Signatures of hidden thoughts, images and audio in a chunk or a body."""
    found = Generated()
    for candidate in each(dig(reading.value(event.data), "candidates")):
        for part in each(dig(candidate, "content", "parts")):
            blob = dig(part, "inlineData")
            kind = dig(blob, "mimeType")
            kind = kind if isinstance(kind, str) else ""
            size = in_base64(text_size(dig(blob, "data")))
            hidden = 0 if dig(part, "thought") is True else in_base64(text_size(dig(part, "thoughtSignature")))
            image = int(bool(size) and kind.startswith("image/"))
            found += Generated(hidden, image, size if kind.startswith("audio/") else 0)
    return found


def _still_true(body: Json, usage: Json) -> Json:
    """What is known already, without the parts of counts that `usage` repeats without their parts."""
    known = mapping(body.get(folding.PARTIAL) or body.get("usageMetadata"))
    stale = {parts for count, parts in _PARTS if count in usage}
    return {name: found for name, found in known.items() if name not in stale}


def text(event: StreamEvent) -> str:
    """The model's output in a chunk or a body: text, thoughts, code, arguments of calls."""
    pieces: list[object] = []
    for candidate in each(dig(reading.value(event.data), "candidates")):
        for part in each(dig(candidate, "content", "parts")):
            pieces += [dig(part, "text"), dig(part, "executableCode", "code"), dig(part, "functionCall", "name")]
            if (given := dig(part, "functionCall", "args")) is not None:
                pieces.append(str(given))
    return joined(*pieces)


def by_modality(parts: Iterable[object], *, count: str = "tokenCount") -> list[dict[str, object]]:
    """Token counts by modality, as usage metadata has them; the counts of equal modalities are added up.

    Args:
        parts: Objects with a `modality` and a count.
        count: The count's name in them.
    """
    sums: dict[str, int] = {}
    for part in parts:
        modality = str(dig(part, "modality")).upper()
        sums[modality] = sums.get(modality, 0) + (whole(dig(part, count)) or 0)
    return [{"modality": modality, "tokenCount": tokens} for modality, tokens in sums.items()]


def context(body: Json, headers: Mapping[str, str]) -> dict[str, str]:
    """The service tier, as a header, the usage object or the kind of traffic says."""
    tier = headers.get("x-gemini-service-tier") or dig(body, "usageMetadata", "serviceTier")
    if isinstance(tier, str) and tier:
        return {"service_tier": tier.lower()}
    return folding.traffic_type(dig(body, "usageMetadata", "trafficType"))


def _path(*methods: str) -> re.Pattern[str]:
    named = r"(?:^|/)(?:models|tunedModels|endpoints)/(?P<model>[^/:]+?)(?::|%3[Aa])"
    return re.compile(named + f"(?:{'|'.join(methods)})$")


GENERATE = Format(
    name="gemini",
    path=_path("generateContent"),
    read=partial(_read, stream=False),
    home="google",
    errors="google",
    context=context,
    text=text,
    generated=generated,
    answer=frozenset({"candidates", "promptFeedback", "usageMetadata"}),
)

STREAM = replace(
    GENERATE,
    path=_path("streamGenerateContent"),
    read=partial(_read, stream=True),
    framing="sse",
    unlabelled="json",  # without `alt=sse` it is one array
    usage_marker=_MARKER,
    fold=fold,
)


def _read_embed(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    contents = [top.get("content"), *(one.get("content") for one in reading.objects(top.get("requests")))]
    media = Media()
    for content in contents:
        media_in(content, media)
    instances = reading.objects(top.get("instances"))
    if any(name in instance for instance in instances for name in ("image", "video")):
        media.unbounded()
    items = max(1, len(contents) - 1, len(instances))
    return embedding(model, top, body, media, items)


def _sum_predictions(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    """Vertex AI's `predict` counts tokens per prediction; the extractor reads their sum."""
    statistics = [dig(prediction, "embeddings", "statistics") for prediction in each(body.get("predictions"))]
    counts = [whole(dig(one, name)) for one in statistics for name in ("token_count", "tokenCount")]
    known = [count for count in counts if count is not None]
    return {**body, "usageMetadata": {"promptTokenCount": sum(known)}} if known else body


EMBED = Format(
    name="gemini-embed",
    # `predict` serves other models too; those for embeddings have it in their names.
    path=re.compile(
        r"(?:^|/)models/(?=[^/]*(?:mbedContents?|embedding[^/]*predict)$)(?P<model>[^/:]+?)(?::|%3[Aa])"
        r"(?:embedContent|batchEmbedContents|predict)$"
    ),
    read=_read_embed,
    home="google",
    errors="google",
    context=context,
    answer=frozenset({"embedding", "embeddings", "predictions"}),
    normalise=_sum_predictions,
)
