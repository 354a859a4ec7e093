"""Anthropic's Messages API, at Anthropic itself, on Vertex AI and wherever else it is spoken."""

from __future__ import annotations

import re
from collections.abc import Mapping

from paig_gateway.formats import folding, reading, references
from paig_gateway.formats.base import EVENT_ERROR, Call, Format, Generated, Json, Marker, ModelCall, StreamEvent
from paig_gateway.formats.folding import dig, each, in_base64, joined, mapping, text_size, whole
from paig_gateway.formats.openai_chat import SEARCHES
from paig_gateway.formats.reading import Members, Raw
from paig_gateway.formats.text import Media, bound

# Blocks that consist only of text.
_TEXT_BLOCKS = frozenset(
    {
        *("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "search_result", "tool_reference"),
        *("web_search_tool_result", "mcp_tool_use", "mcp_tool_result", "tool_search_tool_result", "compaction"),
        *("code_execution_tool_result", "bash_code_execution_tool_result", "text_editor_code_execution_tool_result"),
    }
)
# Tools that Anthropic describes but the client runs; other named types run at the provider.
_CLIENT_TOOL = re.compile(r"(?:bash|text_editor|computer|memory)_\d")


def media_in(content: Raw | None, media: Media) -> Media:
    """The media in a list of content blocks."""
    for block in reading.objects(content):
        kind = reading.string(block.get("type"))
        if kind == "image":
            media.image(block.get("source"))
        elif kind == "tool_result":
            media_in(block.get("content"), media)
        elif kind == "document":
            source = reading.members(block.get("source"))
            form = reading.string(source.get("type"))
            if form == "content":
                media_in(source.get("content"), media)
            elif form == "base64":
                media.document(source.get("data"))
            elif form != "text":
                media.unbounded()
        elif kind not in _TEXT_BLOCKS:
            media.unbounded()
    return media


LONG_WINDOW = "context-1m"
"""How the name of the beta begins that gives some models a longer context window. Requests name it in the header
`anthropic-beta`, or as `anthropic_beta` in the body at Bedrock and Vertex AI."""


def read(model: str | None, body: bytes) -> Call:
    """Read a messages request; also that of Bedrock's and Vertex AI's, whose path names the model."""
    top = reading.request(body)
    media = Media()
    for message in reading.objects(top.get("messages")):
        media_in(message.get("content"), media)
    container = top.get("container")
    if reading.present(container):
        media.unbounded()
    tools = reading.objects(top.get("tools"))
    kinds = [reading.string(tool.get("type")) for tool in tools]
    built_in = [kind for kind in kinds if kind not in (None, "custom")]
    at_provider = [kind for kind in built_in if not _CLIENT_TOOL.match(kind or "")]
    substitutes = references.models_instead(top)
    fast = reading.string(top.get("speed")) == "fast"
    fast = fast or (bool(substitutes) and reading.mentions(body, "fast"))
    named = reading.model_of(top, model)
    text = bound(body, media, tools=len(tools), built_in=len(built_in))
    return Call(
        model=named,
        stream=reading.truth(top.get("stream")),
        input_tokens=text,
        output_tokens=_most_output(top, substitutes),
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        cache_write=reading.mentions(body, "cache_control"),
        searches=_searches(tools) if at_provider else 0,
        server_tools=frozenset(filter(None, at_provider)),
        modifiers=_modifiers(top),
        thinking=reading.integer(reading.members(top.get("thinking")).get("budget_tokens")),
        fallbacks=tuple(call.model for call in substitutes),
        also=(*references.models_besides(top), *_compactions(top, named, text)),
        unbounded_tools=bool(at_provider) or reading.present(top.get("mcp_servers")),
        standard_window=not any(LONG_WINDOW in name for name in _betas(top)),
        asks_usage=True,
        service_tier="fast" if fast else reading.string(top.get("service_tier")),
        session=reading.string(reading.members(top.get("metadata")).get("user_id")),
        stored=reading.string(container) or reading.string(reading.members(container).get("id")),
    )


COMPACTED = 150_000
"""Input tokens from which on a conversation is compacted, unless the request says otherwise."""

SUMMARY = 16_384
"""Tokens of the summary that compaction writes at most; no document states a bound."""


def _compactions(top: Members, model: str, text: int) -> list[ModelCall]:
    """The pass in which the model reads everything and writes a summary, before the one that answers."""
    if "context_management" not in top:
        return []
    edits = reading.objects(reading.members(top["context_management"]).get("edits"))
    compact = [edit for edit in edits if (reading.string(edit.get("type")) or "").startswith("compact")]
    triggers = [reading.integer(reading.members(edit.get("trigger")).get("value")) for edit in compact]
    if not compact or text < min(COMPACTED if trigger is None else trigger for trigger in triggers):
        return []
    return [ModelCall(model, 1, SUMMARY)]


def _betas(top: Members) -> list[str]:
    """The betas in a body, as Bedrock and Vertex AI take them."""
    found = reading.value(top["anthropic_beta"]) if "anthropic_beta" in top else None
    return [name for name in (found if isinstance(found, list) else [found]) if isinstance(name, str)]


def _modifiers(top: Members) -> dict[str, str]:
    """What changes the price, as the request words it."""
    named = ((name, reading.string(top.get(name))) for name in ("inference_geo", "speed", "service_tier"))
    return {name: value for name, value in named if value}


def _most_output(top: Members, substitutes: list[ModelCall]) -> int | None:
    """`max_tokens`, which thinking counts into, unless interleaved thinking has a larger budget of its own."""
    own = [call.output_tokens for call in substitutes if call.output_tokens]
    most = reading.largest(top.get("max_tokens"))
    most = most if most is None else max(most, *own, 0)
    return reading.with_budget(most, reading.members(top.get("thinking")).get("budget_tokens"))


def _searches(tools: list[Members]) -> int:
    total = 0
    for tool in tools:
        if (reading.string(tool.get("type")) or "").startswith("web_search"):
            total += reading.count(tool.get("max_uses"), SEARCHES, "max_uses")
    return total


_MARKER = Marker(
    rb'"usage"\s*:\s*\{', rb'"error"\s*:\s*[{"]', rb'"server_tool_use"', rb'"message_delta"', rb'"file_id"', EVENT_ERROR
)


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take an event in.

    `message_start` brings the input's counts; its output count is that of the first moment. `message_delta` brings
    cumulative counts, final with a stop reason.
    """
    top = reading.members(event.data)
    kind = reading.string(top.get("type")) or event.name
    folding.note_error(body, folding.error_of(StreamEvent(kind, event.data), top))
    if kind == "message_start":
        message = reading.members(top.get("message"))
        folding.keep(body, message, ("id", "type", "role", "model", "container"))
        folding.note_usage(body, folding.usage_in(message.get("usage")), final=False)
    elif kind == "message_delta":
        delta = reading.members(top.get("delta"))
        folding.keep(body, delta, ("stop_reason", "container"))
        if "stop_reason" in body:
            body[folding.END] = True
        usage = folding.usage_in(top.get("usage"))
        folding.note_usage(body, usage, final="stop_reason" in body and "output_tokens" in usage)
        _agree(body)
    elif kind == "content_block_start" and (block := _kept(top.get("content_block"))):
        body["content"] = folding.appended(body.get("content"), [block])


def _kept(raw: Raw | None) -> dict[str, object] | None:
    """The kept part of a block that calls one of the provider's own tools, or names the files that its code made."""
    block = reading.members(raw)
    kind, name = reading.string(block.get("type")), reading.string(block.get("name"))
    if kind == "server_tool_use":
        return {"type": kind, "name": name}
    if kind is None or not kind.endswith("code_execution_tool_result"):
        return None
    outputs = reading.objects(reading.members(block.get("content")).get("content"))
    files = [id for output in outputs if (id := reading.string(output.get("file_id")))]
    return {"type": kind, "content": {"content": [{"file_id": id} for id in files]}} if files else None


def _agree(body: dict[str, object]) -> None:
    """Drop the split of cache writes where a later total makes it impossible, as the split comes only once."""
    usage = mapping(body.get("usage"))
    total = whole(usage.get("cache_creation_input_tokens"))
    parts = sum(whole(part) or 0 for part in mapping(usage.get("cache_creation")).values())
    if total and parts > total:
        body["usage"] = {name: found for name, found in usage.items() if name != "cache_creation"}


def text(event: StreamEvent) -> str:
    """The model's output in an event or a body: text, thinking, arguments of calls."""
    data = reading.value(event.data)
    delta = dig(data, "delta")
    pieces = [
        dig(delta, "text"),
        dig(delta, "thinking"),
        dig(delta, "partial_json"),
        *(dig(data, "content_block", name) for name in ("name", "text", "thinking")),
    ]
    for block in each(dig(data, "content")):
        pieces += [dig(block, "text"), dig(block, "thinking"), dig(block, "name")]
        if (given := dig(block, "input")) is not None:
            pieces.append(str(given))
    return joined(*pieces)


def generated(event: StreamEvent) -> Generated:
    """Redacted thinking, and the signature of thinking that is not shown."""
    data = reading.value(event.data)
    blocks = [dig(data, "content_block"), dig(data, "delta"), *each(dig(data, "content"))]
    hidden = [dig(block, "data") for block in blocks if dig(block, "type") == "redacted_thinking"]
    hidden += [dig(block, "signature") for block in blocks if not dig(block, "thinking")]
    return Generated(hidden_bytes=in_base64(sum(map(text_size, hidden))))


def context(body: Json, headers: Mapping[str, str]) -> dict[str, str]:
    """Fast mode, batches, tier and region of inference, as the usage object says."""
    usage = mapping(body.get("usage"))
    found = {name: value.lower() for name in ("speed", "inference_geo") if isinstance(value := usage.get(name), str)}
    tier = usage.get("service_tier")
    if tier == "batch":
        found["processing"] = "batch"
    elif isinstance(tier, str) and tier:
        found["service_tier"] = tier.lower()
    return found


MESSAGES = Format(
    name="anthropic",
    # Not the messages of OpenAI's threads. Vertex AI names the model in the path.
    path=re.compile(
        r"^(?!.*(?:^|/)threads/).*?(?:(?:^|/)messages/?$"
        r"|(?:^|/)publishers/anthropic/models/(?P<model>[^/:]+)(?::|%3[Aa])(?:rawPredict|streamRawPredict)$)"
    ),
    read=read,
    flavor="anthropic",
    home="anthropic",
    errors="anthropic",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    usage_paths=(("usage",),),
    splice_streams=True,
    context=context,
    text=text,
    generated=generated,
    answer=frozenset({"content"}),
)
