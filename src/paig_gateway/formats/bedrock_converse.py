"""Amazon Bedrock's Converse: one shape for all model families; streams are AWS event streams."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from paig_gateway.formats import folding, reading
from paig_gateway.formats.base import Call, Format, Generated, Json, StreamEvent
from paig_gateway.formats.folding import dig, each, in_base64, joined, mapping, text_size, whole
from paig_gateway.formats.guardrail import units_beside
from paig_gateway.formats.reading import Members, Raw
from paig_gateway.formats.text import Media, bound

# Blocks that consist only of text.
_TEXT_BLOCKS = frozenset(
    {"text", "json", "toolUse", "cachePoint", "reasoningContent", "citationsContent", "searchResult"}
)
# Documents that are text, in base64 longer than they are.
_TEXT_DOCUMENTS = frozenset({"txt", "md", "csv", "html"})
# Where model families keep the output's maximum, if a request goes around `inferenceConfig`.
_MAXIMA = ("maxTokens", "max_tokens", "max_new_tokens", "max_completion_tokens", "max_gen_len", "maxTokenCount")


def media_in(content: Raw | None, media: Media) -> Media:
    """The media in a list of content blocks."""
    for block in reading.objects(content):
        for kind, raw in block.items():
            if kind == "image":
                media.image(raw)
            elif kind == "toolResult":
                media_in(reading.members(raw).get("content"), media)
            elif kind == "guardContent":
                media_in(b"[" + bytes(raw) + b"]", media)
            elif kind == "document" and reading.string(reading.members(raw).get("format")) == "pdf":
                media.document(raw)
            elif kind not in _TEXT_BLOCKS and not (kind == "document" and _is_text(reading.members(raw))):
                media.unbounded()
    return media


def _is_text(document: Members) -> bool:
    source = reading.members(document.get("source"))
    inline = bool(source) and source.keys() <= {"bytes", "text"}
    return inline and ("text" in source or reading.string(document.get("format")) in _TEXT_DOCUMENTS)


def most_output(*configs: Members) -> int | None:
    """The largest of the output's maxima that the configurations name."""
    return reading.largest(*(config.get(name) for config in configs for name in _MAXIMA))


def read(model: str | None, body: bytes, *, stream: bool) -> Call:
    """Read a Converse request, or a body of that shape (Nova's own)."""
    top = reading.request(body)
    media = Media()
    for message in reading.objects(top.get("messages")):
        media_in(message.get("content"), media)
    if reading.present(top.get("promptVariables")):  # the prompt itself is kept at the provider
        media.unbounded()
    tools = reading.objects(reading.members(top.get("toolConfig")).get("tools"))
    at_provider = any(name not in ("toolSpec", "cachePoint") for tool in tools for name in tool)
    extra = reading.members(top.get("additionalModelRequestFields"))
    inference = reading.members(top.get("inferenceConfig"))
    guarded = reading.present(top.get("guardrailConfig"))
    budgets = [reading.members(extra.get(name)).get("budget_tokens") for name in ("thinking", "reasoning_config")]
    most = most_output(inference, extra, reading.members(extra.get("inferenceConfig")))
    for budget in budgets:
        most = reading.with_budget(most, budget)
    return Call(
        model=reading.model_of(top, model),
        stream=stream,
        input_tokens=bound(body, media, tools=len(tools)),
        output_tokens=most,
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        cache_write=reading.mentions(body, "cachePoint"),
        unbounded_tools=at_provider,
        server_tools=frozenset({"guardrail"} if guarded else ()),
        units=units_beside(body, most) if guarded else {},
        thinking=next(filter(None, map(reading.integer, budgets)), None),
        asks_usage=True,
        service_tier=reading.string(reading.members(top.get("serviceTier")).get("type")),
    )


