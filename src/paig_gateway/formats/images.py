"""OpenAI's image generation and editing, as JSON or as a form."""

from __future__ import annotations

import re

from paig_gateway.formats import folding, form, reading
from paig_gateway.formats.base import Call, Format, MalformedRequest, StreamEvent
from paig_gateway.formats.text import GENERATED_IMAGE, Media, bound

_IMAGE_FIELDS = re.compile(r"(?:image|mask)(?:\[\d*\])?$")

_SIZES = {"256x256": "_256", "512x512": "_512", "1024x1792": "_wide", "1792x1024": "_wide"}
IMAGE_UNITS = ("images", "images_wide", "images_hd", "images_hd_wide", "images_512", "images_256")
"""Images by the size and quality of the request, by which DALL·E is billed."""


def _unit(size: str | None, quality: str | None) -> str:
    found = f"images{'_hd' if quality == 'hd' else ''}{_SIZES.get(size or '', '')}"
    return found if found in IMAGE_UNITS else "images"


def _read_json(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    media = Media()
    for image in (*reading.array(top.get("images")), top.get("image"), top.get("mask")):
        if image is not None:
            media.image(image)
    n = reading.answers(top.get("n"))
    unit = _unit(reading.string(top.get("size")), reading.string(top.get("quality")))
    return _call(reading.model_of(top, model), body, media, {unit: n}, stream=reading.truth(top.get("stream")))


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
    images = {_unit(one.get("size"), one.get("quality")): max(1, int(n))}
    return _call(named_model, body, media, images, stream=one.get("stream", "").lower() in ("true", "1"))


def _call(model: str, body: bytes, media: Media, images: dict[str, int], *, stream: bool) -> Call:
    n = sum(images.values())
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
        units=images,
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
    read=lambda model, body: _read_form(model, body) if form.is_form(body) else _read_json(model, body),
    flavor="images",
    framing="sse",
    usage_marker=folding.USAGE_OR_ERROR,
    fold=fold,
    usage_paths=(("usage",),),
    answer=frozenset({"data"}),
)
