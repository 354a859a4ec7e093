"""What the first events of a stream say: whether the model speaks, or the provider reports an error under HTTP 200."""

from __future__ import annotations

from typing import Literal

from paig_gateway.formats import reading
from paig_gateway.formats.base import Event

Opening = Literal["error", "preamble", "content"]

_PREAMBLES = frozenset(
    {
        *("ping", "message_start", "messageStart"),
        *("response.created", "response.queued", "response.in_progress", "keepalive"),
    }
)
"""Types of events that come before anything of the answer: an error after them is still an error at the start."""


def opening(event: Event) -> Opening:
    """What an event at the start of a stream means, in whichever format.

    An error is an exception frame, an event named `error`, one with an `error` object (OpenAI, Gemini, Groq), or a
    response that failed before it said anything.
    """
    if event.is_exception or event.name == "error":
        return "error"
    if not event.data.strip():
        return "preamble"  # a comment, to keep the connection alive
    top = reading.members(event.data)
    kind = reading.string(top.get("type")) or event.name
    if kind in ("error", "response.failed") or reading.present(top.get("error")):
        return "error"
    return "preamble" if kind in _PREAMBLES else "content"
