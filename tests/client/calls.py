"""One small request by each SDK, through the shims."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from paig_client import sdks

CHAT: list[Any] = [{"role": "user", "content": "Hello"}]
SONNET = "claude-sonnet-4-6"
GEMINI = "gemini-2.5-flash"
NOVA = "amazon.nova-micro-v1:0"


def openai_chat(**gateway: Any) -> str | None:
    """OpenAI's chat completions."""
    with sdks.openai(max_retries=0, **gateway) as client:
        return client.chat.completions.create(model="gpt-5", messages=CHAT).choices[0].message.content


def openai_responses(**gateway: Any) -> str | None:
    """OpenAI's responses."""
    with sdks.openai(max_retries=0, **gateway) as client:
        return client.responses.create(model="gpt-5", input="Hello").output_text


def openai_stream(**gateway: Any) -> str | None:
    """A stream of OpenAI's chat completions."""
    with sdks.openai(max_retries=0, **gateway) as client:
        chunks = list(client.chat.completions.create(model="gpt-5", messages=CHAT, stream=True))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def azure_openai(**gateway: Any) -> str | None:
    """Azure's chat completions."""
    with sdks.azure_openai(max_retries=0, **gateway) as client:
        return client.chat.completions.create(model="gpt-5", messages=CHAT).choices[0].message.content


def anthropic(**gateway: Any) -> str | None:
    """Anthropic's messages."""
    with sdks.anthropic(max_retries=0, **gateway) as client:
        block = client.messages.create(model=SONNET, max_tokens=64, messages=CHAT).content[0]
    return block.text if block.type == "text" else None


def groq(**gateway: Any) -> str | None:
    """Groq's chat completions."""
    with sdks.groq(max_retries=0, **gateway) as client:
        return client.chat.completions.create(model="openai/gpt-oss-120b", messages=CHAT).choices[0].message.content


def mistral(**gateway: Any) -> object:
    """Mistral's chat completions."""
    with sdks.mistral(**gateway) as client:
        return client.chat.complete(model="mistral-small-latest", messages=CHAT).choices[0].message.content


def google(**gateway: Any) -> str | None:
    """The Gemini API."""
    with sdks.google(**gateway) as client:
        return client.models.generate_content(model=GEMINI, contents="Hello").text


def google_vertex(**gateway: Any) -> str | None:
    """Vertex AI."""
    with sdks.google(vertexai=True, **gateway) as client:
        return client.models.generate_content(model=GEMINI, contents="Hello").text


def bedrock(**gateway: Any) -> object:
    """Bedrock's converse."""
    client = sdks.bedrock(**gateway)
    try:
        answer = client.converse(modelId=NOVA, messages=[{"role": "user", "content": [{"text": "Hello"}]}])
        return answer["output"]["message"]["content"][0]["text"]
    finally:
        client.close()


async def async_openai(**gateway: Any) -> str | None:
    """OpenAI's chat completions, awaited."""
    async with sdks.async_openai(max_retries=0, **gateway) as client:
        answer = await client.chat.completions.create(model="gpt-5", messages=CHAT)
    return answer.choices[0].message.content


async def async_azure_openai(**gateway: Any) -> str | None:
    """Azure's chat completions, awaited."""
    async with sdks.async_azure_openai(max_retries=0, **gateway) as client:
        answer = await client.chat.completions.create(model="gpt-5", messages=CHAT)
    return answer.choices[0].message.content


async def async_anthropic(**gateway: Any) -> str | None:
    """Anthropic's messages, awaited."""
    async with sdks.async_anthropic(max_retries=0, **gateway) as client:
        block = (await client.messages.create(model=SONNET, max_tokens=64, messages=CHAT)).content[0]
    return block.text if block.type == "text" else None


async def async_groq(**gateway: Any) -> str | None:
    """Groq's chat completions, awaited."""
    async with sdks.async_groq(max_retries=0, **gateway) as client:
        answer = await client.chat.completions.create(model="openai/gpt-oss-120b", messages=CHAT)
    return answer.choices[0].message.content


async def async_mistral(**gateway: Any) -> object:
    """Mistral's chat completions, awaited."""
    async with sdks.mistral(**gateway) as client:
        answer = await client.chat.complete_async(model="mistral-small-latest", messages=CHAT)
    return answer.choices[0].message.content


async def async_google(**gateway: Any) -> str | None:
    """The Gemini API, awaited."""
    async with sdks.google(**gateway).aio as client:
        return (await client.models.generate_content(model=GEMINI, contents="Hello")).text


SYNC: list[tuple[Callable[..., object], str, str]] = [
    (openai_chat, "openai", "/chat/completions"),
    (openai_responses, "openai", "/responses"),
    (openai_stream, "openai", "/chat/completions"),
    (azure_openai, "azure", "/openai/deployments/gpt-5/chat/completions"),
    (anthropic, "anthropic", "/v1/messages"),
    (groq, "groq", "/openai/v1/chat/completions"),
    (mistral, "mistral", "/v1/chat/completions"),
    (google, "google", f"/v1beta/models/{GEMINI}:generateContent"),
    (google_vertex, "google-vertex", f"/v1beta1/publishers/google/models/{GEMINI}:generateContent"),
    (bedrock, "bedrock", "/model/amazon.nova-micro-v1%3A0/converse"),
]
ASYNC: list[tuple[Callable[..., Awaitable[object]], str, str]] = [
    (async_openai, "openai", "/chat/completions"),
    (async_azure_openai, "azure", "/openai/deployments/gpt-5/chat/completions"),
    (async_anthropic, "anthropic", "/v1/messages"),
    (async_groq, "groq", "/openai/v1/chat/completions"),
    (async_mistral, "mistral", "/v1/chat/completions"),
    (async_google, "google", f"/v1beta/models/{GEMINI}:generateContent"),
]
