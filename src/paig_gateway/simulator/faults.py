"""Trouble on demand: what a request can ask the simulator to do wrong, written into its own prompt.

A gateway may drop headers it does not know, so the control travels where it must not touch anything: in the text of the
last user message, or in the model's name. `Hello [sim:status=529]` is answered with a 529, `[sim@groq:status=503]` only
by the mount called `groq`. A directive nobody knows is a 400, so that a misspelt one cannot pass for success.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

_DIRECTIVE = re.compile(r"\[sim(?:@([\w.-]+))?:(\w+)(?:=([^\]]*))?\]")


@dataclass(frozen=True, slots=True)
class Faults:
    """What to do to one request. Everything is off by default.

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
        times: Do all this to the first so many requests with this very message, then behave.
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
        mount: The mount that was asked: directives addressed to another one are skipped.

    Raises:
        ValueError: A directive that does not exist, or whose value is not a number of the right sort.
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
            raise ValueError(f"the simulator knows no directive {match.group()}")
    status = found.get("status")
    if isinstance(status, int) and not 400 <= status < 600:
        raise ValueError(f"[sim:status={status}] is not an error")
    return Faults(tools=tuple(tools), **found)  # type: ignore[arg-type]  # the table above has the fields' types


def strip(text: str) -> str:
    """The text without its directives."""
    return _DIRECTIVE.sub("", text).strip() if "[sim" in text else text


def spent(faults: Faults) -> Faults:
    """What is left of the faults once their `times` are used up: only what shapes the answer."""
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
