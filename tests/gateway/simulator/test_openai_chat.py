"""Chat completions, through the OpenAI, Groq and Mistral SDKs and byte by byte."""

from __future__ import annotations

import json
from typing import Any

import genai_prices
import groq
import httpx2
import openai
import pytest
from mistralai.client import Mistral

from paig_gateway.simulator import Simulator

pytestmark = pytest.mark.anyio

HELLO: Any = [{"role": "user", "content": "Hello there"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def events(body: str) -> list[Any]:
    """The data of each event of a stream, `[DONE]` left out."""
    lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def test_completion(base_url: str, simulator: Simulator) -> None:
    """The SDK gets text, the dated model, and usage that the ledger of the simulator agrees with."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        got = await client.chat.completions.create(model="gpt-5", messages=HELLO, reasoning_effort="low")
    assert got.choices[0].message.content == "Hello from gpt-5 (simulated). You said: Hello there"
    assert (got.choices[0].finish_reason, got.model, got.service_tier) == ("stop", "gpt-5-2025-08-07", "default")
    assert got.usage is not None
    assert got.usage.completion_tokens_details is not None
    assert (got.usage.prompt_tokens, got.usage.completion_tokens, got.usage.total_tokens) == (3, 8 + 8, 19)
    assert got.usage.completion_tokens_details.reasoning_tokens == 8
    served = simulator.served["openai"]
    assert (served.completed, served.input_tokens, served.output_tokens, served.reasoning_tokens) == (1, 3, 16, 8)


async def test_stream_with_usage(http: httpx2.AsyncClient) -> None:
    """With `include_usage` every chunk says `usage: null`, but for the last, which has it and no choices."""
    asked = {"model": "gpt-4o", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    response = await http.post("/openai/v1/chat/completions", json=asked)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.text.endswith("data: [DONE]\n\n")
    *chunks, last = events(response.text)
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 8)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert text == "Hello from gpt-4o (simulated). You said: Hello there"


async def test_stream_without_usage(http: httpx2.AsyncClient) -> None:
    """Who does not ask for usage gets no such field at all."""
    response = await http.post(
        "/openai/v1/chat/completions", json={"model": "gpt-4o", "messages": HELLO, "stream": True}
    )
    assert '"usage"' not in response.text
    assert all(chunk["choices"] for chunk in events(response.text))


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_call_and_its_result(base_url: str, stream: bool) -> None:
    """The tool that the message names is called, in pieces if streamed; its result is answered with text."""
    ask: Any = [{"role": "user", "content": "Please get_weather"}]
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        if stream:
            async with client.chat.completions.stream(model="gpt-4o", messages=ask, tools=TOOLS) as running:
                got: Any = await running.get_final_completion()
        else:
            got = await client.chat.completions.create(model="gpt-4o", messages=ask, tools=TOOLS)
        message = got.choices[0].message
        call = message.tool_calls[0]
        assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "city"})
        result = {"role": "tool", "tool_call_id": call.id, "content": "wet"}
        after = [*ask, message.model_dump(exclude_none=True), result]
        final = await client.chat.completions.create(model="gpt-4o", messages=after, tools=TOOLS)
    assert final.choices[0].message.content == "Hello from gpt-4o (simulated). get_weather says: wet"


async def test_structured_output_parses(base_url: str) -> None:
    """A response format with a schema gets JSON of that schema."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 2}}, "required": ["n"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        got = await client.chat.completions.create(model="gpt-4o", messages=HELLO, response_format=form)
    assert json.loads(got.choices[0].message.content or "") == {"n": 2}


async def test_pictures_limits_choices_and_tiers(http: httpx2.AsyncClient) -> None:
    """Pictures count, `max_completion_tokens` cuts, `n` makes several choices, the tier asked for serves."""
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
    ]
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": parts}]}
    asked |= {"max_completion_tokens": 3, "n": 2, "service_tier": "flex"}
    got = (await http.post("/openai/v1/chat/completions", json=asked)).json()
    assert [choice["finish_reason"] for choice in got["choices"]] == ["length", "length"]
    assert (got["usage"]["prompt_tokens"], got["usage"]["completion_tokens"]) == (4 + 3 * 256, 6)
    assert (got["usage"]["prompt_tokens_details"]["audio_tokens"], got["service_tier"]) == (256, "flex")


async def test_groq(base_url: str) -> None:
    """The Groq SDK finds usage in bodies, and in `x_groq` of a stream's last chunk."""
    messages: Any = HELLO
    async with groq.AsyncGroq(base_url=f"{base_url}/groq", api_key="k") as client:
        whole = await client.chat.completions.create(model="openai/gpt-oss-120b", messages=messages)
        stream = await client.chat.completions.create(model="llama-3.3-70b-versatile", messages=messages, stream=True)
        chunks = [chunk async for chunk in stream]
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 24)
    assert whole.choices[0].message.reasoning
    marked = [(index, chunk.x_groq) for index, chunk in enumerate(chunks) if chunk.x_groq]
    assert [index for index, _ in marked] == [0, len(chunks) - 1]
    assert marked[1][1].usage is not None
    assert marked[1][1].usage.completion_tokens == 8
    assert all(chunk.usage is None for chunk in chunks)


