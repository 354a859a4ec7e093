"""Names from OpenTelemetry's semantic conventions that spans and metrics share.

For generative AI the names are those of release 0.1.0. Names that it changed are also sent as in 1.41, because
pydantic-ai, Logfire and most dashboards still use those.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
"""The last schema with the names for both HTTP and generative AI; release 0.1.0 of the latter has published none."""

OPERATIONS: Mapping[str, str] = {
    "gemini": "generate_content",
    "gemini-live": "generate_content",
    "openai-completions": "text_completion",
    "openai-responses-get": "fetch_response",
    "openai-embeddings": "embeddings",
    "gemini-embed": "embeddings",
    "cohere-embed": "embeddings",
    "ollama-embed": "embeddings",
    "cohere-generate": "text_completion",
    "ollama-generate": "text_completion",
    **dict.fromkeys(
        (
            *("openai-chat", "openai-responses", "openai-responses-compact", "anthropic"),
            *("bedrock-converse", "bedrock-invoke", "cohere-chat", "cohere-chat-v1", "ollama-chat", "openai-realtime"),
        ),
        "chat",
    ),
}
"""`gen_ai.operation.name` by API format; other formats use their own name."""

INFERENCE = frozenset({"chat", "generate_content", "text_completion"})
"""The operations that the conventions call inference."""

PROVIDERS: Mapping[str, str] = {
    "anthropic-aws": "anthropic",
    "google": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "bedrock-mantle": "aws.bedrock",
    "azure": "azure.ai.openai",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "xai": "x_ai",
}
"""`gen_ai.provider.name` by provider kind; other kinds use their own name."""

MODALITIES = ("text", "image", "audio")
"""The kinds of tokens in the conventions."""

USAGE: Mapping[str, tuple[str, ...]] = {
    "input_tokens": ("gen_ai.usage.input_tokens",),
    "output_tokens": ("gen_ai.usage.output_tokens",),
    "cache_read_tokens": ("gen_ai.usage.cache_read.input_tokens",),
    "cache_write_tokens": ("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    "output_reasoning_tokens": ("gen_ai.usage.reasoning.output_tokens",),
    **{f"input_{kind}_tokens": (f"gen_ai.usage.{kind}.input_tokens",) for kind in MODALITIES},
    **{f"output_{kind}_tokens": (f"gen_ai.usage.{kind}.output_tokens",) for kind in MODALITIES},
    **{f"cache_{kind}_read_tokens": (f"gen_ai.usage.{kind}.cache_read.input_tokens",) for kind in MODALITIES},
}
"""Attributes of a span by usage key."""


def operation_of(fmt: str, model: str) -> str:
    """`gen_ai.operation.name` of a request of that format to that model."""
    if fmt == "bedrock-invoke" and "embed" in model:
        return "embeddings"
    return OPERATIONS.get(fmt, fmt)


@lru_cache(1000)
def address_of(url: str) -> tuple[str, int]:
    """`server.address` and `server.port` of a base URL, or an empty address."""
    found = urlsplit(url)
    return (found.hostname, found.port or (443 if found.scheme == "https" else 80)) if found.hostname else ("", 0)
