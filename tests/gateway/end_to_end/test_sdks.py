"""The SDKs that people use, each aimed at the gateway: the answer, the cost, and the SDK's own exception."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import anthropic
import boto3
import botocore.exceptions
import groq
import openai
import pytest
from google import genai
from google.genai import errors as google_errors
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError

import paig_client
from tests.gateway.end_to_end.conftest import World

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet_sockets")]

MODELS = [
    "gateway/openai:gpt-5",
    "gateway/openai-chat:gpt-4o-mini",
    "gateway/openai-responses:gpt-5",
    "gateway/anthropic:claude-sonnet-4-5",
    "gateway/google-vertex:gemini-2.5-flash",
    "gateway/google-cloud:gemini-2.5-flash",
    "gateway/google:gemini-2.5-flash",
    "gateway/groq:llama-3.3-70b-versatile",
    "gateway/bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0",
]


@pytest.fixture
async def registered(simulated: World) -> AsyncIterator[World]:
    """The gateway known to pydantic-ai."""
    with paig_client.register(api_key=simulated.key, base_url=f"{simulated.origin}/proxy"):
        yield simulated


async def newest(world: World) -> Any:
    """The newest row."""
    return (await world.admin.requests(limit=1)).items[0]


@pytest.mark.parametrize("model", MODELS)
async def test_an_agent_sees_the_answer_and_its_cost(registered: World, model: str) -> None:
    """`Agent('gateway/…')` answers, and the cost in its usage is that of the ledger's row."""
    async with Agent(model) as agent:
        result = await agent.run("Hello there")
    row = await newest(registered)
    assert result.output
    assert row.certainty == "exact"
    assert result.usage.cost == Decimal(row.cost) > 0
    assert row.usage["input_tokens"] == result.usage.input_tokens
    assert row.usage["output_tokens"] == result.usage.output_tokens


@pytest.mark.parametrize("model", MODELS)
async def test_an_agent_streams(registered: World, model: str) -> None:
    """A streamed run gives text piece by piece and leaves an exact row."""
    async with Agent(model) as agent, agent.run_stream("Tell me a little more, please") as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
        usage = stream.usage
    row = await newest(registered)
    assert len(pieces) > 1
    assert (row.stream, row.certainty) == (True, "exact")
    assert row.usage["output_tokens"] == usage.output_tokens
    if "google" not in model and "bedrock" not in model:
        assert usage.cost == Decimal(row.cost) > 0


@pytest.mark.parametrize("model", MODELS)
async def test_an_agent_calls_tools(registered: World, model: str) -> None:
    """Tool calls pass through in both directions."""
    agent = Agent(model)

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather in a city."""
        return "sunny"

    async with agent:
        result = await agent.run("Use the weather tool, please")
    assert result.output
    assert result.usage.tool_calls == 1


async def test_native_sdks(simulated: World) -> None:
    """openai, anthropic, google-genai, groq and boto3, with nothing changed but the address and the key."""
    origin, key = f"{simulated.origin}/proxy", simulated.key
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{origin}/openai/v1") as client:
        chat = await client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "Hi"}])
        assert chat.choices[0].message.content
        vectors = await client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
        assert len(vectors.data) == 2
        assert (await client.models.list()).data
    async with anthropic.AsyncAnthropic(auth_token=key, base_url=f"{origin}/anthropic") as claude:
        message = await claude.messages.create(
            model="claude-sonnet-4-5", max_tokens=100, messages=[{"role": "user", "content": "Hi"}]
        )
        assert message.usage.output_tokens > 0
        counted = await claude.messages.count_tokens(
            model="claude-sonnet-4-5", messages=[{"role": "user", "content": "Hi"}]
        )
        assert counted.input_tokens > 0
    google = genai.Client(api_key=key, http_options={"base_url": f"{origin}/google"})
    content = await google.aio.models.generate_content(model="gemini-2.5-flash", contents="Hi")
    assert content.text
    await google.aio.aclose()
    async with groq.AsyncGroq(api_key=key, base_url=f"{origin}/groq") as fast:
        quick = await fast.chat.completions.create(
            model="llama-3.3-70b-versatile", messages=[{"role": "user", "content": "Hi"}]
        )
        assert quick.choices[0].message.content
    text, streamed = await asyncio.to_thread(_bedrock, origin, key)
    assert text
    assert streamed
    rows = (await simulated.admin.requests(limit=6)).items
    assert {row.certainty for row in rows if row.format not in ("count-tokens", "models")} == {"exact"}


def _bedrock(origin: str, key: str) -> tuple[str, str]:
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=f"{origin}/bedrock",
        region_name="eu-west-1",
        aws_access_key_id=key,
        aws_secret_access_key="unused",
    )
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    answer = client.converse(modelId=model, messages=messages)
    stream = client.converse_stream(modelId=model, messages=messages)["stream"]
    pieces = [event["contentBlockDelta"]["delta"]["text"] for event in stream if "contentBlockDelta" in event]
    client.close()
    return answer["output"]["message"]["content"][0]["text"], "".join(pieces)


async def test_each_sdk_raises_its_own_exception(simulated: World) -> None:
    """A refusal has the provider's native shape, and the client reads the facts of it from any of them."""
    key = await simulated.make_key("broke", daily="0.000001")
    origin = f"{simulated.origin}/proxy"
    caught: list[Exception] = []
    ask = [{"role": "user", "content": "Hi"}]
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{origin}/openai") as client:
        with pytest.raises(openai.APIStatusError) as one:
            await client.chat.completions.create(model="gpt-5", messages=ask)  # type: ignore[arg-type]
        assert one.value.status_code == 400
        caught.append(one.value)
    async with openai.AsyncOpenAI(api_key="paig_wrong", base_url=f"{origin}/openai") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()
    async with anthropic.AsyncAnthropic(auth_token=key, base_url=f"{origin}/anthropic") as claude:
        with pytest.raises(anthropic.APIStatusError) as two:
            await claude.messages.create(model="claude-sonnet-4-5", max_tokens=100, messages=ask)  # type: ignore[arg-type]
        caught.append(two.value)
    google = genai.Client(api_key=key, http_options={"base_url": f"{origin}/google"})
    with pytest.raises(google_errors.ClientError) as three:
        await google.aio.models.generate_content(model="gemini-2.5-flash", contents="Hi")
    await google.aio.aclose()
    caught.append(three.value)
    async with groq.AsyncGroq(api_key=key, base_url=f"{origin}/groq") as fast:
        with pytest.raises(groq.APIStatusError) as four:
            await fast.chat.completions.create(model="llama-3.3-70b-versatile", messages=ask)  # type: ignore[arg-type]
        caught.append(four.value)
    with pytest.raises(botocore.exceptions.ClientError) as five:
        await asyncio.to_thread(_bedrock, origin, key)
    caught.append(five.value)
    with paig_client.register(api_key=key, base_url=origin):
        async with Agent("gateway/openai:gpt-5") as agent:
            with pytest.raises(ModelHTTPError) as six:
                await agent.run("Hi")
    caught.append(six.value)
    for error in caught:
        known = paig_client.from_exception(error)
        assert isinstance(known, paig_client.LimitExceeded), error
        assert (known.owner_kind, known.owner, known.window) == ("key", "broke", "daily")
        assert known.amount == Decimal("0.000001")
