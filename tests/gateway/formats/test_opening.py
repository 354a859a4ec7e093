"""What a stream's first event says, in each provider's words."""

from __future__ import annotations

import json

import pytest

from paig_gateway.formats import eventstream, sse
from paig_gateway.formats.opening import opening


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n', "error"),
        (b'data: {"error":{"message":"busy","type":"server_error"}}\n\n', "error"),
        (b'data: {"error":{"code":503,"status":"UNAVAILABLE"}}\n\n', "error"),
        (b'data: {"type":"response.failed","response":{"error":{"code":"server_error"}}}\n\n', "error"),
        (b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n', "preamble"),
        (b'event: ping\ndata: {"type":"ping"}\n\n', "preamble"),
        (b": OPENROUTER PROCESSING\n\n", "preamble"),
        (b'data: {"type":"response.created","response":{"error":null}}\n\n', "preamble"),
        (b'data: {"choices":[{"delta":{"content":"error"}}],"error":null}\n\n', "content"),
        (b'data: {"candidates":[]}\n\n', "content"),
        (b"data: [DONE]\n\n", "content"),
    ],
)
def test_server_sent_events(raw: bytes, said: str) -> None:
    """An error is told from what comes before an answer, and from an answer."""
    assert opening(sse.parse(raw)) == said


def test_frames() -> None:
    """Bedrock's exceptions are frames of their own kind."""
    payload = json.dumps({"message": "Too many requests"}).encode()
    assert opening(eventstream.parse(eventstream.encode("throttlingException", payload, kind="exception"))) == "error"
    assert opening(eventstream.parse(eventstream.encode("messageStart", b'{"role":"assistant"}'))) == "preamble"
    assert opening(eventstream.parse(eventstream.encode("chunk", b'{"bytes":"e30="}'))) == "content"
