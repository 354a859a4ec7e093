"""Ollama's own API: what is asked, and what its newline-delimited objects used."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paig_gateway.formats import jsonarray, ollama
from paig_gateway.pricing.usage import extract
from tests.gateway.formats.asking import asked, event


@pytest.mark.parametrize(
    ("members", "stream"),
    [({}, True), ({"stream": None}, True), ({"stream": True}, True), ({"stream": False}, False)],
)
def test_streaming_is_the_default(members: dict[str, Any], stream: bool) -> None:
    """Only `false` asks for one object."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **members}
    assert asked("/api/chat", body).stream is stream


@pytest.mark.parametrize(("predict", "most"), [(7, 7), (-1, None), (-2, None), (0, None)])
def test_the_maximum_is_an_option(predict: int, most: int | None) -> None:
    """Numbers below one mean no bound."""
    assert asked("/api/generate", {"model": "m", "options": {"num_predict": predict}}).output_tokens == most


def test_images_count() -> None:
    """Images stand in base64 in the request, or in its messages."""
    body = {"model": "m", "images": ["AAAA"], "messages": [{"role": "user", "content": "x", "images": ["AAAA"]}]}
    assert len(asked("/api/chat", body).media) == 2


@pytest.mark.parametrize(
    ("last", "counts"), [({"prompt_eval_count": 3, "eval_count": 2}, (3, 2)), ({"eval_count": 2}, (0, 2))]
)
def test_usage_stands_in_the_last_object(last: dict[str, int], counts: tuple[int, int]) -> None:
    """A count of zero is left out."""
    lines = [{"model": "m", "message": {"content": "a"}, "done": False}, {"model": "m", "done": True, **last}]
    splitter = jsonarray.JsonArraySplitter()
    body: dict[str, object] = {}
    for raw in splitter.feed(b"".join(json.dumps(line).encode() + b"\n" for line in lines)):
        if ollama.CHAT.usage_marker is not None and ollama.CHAT.usage_marker.search(raw):
            ollama.fold(body, jsonarray.parse(raw))
    found = extract(ollama.as_chat(body, "m", {}), provider="", flavor="chat", home="openai")
    assert found is not None
    assert (found.usage["input_tokens"], found.usage["output_tokens"]) == counts


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"response": "a", "thinking": "b"}, "ab"),
        ({"message": {"content": "a", "thinking": "b"}}, "ab"),
        ({"message": {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]}}, "f{}"),
    ],
)
def test_text(said: Any, expected: str) -> None:
    """Text, thinking and calls count."""
    assert ollama.text(event(said)) == expected
