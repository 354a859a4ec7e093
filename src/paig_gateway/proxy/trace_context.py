"""W3C trace context: read from the client's request, and sent to the provider."""

from __future__ import annotations

import random
import re
import secrets
from dataclasses import dataclass, replace

from paig_gateway.domain.http import Headers

_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
)
_SAMPLED, _RANDOM = 1, 2
MAX_STATE = 512


# Ids must be unique, not secret: see `exchange`.
_draw = random.Random(secrets.randbits(128))


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace that a request belongs to.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits: the gateway's span of the request.
        parent_id: The client's span, or None if the trace begins here.
        flags: Two hex digits; the lowest bit means that the trace is recorded, the next that its id is random.
        state: The client's `tracestate`.
        spans: Whether the gateway makes spans; if not, the client's span is the parent of the provider's.
        onward: Whether it is passed to the provider.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    flags: str
    state: bytes = b""
    spans: bool = False
    onward: bool = True

    def attempt(self, number: int) -> str:
        """The span of a try by its number (from 1): 16 hex digits."""
        return f"{(int(self.span_id, 16) + number) % 2**64 or 1:016x}"

    def headers(self, number: int) -> Headers:
        parent = self.attempt(number) if self.spans else self.parent_id
        if not self.onward or parent is None:
            return []
        found = [(b"traceparent", f"00-{self.trace_id}-{parent}-{self.flags}".encode())]
        return [*found, (b"tracestate", self.state)] if self.state else found


def beside(trace: Trace) -> Trace:
    """The trace of a related request: the same parent, with its own span."""
    return replace(trace, span_id=f"{_draw.getrandbits(64) or 1:016x}")


def read_trace(headers: Headers, *, onward: bool = True, spans: bool = False) -> Trace | None:
    """The trace in a client's headers; None if there is none, or it is not valid."""
    parents = [value for name, value in headers if name == b"traceparent"]
    if len(parents) != 1 or (match := _TRACEPARENT.fullmatch(parents[0])) is None:
        return None
    version, *parts, more = match.groups()
    if more and version == b"00":  # only a later version may append to it
        return None
    trace_id, parent_id, flags = (part.decode() for part in parts)
    state = b",".join(value for name, value in headers if name == b"tracestate")
    known = int(flags, 16) & (_SAMPLED | _RANDOM)
    return Trace(
        trace_id,
        f"{_draw.getrandbits(64) or 1:016x}",
        parent_id,
        f"{known:02x}",
        state if len(state) <= MAX_STATE else b"",
        spans and known & _SAMPLED == _SAMPLED,
        onward,
    )


def begin_trace(*, onward: bool, sample: float) -> Trace:
    """A trace that begins at the gateway, recorded with that probability."""
    spans = sample >= 1 or _draw.random() < sample
    trace_id, span_id = _draw.getrandbits(128) or 1, _draw.getrandbits(64) or 1
    return Trace(f"{trace_id:032x}", f"{span_id:016x}", None, "01" if spans else "00", b"", spans, onward)
