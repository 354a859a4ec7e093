"""Every SDK with nothing but the gateway's address: a table; each call's row says which provider it went to.

All keys may use eight routes, so each call has to find its own among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import boto3
import cohere
import groq
import openai
import pytest
from google import genai
from mistralai.client import Mistral

from paig_client.api.specs import KeySpec
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

HI: Any = [{"role": "user", "content": "Hi"}]
Ask = Callable[[str, str], Awaitable[object]]
"""Sends one request to an address with a key; what it returns is true if an answer came."""


def _openai(call: Callable[[openai.AsyncOpenAI], Awaitable[Any]], base: str = "/v1") -> Ask:
    async def ask(origin: str, key: str) -> object:
        async with openai.AsyncOpenAI(api_key=key, base_url=f"{origin}{base}") as client:
            return await call(client)

    return ask


def _chat(model: str) -> Callable[[openai.AsyncOpenAI], Awaitable[Any]]:
    return lambda client: client.chat.completions.create(model=model, messages=HI, max_tokens=20)


async def _streamed(client: openai.AsyncOpenAI) -> object:
    events = await client.chat.completions.create(model="gpt-5-mini", messages=HI, stream=True)
    return [chunk async for chunk in events]


async def _azure(origin: str, key: str) -> object:
    async with openai.AsyncAzureOpenAI(api_key=key, azure_endpoint=origin, api_version="2024-10-21") as client:
        return await client.chat.completions.create(model="gpt-5-nano", messages=HI, max_completion_tokens=20)


async def _claude(origin: str, key: str) -> object:
    async with anthropic.AsyncAnthropic(auth_token=key, base_url=origin) as client:
        return await client.messages.create(model="claude-sonnet-4-5", max_tokens=20, messages=HI)


async def _claude_stream(origin: str, key: str) -> object:
    async with (
        anthropic.AsyncAnthropic(api_key=key, auth_token=None, base_url=origin) as client,
        client.messages.stream(model="claude-haiku-4-5", max_tokens=20, messages=HI) as events,
    ):
        return await events.get_final_text()


async def _gemini(origin: str, key: str) -> object:
    client = genai.Client(api_key=key, http_options={"base_url": origin})
    try:
        return (await client.aio.models.generate_content(model="gemini-2.5-flash", contents="Hi")).text
    finally:
        await client.aio.aclose()


async def _gemini_embed(origin: str, key: str) -> object:
    client = genai.Client(api_key=key, http_options={"base_url": origin})
    try:
        return (await client.aio.models.embed_content(model="gemini-embedding-001", contents="Hi")).embeddings
    finally:
        await client.aio.aclose()


async def _groq(origin: str, key: str) -> object:
    async with groq.AsyncGroq(api_key=key, base_url=origin) as client:
        return await client.chat.completions.create(model="llama-3.3-70b-versatile", messages=HI, max_tokens=20)


async def _mistral(origin: str, key: str) -> object:
    async with Mistral(api_key=key, server_url=origin) as client:
        return await client.chat.complete_async(model="mistral-small-latest", messages=HI, max_tokens=20)


async def _cohere(origin: str, key: str) -> object:
    async with cohere.AsyncClientV2(api_key=key, base_url=origin) as client:
        return await client.chat(model="command-r-08-2024", messages=HI, max_tokens=20)


async def _cohere_stream(origin: str, key: str) -> object:
    async with cohere.AsyncClientV2(api_key=key, base_url=origin) as client:
        return [event async for event in client.chat_stream(model="command-r-08-2024", messages=HI, max_tokens=20)]


async def _cohere_rerank(origin: str, key: str) -> object:
    async with cohere.AsyncClientV2(api_key=key, base_url=origin) as client:
        found = await client.rerank(model="rerank-v3.5", query="a heron", documents=["a cat", "a heron"])
        return found.results[0].index == 1


async def _cohere_embed(origin: str, key: str) -> object:
    async with cohere.AsyncClientV2(api_key=key, base_url=origin) as client:
        return await client.embed(
            model="embed-v4.0", texts=["Hi"], input_type="search_query", embedding_types=["float"]
        )


async def _bedrock(origin: str, key: str) -> object:
    def ask() -> object:
        client = boto3.client(
            "bedrock-runtime", endpoint_url=origin, region_name="eu-west-1", aws_access_key_id=key,
            aws_secret_access_key="unused",
        )  # fmt: skip
        content = [{"role": "user", "content": [{"text": "Hi"}]}]
        try:
            return client.converse(modelId="amazon.nova-micro-v1:0", messages=content)["output"]
        finally:
            client.close()

    return await asyncio.to_thread(ask)


TABLE: tuple[tuple[str, Ask, str, str], ...] = (
    ("openai", _openai(_chat("gpt-4o-mini")), "openai", "openai-chat"),
    ("openai at /openai/v1", _openai(_chat("gpt-4o-mini"), "/openai/v1"), "openai", "openai-chat"),
    ("openai, streamed", _openai(_streamed), "openai", "openai-chat"),
    (
        "openai, responses",
        _openai(lambda client: client.responses.create(model="gpt-5-mini", input="Hi", max_output_tokens=50)),
        "openai",
        "openai-responses",
    ),
    (
        "openai, embeddings",
        _openai(lambda client: client.embeddings.create(model="text-embedding-3-small", input="Hi")),
        "openai",
        "openai-embeddings",
    ),
    (
        "openai, speech",
        _openai(lambda client: client.audio.speech.create(model="tts-1", input="Hi", voice="alloy")),
        "openai",
        "openai-speech",
    ),
    (
        "openai, images",
        _openai(lambda client: client.images.generate(model="gpt-image-1.5", prompt="A heron", quality="low")),
        "openai",
        "openai-images",
    ),
    ("openai, Groq's model", _openai(_chat("llama-3.3-70b-versatile")), "groq", "openai-chat"),
    ("openai, Mistral's model", _openai(_chat("mistral-small-latest")), "mistral", "openai-chat"),
    ("openai, xAI's model", _openai(_chat("grok-4")), "xai", "openai-chat"),
    ("anthropic", _claude, "anthropic", "anthropic"),
    ("anthropic, streamed, x-api-key", _claude_stream, "anthropic", "anthropic"),
    ("google-genai", _gemini, "google", "gemini"),
    ("google-genai, embeddings", _gemini_embed, "google", "gemini-embed"),
    ("groq", _groq, "groq", "openai-chat"),
    ("mistralai", _mistral, "mistral", "openai-chat"),
    ("cohere", _cohere, "cohere", "cohere-chat"),
    ("cohere, streamed", _cohere_stream, "cohere", "cohere-chat"),
    ("cohere, rerank", _cohere_rerank, "cohere", "rerank"),
    ("cohere, embed", _cohere_embed, "cohere", "cohere-embed"),
    ("boto3", _bedrock, "bedrock", "bedrock-converse"),
)
ROUTES = ["openai", "anthropic", "google", "groq", "bedrock", "mistral", "cohere", "xai"]


@pytest.mark.parametrize(("ask", "provider", "fmt"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
async def test_every_sdk_at_the_one_address(
    everyone: World, request: pytest.FixtureRequest, ask: Ask, provider: str, fmt: str
) -> None:
    """The call succeeds, and its row says where it went, in which format, and what exactly it cost."""
    name = request.node.callspec.id.replace(" ", "-").replace(",", "").replace("/", "-").replace("'", "")
    key = (await everyone.admin.keys.create(name, KeySpec(routes=ROUTES))).key
    assert await ask(everyone.origin, key)
    rows = (await everyone.admin.requests(key=name)).items
    assert [(row.route, row.provider, row.format, row.status) for row in rows] == [(provider, provider, fmt, 200)]

    async def certainty() -> str | None:
        return (await everyone.admin.request(rows[0].id)).certainty

    async def is_settled() -> bool:
        return await certainty() is not None

    await until(is_settled)
    # Gemini's answers about several embeddings state no tokens, so they cost what was held.
    assert await certainty() == ("ceiling" if fmt == "gemini-embed" else "exact")


async def _ids_openai(origin: str, key: str) -> set[str]:
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{origin}/v1") as client:
        return {model.id async for model in client.models.list()}


async def _ids_anthropic(origin: str, key: str) -> set[str]:
    async with anthropic.AsyncAnthropic(auth_token=key, base_url=origin) as client:
        return {model.id async for model in client.models.list(limit=1000)}


async def _ids_gemini(origin: str, key: str) -> set[str]:
    client = genai.Client(api_key=key, http_options={"base_url": origin})
    try:
        return {(model.name or "").removeprefix("models/") async for model in await client.aio.models.list()}
    finally:
        await client.aio.aclose()


async def _ids_groq(origin: str, key: str) -> set[str]:
    async with groq.AsyncGroq(api_key=key, base_url=origin) as client:
        return {model.id for model in (await client.models.list()).data}


async def _ids_mistral(origin: str, key: str) -> set[str]:
    async with Mistral(api_key=key, server_url=origin) as client:
        return {model.id for model in (await client.models.list_async()).data or []}


async def test_two_keys_see_their_own_merged_lists_in_every_api(everyone: World) -> None:
    """Two keys of different routes and models; each SDK lists the same models for a key, and none of the other's."""
    specs = {
        "lister-one": KeySpec(routes=["openai", "anthropic"], models=["gpt-5*", "claude-sonnet-4-5"]),
        "lister-two": KeySpec(routes=["google", "groq", "mistral"], models=["gemini-2.5-*", "llama-3.3*", "mistral-*"]),
    }
    lists: list[set[str]] = []
    for name, spec in specs.items():
        key = (await everyone.admin.keys.create(name, spec)).key
        readers = (_ids_openai, _ids_anthropic, _ids_gemini, _ids_groq, _ids_mistral)
        found = [await read(everyone.origin, key) for read in readers]
        assert all(one == found[0] for one in found), name
        lists.append(found[0])
    assert {"gpt-5-mini", "claude-sonnet-4-5"} <= lists[0]
    assert {"gemini-2.5-flash", "llama-3.3-70b-versatile", "mistral-small-latest"} <= lists[1]
    assert lists[0].isdisjoint(lists[1])
    assert not any(name.startswith(("gpt-4", "claude-opus")) for name in lists[0] | lists[1])
