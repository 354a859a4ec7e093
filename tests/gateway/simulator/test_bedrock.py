"""Bedrock, through boto3: Converse, InvokeModel, their streams, signatures."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread
import boto3
import genai_prices
import httpx2
import pytest
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError

from paig_gateway.simulator import Simulator
from paig_gateway.simulator.serve import running_simulator

pytestmark = pytest.mark.anyio

Result = TypeVar("Result")

NOVA = "us.amazon.nova-micro-v1:0"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
HELLO = [{"role": "user", "content": [{"text": "Hello there"}]}]
CLAUDE_HELLO = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 99,
    "messages": [{"role": "user", "content": "Hello there"}],
}
TOOLS = {
    "tools": [
        {
            "toolSpec": {
                "name": "get_weather",
                "inputSchema": {
                    "json": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
                },
            }
        }
    ]
}


async def using(url: str, act: Callable[[Any], Result], secret: str = "secret") -> Result:
    """What `act` makes of a boto3 client, in a thread of its own."""

    def run() -> Result:
        client: Any = boto3.client(
            "bedrock-runtime",
            endpoint_url=f"{url}/bedrock",
            region_name="us-east-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}),
        )
        try:
            return act(client)
        finally:
            client.close()

    return await anyio.to_thread.run_sync(run)


def frames(data: bytes) -> list[tuple[str, Any]]:
    """The frames of an event stream, their CRCs checked: the kind and the payload, base64 inside it decoded."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    found: list[tuple[str, Any]] = []
    for event in buffer:
        raw = event.to_response_dict()
        kinds, payload = raw["headers"], json.loads(raw["body"])
        if "bytes" in payload:
            payload["bytes"] = json.loads(base64.b64decode(payload["bytes"]))
        found.append((kinds.get(":event-type") or kinds[":exception-type"], payload))
    return found


async def test_converse(base_url: str, simulator: Simulator) -> None:
    """boto3 gets text, and usage as billed."""
    system = [{"text": "Be ok"}]
    got = await using(base_url, lambda client: client.converse(modelId=NOVA, messages=HELLO, system=system))
    assert got["output"]["message"]["content"] == [{"text": f"Hello from {NOVA} (simulated). You said: Hello there"}]
    assert (got["stopReason"], got["usage"]) == ("end_turn", {"inputTokens": 4, "outputTokens": 8, "totalTokens": 12})
    assert simulator.served["bedrock"].output_tokens == 8


async def test_converse_stream(base_url: str) -> None:
    """Events come in Bedrock's order, the usage in the last."""
    events = await using(
        base_url, lambda client: list(client.converse_stream(modelId=CLAUDE, messages=HELLO)["stream"])
    )
    kinds = [next(iter(event)) for event in events]
    assert [kind for kind in kinds if kind != "contentBlockDelta"] == [
        "messageStart",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
    assert text == f"Hello from {CLAUDE} (simulated). You said: Hello there"
    assert events[-1]["metadata"]["usage"] == {"inputTokens": 3, "outputTokens": 8, "totalTokens": 11}


async def test_frames_are_padded_and_intact(http: httpx2.AsyncClient) -> None:
    """Botocore's own decoder finds both CRCs right; every event is padded."""
    response = await http.post("/bedrock/model/amazon.nova-micro-v1%3A0/converse-stream", json={"messages": HELLO})
    assert response.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert all(payload["p"] for _, payload in frames(response.content))


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_call_and_its_result(base_url: str, stream: bool) -> None:
    """The tool that the message names is called, in pieces if streamed; its result is answered with text."""
    ask = [{"role": "user", "content": [{"text": "Please get_weather"}]}]

    def call(client: Any) -> Any:
        if not stream:
            got = client.converse(modelId=CLAUDE, messages=ask, toolConfig=TOOLS)
            return got["stopReason"], got["output"]["message"]["content"][0]["toolUse"]
        events = list(client.converse_stream(modelId=CLAUDE, messages=ask, toolConfig=TOOLS)["stream"])
        use = next(event["contentBlockStart"]["start"]["toolUse"] for event in events if "contentBlockStart" in event)
        deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
        stop = next(event["messageStop"]["stopReason"] for event in events if "messageStop" in event)
        return stop, {**use, "input": json.loads("".join(delta["toolUse"]["input"] for delta in deltas))}

    reason, use = await using(base_url, call)
    assert (reason, use["name"], use["input"]) == ("tool_use", "get_weather", {"city": "city"})
    result = {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"json": {"sky": "wet"}}]}}
    after = [*ask, {"role": "assistant", "content": [{"toolUse": use}]}, {"role": "user", "content": [result]}]
    final = await using(base_url, lambda client: client.converse(modelId=CLAUDE, messages=after, toolConfig=TOOLS))
    text = final["output"]["message"]["content"][0]["text"]
    assert text == f'Hello from {CLAUDE} (simulated). get_weather says: {{"sky":"wet"}}'