_MARKER = re.compile(rb":event-type\x07\x00(?:\x08metadata|\x0bmessageStop)|:exception-type|:error-code")


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take a frame in: `metadata` has the usage, an exception ends the stream."""
    top = reading.members(event.data)
    if event.is_exception:
        note_exception(body, event)
    elif event.name == "metadata":
        folding.keep(body, top, ("metrics", "serviceTier", "performanceConfig", "trace"))
        body[folding.END] = True
        folding.note_usage(body, folding.usage_in(top.get("usage")), final=True)
    elif event.name == "messageStop":
        folding.keep(body, top, ("stopReason",))
        body[folding.END] = True


def note_exception(body: dict[str, object], event: StreamEvent) -> None:
    """Keep an exception frame as the error."""
    data = reading.value(event.data)
    message = dig(data, "message") or dig(data, "originalMessage") or dig(data, "Message")
    folding.note_error(body, {"type": event.name, "message": message if isinstance(message, str) else ""})


def text(event: StreamEvent) -> str:
    """The model's output in a frame or a body: text, reasoning, arguments of calls."""
    data = reading.value(event.data)
    pieces = [dig(data, "start", "toolUse", "name")]
    for block in (dig(data, "delta"), *each(dig(data, "output", "message", "content"))):
        reasoning = dig(block, "reasoningContent")
        pieces += [dig(block, "text"), dig(reasoning, "text"), dig(reasoning, "reasoningText", "text")]
        if (given := dig(block, "toolUse", "input")) is not None:
            pieces.append(str(given))
    return joined(*pieces)


def generated(event: StreamEvent) -> Generated:
    """Redacted reasoning, its signature where no text is shown, and images, in a frame or a body."""
    data = reading.value(event.data)
    found = Generated()
    for block in (dig(data, "delta"), *each(dig(data, "output", "message", "content"))):
        reasoning = dig(block, "reasoningContent")
        signature = dig(reasoning, "signature") or dig(reasoning, "reasoningText", "signature")
        hidden = text_size(dig(reasoning, "redactedContent"))
        if not (dig(reasoning, "text") or dig(reasoning, "reasoningText", "text")):
            hidden += text_size(signature)
        found += Generated(in_base64(hidden), int(dig(block, "image") is not None))
    return found


def context(body: Json, headers: Mapping[str, str]) -> dict[str, str]:
    """Service tier and latency that the answer names, in its body or, to InvokeModel, in headers."""
    tier = dig(body, "serviceTier", "type") or headers.get("x-amzn-bedrock-service-tier")
    latency = dig(body, "performanceConfig", "latency") or headers.get("x-amzn-bedrock-performanceconfig-latency")
    named = (("service_tier", tier), ("latency", latency))
    return {name: value.lower() for name, value in named if isinstance(value, str) and value}


_GROSS = re.compile(r"(?:^|[./])openai\.")
"""Models of which `inputTokens` includes what was read from the cache and written to it; of all others it does not."""


def normalise(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    """Have `inputTokens` leave the cached tokens out, as the documentation says, and name the model of a router."""
    if isinstance(routed := dig(body, "trace", "promptRouter", "invokedModelId"), str):
        body = {**body, "model": routed}
    usage = mapping(body.get("usage"))
    fresh = whole(usage.get("inputTokens")) or 0
    cached = sum(whole(usage.get(f"cache{kind}InputTokens")) or 0 for kind in ("Read", "Write"))
    if not cached or fresh < cached or not _GROSS.search(model):
        return body
    return {**body, "usage": {**usage, "inputTokens": fresh - cached}}


CONVERSE = Format(
    name="bedrock-converse",
    path=re.compile(r"(?:^|/)model/(?P<model>.+)/converse$"),
    read=partial(read, stream=False),
    home="aws",
    errors="bedrock",
    usage_paths=(("usage",),),
    context=context,
    text=text,
    generated=generated,
    answer=frozenset({"output"}),
    normalise=normalise,
)

STREAM = replace(
    CONVERSE,
    path=re.compile(r"(?:^|/)model/(?P<model>.+)/converse-stream$"),
    read=partial(read, stream=True),
    framing="eventstream",
    usage_marker=_MARKER,
    fold=fold,
)
