"""Bedrock's InvokeModel: families are told by their shapes, and each counts its own way."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from paig_gateway.formats import bedrock_invoke
from paig_gateway.formats.base import Json
from paig_gateway.formats.folding import provisional
from paig_gateway.pricing.usage import extract
from tests.gateway.formats.asking import asked, event, fold, frame

USAGE = {"inputTokens": 5, "outputTokens": 2, "cacheReadInputTokens": 3, "totalTokens": 10}
METRICS = {"inputTokenCount": 5, "outputTokenCount": 2, "cacheReadInputTokenCount": 3, "cacheWriteInputTokenCount": 0}


@pytest.mark.parametrize(
    ("model", "body", "output"),
    [
        ("anthropic.claude-x", {"anthropic_version": "b", "max_tokens": 10, "messages": []}, 10),
        ("amazon.nova-x", {"schemaVersion": "v1", "inferenceConfig": {"max_new_tokens": 10}, "messages": []}, 10),
        ("openai.gpt-oss", {"messages": [], "max_completion_tokens": 10}, 10),
        ("meta.llama", {"prompt": "hi", "max_gen_len": 10}, 10),
        ("mistral.mistral", {"prompt": "hi", "max_tokens": 10}, 10),
        ("amazon.titan-text", {"inputText": "hi", "textGenerationConfig": {"maxTokenCount": 10}}, 10),
        ("amazon.titan-text", {"inputText": "hi"}, None),
        ("meta.llama", {"prompt": "hi", "max_gen_len": 10, "inferenceConfig": {"maxTokens": 1}}, 10),
        ("anthropic.claude-v2", {"prompt": "hi", "max_tokens_to_sample": 10}, 10),
        ("amazon.titan-embed-text-v2:0", {"inputText": "hi"}, 0),
        ("cohere.embed-v4:0", {"texts": ["hi"], "input_type": "search_query"}, 0),
    ],
)
def test_invoke_output(model: str, body: Any, output: int | None) -> None:
    """Each family names the output's maximum its own way."""
    call = asked(f"/model/{model}/invoke", body)
    assert (call.model, call.output_tokens, call.stream) == (model, output, False)
    assert asked(f"/model/{model}/invoke-with-response-stream", body).stream


def counted(body: Json, headers: dict[str, str] | None = None) -> dict[str, int | float] | None:
    """What genai-prices reads of an InvokeModel answer."""
    form = bedrock_invoke.INVOKE
    assert form.normalise is not None
    found = extract(form.normalise(body, "m", headers or {}), provider="aws", flavor=form.flavor, home=form.home)
    return {name: count for name, count in found.usage.items() if count} if found else None


BOTH = {"input_tokens": 5, "output_tokens": 2}
CACHED = {"input_tokens": 8, "output_tokens": 2, "cache_read_tokens": 3}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"usage": {"input_tokens": 5, "output_tokens": 2}}, BOTH),
        ({"usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3}}, CACHED),
        ({"usage": USAGE}, CACHED),
        ({"usage": {"inputTokens": 5, "outputTokens": 2, "cacheReadInputTokenCount": 3}}, CACHED),
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 2}}, BOTH),
        (
            {"usage": {"prompt_tokens": 8, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}},
            CACHED,
        ),
        ({"inputTextTokenCount": 5, "results": [{"tokenCount": 2, "outputText": "a"}]}, BOTH),
        ({"inputTextTokenCount": 5, "embedding": [0.1]}, {"input_tokens": 5}),
        ({"generation": "a", "prompt_token_count": 5, "generation_token_count": 2}, BOTH),
        ({"meta": {"billed_units": {"input_tokens": 5}}}, {"input_tokens": 5}),
        ({"amazon-bedrock-invocationMetrics": METRICS}, CACHED),
        ({"outputs": [{"text": "a"}]}, None),
    ],
)
def test_invoke_usage(body: Any, expected: dict[str, int] | None) -> None:
    """Each family counts its own way, and genai-prices reads them all."""
    assert counted(body) == expected


def test_invoke_usage_in_headers() -> None:
    """Where the body counts nothing, Bedrock's headers do."""
    headers = {"x-amzn-bedrock-input-token-count": "5", "x-amzn-bedrock-output-token-count": "2"}
    assert counted({"outputs": [{"text": "a"}]}, headers) == BOTH
    assert counted({}, {**headers, "x-amzn-bedrock-cache-read-input-token-count": "3"}) == CACHED


def piece(said: Any) -> bytes:
    """A raw chunk frame that carries the model's own event, padded so that base64 falls at any alignment."""
    return frame("chunk", {"bytes": base64.b64encode(json.dumps(said).encode()).decode(), "p": "abc"})


STARTED = {"type": "message_start", "message": {"usage": {"input_tokens": 8, "output_tokens": 1}}}


@pytest.mark.parametrize("pad", range(3))
@pytest.mark.parametrize(
    "stream",
    [
        [{"generation": "a", "prompt_token_count": 5}, {"amazon-bedrock-invocationMetrics": METRICS}],
        [{"outputText": "a"}, {"outputText": "", "amazon-bedrock-invocationMetrics": METRICS}],
        [{"contentBlockDelta": {}}, {"metadata": {"usage": USAGE}, "amazon-bedrock-invocationMetrics": METRICS}],
        [{"metadata": {"usage": USAGE}}],
        [{"choices": [{"delta": {}}]}, {"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 2}}],
        [STARTED, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}],
        [STARTED, {"type": "message_stop", "amazon-bedrock-invocationMetrics": METRICS}],
    ],
)
def test_invoke_streams(stream: list[Any], pad: int) -> None:
    """Each family's own events are found in their base64, at whatever alignment they stand."""
    body = fold(bedrock_invoke.STREAM, [piece({"p" * pad: 0, **said}) for said in stream])
    found = counted(body)
    assert found is not None
    assert (found["input_tokens"], found["output_tokens"]) == (8, 2)


def test_an_invoke_stream_cut_short() -> None:
    """What Anthropic's first event says is known, but not final."""
    body = fold(bedrock_invoke.STREAM, [piece(STARTED)])
    assert counted(body) is None
    assert counted(provisional(body)) == {"input_tokens": 8, "output_tokens": 1}


@pytest.mark.parametrize(
    "said",
    [
        {"generation": "a"},
        {"outputText": "a"},
        {"results": [{"outputText": "a"}]},
        {"outputs": [{"text": "a"}]},
        {"completion": "a"},
        {"contentBlockDelta": {"delta": {"text": "a"}}},
        {"type": "content_block_delta", "delta": {"text": "a"}},
        {"choices": [{"delta": {"content": "a"}}]},
        {"output": {"message": {"content": [{"text": "a"}]}}},
    ],
)
def test_invoke_text(said: Any) -> None:
    """The text of each family counts once, bare or in a chunk's base64."""
    form = bedrock_invoke.INVOKE
    assert form.text is not None
    assert form.text(event(said)) == "a"
    assert form.text(event({"bytes": base64.b64encode(json.dumps(said).encode()).decode()})) == "a"
