"""Mistral's conversations: what is asked, and what an answer used."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paig_gateway.formats.mistral_conversations import CONVERSATIONS
from tests.gateway.formats.asking import event, fold, sse


@pytest.mark.parametrize(
    ("members", "model", "unbounded", "searches"),
    [
        ({"model": "m"}, "m", False, 0),
        ({"model": "m", "tools": [{"type": "function", "function": {"name": "f"}}]}, "m", False, 0),
        ({"model": "m", "tools": [{"type": "web_search"}]}, "m", True, 20),
        ({"agent_id": "ag_1"}, "", True, 20),
        ({}, "", True, 20),
    ],
)
def test_what_is_asked(members: dict[str, Any], model: str, unbounded: bool, searches: int) -> None:
    """Connectors, agents and conversations that go on bring in what the request does not show."""
    body = {"inputs": "hi", "completion_args": {"max_tokens": 7}, **members}
    call = CONVERSATIONS.read(None, json.dumps(body).encode())
    assert (call.model, call.output_tokens, call.unbounded_tools, call.searches) == (model, 7, unbounded, searches)


def test_a_stream_states_usage_at_its_end() -> None:
    """The model stands in the outputs, the usage in the last event."""
    body = fold(
        CONVERSATIONS,
        [
            sse({"type": "conversation.response.started", "conversation_id": "c"}),
            sse({"type": "message.output.delta", "content": "ok", "model": "mistral-medium-2505"}),
            sse({"type": "conversation.response.done", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        ],
    )
    assert (body["model"], body["usage"]) == ("mistral-medium-2505", {"prompt_tokens": 3, "completion_tokens": 2})
    body = fold(CONVERSATIONS, [sse({"type": "conversation.response.error", "message": "no", "code": 3000})])
    assert body["error"] == {"message": "no", "code": "conversation.response.error"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"content": "a"}, "a"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "thinking"}]}, "a"),
        ({"outputs": [{"content": "a"}, {"type": "function.call", "arguments": "{}"}]}, "a{}"),
    ],
)
def test_text(said: Any, expected: str) -> None:
    """Text and arguments of calls count."""
    assert CONVERSATIONS.text is not None
    assert CONVERSATIONS.text(event(said)) == expected
