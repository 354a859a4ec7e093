"""Amazon Bedrock's InvokeModel: each model family's own request and answer.

The family is recognised by the shape of the body, because an inference profile's ARN does not name it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from paig_gateway.formats import anthropic, bedrock_converse, folding, openai_chat, reading
from paig_gateway.formats.base import Call, Format, Generated, Json, StreamEvent
from paig_gateway.formats.embeddings import searches
from paig_gateway.formats.folding import dig, each, joined, mapping, whole
from paig_gateway.formats.reading import Members
from paig_gateway.formats.text import EMBEDDED_ITEM, Media, bound

_METRICS = "amazon-bedrock-invocationMetrics"
_COUNTS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
_HEADERS = tuple(
    f"x-amzn-bedrock-{name}-token-count" for name in ("input", "output", "cache-read-input", "cache-write-input")
)


def _read(model: str | None, body: bytes, *, stream: bool) -> Call:
    top = reading.request(body)
    if "anthropic_version" in top:
        call = replace(anthropic.read(model, body), stream=stream)
    elif "inferenceConfig" in top or "schemaVersion" in top:
        call = bedrock_converse.read(model, body, stream=stream)
    elif "messages" in top:
        call = _read_chat(model, body, top, stream)
    else:
        call = _read_prompt(model, body, top, stream)
    if not call.output_tokens:
        return call
    # The shape is a guess at the family, so a maximum in another family's words counts if it is larger.
    configs = (top.get("inferenceConfig"), top.get("textGenerationConfig"))
    most = bedrock_converse.most_output(top, *(reading.members(config) for config in configs))
    return replace(call, output_tokens=max(call.output_tokens, (most or 0) * call.answers))


def _read_chat(model: str | None, body: bytes, top: Members, stream: bool) -> Call:
    media = openai_chat.media_in(top.get("messages"))
    n = reading.answers(top.get("n"))
    most = bedrock_converse.most_output(top)
    return Call(
        model=reading.model_of(top, model),
        stream=stream,
        input_tokens=bound(body, media, tools=len(reading.array(top.get("tools")))),
        output_tokens=None if most is None else most * n,
        answers=n,
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        asks_usage=True,
    )


def _read_prompt(model: str | None, body: bytes, top: Members, stream: bool) -> Call:
    """Titan, Llama, Mistral's and Cohere's prompts, embeddings, reranking.

    Any other request is bounded only by the model.
    """
    media = Media()
    for image in (*reading.array(top.get("images")), top.get("inputImage")):
        if image is not None:
            media.image(image)
    if any(b'"%b"' % name in body for name in (b"video", b"audio", b"mediaSource", b"s3Location", b"image")):
        media.unbounded()
    named = reading.model_of(top, model)
    maxima = (top, reading.members(top.get("textGenerationConfig")))
    most = bedrock_converse.most_output(*maxima) or reading.largest(top.get("max_tokens_to_sample"))
    n = reading.answers(top.get("num_generations"), "num_generations")
    return Call(
        model=named,
        stream=stream,
        input_tokens=bound(body, media) + EMBEDDED_ITEM * len(reading.array(top.get("texts"))),
        output_tokens=0 if "embed" in named.lower() else None if most is None else most * n,
        answers=n,
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        asks_usage=True,
        units=_units(named, top, body),
    )


_DRAWS = re.compile(r"nova-canvas|titan-image|stability\.|luma\.")


def _units(model: str, top: Members, body: bytes) -> dict[str, int]:
    """What the request makes billable besides tokens."""
    if {"query", "documents"} <= top.keys():
        return {"rerank_searches": searches(top, body)}
    if _DRAWS.search(model) is None:
        return {}
    config = reading.members(top.get("imageGenerationConfig"))
    samples = (config.get("numberOfImages"), top.get("samples"), top.get("n"))
    return {"images": max(reading.answers(raw) for raw in samples)}


def _unwrapped(event: StreamEvent) -> StreamEvent:
    """The model's own event, which a frame carries in base64; other events are unchanged."""
    inner = reading.string(reading.members(event.data).get("bytes"))
    if inner is None:
        return event
    try:
        return StreamEvent(event.name, base64.b64decode(inner, validate=True), event.is_exception)
    except ValueError:
        return event


