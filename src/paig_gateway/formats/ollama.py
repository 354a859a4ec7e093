"""Ollama's own API: chat, generation and embeddings. A stream is one JSON object a line, and streaming is the default.

The shapes are those of ollama 0.6 for Python and of Ollama's `docs/api.md`. The last object of an answer, which is the
whole answer where it is not streamed, states `prompt_eval_count` and `eval_count`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from paig_gateway.formats import folding, reading
from paig_gateway.formats.base import Call, Format, Json, Marker, StreamEvent
from paig_gateway.formats.folding import dig, each, joined, whole
from paig_gateway.formats.reading import Members, Raw
from paig_gateway.formats.text import EMBEDDED_ITEM, Media, bound


def _streams(stream: Raw | None) -> bool:
    """Whether an answer is streamed: unless the request says `false`."""
    return not reading.present(stream) or reading.truth(stream)


def _images(media: Media, holder: Members) -> None:
    for image in reading.array(holder.get("images")):
        media.image(image)


def _read(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    media = Media()
    _images(media, top)
    for message in reading.objects(top.get("messages")):
        _images(media, message)
    return Call(
        model=reading.model_of(top, model),
        stream=_streams(top.get("stream")),
        input_tokens=bound(body, media, tools=len(reading.array(top.get("tools")))),
        output_tokens=reading.largest(reading.members(top.get("options")).get("num_predict")),
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        asks_usage=True,
    )


def _read_embed(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    items = max(1, len(reading.array(top.get("input"))))
    return Call(
        model=reading.model_of(top, model),
        input_tokens=bound(body, Media(), hidden=EMBEDDED_ITEM * items),
        output_tokens=0,
        answers=items,
        asks_usage=True,
    )


_MARKER = Marker(rb'"done"\s*:\s*true', rb'"error"\s*:\s*[{"]')
_COUNTS = ("prompt_eval_count", "eval_count")


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take an object of the stream in: the last one is `done` and has the counts."""
    top = reading.members(event.data)
    folding.note_error(body, folding.error_of(event, top))
    body.update(
        _numbers({name: reading.value(raw) for name, raw in top.items() if reading.size(raw) < _LONGEST_NUMBER})
    )
    folding.keep(body, top, ("model",))
    if reading.truth(top.get("done")):
        body[folding.END] = True


_LONGEST_NUMBER = 32


def _numbers(top: Json) -> dict[str, object]:
    """The numbers of an object, but for how long its work took: what is not known among them may be billed."""
    return {
        name: value
        for name, value in top.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not name.endswith("_duration")
    }


def as_chat(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    """An answer with its usage as chat completions word it. A count of zero is left out by Ollama."""
    prompt, output = (whole(body.get(name)) for name in _COUNTS)
    if prompt is None and output is None:
        return body
    others = {name: value for name, value in _numbers(body).items() if name not in _COUNTS}
    return {**body, "usage": {**others, "prompt_tokens": prompt or 0, "completion_tokens": output or 0}}


def text(event: StreamEvent) -> str:
    """What the model says in an object: text, thinking, and calls with their arguments."""
    data = reading.value(event.data)
    message = dig(data, "message")
    pieces: list[object] = [dig(data, "response"), dig(data, "thinking"), dig(message, "content")]
    pieces.append(dig(message, "thinking"))
    for call in each(dig(message, "tool_calls")):
        pieces += [dig(call, "function", "name"), json.dumps(dig(call, "function", "arguments"))]
    return joined(*pieces)


def _generation(name: str, path: str, member: str) -> Format:
    return Format(
        name=name,
        path=re.compile(rf"(?:^|/)api/{path}/?$"),
        read=_read,
        flavor="chat",
        errors="ollama",
        framing="json",
        unlabelled="json",
        usage_marker=_MARKER,
        fold=fold,
        text=text,
        answer=frozenset({member}),
        normalise=as_chat,
    )


CHAT = _generation("ollama-chat", "chat", "message")
GENERATE = _generation("ollama-generate", "generate", "response")
EMBED = Format(
    name="ollama-embed",
    path=re.compile(r"(?:^|/)api/embed(?:dings)?/?$"),
    read=_read_embed,
    flavor="chat",
    errors="ollama",
    answer=frozenset({"embeddings", "embedding"}),
    normalise=as_chat,
)
