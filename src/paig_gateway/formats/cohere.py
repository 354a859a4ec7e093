"""Cohere's chat, embeddings and reranking; reranking is also Voyage's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from paig_gateway.formats import folding, reading
from paig_gateway.formats.base import Call, Format, Json, StreamEvent
from paig_gateway.formats.folding import dig, each, joined, mapping
from paig_gateway.formats.openai_chat import media_in
from paig_gateway.formats.text import bound


def _read_chat(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    media = media_in(top.get("messages"))
    return Call(
        model=reading.model_of(top, model),
        stream=reading.truth(top.get("stream")),
        input_tokens=bound(body, media, tools=len(reading.array(top.get("tools")))),
        output_tokens=reading.largest(top.get("max_tokens")),
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        asks_usage=True,
    )


_MARKER = re.compile(rb'"(?:message-(?:start|end)"|error"\s*:\s*[{"])|:\s*(?:error|message-(?:start|end))\b')


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take an event in: `message-end` has the usage."""
    top = reading.members(event.data)
    kind = reading.string(top.get("type")) or event.name
    folding.keep(body, top, ("id",))
    folding.note_error(body, folding.error_of(event, top))
    if kind == "message-end":
        delta = reading.members(top.get("delta"))
        folding.keep(body, delta, ("finish_reason",))
        folding.note_error(body, reading.value(delta.get("error")))
        body[folding.END] = True
        folding.note_usage(body, folding.usage_in(delta.get("usage")), final=True)


def text(event: StreamEvent) -> str:
    """The model's output in an event or a body: text, thinking, plans and arguments of calls."""
    data = reading.value(event.data)
    pieces: list[object] = []
    for message in (dig(data, "delta", "message"), dig(data, "message")):
        content, calls = dig(message, "content"), dig(message, "tool_calls")
        pieces.append(dig(message, "tool_plan"))
        for part in (content, *each(content)):
            pieces += [dig(part, "text"), dig(part, "thinking")]
        for call in (calls, *each(calls)):
            pieces += [dig(call, "function", "name"), dig(call, "function", "arguments")]
    return joined(*pieces)


def with_billed_units(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    """An answer that states what is billed: the tokens, where it states them alone."""
    usage = mapping(body.get("usage"))
    tokens = mapping(usage.get("tokens"))
    if not tokens or mapping(usage.get("billed_units")):
        return body
    return {**body, "usage": {**usage, "billed_units": tokens}}


CHAT = Format(
    name="cohere-chat",
    path=re.compile(r"(?:^/?|/v2/)chat/?$"),
    read=_read_chat,
    home="cohere",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    text=text,
    answer=frozenset({"message"}),
    normalise=with_billed_units,
)
