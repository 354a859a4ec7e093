"""Reading requests and folding streams in the tests of the single formats."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from paig_gateway.formats.base import Call, Format, StreamEvent
from paig_gateway.formats.framing import encode_frame, parse_frame, parse_sse
from paig_gateway.providers.endpoints import detect


def form_of(path: str, method: str = "POST") -> Format:
    """The format that claims this request."""
    found = detect(method, path)
    assert found is not None
    return found[0]


def asked(path: str, body: object) -> Call:
    """A request, read; `body` is JSON or raw bytes."""
    found = detect("POST", path)
    assert found is not None
    form, model, _ = found
    return form.read(model, body if isinstance(body, bytes) else json.dumps(body).encode())


def fold(form: Format, raws: Iterable[bytes]) -> dict[str, Any]:
    """Raw events, folded if the marker picks them."""
    assert form.usage_marker is not None
    assert form.fold is not None
    body: dict[str, Any] = {}
    for raw in raws:
        if form.usage_marker.search(raw):
            form.fold(body, parse_frame(raw) if form.framing == "eventstream" else parse_sse(raw))
    return body


def sse(said: object, name: str = "") -> bytes:
    """A raw server-sent event."""
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(said).encode() + b"\n\n"


def frame(name: str, said: object, **kind: Any) -> bytes:
    """A raw event stream frame."""
    return encode_frame(name, json.dumps(said).encode(), **kind)


def event(said: object, name: str = "") -> StreamEvent:
    """A parsed event."""
    return StreamEvent(name, json.dumps(said).encode())
