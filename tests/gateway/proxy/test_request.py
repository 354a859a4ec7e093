"""What a request's headers add to what its body asks."""

from __future__ import annotations

import json

import pytest

from paig_gateway.formats.anthropic import MESSAGES
from paig_gateway.proxy.request import read_call, stated


@pytest.mark.parametrize(
    ("beta", "standard"),
    [
        ([], True),
        ([b"interleaved-thinking-2025-05-14"], True),
        ([b"interleaved-thinking-2025-05-14, context-1m-2025-08-07"], False),
        ([b"interleaved-thinking-2025-05-14", b"context-1m-2025-08-07"], False),
    ],
)
def test_longer_window_on_request(beta: list[bytes], standard: bool) -> None:
    """A header asks for a longer context window, as a body can."""
    body = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 10, "messages": []}).encode()
    headers = [(b"content-type", b"application/json"), *((b"anthropic-beta", name) for name in beta)]
    assert read_call(MESSAGES, None, body, stated(headers)).standard_window is standard
