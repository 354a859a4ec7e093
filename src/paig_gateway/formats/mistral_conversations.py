"""Mistral's conversations: asking a model or an agent, with its built-in connectors.

The shapes are those of mistralai 3.7 (`client/models/conversation*`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from paig_gateway.formats import folding, reading
from paig_gateway.formats.base import Call, Format, Json, StreamEvent
from paig_gateway.formats.folding import dig, each, joined, mapping, whole
from paig_gateway.formats.openai_chat import SEARCHES, media_in
from paig_gateway.formats.reading import Raw
from paig_gateway.formats.text import Media, bound

_CLIENT_ENTRIES = frozenset({"message.input", "message.output", "function.call", "function.result", "agent.handoff"})


def _media_in(inputs: Raw | None) -> Media:
    """The media in a conversation's new entries."""
    media = media_in(inputs)
    if any(reading.string(entry.get("type")) not in {None, *_CLIENT_ENTRIES} for entry in reading.objects(inputs)):
        media.unbounded()
    return media


def _read(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    media = _media_in(top.get("inputs"))
    asked = reading.members(top.get("completion_args"))
    tools = reading.objects(top.get("tools"))
    connectors = {reading.string(tool.get("type")) or "" for tool in tools} - {"function"}
    # An agent, and a conversation that goes on, have a model and tools that the request does not name.
    named = reading.model_of(top, model) if reading.present(top.get("model")) else ""
    if not named:
        connectors.add("agent")
        media.unbounded()
    return Call(
        model=named,
        stream=reading.truth(top.get("stream")),
        input_tokens=bound(body, media, tools=len(tools)),
        output_tokens=reading.largest(asked.get("max_tokens")),
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        media_out="image_generation" in connectors,
        searches=SEARCHES if connectors else 0,
        unbounded_tools=bool(connectors),
        server_tools=frozenset(connectors),
        asks_usage=True,
    )


_MARKER = re.compile(rb'"(?:usage"\s*:\s*\{|error"\s*:\s*[{"]|conversation\.response\.\w+"|message\.output\.delta")')


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take an event in. Usage comes with `conversation.response.done`."""
    top = reading.members(event.data)
    kind = reading.string(top.get("type")) or event.name
    if kind == "conversation.response.error":
        folding.note_error(body, {"message": reading.string(top.get("message")) or "", "code": kind})
    folding.note_error(body, folding.error_of(event, top))
    folding.keep(body, top, ("conversation_id", "model"))
    ended = kind == "conversation.response.done"
    if ended:
        body[folding.END] = True
    folding.note_usage(body, folding.usage_in(top.get("usage")), final=ended)


def text(event: StreamEvent) -> str:
    """The model's output in an event or a body: text, and arguments of calls."""
    data = reading.value(event.data)
    pieces: list[object] = []
    for entry in (data, *each(dig(data, "outputs"))):
        content = dig(entry, "content")
        pieces += [content, dig(entry, "arguments"), *(dig(part, "text") for part in each(content))]
    return joined(*pieces)


def as_chat(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    """An answer as a chat completion words it: with the model that an output names, and what connectors read as input.

    The total that Mistral states is the sum of prompt, completion and connector tokens (its documentation, "Agents:
    connectors").
    """
    named = (dig(output, "model") for output in each(body.get("outputs")))
    found = next((name for name in named if isinstance(name, str) and name), None)
    body = body if found is None or "model" in body else {**body, "model": found}
    usage = mapping(body.get("usage"))
    read = whole(usage.get("connector_tokens")) or 0
    if not read:
        return body
    return {**body, "usage": {**usage, "prompt_tokens": (whole(usage.get("prompt_tokens")) or 0) + read}}


CONVERSATIONS = Format(
    name="mistral-conversations",
    path=re.compile(r"(?:^|/)conversations/?$"),
    read=_read,
    home="mistral",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    text=text,
    answer=frozenset({"outputs", "conversation_id"}),
    normalise=as_chat,
)
