"""How many tokens a model writes at most in one answer, where its provider says so.

genai-prices knows context windows but not output maxima. The longest prefix that fits the model's bare name counts; a
model that none fits is bounded by its context window. Sources: the providers' model pages.
"""

from __future__ import annotations

_MAXIMUM = {
    "gpt-3.5": 4_096,
    "gpt-4": 8_192,
    "gpt-4-turbo": 4_096,
    "gpt-4o": 16_384,
    "gpt-4.1": 32_768,
    "gpt-5": 128_000,
    "gpt-5-chat": 16_384,
    "gpt-5-pro": 272_000,
    "gpt-oss": 131_072,
    "o1": 100_000,
    "o3": 100_000,
    "o4": 100_000,
    "chatgpt-4o": 16_384,
    "gemini-1.5": 8_192,
    "gemini-2.0": 8_192,
    "gemini-2.5": 65_536,
    "gemini-3": 65_536,
    "claude-3-haiku": 4_096,
    "claude-3-5": 8_192,
    "claude-3-7": 128_000,
    "claude-opus-4": 128_000,
    "claude-sonnet-4": 128_000,
    "claude-haiku-4": 64_000,
    "nova-": 65_535,
    "deepseek-chat": 8_192,
    "deepseek-reasoner": 65_536,
    "llama-3.1-8b-instant": 131_072,
    "llama-3.3-70b-versatile": 32_768,
}


def output_maximum(model: str) -> int | None:
    """The most tokens that one answer of `model` can have, or None where unknown.

    Args:
        model: As a client names it; account prefixes (`us.anthropic.`, `openai/`) are looked through.
    """
    bare = model.lower().rsplit("/", 1)[-1]
    for vendor in ("anthropic.", "amazon.", "openai.", "meta.", "deepseek."):
        if vendor in bare:
            bare = bare.split(vendor, 1)[1]
    fitting = [prefix for prefix in _MAXIMUM if bare.startswith(prefix)]
    return _MAXIMUM[max(fitting, key=len)] if fitting else None
