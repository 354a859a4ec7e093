"""Cohere's first API: what is asked, and what it says that it billed."""

from __future__ import annotations

from typing import Any

import pytest

from paig_gateway.formats import cohere_v1, folding
from tests.gateway.formats.asking import asked, event


@pytest.mark.parametrize(
    ("members", "unbounded"),
    [
        ({}, (False, False, 0)),
        ({"conversation_id": "c"}, (True, False, 0)),
        ({"connectors": [{"id": "web-search"}]}, (False, True, 20)),
    ],
)
def test_what_is_asked(members: dict[str, Any], unbounded: tuple[bool, bool, int]) -> None:
    """Kept conversations and connectors bring in what the request does not show."""
    call = asked("/v1/chat", {"model": "command-r", "message": "hi", "max_tokens": 5, **members})
    assert (call.output_tokens, call.unbounded_input, call.unbounded_tools, call.searches) == (5, *unbounded)


def test_several_generations_multiply_the_maximum() -> None:
    """Each may be that long."""
    assert (
        asked("/v1/generate", {"model": "m", "prompt": "x", "max_tokens": 5, "num_generations": 3}).output_tokens == 15
    )


def test_the_last_event_has_the_whole_answer() -> None:
    """What is billed stands in its `response.meta`; a failure says so in an event of its own."""
    meta = {"billed_units": {"output_tokens": 2}}
    body: dict[str, object] = {}
    cohere_v1.fold(body, event({"event_type": "stream-end", "response": {"text": "a", "meta": meta}}))
    assert folding.END in body
    usage = cohere_v1.with_usage(body, "m", {})["usage"]
    assert usage == {"billed_units": {"input_tokens": 0, "output_tokens": 2}}
    cohere_v1.fold(body, event({"event_type": "stream-error", "err": "no"}))
    assert body["error"] == {"message": "no", "code": "stream-error"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"event_type": "text-generation", "text": "a"}, "a"),
        ({"event_type": "tool-calls-chunk", "tool_call_delta": {"name": "f", "parameters": "{"}}, "f{"),
        ({"event_type": "stream-end", "response": {"text": "a"}}, ""),
        ({"text": "a", "tool_calls": [{"name": "f", "parameters": {}}]}, "af{}"),
        ({"generations": [{"text": "a"}, {"text": "b"}]}, "ab"),
        ({"event_type": "search-queries-generation", "search_queries": [{"text": "q"}]}, "q"),
    ],
)
def test_text(said: Any, expected: str) -> None:
    """What was said counts once."""
    assert cohere_v1.text(event(said)) == expected
