"""Chat completions: what is asked, how streams fold, how usage is asked for and hidden."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats.base import StreamEvent
from paig_gateway.formats.openai_chat import CHAT, COMPLETIONS, SEARCHES
from tests.gateway.formats.asking import asked, event, fold, sse

PATH = "/v1/chat/completions"
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def ask(**members: Any) -> Any:
    """A chat request with these members, read."""
    return asked(PATH, {"model": "m", "messages": [], **members})


@pytest.mark.parametrize(
    ("members", "output", "answers"),
    [
        ({}, None, 1),
        ({"max_tokens": 10}, 10, 1),
        ({"max_completion_tokens": 10}, 10, 1),
        ({"max_completion_tokens": 10, "max_tokens": 20}, 20, 1),
        ({"max_tokens": 10, "n": 3}, 30, 3),
        ({"max_tokens": 10.0}, 10, 1),
        ({"max_tokens": None, "n": None}, None, 1),
        ({"max_tokens": -1}, None, 1),
        ({"max_tokens": 10**12}, None, 1),
        ({"max_tokens": "10", "n": "2"}, None, 2),
        ({"max_tokens": True}, None, 1),
    ],
)
def test_output(members: dict[str, Any], output: int | None, answers: int) -> None:
    """The output's maximum is the larger of both names, times the answers; nonsense is none at all."""
    call = ask(**members)
    assert (call.output_tokens, call.answers) == (output, answers)


@pytest.mark.parametrize(
    ("members", "searches"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}, {"function": {"name": "g"}}]}, 0),
        ({"tools": [{"type": "custom"}], "plugins": [], "enable_search": False}, 0),
        ({"tools": [{"type": "openrouter:web_search"}]}, SEARCHES),
        ({"web_search_options": {}}, SEARCHES),
        ({"plugins": [{"id": "web"}]}, SEARCHES),
        ({"search_parameters": {"mode": "auto"}}, SEARCHES),
        ({"model": "sonar-pro"}, SEARCHES),
        ({"model": "openai/gpt-4o:online"}, SEARCHES),
    ],
)
def test_tools_of_the_server(members: dict[str, Any], searches: int) -> None:
    """What runs at the provider may grow the input without a bound of its own."""
    call = ask(**members)
    assert (call.unbounded_tools, call.searches) == (searches > 0, searches)


def test_other_wishes() -> None:
    """Streaming, usage, tiers and spoken answers are read; automatic cache writes are always possible."""
    call = ask(
        stream=True, stream_options={"include_usage": True}, service_tier="flex", modalities=["text", "audio"], audio={}
    )
    assert (call.stream, call.asks_usage, call.service_tier, call.media_out, call.cache_write) == (
        (True, True, "flex", True, True)
    )
    call = ask(stream="please", stream_options=7, service_tier=7, modalities=["text"])
    assert (call.stream, call.asks_usage, call.service_tier, call.media_out) == (False, False, None, False)


def test_an_answer_that_the_provider_is_to_keep() -> None:
    assert [ask(store=said).stores for said in (True, "true", False, None)] == [True, True, False, False]
    assert not ask().stores


def test_several_prompts_are_several_answers() -> None:
    """The old completions answer each prompt `n` times, and charge for the best of more."""
    body = {"model": "m", "prompt": ["a", "b"], "max_tokens": 10, "n": 2, "best_of": 3}
    call = asked("/v1/completions", body)
    assert (call.answers, call.output_tokens) == (6, 60)
    assert asked("/v1/completions", {**body, "prompt": [1, 2, 3]}).answers == 3
    assert asked("/v1/completions", {"model": "m", "prompt": "a"}).output_tokens is None


def chunk(*choices: Any, **members: Any) -> bytes:
    """A raw chunk."""
    return sse({"id": "c", "model": "m-1", "choices": list(choices), **members})


SAYS = {"index": 0, "delta": {"content": "hi"}, "finish_reason": None}
ENDS = {"index": 0, "delta": {}, "finish_reason": "stop"}
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "stream",
    [
        [chunk(SAYS, usage=None), chunk(ENDS, usage=None), chunk(usage=USAGE), DONE],
        [chunk(SAYS), chunk(ENDS, usage=USAGE), DONE],
        [chunk(SAYS), chunk(ENDS), chunk(SAYS, usage=USAGE)],
        [chunk(SAYS, usage={"prompt_tokens": 5, "completion_tokens": 1}), chunk(ENDS, usage=USAGE)],
        [chunk(SAYS, usage=USAGE), DONE],
        [chunk(SAYS), chunk(ENDS, x_groq={"id": "r", "usage": USAGE})],
        [chunk(SAYS), chunk(ENDS, x_groq={"id": "r", "usage": USAGE}, usage=USAGE)],
        [
            chunk(SAYS),
            b'data:{"choices" : [ ],"usage" :\t{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}\n\n',
        ],
        [chunk(SAYS), chunk(usage=USAGE), chunk(usage=None, moderation={})],
    ],
)
def test_usage_is_final_at_the_end(stream: list[bytes]) -> None:
    """Wherever providers put it: a chunk of its own, the last one, every one, `x_groq`."""
    body = fold(CHAT, stream)
    assert body["usage"] == USAGE
    assert "partial_usage" not in body


