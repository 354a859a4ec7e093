"""The provider kinds of the gateway; `paig_gateway.providers.kinds` defines them."""

from __future__ import annotations

PROVIDER_KINDS: tuple[str, ...] = (
    "anthropic", "anthropic-aws", "azure", "bedrock", "bedrock-mantle", "cerebras", "cohere", "crusoe", "deepseek",
    "fireworks", "google", "google-vertex", "groq", "heroku", "huggingface", "mistral", "moonshot", "novita",
    "ollama", "openai", "openai-compatible", "openrouter", "ovhcloud", "perplexity", "snowflake", "together", "vllm",
    "voyageai", "xai", "zai",
)  # fmt: skip
