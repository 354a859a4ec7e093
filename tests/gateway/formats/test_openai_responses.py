"""The Responses API: what is asked, how streams fold, by what name work is known later."""

from __future__ import annotations

from typing import Any

import pytest

from paig_gateway.formats.base import MalformedRequest, StreamEvent
from paig_gateway.formats.openai_chat import SEARCHES
from paig_gateway.formats.openai_responses import COMPACT, LATER_LOOK, RESPONSES
from tests.gateway.formats.asking import asked, event, fold, sse

USAGE = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}


def ask(**members: Any) -> Any:
    """A request with these members, read."""
    return asked("/v1/responses", {"model": "m", "input": "hi", **members})


def test_what_is_asked() -> None:
    """Streaming, the output's maximum, tier and background are read."""
    call = ask(stream=True, max_output_tokens=10, service_tier="priority", background=True)
    assert (call.stream, call.output_tokens, call.service_tier, call.background) == (True, 10, "priority", True)
    assert (call.media_in, call.media, call.cache_write, call.asks_usage) == (False, (), True, True)
    call = ask(stream=None, max_output_tokens="10", service_tier=None)
    assert (call.stream, call.output_tokens, call.service_tier, call.background) == (False, None, None, False)


@pytest.mark.parametrize(
    ("tools", "searches"),
    [
        ([{"type": "function", "name": "f"}, {"type": "custom"}, {"type": "local_shell"}], 0),
        ([{"type": "computer_use_preview"}], 0),
        ([{"type": "web_search"}], SEARCHES),
        ([{"type": "web_search_preview_2025_03_11"}], SEARCHES),
        ([{"type": "file_search"}], SEARCHES),
        ([{"type": "of_next_year"}], SEARCHES),
    ],
)
def test_tools_of_the_server(tools: list[Any], searches: int) -> None:
    """Whatever the client does not run itself may grow the input."""
    call = ask(tools=tools)
    assert (call.unbounded_tools, call.searches) == (searches > 0, searches)


@pytest.mark.parametrize(
    ("kind", "unbounded", "units"),
    [
        ("mcp", True, {}),
        ("code_interpreter", True, {"tool_containers": 1}),
        ("image_generation", False, {"tool_images": 2}),
    ],
)
def test_tools_whose_calls_cost_nothing_apiece(kind: str, unbounded: bool, units: dict[str, int]) -> None:
    """What they make is held apart."""
    call = ask(tools=[{"type": kind}])
    assert (call.unbounded_tools, call.searches, call.units) == (unbounded, 0, units)


def test_tools_that_the_input_adds() -> None:
    """Codex sends its tools in an item of the input; they are text, unless one of them runs at the provider."""

    def added(*tools: Any, kind: str = "additional_tools") -> Any:
        item = {"type": kind, "role": "developer", "tools": list(tools)}
        return ask(input=[item, {"role": "user", "content": "hi"}])

    functions = {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}
    for kind in ("additional_tools", "tool_search_output"):
        call = added(functions, {"type": "custom", "name": "exec"}, kind=kind)
        assert (call.unbounded_input, call.unbounded_tools, call.searches) == (False, False, 0)
        call = added(functions, {"type": "web_search"}, kind=kind)
        assert (call.unbounded_tools, call.searches, call.server_tools) == (True, SEARCHES, {"web_search"})
    call = added({"type": "code_interpreter", "container": {"memory_limit": "4g"}})
    assert call.units == {"tool_containers": 4}
    assert [one.model for one in added({"type": "image_generation", "model": "gpt-image-1"}).also] == ["gpt-image-1"]
    with pytest.raises(MalformedRequest):
        asked("/v1/responses", b'{"model":"m","input":[{"type":"additional_tools","tools":[{"type":"a","type":"b"}]}]}')
    assert ask(tools=[{"type": "tool_search", "execution": "client"}]).unbounded_tools is False
    assert ask(tools=[{"type": "tool_search"}]).unbounded_tools is True


