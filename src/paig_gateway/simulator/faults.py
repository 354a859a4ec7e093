"""Faults on demand: directives in a prompt that tell the simulator what to do wrong.

A gateway may drop headers it does not know, so directives stand where a gateway must change nothing: in the text of the
last user message, or in the model's name. `Hello [sim:status=529]` is answered with a 529; `[sim@groq:status=503]`
holds for the mount `groq` alone. An unknown directive is a 400, so that a misspelt one does not look like success.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

_DIRECTIVE = re.compile(r"\[sim(?:@([\w.-]+))?:(\w+)(?:=([^\]]*))?\]")


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one request. All are off by default.

    Attributes:
        status: Refuse with this HTTP status, in the provider's own error shape.
        retry_after: Seconds for the `retry-after` header of that refusal.
        delay: Seconds before the response headers.
        chunk_delay: Seconds between the events of a stream.
        disconnect: Drop the connection after this many stream events (half of a body that is not streamed).
        reset: Reset the connection without any answer.
        error_event: Break a stream off half-way with the provider's error event; a plain request gets a 500.
        error_first: Make the error event the first and only one; a plain request gets a 500.
        no_usage: Leave the usage out of the answer.
        gzip: Compress the answer, if the request's `accept-encoding` allows.
        tokens: Answer with text of exactly this many output tokens, reasoning included.
        chunks: The number of text deltas in a stream, at most one a word.
        tools: Call these tools, whatever the message says; an empty name means the first one offered.
        times: How many requests with this same message get the faults; later ones are answered normally.
    """

    status: int | None = None
    retry_after: float | None = None
    delay: float = 0.0
    chunk_delay: float = 0.0
    disconnect: int | None = None
    reset: bool = False
    error_event: bool = False
    error_first: bool = False
    no_usage: bool = False
    gzip: bool = False
    tokens: int | None = None
    chunks: int | None = None
    tools: tuple[str, ...] = ()
    times: int | None = None


NONE = Faults()

_VALUES: dict[str, Callable[[str], object]] = {
    "status": int,
    "retry_after": float,
    "delay": float,
    "chunk_delay": float,
    "disconnect": int,
    "tokens": int,
    "chunks": int,
    "times": int,
}
_FLAGS = frozenset({"reset", "error_event", "error_first", "no_usage", "gzip"})


def parse(text: str, mount: str) -> Faults:
    """Read the directives out of a text.

    Args:
        text: A prompt or a model's name.
        mount: The mount of the request; directives for another mount are skipped.

    Raises:
        ValueError: A directive does not exist, or its value is not a valid number.
    """
    if "[sim" not in text:
        return NONE
    found: dict[str, object] = {}
    tools: list[str] = []
    for match in _DIRECTIVE.finditer(text):
        addressee, name, value = match.groups()
        if addressee not in (None, mount):
            continue
        if name == "tool":
            tools.append(value or "")
        elif name in _FLAGS:
            found[name] = True
        elif name in _VALUES and value is not None:
            found[name] = _VALUES[name](value)
        else:
            raise ValueError(f"{match.group()} is not a directive of the simulator")
    status = found.get("status")
    if isinstance(status, int) and not 400 <= status < 600:
        raise ValueError(f"[sim:status={status}] is not an error")
    return Faults(tools=tuple(tools), **found)  # type: ignore[arg-type]  # the table above has the fields' types


def strip(text: str) -> str:
    """The text without its directives."""
    return _DIRECTIVE.sub("", text).strip() if "[sim" in text else text


def spent(faults: Faults) -> Faults:
    """The faults after their `times` are used up: only those that shape the answer remain."""
    return replace(
        faults,
        status=None,
        delay=0.0,
        chunk_delay=0.0,
        disconnect=None,
        reset=False,
        error_event=False,
        error_first=False,
        times=None,
    )