async def test_parts_limits_tiers_and_thinking(base_url: str) -> None:
    """Pictures and documents count, `maxTokens` cuts, the service tier comes back, thinking shows as reasoning."""
    content = [
        {"text": "What is this?"},
        {"image": {"format": "png", "source": {"bytes": b"AAAA"}}},
        {"document": {"format": "pdf", "name": "a", "source": {"bytes": b"AAAA"}}},
    ]
    got = await using(
        base_url,
        lambda client: client.converse(
            modelId=CLAUDE,
            messages=[{"role": "user", "content": content}],
            inferenceConfig={"maxTokens": 20},
            serviceTier={"type": "flex"},
            additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
    )
    assert (got["stopReason"], got["serviceTier"]) == ("max_tokens", {"type": "flex"})
    assert (got["usage"]["inputTokens"], got["usage"]["outputTokens"]) == (4 + 512, 20)
    assert "reasoningContent" in got["output"]["message"]["content"][0]


async def test_cache(base_url: str) -> None:
    """What is before a cache point is written, then read; genai-prices makes the same of it."""
    system = [{"text": "a" * 100}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    first, second = [
        await using(base_url, lambda client: client.converse(modelId=CLAUDE, messages=HELLO, system=system))
        for _ in range(2)
    ]
    assert (first["usage"]["inputTokens"], first["usage"]["cacheWriteInputTokens"]) == (3, 25)
    assert first["usage"]["cacheDetails"] == [{"ttl": "1h", "inputTokens": 25}]
    assert (second["usage"]["inputTokens"], second["usage"]["cacheReadInputTokens"]) == (3, 25)
    found = genai_prices.extract_usage({**second, "model": CLAUDE}, provider_id="aws").usage
    assert (found.input_tokens, found.cache_read_tokens, found.output_tokens) == (28, 25, 8)
    found = genai_prices.extract_usage({**first, "model": CLAUDE}, provider_id="aws").usage
    assert (found.input_tokens, found.cache_write_tokens, found.cache_write_1h_tokens) == (28, 25, 25)


async def test_invoke_claude(base_url: str) -> None:
    """Anthropic's own body comes out, and the counts in headers; the model's name has lost the region."""
    got = await using(base_url, lambda client: client.invoke_model(modelId=CLAUDE, body=json.dumps(CLAUDE_HELLO)))
    body = json.loads(got["body"].read())
    assert (body["model"], body["stop_reason"]) == ("claude-sonnet-4-5-20250929", "end_turn")
    assert body["id"].startswith("msg_bdrk_")
    headers = got["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-bedrock-input-token-count"] == "3"
    assert headers["x-amzn-bedrock-output-token-count"] == "8"
    found = genai_prices.extract_usage(body, provider_id="aws", api_flavor="anthropic").usage
    assert (found.input_tokens, found.output_tokens) == (3, 8)


async def test_invoke_claude_stream(base_url: str) -> None:
    """Anthropic's own events come in frames, the last with Bedrock's metrics."""
    events = await using(
        base_url,
        lambda client: [
            json.loads(event["chunk"]["bytes"])
            for event in client.invoke_model_with_response_stream(modelId=CLAUDE, body=json.dumps(CLAUDE_HELLO))["body"]
        ],
    )
    assert events[0]["type"] == "message_start"
    assert events[-2]["usage"]["output_tokens"] == 8
    metrics = events[-1]["amazon-bedrock-invocationMetrics"]
    assert (events[-1]["type"], metrics["inputTokenCount"], metrics["outputTokenCount"]) == ("message_stop", 3, 8)


async def test_invoke_nova(base_url: str) -> None:
    """Nova's own body and events."""
    body = json.dumps({"schemaVersion": "messages-v1", "messages": HELLO, "inferenceConfig": {"max_new_tokens": 3}})
    whole = await using(
        base_url, lambda client: json.loads(client.invoke_model(modelId=NOVA, body=body)["body"].read())
    )
    assert (whole["stopReason"], whole["usage"]["outputTokens"]) == ("max_tokens", 3)
    assert whole["output"]["message"]["content"] == [{"text": f"Hello from {NOVA}"}]
    events = await using(
        base_url,
        lambda client: [
            json.loads(event["chunk"]["bytes"])
            for event in client.invoke_model_with_response_stream(modelId=NOVA, body=body)["body"]
        ],
    )
    assert events[0] == {"messageStart": {"role": "assistant"}}
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 3
    assert events[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 3


async def test_titan_embedding(base_url: str, simulator: Simulator) -> None:
    """Titan gives one vector, and counts its tokens in the body and in a header."""
    body = json.dumps({"inputText": "Hello there", "dimensions": 256})
    got = await using(base_url, lambda client: client.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body))
    value = json.loads(got["body"].read())
    assert (len(value["embedding"]), value["inputTextTokenCount"]) == (256, 3)
    assert got["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"] == "3"
    assert simulator.served["bedrock"].input_tokens == 3


async def test_counting(base_url: str, simulator: Simulator) -> None:
    """Tokens are counted for a Converse body and for an invoke body of either family, for free."""
    inputs: list[Any] = [
        {"converse": {"messages": HELLO}},
        {"invokeModel": {"body": json.dumps(CLAUDE_HELLO)}},
        {"invokeModel": {"body": json.dumps({"messages": HELLO})}},
    ]
    for given in inputs:
        got = await using(base_url, lambda client, given=given: client.count_tokens(modelId=CLAUDE, input=given))  # type: ignore[misc]
        assert got["inputTokens"] == 3
    assert simulator.served == {}


async def test_unknown_models(base_url: str) -> None:
    """An id that is none, and a family that the simulator does not play, are Bedrock's ValidationException."""
    for model in ("gpt-4o", "meta.llama4-scout"):
        with pytest.raises(ClientError, match="ValidationException"):
            await using(base_url, lambda client, model=model: client.invoke_model(modelId=model, body="{}"))  # type: ignore[misc]


async def test_percent_encoded_arn(base_url: str, simulator: Simulator) -> None:
    """A model id with slashes and colons arrives whole, and is logged as it was encoded."""
    arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-micro-v1:0"
    got = await using(base_url, lambda client: client.converse(modelId=arn, messages=HELLO))
    assert arn in got["output"]["message"]["content"][0]["text"]
    assert "%3A" in simulator.requests[0].path
    assert "%2F" in simulator.requests[0].path


async def test_signatures_are_verified() -> None:
    """With the secret known, a signature made with it is let in, one made with another is not."""
    simulator = Simulator(aws_secrets={"AKIDEXAMPLE": "secret"})
    arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-micro-v1:0"
    async with running_simulator(simulator) as url:
        await using(url, lambda client: client.converse(modelId=arn, messages=HELLO))
        with pytest.raises(ClientError, match="UnrecognizedClientException") as caught:
            await using(url, lambda client: client.converse(modelId=NOVA, messages=HELLO), secret="another")
        sent = simulator.requests[0]
        headers = [(name, value) for name, value in sent.headers if name not in (b"host", b"content-length")]
        host = [(b"host", url.removeprefix("http://").encode())]
        async with httpx2.AsyncClient() as client:
            client.headers = httpx2.Headers([*headers, *host])
            same = await client.post(url + sent.path, content=sent.body)
            changed = await client.post(url + sent.path, content=sent.body + b" ")
            moved = await client.post(url + sent.path.replace("micro", "pro"), content=sent.body)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert [response.status_code for response in (same, changed, moved)] == [200, 403, 403]
