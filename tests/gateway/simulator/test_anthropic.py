"""The Messages API, through Anthropic's SDK."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import genai_prices
import httpx2
import pytest

from paig_gateway.simulator import Simulator

pytestmark = pytest.mark.anyio

MODEL = "claude-sonnet-5"
HELLO: Any = [{"role": "user", "content": "Hello there"}]
TOOLS: Any = [
    {
        "name": "get_weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


async def test_message(base_url: str, simulator: Simulator) -> None:
    """The SDK gets text, and usage as billed; the response carries a request id."""
    async with anthropic.AsyncAnthropic(base_url=f"{base_url}/anthropic", api_key="k") as client:
        got = await client.messages.create(model=MODEL, max_tokens=100, messages=HELLO, system="Be nice")
    assert got.content[0].type == "text"
    assert got.content[0].text == f"Hello from {MODEL} (simulated). You said: Hello there"
    assert (got.stop_reason, got.usage.input_tokens, got.usage.output_tokens) == ("end_turn", 5, 8)
    assert got._request_id is not None
    assert simulator.served["anthropic"].output_tokens == 8


async def test_stream(http: httpx2.AsyncClient) -> None:
    """Events come in Anthropic's order: input usage first, cumulative usage at the end."""
    asked = {"model": MODEL, "max_tokens": 100, "messages": HELLO, "stream": True}
    response = await http.post("/anthropic/v1/messages", json=asked)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    blocks = [block.split("\n") for block in response.text.strip().split("\n\n")]
    events = [json.loads(data.removeprefix("data: ")) for _, data in blocks]
    assert [name.removeprefix("event: ") for name, _ in blocks] == [event["type"] for event in events]
    assert [event["type"] for event in events if event["type"] != "content_block_delta"] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    begun = events[0]["message"]["usage"]
    assert (begun["input_tokens"], begun["output_tokens"]) == (3, 1)
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert (events[-2]["usage"]["input_tokens"], events[-2]["usage"]["output_tokens"]) == (3, 8)


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_call_and_its_result(base_url: str, stream: bool) -> None:
    """The tool that the message names is called, in pieces if streamed; its result is answered with text."""
    ask: Any = [{"role": "user", "content": "Please get_weather"}]
    async with anthropic.AsyncAnthropic(base_url=f"{base_url}/anthropic", api_key="k") as client:
        if stream:
            async with client.messages.stream(model=MODEL, max_tokens=99, messages=ask, tools=TOOLS) as running:
                got: Any = await running.get_final_message()
        else:
            got = await client.messages.create(model=MODEL, max_tokens=99, messages=ask, tools=TOOLS)
        use = got.content[0]
        assert (got.stop_reason, use.name, use.input) == ("tool_use", "get_weather", {"city": "city"})
        told = {"type": "tool_use", "id": use.id, "name": use.name, "input": use.input}
        result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "wet"}]}
        after = [*ask, {"role": "assistant", "content": [told]}, {"role": "user", "content": [result]}]
        final: Any = await client.messages.create(model=MODEL, max_tokens=99, messages=after, tools=TOOLS)
    assert final.content[0].text == f"Hello from {MODEL} (simulated). get_weather says: wet"


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking(base_url: str, stream: bool) -> None:
    """With thinking on, a thinking block comes first and its tokens are counted apart."""
    think: Any = {"type": "adaptive"}
    async with anthropic.AsyncAnthropic(base_url=f"{base_url}/anthropic", api_key="k") as client:
        if stream:
            async with client.messages.stream(model=MODEL, max_tokens=99, messages=HELLO, thinking=think) as running:
                got: Any = await running.get_final_message()
        else:
            got = await client.messages.create(model=MODEL, max_tokens=99, messages=HELLO, thinking=think)
    assert [block.type for block in got.content] == ["thinking", "text"]
    assert got.usage.output_tokens == 24
    assert len(got.content[0].thinking.split()) == 16
    assert got.content[0].signature


@pytest.mark.parametrize(("control", "short", "long"), [({}, 25, 0), ({"ttl": "1h"}, 0, 25)])
async def test_cache(http: httpx2.AsyncClient, control: dict[str, str], short: int, long: int) -> None:
    """A marked prefix is written at the first request, by its lifetime, and read at the second."""
    system = [{"type": "text", "text": "a" * 100, "cache_control": {"type": "ephemeral", **control}}]
    asked = {"model": MODEL, "max_tokens": 100, "messages": HELLO, "system": system}
    first, second = [(await http.post("/anthropic/v1/messages", json=asked)).json() for _ in range(2)]
    assert first["usage"]["cache_creation"] == {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}
    assert (first["usage"]["input_tokens"], first["usage"]["cache_creation_input_tokens"]) == (3, 25)
    assert (second["usage"]["cache_read_input_tokens"], second["usage"]["cache_creation_input_tokens"]) == (25, 0)
    found = genai_prices.extract_usage(second, provider_id="anthropic").usage
    assert (found.input_tokens, found.cache_read_tokens, found.output_tokens) == (28, 25, 8)
    found = genai_prices.extract_usage(first, provider_id="anthropic").usage
    assert (found.input_tokens, found.cache_write_tokens) == (28, 25)


async def test_parts_of_every_kind(http: httpx2.AsyncClient, simulator: Simulator) -> None:
    """Pictures and documents count a fixed amount, text documents by their text; server tools are let pass."""
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x" * 40}},
    ]
    asked: Any = {"model": MODEL, "max_tokens": 3, "messages": [{"role": "user", "content": parts}]}
    got = (await http.post("/anthropic/v1/messages", json=asked)).json()
    assert (got["usage"]["input_tokens"], got["usage"]["output_tokens"]) == (14 + 512, 3)
    assert got["stop_reason"] == "max_tokens"
    counted = await http.post("/anthropic/v1/messages/count_tokens", json=asked)
    assert counted.json() == {"input_tokens": 14 + 512}
    asked["tools"] = [{"type": "web_search_20250305", "name": "web_search"}]
    assert (await http.post("/anthropic/v1/messages", json=asked)).status_code == 200
    assert simulator.served["anthropic"].started == 2


async def test_models(base_url: str) -> None:
    """The models can be listed and looked up."""
    async with anthropic.AsyncAnthropic(base_url=f"{base_url}/anthropic", api_key="k") as client:
        listed = [model.id async for model in client.models.list()]
        assert (await client.models.retrieve(MODEL)).id == MODEL
    assert MODEL in listed


async def test_what_is_required(base_url: str) -> None:
    """As at Anthropic, `max_tokens` is required, and the SDK raises its own error."""
    async with httpx2.AsyncClient(base_url=base_url, headers={"x-api-key": "k"}) as client:
        response = await client.post("/anthropic/v1/messages", json={"model": MODEL, "messages": HELLO})
    assert response.status_code == 400
    assert response.json()["error"] == {"type": "invalid_request_error", "message": "max_tokens: Field required"}
