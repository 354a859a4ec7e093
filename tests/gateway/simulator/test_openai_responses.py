"""The Responses API, through the OpenAI SDK."""

from __future__ import annotations

import json
from typing import Any

import genai_prices
import httpx2
import openai
import pytest

from paig_gateway.simulator import Simulator

pytestmark = pytest.mark.anyio

TOOLS: Any = [
    {
        "type": "function",
        "name": "get_weather",
        "strict": False,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


async def test_response(base_url: str, simulator: Simulator) -> None:
    """The SDK gets a reasoning item, text, and usage as billed."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        got = await client.responses.create(model="gpt-5", input="Hello there", instructions="Be nice")
    assert got.output_text == "Hello from gpt-5 (simulated). You said: Hello there"
    assert [item.type for item in got.output] == ["reasoning", "message"]
    assert got.usage is not None
    assert (got.status, got.usage.input_tokens, got.usage.output_tokens) == ("completed", 5, 24)
    assert simulator.served["openai"].output_tokens == 24


async def test_stream(base_url: str) -> None:
    """Events come in OpenAI's order, numbered without a gap, and add up to the response."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        stream = await client.responses.create(model="gpt-4o", input="Hello there", stream=True)
        events: list[Any] = [event async for event in stream]
    assert [event.type for event in events if not event.type.endswith(".delta")] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text
    assert events[0].response.usage is None
    assert events[-1].response.usage.output_tokens == 8


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_call_and_its_result(base_url: str, stream: bool) -> None:
    """The tool that the message names is called; its result is answered with text."""
    ask: Any = [{"role": "user", "content": "Please get_weather"}]
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        if stream:
            async with client.responses.stream(model="gpt-4o", input=ask, tools=TOOLS) as running:
                got: Any = await running.get_final_response()
        else:
            got = await client.responses.create(model="gpt-4o", input=ask, tools=TOOLS)
        call = got.output[0]
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "city"})
        told = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "wet"}
        final = await client.responses.create(model="gpt-4o", input=[*ask, told, result], tools=TOOLS)
    assert final.output_text == "Hello from gpt-4o (simulated). get_weather says: wet"


async def test_incomplete(base_url: str) -> None:
    """Out of tokens, a response is incomplete and says why; in a stream the last event is named so."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        whole = await client.responses.create(model="gpt-4o", input="Hello there", max_output_tokens=4)
        stream = await client.responses.create(model="gpt-4o", input="Hello there", max_output_tokens=4, stream=True)
        last = [event async for event in stream][-1]
    assert whole.status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert last.type == "response.incomplete"
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == 4


async def test_background(base_url: str, simulator: Simulator) -> None:
    """Background work is queued, then in progress, then done with its usage; it is billed once."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        queued = await client.responses.create(model="gpt-4o", input="Hello there", background=True)
        looks = [await client.responses.retrieve(queued.id) for _ in range(3)]
    assert (queued.status, queued.usage, queued.output) == ("queued", None, [])
    assert [look.status for look in looks] == ["in_progress", "completed", "completed"]
    assert looks[0].usage is None
    assert looks[1].usage is not None
    assert looks[1].usage.output_tokens == 8
    served = simulator.served["openai"]
    assert (served.started, served.completed, served.output_tokens) == (1, 1, 8)


async def test_background_stream_and_cancelling(base_url: str) -> None:
    """A background stream starts queued; unfinished background work can be cancelled, and anything stored deleted."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        stream = await client.responses.create(model="gpt-4o", input="Hello there", background=True, stream=True)
        kinds = [event.type async for event in stream]
        queued = await client.responses.create(model="gpt-4o", input="Hello there", background=True)
        cancelled = await client.responses.cancel(queued.id)
        await client.responses.delete(queued.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(queued.id)
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert cancelled.status == "cancelled"


async def test_stored_conversation_goes_on(base_url: str) -> None:
    """A response is stored unless told not to, and one that follows it pays for what it carries along."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        first = await client.responses.create(model="gpt-4o", input="Hello there")
        second = await client.responses.create(model="gpt-4o", input="And now?", previous_response_id=first.id)
        secret = await client.responses.create(model="gpt-4o", input="Hello there", store=False)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(secret.id)
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model="gpt-4o", input="And now?", previous_response_id="resp_none")
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens == first.usage.total_tokens + 2


async def test_counting_is_free_and_right(base_url: str, simulator: Simulator) -> None:
    """The count of input tokens is what the response is then billed; the counting itself is not."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        counted = await client.responses.input_tokens.count(model="gpt-4o", input="Hello there", tools=TOOLS)
        assert simulator.served == {}
        got = await client.responses.create(model="gpt-4o", input="Hello there", tools=TOOLS)
    assert got.usage is not None
    assert counted.input_tokens == got.usage.input_tokens > 3


async def test_price_library_reads_the_usage(http: httpx2.AsyncClient) -> None:
    """genai-prices extracts cached, cache-written and reasoning tokens."""
    asked = {"model": "gpt-5.6", "input": [{"role": "user", "content": [{"type": "input_text", "text": "x" * 5000}]}]}
    first, second = [
        genai_prices.extract_usage(
            (await http.post("/openai/v1/responses", json=asked)).json(), provider_id="openai", api_flavor="responses"
        ).usage
        for _ in range(2)
    ]
    assert (first.input_tokens, first.cache_write_tokens, first.cache_read_tokens) == (1250, 1024, 0)
    assert (second.input_tokens, second.cache_write_tokens, second.cache_read_tokens) == (1250, 0, 1024)
    assert second.output_reasoning_tokens == 16


async def test_structured_output(base_url: str) -> None:
    """A text format with a schema gets JSON of that schema."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    text: Any = {"format": {"type": "json_schema", "name": "n", "schema": schema}}
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        got = await client.responses.create(model="gpt-4o", input="Hello", text=text)
    assert json.loads(got.output_text) == {"n": 0}