def test_bounded_tool_calls_and_pictures() -> None:
    """`max_tool_calls` bounds what is billed apiece; image generation puts out images."""
    call = ask(tools=[{"type": "web_search"}, {"type": "image_generation"}], max_tool_calls=3)
    assert (call.searches, call.media_out) == (3, True)


def response(kind: str, name: str = "", **members: Any) -> bytes:
    """A raw event about the response."""
    return sse(
        {"type": kind, "response": {"id": "resp_1", "model": "m-1", "usage": None, "error": None, **members}}, name
    )


@pytest.mark.parametrize("end", ["completed", "incomplete", "failed"])
def test_each_end_is_final(end: str) -> None:
    """Usage comes with the response's end, however it ends."""
    stream = [response("response.created", status="queued"), response(f"response.{end}", status=end, usage=USAGE)]
    body = fold(RESPONSES, stream)
    assert (body["id"], body["model"], body["status"], body["usage"]) == ("resp_1", "m-1", end, USAGE)
    assert fold(LATER_LOOK, stream) == body


def test_failure_without_usage() -> None:
    """A failed response may have an error and no usage."""
    body = fold(RESPONSES, [response("response.failed", status="failed", error={"code": "server_error"})])
    assert body["error"] == {"code": "server_error"}
    assert "usage" not in body


def test_a_stream_cut_short_is_known_by_its_id() -> None:
    """Background work that goes on after the stream is known by the id of its first event."""
    body = fold(
        RESPONSES, [response("response.created", status="in_progress", background=True, usage={"input_tokens": 5})]
    )
    assert RESPONSES.work_id is not None
    assert RESPONSES.work_id(body) == "resp_1"
    assert body["partial_usage"] == {"input_tokens": 5}
    assert "usage" not in body


@pytest.mark.parametrize(
    "raw",
    [
        sse({"type": "error", "code": "c", "message": "no", "param": None}, "error"),
        sse({"type": "error", "code": "c", "message": "no", "param": None}),
        sse({"type": "error", "error": {"code": "c", "message": "no"}}),
    ],
)
def test_errors_in_a_stream(raw: bytes) -> None:
    """Errors come flat or nested."""
    error = fold(RESPONSES, [raw])["error"]
    assert (error["code"], error["message"]) == ("c", "no")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"type": "response.output_text.delta", "delta": "a"}, "a"),
        ({"type": "response.reasoning_summary_text.delta", "delta": "a"}, "a"),
        ({"type": "response.function_call_arguments.delta", "delta": "{}"}, "{}"),
        ({"type": "response.audio.delta", "delta": "AAAA"}, ""),
        ({"type": "response.output_text.done", "text": "a"}, ""),
        ({"type": "response.output_item.added", "item": {"type": "function_call", "name": "f"}}, "f"),
        (
            {"output": [{"content": [{"text": "a"}]}, {"summary": [{"text": "b"}]}, {"name": "f", "arguments": "1"}]},
            "abf1",
        ),
    ],
)
def test_text(said: Any, expected: str) -> None:
    """What is said counts once: as it comes, not again when done."""
    assert RESPONSES.text is not None
    assert RESPONSES.text(event(said)) == expected


def test_a_later_look() -> None:
    """Looking again asks for nothing; what it brings is charged by the work's id."""
    call = LATER_LOOK.read(None, b"")
    assert (call.model, call.input_tokens) == ("", 0)
    assert LATER_LOOK.later_look
    assert LATER_LOOK.work_id is not None
    assert LATER_LOOK.work_id({"id": "resp_1"}) == "resp_1"
    assert LATER_LOOK.work_id({"error": {}}) is None
    assert COMPACT.work_id is None


def test_empty_events() -> None:
    """An event without data changes nothing."""
    assert RESPONSES.fold is not None
    body: dict[str, object] = {}
    RESPONSES.fold(body, StreamEvent("", b""))
    assert body == {}
