"""OpenAI's image generation and editing, as JSON or as a form."""

from __future__ import annotations

import re

from paig_gateway.formats import folding, form, reading
from paig_gateway.formats.base import Call, Format, MalformedRequest, StreamEvent
from paig_gateway.formats.text import GENERATED_IMAGE, Media, bound

_IMAGE_FIELDS = re.compile(r"(?:image|mask)(?:\[\d*\])?$")


def _read(model: str | None, body: bytes) -> Call:
    return _read_form(model, body) if form.is_form(body) else _read_json(model, body)


def _read_json(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    media = Media()
    for image in (*reading.array(top.get("images")), top.get("image"), top.get("mask")):
        if image is not None:
            media.image(image)
    n = reading.answers(top.get("n"))
    return _call(reading.model_of(top, model), body, media, n, stream=reading.truth(top.get("stream")))


def _read_form(model: str | None, body: bytes) -> Call:
    fields: dict[str, list[bytes]] = {}
    for name, start, end in form.fields(body):
        fields.setdefault(name, []).append(body[start:end])
    media = Media()
    for name, contents in fields.items():
        if _IMAGE_FIELDS.match(name):
            for content in contents:
                media.image_bytes(content)
    one = {name: contents[0].decode("utf-8", "replace").strip() for name, contents in fields.items()}
    if len(fields.get("model", [])) > 1 or len(fields.get("n", [])) > 1:
        raise MalformedRequest('The form names "model" or "n" more than once.')
    named_model = model or one.get("model")
    if not named_model:
        raise MalformedRequest('The request names no model: give the form field "model".')
    n = one.get("n") or "1"
    if not (n.isascii() and n.isdecimal() and len(n) < 10):  # some servers read `1e1` and `+10` as ten
        raise MalformedRequest("How many answers a request asks for must be a whole number.")
    return _call(named_model, body, media, max(1, int(n)), stream=one.get("stream", "").lower() in ("true", "1"))


def _call(model: str, body: bytes, media: Media, n: int, *, stream: bool) -> Call:
    return Call(
        model=model,
        stream=stream,
        input_tokens=bound(body, media),
        output_tokens=GENERATED_IMAGE * n,
        answers=n,
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        media_out=True,
        units={"images": n},
        asks_usage=True,
    )


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take an event in: `image_generation.completed` or `image_edit.completed` has the usage."""
    top = reading.members(event.data)
    folding.note_error(body, folding.error_of(event, top))
    kind = reading.string(top.get("type")) or event.name
    if kind.endswith(".completed"):
        folding.keep(body, top, ("size", "quality"))
        body[folding.END] = True
    folding.note_usage(body, folding.usage_in(top.get("usage")), final=kind.endswith(".completed"))


IMAGES = Format(
    name="openai-images",
    path=re.compile(r"(?:^|/)(?:deployments/(?P<model>[^/]+)/)?images/(?:generations|edits|variations)/?$"),
    read=_read,
    flavor="images",
    framing="sse",
    usage_marker=folding.USAGE_OR_ERROR,
    fold=fold,
    usage_paths=(("usage",),),
    answer=frozenset({"data"}),
)