def test_usage_before_the_end_is_partial() -> None:
    """Running counts of a stream that breaks off are a lower bound."""
    body = fold(CHAT, [chunk(SAYS, usage={"prompt_tokens": 5, "completion_tokens": 1}), chunk(SAYS, usage=USAGE)])
    assert body["partial_usage"] == USAGE
    assert "usage" not in body


@pytest.mark.parametrize(
    "raw",
    [
        sse({"error": {"message": "no"}}),
        sse({"error": {"message": "no"}}, "error"),
        sse({"message": "no"}, "error"),
        chunk({"index": 0, "finish_reason": "error"}, error={"message": "no"}),
    ],
)
def test_errors_in_a_stream(raw: bytes) -> None:
    """An error under HTTP 200 is kept as it came."""
    assert fold(CHAT, [chunk(SAYS), raw])["error"] == {"message": "no"}


def test_errors_that_are_text() -> None:
    """An error may be a string, or no JSON at all."""
    assert fold(CHAT, [sse({"error": "no"})])["error"] == "no"
    assert fold(CHAT, [b"event: error\ndata: no\n\n"])["error"] == {"message": "no"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"m"}', b'{"stream_options":{"include_usage":true},"model":"m"}'),
        (b' {\n "model":"m"}', b' {"stream_options":{"include_usage":true},\n "model":"m"}'),
        (b'{"stream_options":null}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{}}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{"x":1}}', b'{"stream_options":{"include_usage":true,"x":1}}'),
        (b'{"stream_options":{"include_usage":false}}', b'{"stream_options":{"include_usage":true}}'),
        (b"not json", b"not json"),
    ],
)
def test_asking_for_usage(body: bytes, expected: bytes) -> None:
    """One member is put in, or one value replaced; nothing else changes."""
    assert CHAT.asks is not None
    assert CHAT.asks(body) == expected


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers() | st.none(), max_size=4))
def test_asking_for_usage_in_any_request(members: dict[str, Any]) -> None:
    """The request asks, and is else the same."""
    assert CHAT.asks is not None
    members.pop("stream_options", None)
    result = CHAT.asks(json.dumps(members).encode())
    assert json.loads(result) == {**members, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("said", "hidden"),
    [
        ({"choices": [], "usage": USAGE}, True),
        ({"id": "c", "choices": [], "usage": USAGE, "service_tier": "default", "obfuscation": "xy"}, True),
        ({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}, False),
        ({"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "usage": USAGE}, False),
        ({"choices": [], "usage": None}, False),
        ({"choices": [], "usage": USAGE, "moderation": {"input": {}}}, False),
        ({"choices": [SAYS], "usage": USAGE}, False),
        ({"usage": USAGE}, False),
        ([], False),
    ],
)
def test_what_is_hidden(said: Any, hidden: bool) -> None:
    """Only a chunk that is nothing but usage is hidden from a client that did not ask for it."""
    assert CHAT.is_asked_only is not None
    assert CHAT.is_asked_only(event(said)) is hidden
    assert CHAT.is_asked_only(StreamEvent("", b"[DONE]")) is False


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}, "ab"),
        ({"choices": [{"delta": {"reasoning_content": "a", "reasoning": "a"}}]}, "a"),
        ({"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]}, "f{}"),
        ({"choices": [{"delta": {"content": [{"type": "thinking", "thinking": [{"text": "a"}]}]}}]}, "a"),
        ({"choices": [{"delta": {"refusal": "no", "audio": {"transcript": "b", "data": "AAAA"}}}]}, "nob"),
        ({"choices": [{"message": {"content": "whole"}}]}, "whole"),
        ({"choices": [{"text": "old"}]}, "old"),
        ({"choices": None}, ""),
        ([], ""),
    ],
)
def test_text(said: Any, expected: str) -> None:
    """Text, reasoning and calls count; sound does not."""
    assert CHAT.text is not None
    assert CHAT.text(event(said)) == expected
    assert CHAT.text(StreamEvent("", b"[DONE]")) == ""


def test_tier() -> None:
    """The tier that answered decides the price; `auto` says nothing."""
    for form in (CHAT, COMPLETIONS):
        assert form.context is not None
        assert form.context({"service_tier": "priority"}, {}) == {"service_tier": "priority"}
        assert form.context({"service_tier": "auto"}, {}) == {}
        assert form.context({"service_tier": None}, {}) == {}
