"""Bedrock's Converse: what is asked, metadata and exceptions in streams."""

from __future__ import annotations

from typing import Any

import pytest

from paig_gateway.formats import bedrock_converse, bedrock_invoke
from tests.gateway.formats.asking import asked, event, fold, frame

USAGE = {"inputTokens": 5, "outputTokens": 2, "cacheReadInputTokens": 3, "totalTokens": 10}


@pytest.mark.parametrize(
    ("members", "output"),
    [
        ({}, None),
        ({"inferenceConfig": {"maxTokens": 10}}, 10),
        ({"inferenceConfig": {"maxTokens": 10}, "additionalModelRequestFields": {"max_tokens": 99}}, 99),
        ({"additionalModelRequestFields": {"inferenceConfig": {"max_new_tokens": 99}}}, 99),
    ],
)
def test_converse_output(members: dict[str, Any], output: int | None) -> None:
    """The output's maximum, also where a request names it around `inferenceConfig`."""
    assert asked("/model/m/converse", members).output_tokens == output


def test_converse_wishes() -> None:
    """The path says what streams; tools of Amazon's own, cache points and tiers are read."""
    tools = [{"toolSpec": {"name": "f"}}, {"cachePoint": {"type": "default"}}]
    call = asked("/model/m%3A0/converse-stream", {"toolConfig": {"tools": tools}, "serviceTier": {"type": "flex"}})
    assert (call.model, call.stream, call.cache_write, call.unbounded_tools) == ("m:0", True, True, False)
    assert call.service_tier == "flex"
    call = asked("/model/m/converse", {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}})
    assert (call.stream, call.cache_write, call.unbounded_tools) == (False, False, True)


def test_converse_stream() -> None:
    """Usage comes with the metadata; before it there is none."""
    stream = [
        frame("contentBlockDelta", {"delta": {"text": "metadata"}}),
        frame("messageStop", {"stopReason": "end_turn"}),
    ]
    assert fold(bedrock_converse.STREAM, stream) == {"stopReason": "end_turn", "stream_end": True}
    body = fold(bedrock_converse.STREAM, [*stream, frame("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}})])
    assert body["usage"] == USAGE


@pytest.mark.parametrize("form", [bedrock_converse.STREAM, bedrock_invoke.STREAM])
def test_exceptions_are_frames(form: Any) -> None:
    """An exception after HTTP 200 is kept by its name and message."""
    thrown = frame("modelStreamErrorException", {"message": "no", "originalStatusCode": 500}, kind="exception")
    assert fold(form, [thrown])["error"] == {"type": "modelStreamErrorException", "message": "no"}
    assert fold(form, [frame("Gone", {"message": "no"}, kind="error")])["error"] == {"type": "Gone", "message": "no"}


def test_converse_text() -> None:
    """Text, reasoning and calls count, in frames and bodies."""
    form = bedrock_converse.CONVERSE
    assert form.text is not None
    assert form.text(event({"delta": {"text": "a"}})) == "a"
    assert form.text(event({"delta": {"reasoningContent": {"text": "a"}}})) == "a"
    assert form.text(event({"delta": {"toolUse": {"input": "{}"}}})) == "{}"
    assert form.text(event({"start": {"toolUse": {"name": "f"}}})) == "f"
    assert form.text(event({"output": {"message": {"content": [{"text": "a"}]}}})) == "a"
