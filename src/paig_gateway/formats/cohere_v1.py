"""Cohere's first API: chat and generation. A stream is one JSON object a line, or server-sent events if asked for.

The shapes are those of cohere 7.3 (`types/streamed_chat_response`, `types/generate_streamed_response`). What is billed
stands in `meta.billed_units`; a streamed generation states none, so it is estimated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from paig_gateway.formats import folding, reading
from paig_gateway.formats.base import EVENT_ERROR, Call, Format, Json, Marker, StreamEvent
from paig_gateway.formats.folding import dig, each, joined, mapping
from paig_gateway.formats.openai_chat import SEARCHES
from paig_gateway.formats.text import Media, bound


def _read(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    connectors = len(reading.array(top.get("connectors")))
    # A conversation that Cohere keeps brings in what the request does not show.
    stored = reading.present(top.get("conversation_id"))
    answers = reading.answers(top.get("num_generations"))
    most = reading.largest(top.get("max_tokens"))
    return Call(
        model=reading.model_of(top, model),
        stream=reading.truth(top.get("stream")),
        input_tokens=bound(body, Media(), tools=len(reading.array(top.get("tools")))),
        output_tokens=None if most is None else most * answers,
        answers=answers,
        unbounded_input=stored,
        searches=SEARCHES if connectors else 0,
        unbounded_tools=bool(connectors),
        server_tools=frozenset({"connectors"} if connectors else ()),
        asks_usage=True,
    )


_MARKER = Marker(rb'"stream-e(?:nd|rror)"', rb'"billed_units"', rb'"error"\s*:\s*[{"]', EVENT_ERROR)


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take an event in: the last one has the answer as it is without a stream."""
    top = reading.members(event.data)
    kind = reading.string(top.get("event_type")) or event.name
    folding.note_error(body, folding.error_of(event, top))
    if kind == "stream-error":
        folding.note_error(body, {"message": reading.string(top.get("err")) or "", "code": kind})
    whole = reading.members(top.get("response")) if kind == "stream-end" else top
    usage = mapping(reading.value(whole.get("meta")))
    if usage.get("billed_units"):
        body["meta"] = usage
        body[folding.END] = True


def with_usage(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    """An answer with its usage where Cohere's second API has it."""
    usage = mapping(body.get("meta"))
    units = mapping(usage.get("billed_units"))
    if not units:
        return body
    # Counts of zero are left out.
    return {**body, "usage": {**usage, "billed_units": {"input_tokens": 0, "output_tokens": 0, **units}}}


def text(event: StreamEvent) -> str:
    """What the model says in an event or a body: text, queries, and calls with their parameters."""
    data = reading.value(event.data)
    if dig(data, "event_type") in ("stream-end", "tool-calls-generation"):
        return ""  # says again what came in pieces
    pieces: list[object] = [dig(data, "text"), *(dig(one, "text") for one in each(dig(data, "generations")))]
    delta = dig(data, "tool_call_delta")
    pieces += [dig(delta, "name"), dig(delta, "parameters"), dig(delta, "text")]
    pieces += [dig(one, "text") for one in each(dig(data, "search_queries"))]
    for call in each(dig(data, "tool_calls")):
        pieces += [dig(call, "name"), json.dumps(dig(call, "parameters"))]
    return joined(*pieces)


def _api(name: str, path: str, member: str) -> Format:
    return Format(
        name=name,
        path=re.compile(rf"/v1/{path}/?$"),
        read=_read,
        home="cohere",
        framing="json",
        unlabelled="json",
        usage_marker=_MARKER,
        fold=fold,
        text=text,
        answer=frozenset({member}),
        normalise=with_usage,
    )


CHAT = _api("cohere-chat-v1", "chat", "text")
GENERATE = _api("cohere-generate", "generate", "generations")
