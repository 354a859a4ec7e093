"""Videos and images by prompt: work that goes on after the answer and is billed by the second, and Imagen's images.

What a video costs is settled by its request: how long it is to be, and at which resolution. So its worst case is
charged when the work begins, and a later look says what came of it: all of that, a part, or nothing (`result`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from paig_gateway.formats import form, reading
from paig_gateway.formats.base import Call, Format, Json, MalformedRequest
from paig_gateway.formats.folding import dig, each, mapping
from paig_gateway.formats.references import last_name
from paig_gateway.formats.text import HIDDEN

VIDEO_UNITS = (
    *("video_seconds", "video_seconds_480p", "video_seconds_720p", "video_seconds_1080p", "video_seconds_4k"),
    *("video_seconds_high", "input_images"),
)
"""Seconds of a video by resolution, of which some models make a difference, and pictures that it begins with."""

_NOWHERE = re.compile(r"(?!)")
MOST_SECONDS = 600
"""No model makes a longer video."""

# OpenAI's documented defaults.
_SORA_SECONDS = 4
_USUAL_SIZES = ("720x1280", "1280x720")


def _seconds(value: str | None, default: int) -> int:
    """The requested duration of a video.

    Raises:
        MalformedRequest: That cannot be read as a number of seconds.
    """
    if value is None:
        return default
    found = re.fullmatch(r"(\d{1,3})(?:\.0+)?s?", value.strip())
    if found is None or not 0 < int(found[1]) <= MOST_SECONDS:
        raise MalformedRequest("How long the video is to be must be a whole number of seconds.")
    return int(found[1])


def _text(raw: reading.Raw | None) -> str | None:
    """A string or a number as text; None if it is neither."""
    found = reading.value(raw)
    if isinstance(found, bool) or found is None:
        return None
    return found if isinstance(found, str) else str(found) if isinstance(found, (int, float)) else ""


def _call(model: str, body: bytes, units: Mapping[str, int]) -> Call:
    return Call(
        model=model,
        input_tokens=len(body) + HIDDEN,
        output_tokens=0,
        media_out=True,
        units={name: number for name, number in units.items() if number},
        background=True,
        asks_usage=True,
    )


_SORA = "sora-2"
"""The model of a request that names none (openai 3.57, `types/video_create_params.py`)."""


def _read_openai(model: str | None, body: bytes) -> Call:
    """`POST /videos`, as a form or as JSON."""
    if form.is_form(body):
        fields = {name: body[start:end].decode("utf-8", "replace").strip() for name, start, end in form.fields(body)}
        named = model or fields.get("model") or _SORA
    else:
        top = reading.request(body)
        named = reading.model_of(top, model) if reading.present(top.get("model")) or model else _SORA
        fields = {name: text for name, raw in top.items() if (text := _text(raw)) is not None}
    unit = "video_seconds" if fields.get("size", _USUAL_SIZES[0]) in _USUAL_SIZES else "video_seconds_high"
    return _call(named, body, {unit: _seconds(fields.get("seconds"), _SORA_SECONDS)})


_XAI_SECONDS = 15
"""The longest video; the default is not documented."""


def _read_xai(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    named = reading.string(top.get("resolution"))
    unit = f"video_seconds_{named.lower()}" if named else "video_seconds"
    if unit not in VIDEO_UNITS:
        raise MalformedRequest('"resolution" must be 480p, 720p or 1080p.')
    images = int(reading.present(top.get("image"))) + len(reading.array(top.get("reference_images")))
    seconds = _seconds(_text(top.get("duration")), _XAI_SECONDS)
    return _call(reading.model_of(top, model), body, {unit: seconds, "input_images": images})


_VEO_SECONDS = 8
_VEO_RESOLUTIONS = {
    "": "video_seconds",
    "720p": "video_seconds",
    "1080p": "video_seconds_1080p",
    "4k": "video_seconds_4k",
}


def _parameter(body: bytes, camel: str, snake: str) -> str | None:
    parameters = reading.members(reading.request(body).get("parameters"))
    given = [text for name in (camel, snake) if (text := _text(parameters.get(name))) is not None]
    if len(set(given)) > 1:
        raise MalformedRequest(f'Give "{camel}" once.')
    return given[0] if given else None


def _count(body: bytes, default: int) -> int:
    stated = _parameter(body, "sampleCount", "sample_count")
    if stated is None:
        return default
    if not re.fullmatch(r"\d{1,2}(?:\.0+)?", stated):
        raise MalformedRequest('"sampleCount" must be a whole number.')
    return max(1, int(float(stated)))


def _read_veo(model: str | None, body: bytes) -> Call:
    resolution = (_parameter(body, "resolution", "resolution") or "").lower()
    if resolution not in _VEO_RESOLUTIONS:
        raise MalformedRequest('"resolution" must be 720p, 1080p or 4k.')
    seconds = _seconds(_parameter(body, "durationSeconds", "duration_seconds"), _VEO_SECONDS)
    top = reading.request(body)
    prompts = max(1, len(reading.array(top.get("instances"))))
    return _call(
        reading.model_of(top, model), body, {_VEO_RESOLUTIONS[resolution]: seconds * _count(body, 1) * prompts}
    )


def _look(model: str | None, body: bytes) -> Call:
    return Call(model="")


def _status(body: Json) -> str:
    found = body.get("status")
    return found.lower() if isinstance(found, str) else ""


def _result(body: Json) -> Decimal | None:
    """The result of a video at OpenAI or xAI."""
    status = _status(body)
    if status in ("completed", "done", "succeeded"):
        return Decimal(1)
    return Decimal(0) if status in ("failed", "cancelled", "expired") else None


def _veo_result(body: Json) -> Decimal | None:
    """What came of an operation: videos that a filter took away are not billed."""
    if body.get("done") is not True:
        return None
    if body.get("error"):
        return Decimal(0)
    answer = mapping(body.get("response"))
    made = len(each(dig(answer, "generateVideoResponse", "generatedSamples")) or each(answer.get("videos")))
    count = dig(answer, "generateVideoResponse", "raiMediaFilteredCount") or answer.get("raiMediaFilteredCount") or 0
    filtered = count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0
    return Decimal(made) / (made + filtered) if made + filtered else None


def _id(body: Json) -> str | None:
    for name in ("id", "request_id"):
        if isinstance(found := body.get(name), str) and found:
            return found
    return None


def _name(body: Json) -> str | None:
    found = body.get("name")
    return last_name(found) if isinstance(found, str) and found else None


OPENAI = Format(
    name="openai-videos", path=_NOWHERE, read=_read_openai, answer=frozenset({"id", "request_id"}), work_id=_id
)
XAI = replace(OPENAI, name="xai-videos", read=_read_xai)
OPENAI_LOOK = Format(
    name="openai-videos-get",
    path=_NOWHERE,
    methods=frozenset({"GET"}),
    read=_look,
    work_id=_id,
    later_look=True,
    result=_result,
)
VEO = Format(
    name="gemini-videos",
    path=_NOWHERE,
    read=_read_veo,
    home="google",
    errors="google",
    answer=frozenset({"name"}),
    work_id=_name,
)
VEO_LOOK = replace(
    VEO,
    name="gemini-videos-get",
    methods=frozenset({"GET"}),
    read=_look,
    answer=frozenset(),
    later_look=True,
    result=_veo_result,
)
# At Vertex AI, the request names the operation in its body.
VEO_FETCH = replace(VEO_LOOK, methods=frozenset({"POST"}))

_IMAGEN_IMAGES = 4
"""The most images of one request, which is also the default."""


def _read_imagen(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    prompts = max(1, len(reading.array(top.get("instances"))))
    call = _call(reading.model_of(top, model), body, {"images": _count(body, _IMAGEN_IMAGES) * prompts})
    return replace(call, background=False)


IMAGEN = Format(
    name="gemini-images",
    path=_NOWHERE,
    read=_read_imagen,
    home="google",
    errors="google",
    answer=frozenset({"predictions"}),
)
