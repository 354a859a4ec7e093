"""The first request as a `curl` line to copy; it goes through the gateway to a provider that is set up."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paig_client.addresses import PROXY
from paig_client.api.resources import Provider

VARIABLE = "PYDANTIC_AI_GATEWAY_API_KEY"
ASK = "Say hello."


@dataclass(frozen=True)
class SampleCall:
    """A small request.

    Attributes:
        path: The path after the route's name.
        headers: The headers besides the key and the content type.
    """

    path: str
    body: Mapping[str, object]
    headers: Mapping[str, str]


def _chat(model: str) -> SampleCall:
    messages = [{"role": "user", "content": ASK}]
    return SampleCall("/chat/completions", {"model": model, "max_completion_tokens": 500, "messages": messages}, {})


def _gemini(path: str) -> SampleCall:
    return SampleCall(path, {"contents": [{"role": "user", "parts": [{"text": ASK}]}]}, {})


CALLS: Mapping[str, SampleCall] = {
    "openai": _chat("gpt-5-nano"),
    "anthropic": SampleCall(
        "/v1/messages",
        {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": ASK}]},
        {"anthropic-version": "2023-06-01"},
    ),
    "google": _gemini("/v1beta/models/gemini-2.5-flash-lite:generateContent"),
    "google-vertex": _gemini("/v1beta1/publishers/google/models/gemini-2.5-flash-lite:generateContent"),
    "groq": _chat("llama-3.1-8b-instant"),
    "bedrock": SampleCall(
        "/model/amazon.nova-micro-v1:0/converse",
        {"messages": [{"role": "user", "content": [{"text": ASK}]}], "inferenceConfig": {"maxTokens": 100}},
        {},
    ),
    "mistral": _chat("mistral-small-latest"),
    "xai": _chat("grok-3-mini"),
    "deepseek": _chat("deepseek-chat"),
}
"""The calls by provider kind; other kinds get a chat whose model the user has to fill in."""


def line(root: str, providers: Sequence[Provider]) -> str:
    """A `curl` line to the first provider in `CALLS`; the key comes from the environment.

    Args:
        root: The gateway's root address.
        providers: The providers that are set up.
    """
    known = [provider for provider in providers if provider.kind in CALLS]
    name = (known or providers)[0].name if providers else "openai"
    call = CALLS[known[0].kind] if known else _chat("MODEL")
    headers = {"content-type": "application/json", **call.headers}
    words = ["curl", f"{root}{PROXY}/{name}{call.path}"]
    for header, value in headers.items():
        words += ["-H", f"{header}: {value}"]
    words += ["-d", json.dumps(call.body, separators=(",", ":"))]
    return f'{shlex.join(words)} -H "authorization: Bearer ${VARIABLE}"'
