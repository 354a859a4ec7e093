"""One small request by each SDK, through the shims."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from paig_client import sdks

CHAT: list[Any] = [{"role": "user", "content": "Hello"}]
SONNET = "claude-sonnet-4-6"
GEMINI = "gemini-2.5-flash"
NOVA = "amazon.nova-micro-v1:0"
CLAUDE_ON_BEDROCK = "anthropic.claude-3-5-haiku-20241022-v1:0"
_INVOKE = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64, "messages": CHAT})


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


def openai_responses_stream(**gateway: Any) -> str | None:
    """A stream of OpenAI's responses."""
    with sdks.openai(max_retries=0, **gateway) as client:
        events = list(client.responses.create(model="gpt-5", input="Hello", stream=True))
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def azure_openai_stream(**gateway: Any) -> str | None:
    """A stream of Azure's chat completions."""
    with sdks.azure_openai(max_retries=0, **gateway) as client:
        chunks = list(client.chat.completions.create(model="gpt-5", messages=CHAT, stream=True))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def anthropic_stream(**gateway: Any) -> str | None:
    """A stream of Anthropic's messages."""
    with (
        sdks.anthropic(max_retries=0, **gateway) as client,
        client.messages.stream(model=SONNET, max_tokens=64, messages=CHAT) as stream,
    ):
        return stream.get_final_text()


def groq_stream(**gateway: Any) -> str | None:
    """A stream of Groq's chat completions."""
    with sdks.groq(max_retries=0, **gateway) as client:
        chunks = list(client.chat.completions.create(model="openai/gpt-oss-120b", messages=CHAT, stream=True))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def mistral_stream(**gateway: Any) -> object:
    """A stream of Mistral's chat completions."""
    with (
        sdks.mistral(**gateway) as client,
        client.chat.stream(model="mistral-small-latest", messages=CHAT) as events,
    ):
        return "".join(str(event.data.choices[0].delta.content or "") for event in events if event.data.choices)


def google_stream(**gateway: Any) -> str | None:
    """A stream of the Gemini API."""
    with sdks.google(**gateway) as client:
        return "".join(
            part.text or "" for part in client.models.generate_content_stream(model=GEMINI, contents="Hello")
        )


def google_vertex_stream(**gateway: Any) -> str | None:
    """A stream of Vertex AI."""
    with sdks.google(vertexai=True, **gateway) as client:
        return "".join(
            part.text or "" for part in client.models.generate_content_stream(model=GEMINI, contents="Hello")
        )


def bedrock_stream(**gateway: Any) -> object:
    """A stream of Bedrock's converse."""
    client = sdks.bedrock(**gateway)
    try:
        asked = [{"role": "user", "content": [{"text": "Hello"}]}]
        events = list(client.converse_stream(modelId=NOVA, messages=asked)["stream"])
        return "".join(event.get("contentBlockDelta", {}).get("delta", {}).get("text", "") for event in events)
    finally:
        client.close()


def bedrock_invoke(**gateway: Any) -> object:
    """A Claude model by Bedrock's invoke."""
    client = sdks.bedrock(**gateway)
    try:
        return json.loads(client.invoke_model(modelId=CLAUDE_ON_BEDROCK, body=_INVOKE)["body"].read())
    finally:
        client.close()


def bedrock_invoke_stream(**gateway: Any) -> object:
    """A stream of the same."""
    client = sdks.bedrock(**gateway)
    try:
        events = list(client.invoke_model_with_response_stream(modelId=CLAUDE_ON_BEDROCK, body=_INVOKE)["body"])
        deltas = [json.loads(event["chunk"]["bytes"]).get("delta", {}) for event in events]
        return "".join(delta.get("text", "") for delta in deltas)
    finally:
        client.close()


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
    (azure_openai, "azure", "/openai/deployments/gpt-5/chat/completions"),
    (anthropic, "anthropic", "/v1/messages"),
    (groq, "groq", "/openai/v1/chat/completions"),
    (mistral, "mistral", "/v1/chat/completions"),
    (google, "google", f"/v1beta/models/{GEMINI}:generateContent"),
    (google_vertex, "google-vertex", f"/v1beta1/publishers/google/models/{GEMINI}:generateContent"),
    (bedrock, "bedrock", "/model/amazon.nova-micro-v1%3A0/converse"),
    (bedrock_invoke, "bedrock", "/model/anthropic.claude-3-5-haiku-20241022-v1%3A0/invoke"),
]
STREAMED: list[tuple[Callable[..., object], str, str]] = [
    (openai_stream, "openai", "/chat/completions"),
    (openai_responses_stream, "openai", "/responses"),
    (azure_openai_stream, "azure", "/openai/deployments/gpt-5/chat/completions"),
    (anthropic_stream, "anthropic", "/v1/messages"),
    (groq_stream, "groq", "/openai/v1/chat/completions"),
    (mistral_stream, "mistral", "/v1/chat/completions"),
    (google_stream, "google", f"/v1beta/models/{GEMINI}:streamGenerateContent"),
    (google_vertex_stream, "google-vertex", f"/v1beta1/publishers/google/models/{GEMINI}:streamGenerateContent"),
    (bedrock_stream, "bedrock", "/model/amazon.nova-micro-v1%3A0/converse-stream"),
    (
        bedrock_invoke_stream,
        "bedrock",
        "/model/anthropic.claude-3-5-haiku-20241022-v1%3A0/invoke-with-response-stream",
    ),
]
ASYNC: list[tuple[Callable[..., Awaitable[object]], str, str]] = [
    (async_openai, "openai", "/chat/completions"),
    (async_azure_openai, "azure", "/openai/deployments/gpt-5/chat/completions"),
    (async_anthropic, "anthropic", "/v1/messages"),
    (async_groq, "groq", "/openai/v1/chat/completions"),
    (async_mistral, "mistral", "/v1/chat/completions"),
    (async_google, "google", f"/v1beta/models/{GEMINI}:generateContent"),
]
