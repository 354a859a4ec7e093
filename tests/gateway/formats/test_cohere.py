"""Cohere's chat: what is asked, and the usage at a message's end."""

from __future__ import annotations

from typing import Any

import pytest

from paig_gateway.formats import cohere
from paig_gateway.pricing.usage import extract
from tests.gateway.formats.asking import asked, event, fold, sse


def test_cohere_chat() -> None:
    """What is asked, and the usage at the message's end."""
    call = asked("/v2/chat", {"model": "command", "messages": [], "stream": True, "max_tokens": 10})
    assert (call.model, call.stream, call.output_tokens) == ("command", True, 10)
    usage = {"billed_units": {"input_tokens": 5, "output_tokens": 2}, "tokens": {"input_tokens": 500}}
    body = fold(
        cohere.CHAT,
        [
            sse({"type": "message-start", "id": "1"}),
            sse({"type": "content-delta", "delta": {"message": {"content": {"text": "hi"}}}}),
            sse({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}),
        ],
    )
    found = extract(body, provider="cohere", flavor="default", home="cohere")
    assert found is not None
    assert (found.usage["input_tokens"], found.usage["output_tokens"]) == (5, 2)
    body = fold(cohere.CHAT, [sse({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "no"}})])
    assert body["error"] == "no"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"delta": {"message": {"content": {"text": "a"}}}}, "a"),
        ({"delta": {"message": {"content": {"thinking": "a"}}}}, "a"),
        ({"delta": {"message": {"tool_plan": "a"}}}, "a"),
        ({"delta": {"message": {"tool_calls": {"function": {"arguments": "a"}}}}}, "a"),
        ({"message": {"content": [{"text": "a"}], "tool_calls": [{"function": {"name": "f"}}]}}, "af"),
    ],
)
def test_cohere_text(said: Any, expected: str) -> None:
    """Text, thinking, plans and calls count."""
    assert cohere.CHAT.text is not None
    assert cohere.CHAT.text(event(said)) == expected
