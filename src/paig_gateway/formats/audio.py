"""OpenAI's audio endpoints: transcription and translation of a sound in a form, and speech from text.

Billed by tokens, by the second or by the character, as the model's price says.
"""

from __future__ import annotations

import re
from functools import partial

from paig_gateway.formats import folding, form, reading
from paig_gateway.formats.base import Call, Format, Generated, MalformedRequest, StreamEvent
from paig_gateway.formats.media import MediaItem, audio
from paig_gateway.formats.text import HIDDEN

_FILES = re.compile(r"(?:file|audio|files?\[\d*\])$")

SPOKEN_TOKENS = 8
"""Audio tokens for each byte of text that is spoken at most, at the slowest speed (a quarter)."""

SPOKEN_AT_LEAST = 1_000
"""Audio tokens that any speech is allowed besides."""


def _read_transcription(model: str | None, body: bytes) -> Call:
    """A form with the sound in it; some servers take JSON with a link to one."""
    if not form.is_form(body):
        top = reading.request(body)
        return Call(
            model=reading.model_of(top, model),
            stream=reading.truth(top.get("stream")),
            input_tokens=len(body) + HIDDEN,
            media_in=True,
            unbounded_input=True,
            asks_usage=True,
        )
    items: list[MediaItem] = []
    one: dict[str, str] = {}
    text = HIDDEN
    for name, start, end in form.fields(body):
        if _FILES.match(name):
            items.append(audio(partial(_part, body, start, end), end - start))
        else:
            text += end - start
            one.setdefault(name, body[start:end].decode("utf-8", "replace").strip())
    named = model or one.get("model")
    if not named:
        raise MalformedRequest('The request names no model: give the form field "model".')
    return Call(
        model=named,
        stream=one.get("stream", "").lower() in ("true", "1"),
        input_tokens=text,
        media_in=True,
        media=tuple(items),
        unbounded_input=not items,
        asks_usage=True,
    )


def _part(body: bytes, start: int, end: int, offset: int, length: int) -> bytes:
    return body[min(end, start + offset) : min(end, start + offset + length)]


_END = "transcript.text.done"


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Fold an event into the body; the last event has the usage."""
    top = reading.members(event.data)
    folding.note_error(body, folding.error_of(event, top))
    kind = reading.string(top.get("type")) or event.name
    done = kind.endswith(".done")
    if done:
        body[folding.END] = True
    folding.note_usage(body, folding.usage_in(top.get("usage")), final=done)


_MARKER = re.compile(rb'"(?:usage"\s*:\s*\{|error"\s*:\s*[{"]|type"\s*:\s*"(?:error|[\w.]+\.done)")|:\s*error\b')


def text(event: StreamEvent) -> str:
    """The words in an event, in a JSON body or in a plain one (`response_format: text`, `srt`)."""
    data = reading.value(event.data)
    if not isinstance(data, dict):
        return event.data.decode("utf-8", "replace")
    if data.get("type") == _END:
        return ""
    return folding.joined(data.get("delta"), data.get("text"))


TRANSCRIPTION = Format(
    name="openai-transcription",
    path=re.compile(r"(?:^|/)(?:deployments/(?P<model>[^/]+)/)?audio/(?:transcriptions|translations)/?$"),
    read=_read_transcription,
    flavor="responses",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    usage_paths=(("usage",),),
    text=text,
)


def _read_speech(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    spoken = reading.string(top.get("input")) or ""
    size = len(spoken.encode("utf-8", "replace"))
    return Call(
        model=reading.model_of(top, model),
        stream=reading.string(top.get("stream_format")) == "sse",
        input_tokens=len(body) + HIDDEN,
        output_tokens=SPOKEN_TOKENS * size + SPOKEN_AT_LEAST,
        media_out=True,
        units={"input_characters": len(spoken)},
        asks_usage=True,
    )


_COMPRESSION = 6
"""How many times smaller compressed speech (64 kbit/s) is than plain samples of 16 bits at 24 kHz."""


def generated(event: StreamEvent) -> Generated:
    """The sound in an event of a stream, or a body that is nothing but sound."""
    top = reading.members(event.data)
    if top:
        return Generated(audio_bytes=folding.in_base64(reading.size(top.get("audio"))) * _COMPRESSION)
    plain = event.data[:4] == b"RIFF"
    return Generated(audio_bytes=len(event.data) * (1 if plain else _COMPRESSION))


SPEECH = Format(
    name="openai-speech",
    path=re.compile(r"(?:^|/)(?:deployments/(?P<model>[^/]+)/)?audio/speech/?$"),
    read=_read_speech,
    flavor="responses",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    usage_paths=(("usage",),),
    text=lambda event: "",
    generated=generated,
    opaque=True,
)
