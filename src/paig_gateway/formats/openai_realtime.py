"""OpenAI's Realtime API over a WebSocket, and the compatible ones of Azure and xAI.

A turn is folded from the events that a provider sends for it. Its usage stands in `response.done` (at xAI beside the
response, not in it). The transcription of the client's speech is billed by another model, and its usage comes in events
of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from paig_gateway.formats import folding, reading
from paig_gateway.formats.base import Call, Format, Json, MalformedRequest, StreamEvent
from paig_gateway.formats.folding import dig, joined, mapping, whole

TRANSCRIBED = "conversation.item.input_audio_transcription.completed"

TRANSCRIPTION_MODEL = "transcription_model"
"""The member of a folded turn with the transcription's model, which no event has."""

BILLED_BEFORE = "billed_before"
"""The member of a folded turn that says how many seconds of audio were billed before it: xAI states a running total."""

_MARKER = re.compile(rb'"type"\s*:\s*"(?:response\.(?:created|done)|error|%b)"' % re.escape(TRANSCRIBED.encode()))
_KEPT = ("id", "status", "conversation_id")


def _read(model: str | None, body: bytes) -> Call:
    raise MalformedRequest("The Realtime API is spoken over a WebSocket.")


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take an event in."""
    top = reading.members(event.data)
    kind = reading.string(top.get("type"))
    if kind == "error":
        folding.note_error(body, reading.value(top.get("error")))
    elif kind == TRANSCRIBED:
        usage = folding.usage_in(top.get("usage"))
        if usage:
            part = {"model": body.get(TRANSCRIPTION_MODEL), "usage": usage}
            body["transcriptions"] = folding.appended(body.get("transcriptions"), [part])
    elif kind in ("response.created", "response.done"):
        response = reading.members(top.get("response"))
        folding.keep(body, response, _KEPT)
        if kind == "response.created":
            return
        usage = folding.usage_in(response.get("usage")) or folding.usage_in(top.get("usage"))
        folding.note_usage(body, usage, final=True)
        folding.note_error(body, dig(reading.value(response.get("status_details")), "error"))
        body["output"] = [
            {name: reading.value(item[name]) for name in ("type", "id", "status") if name in item}
            for item in reading.objects(response.get("output"))
        ]
        body[folding.END] = True


def text(event: StreamEvent) -> str:
    """The model's output in an event."""
    data = reading.value(event.data)
    kind = dig(data, "type")
    if isinstance(kind, str) and kind.endswith(".delta") and not kind.endswith("audio.delta"):
        return joined(dig(data, "delta"))
    return ""


def _with_response(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    """Usage stands in the response, where the extractors of OpenAI and Azure look, and beside it, as xAI has it."""
    usage = mapping(body.get("usage"))
    if not usage:
        return body
    if (billed := whole(usage.get("billable_audio_seconds"))) is not None:
        usage = {**usage, "billable_audio_seconds": max(0, billed - (whole(body.get(BILLED_BEFORE)) or 0))}
    return {**body, "usage": usage, "response": {"usage": usage}}


def work_id(body: Json) -> str | None:
    """The response's id."""
    found = body.get("id")
    return found if isinstance(found, str) and found else None


REALTIME = Format(
    name="openai-realtime",
    path=re.compile(r"(?:^|/)realtime/?$"),
    methods=frozenset({"GET"}),
    read=_read,
    flavor="realtime",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    text=text,
    work_id=work_id,
    normalise=_with_response,
)