async def test_groq_counts_its_newer_models_twice(http: httpx2.AsyncClient) -> None:
    """The gpt-oss models have the usage at the top of the last chunk as well."""
    asked = {"model": "openai/gpt-oss-120b", "messages": HELLO, "stream": True}
    last = events((await http.post("/groq/openai/v1/chat/completions", json=asked)).text)[-1]
    assert last["usage"] == last["x_groq"]["usage"]


async def test_mistral(base_url: str) -> None:
    """The Mistral SDK gets text, a tool call, and a stream whose last chunk always has usage."""
    async with Mistral(api_key="k", server_url=f"{base_url}/mistral") as client:
        whole = await client.chat.complete_async(model="mistral-small-latest", messages=HELLO)
        called = await client.chat.complete_async(
            model="mistral-small-latest", messages=HELLO, tools=TOOLS, tool_choice="any"
        )
        running = await client.chat.stream_async(model="mistral-small-latest", messages=HELLO)
        chunks = [event.data async for event in running]
    assert whole is not None
    assert whole.choices[0].message is not None
    assert whole.choices[0].message.content == "Hello from mistral-small-latest (simulated). You said: Hello there"
    assert called is not None
    assert called.choices[0].message is not None
    assert called.choices[0].message.tool_calls
    assert called.choices[0].message.tool_calls[0].function.name == "get_weather"
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


@pytest.mark.parametrize(
    ("path", "model", "provider", "flavour"),
    [
        ("/openai/v1", "gpt-4o", "openai", "chat"),
        ("/groq/openai/v1", "openai/gpt-oss-120b", "groq", "default"),
        ("/mistral/v1", "mistral-small-latest", "mistral", "default"),
        ("/compatible/v1", "deepseek/deepseek-chat", "openrouter", "chat"),
        ("/azure/openai/v1", "gpt-4o", "azure", "chat"),
        ("/azure/openai/deployments/gpt-4o", None, "azure", "chat"),
    ],
)
async def test_price_library_reads_the_usage(
    http: httpx2.AsyncClient, simulator: Simulator, path: str, model: str | None, provider: str, flavour: str
) -> None:
    """genai-prices extracts what the simulator billed, cached and reasoning tokens included."""
    asked = {"messages": [{"role": "user", "content": "long " * 1000}], "reasoning_effort": "low"}
    asked |= {"model": model} if model else {}
    for _ in range(2):
        response = await http.post(f"{path}/chat/completions", json=asked)
    found = genai_prices.extract_usage(response.json(), provider_id=provider, api_flavor=flavour).usage
    billed = simulator.served[path.split("/")[1]]
    assert (found.input_tokens, found.output_tokens) == (billed.input_tokens // 2, billed.output_tokens // 2)
    assert (found.cache_read_tokens, found.output_reasoning_tokens) == (1024, 8)


async def test_completion_is_indented_as_openai_does(http: httpx2.AsyncClient) -> None:
    """OpenAI sends its bodies indented, the others compact."""
    asked = {"model": "gpt-4o", "messages": HELLO}
    assert (await http.post("/openai/v1/chat/completions", json=asked)).text.startswith('{\n  "id": "chatcmpl-')
    assert (await http.post("/compatible/v1/chat/completions", json=asked)).text.startswith('{"id":"chatcmpl-')


async def test_models(base_url: str) -> None:
    """The models can be listed and looked up."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        listed = [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("gpt-5")).id == "gpt-5"
    assert "gpt-5" in listed
