"""Anthropic's messages: what is asked, and when usage is final."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paig_gateway.formats.anthropic import MESSAGES
from paig_gateway.formats.folding import provisional
from paig_gateway.formats.openai_chat import SEARCHES
from paig_gateway.pricing.usage import extract
from tests.gateway.formats.asking import asked, event, fold, sse

START = {
    "input_tokens": 5,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 1,
    "service_tier": "standard",
}


def ask(**members: Any) -> Any:
    """A request with these members, read."""
    return asked("/v1/messages", {"model": "m", "max_tokens": 100, "messages": [], **members})


@pytest.mark.parametrize(
    ("members", "output"),
    [
        ({}, 100),
        ({"max_tokens": None}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 50}}, 100),
        ({"thinking": {"type": "enabled", "budget_tokens": 500}}, 600),
    ],
)
def test_output(members: dict[str, Any], output: int | None) -> None:
    """Thinking counts into the maximum, but for interleaved thinking with a larger budget."""
    assert ask(**members).output_tokens == output


@pytest.mark.parametrize(
    ("tools", "unbounded", "searches"),
    [
        ([{"name": "f", "input_schema": {}}, {"type": "custom", "name": "g"}], False, 0),
        ([{"type": "bash_20250124", "name": "bash"}, {"type": "text_editor_20250728"}], False, 0),
        ([{"type": "computer_20250124"}, {"type": "memory_20250818"}], False, 0),
        ([{"type": "web_search_20250305", "max_uses": 3}], True, 3),
        ([{"type": "web_search_20250305", "max_uses": None}], True, SEARCHES),
        ([{"type": "code_execution_20260120"}], True, 0),
        ([{"type": "web_fetch_20250910"}], True, 0),
        ([{"type": "advisor_20260301", "model": "claude-opus-4-8"}], True, 0),
    ],
)
def test_tools_of_the_server(tools: list[Any], unbounded: bool, searches: int) -> None:
    """What runs at Anthropic may grow the input; searches are billed apiece."""
    call = ask(tools=tools)
    assert (call.unbounded_tools, call.searches) == (unbounded, searches)


def test_other_wishes() -> None:
    """Streaming, cache control, fast mode, remote servers."""
    cached = [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}]
    call = ask(stream=True, messages=cached, speed="fast", service_tier="auto")
    assert (call.stream, call.cache_write, call.service_tier) == (True, True, "fast")
    call = ask(mcp_servers=[{"url": "https://example.com"}], service_tier="standard_only")
    assert (call.stream, call.cache_write, call.service_tier) == (False, False, "standard_only")
    assert call.unbounded_tools


@pytest.mark.parametrize(
    ("named", "standard"),
    [
        (None, True),
        (["context-1m-2025-08-07"], False),
        ("context-1m", False),
        (["interleaved-thinking"], True),
        (7, True),
    ],
)
def test_longer_window_on_request(named: object, standard: bool) -> None:
    """A body may ask for a longer context window by a beta's name; a header may, too."""
    assert ask(**({} if named is None else {"anthropic_beta": named})).standard_window is standard


def test_vertex_names_the_model_in_the_path() -> None:
    """On Vertex AI the body has no model."""
    path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4-5@20251101:streamRawPredict"
    call = asked(path, {"anthropic_version": "vertex-2023-10-16", "messages": [], "stream": True})
    assert (call.model, call.stream) == ("claude-opus-4-5@20251101", True)


def start() -> bytes:
    """A raw `message_start`."""
    message = {"id": "msg_1", "model": "m-1", "type": "message", "role": "assistant", "usage": START}
    return sse({"type": "message_start", "message": message}, "message_start")


def delta(usage: Any, stop: str | None = "end_turn") -> bytes:
    """A raw `message_delta`."""
    return sse({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage}, "message_delta")


def test_deltas_override_and_never_add() -> None:
    """Counts are cumulative: the last one said counts, and null says nothing."""
    usage = {"input_tokens": 9, "output_tokens": 40, "cache_read_input_tokens": None, "server_tool_use": None}
    body = fold(MESSAGES, [start(), delta({"output_tokens": 20}, None), delta(usage)])
    assert body["usage"] == {**START, "input_tokens": 9, "output_tokens": 40}
    assert (body["model"], body["stop_reason"]) == ("m-1", "end_turn")
    assert "partial_usage" not in body


@pytest.mark.parametrize("stream", [[start()], [start(), delta({"output_tokens": 20}, None)], [start(), delta({})]])
def test_a_stream_cut_short_is_not_complete(stream: list[bytes]) -> None:
    """The output count of `message_start` is no usage: without a final delta there is none."""
    body = fold(MESSAGES, stream)
    assert "usage" not in body
    partial = extract(provisional(body), provider="anthropic", flavor="anthropic", home="anthropic")
    assert partial is not None
    assert partial.usage["input_tokens"] == 42


def test_a_split_that_cannot_be_right_any_more() -> None:
    """Cache writes told again without their split: the old split is dropped where it exceeds them."""
    fewer, more = (
        fold(MESSAGES, [start(), delta({"output_tokens": 1, "cache_creation_input_tokens": total})])["usage"]
        for total in (25, 35)
    )
    assert "cache_creation" not in fewer
    assert more["cache_creation"] == START["cache_creation"]


def test_an_error_in_a_stream() -> None:
    """An error under HTTP 200 is kept, with what was known before it."""
    error = {"type": "overloaded_error", "message": "Overloaded"}
    body = fold(MESSAGES, [start(), sse({"type": "error", "error": error}, "error")])
    assert body["error"] == error
    assert body["partial_usage"] == START


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}, "a"),
        ({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "a"}}, "a"),
        ({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}}, "{"),
        ({"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "AAAA"}}, ""),
        ({"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f"}}, "f"),
        (
            {"type": "message", "content": [{"type": "text", "text": "a"}, {"name": "f", "input": {"b": 1}}]},
            "af{'b': 1}",
        ),
    ],
)
def test_text(said: Any, expected: str) -> None:
    """Text, thinking and calls count; signatures do not."""
    assert MESSAGES.text is not None
    assert MESSAGES.text(event(said)) == expected


def test_context() -> None:
    """Fast mode and batches have prices of their own."""
    assert MESSAGES.context is not None
    fast = MESSAGES.context({"usage": {"speed": "fast", "service_tier": "standard"}}, {})
    assert fast == {"speed": "fast", "service_tier": "standard"}
    assert MESSAGES.context({"usage": {"inference_geo": "US"}}, {}) == {"inference_geo": "us"}
    assert MESSAGES.context({"usage": {"service_tier": "batch"}}, {}) == {"processing": "batch"}
    assert MESSAGES.context({}, {}) == {}


def test_padding_and_order_do_not_matter() -> None:
    """Events come with padding, and some servers put the data before the name."""
    text = json.dumps({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}})
    assert fold(MESSAGES, [f"data:{text}      \r\nevent: message_delta\r\n\r\n".encode()])["usage"] == {
        "output_tokens": 3
    }