def _in_base64(word: bytes) -> list[bytes]:
    """What of `word` shows in the base64 of a text that contains it, at each of the three alignments."""
    forms: list[bytes] = []
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + word)
        forms.append(encoded[(shift * 8 + 5) // 6 : (shift + len(word)) * 8 // 6])
    return forms


_WORDS = (b'"usage"', b"invocationMetrics", b'"error"', b"server_tool_use")
_MARKER = re.compile(
    b"|".join([rb":exception-type|:error-code", *(re.escape(form) for word in _WORDS for form in _in_base64(word))])
)


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take a frame in: the model's own event, by its shape; the last one has Bedrock's own count."""
    if event.is_exception:
        bedrock_converse.note_exception(body, event)
        return
    inner = _unwrapped(event)
    top = reading.members(inner.data)
    folding.keep(body, top, (_METRICS, "amazon-bedrock-trace"))
    if _METRICS in top:  # in the last event of every family
        body[folding.END] = True
    if "type" in top:
        anthropic.fold(body, inner)
    elif "choices" in top:
        openai_chat.fold(body, inner)
    elif "metadata" in top:
        bedrock_converse.fold(body, StreamEvent("metadata", bytes(top["metadata"])))


def normalise(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    """Bring any family's counts into the shape of Converse's usage; Anthropic's own is read as it is."""
    usage = mapping(body.get("usage"))
    if "input_tokens" in usage or _COUNTS[0] in usage:
        counted = {name: usage[old] for name in _COUNTS[2:] if (old := name.replace("Tokens", "TokenCount")) in usage}
        return {**body, "usage": {**counted, **usage}} if counted else body
    for counts in (_openai(usage), _bedrocks_own(body), _titan(body), _llama(body), _cohere(body), _by_header(headers)):
        if any(whole(count) is not None for count in counts):
            return {**body, "usage": _named(counts)}
    return body


def _named(counts: list[object]) -> dict[str, int]:
    return {name: whole(count) or 0 for name, count in zip(_COUNTS, counts, strict=False)}


def _openai(usage: object) -> list[object]:
    prompt, cached = dig(usage, "prompt_tokens"), dig(usage, "prompt_tokens_details", "cached_tokens")
    if isinstance(prompt, int) and isinstance(cached, int):
        return [prompt - cached, dig(usage, "completion_tokens"), cached]
    return [prompt, dig(usage, "completion_tokens")]


def _bedrocks_own(body: Json) -> list[object]:
    return [dig(body, _METRICS, name.replace("Tokens", "TokenCount")) for name in _COUNTS]


def _titan(body: Json) -> list[object]:
    counts = [whole(dig(result, "tokenCount")) or 0 for result in each(body.get("results"))]
    return [body.get("inputTextTokenCount"), sum(counts) or None]


def _llama(body: Json) -> list[object]:
    return [body.get("prompt_token_count"), body.get("generation_token_count")]


def _cohere(body: Json) -> list[object]:
    units = dig(body, "meta", "billed_units")
    return [dig(units, "input_tokens"), dig(units, "output_tokens")]


def _by_header(headers: Mapping[str, str]) -> list[object]:
    return [int(value) if (value := headers.get(name, "")).isdecimal() else None for name in _HEADERS]


def text(event: StreamEvent) -> str:
    """The model's output in a frame or a body, for all families."""
    inner = _unwrapped(event)
    data = reading.value(inner.data)
    pieces = [dig(data, name) for name in ("generation", "outputText", "completion")]
    pieces += [dig(result, "outputText") for result in each(dig(data, "results"))]
    pieces += [dig(output, "text") for output in each(dig(data, "outputs"))]
    pieces.append(dig(data, "contentBlockDelta", "delta", "text"))
    return joined(*pieces) or anthropic.text(inner) or openai_chat.text(inner) or bedrock_converse.text(inner)


def generated(event: StreamEvent) -> Generated:
    """The generated content besides text, for all families."""
    inner = _unwrapped(event)
    return anthropic.generated(inner) + openai_chat.generated(inner) + bedrock_converse.generated(inner)


INVOKE = Format(
    name="bedrock-invoke",
    path=re.compile(r"(?:^|/)model/(?P<model>.+)/invoke$"),
    read=partial(_read, stream=False),
    flavor="anthropic",
    home="aws",
    errors="bedrock",
    usage_paths=(("usage",),),
    context=lambda body, headers: anthropic.context(body, headers) | bedrock_converse.context(body, headers),
    text=text,
    generated=generated,
    answer=frozenset(
        {
            *("content", "choices", "output", "outputs", "results", "generation", "generations", "completion"),
            *("completions", "text", "embedding", "embeddings", "embeddingsByType", "images", "artifacts", "message"),
        }
    ),
    normalise=normalise,
)

STREAM = replace(
    INVOKE,
    path=re.compile(r"(?:^|/)model/(?P<model>.+)/invoke-with-response-stream$"),
    read=partial(_read, stream=True),
    framing="eventstream",
    usage_marker=_MARKER,
    fold=fold,
)
