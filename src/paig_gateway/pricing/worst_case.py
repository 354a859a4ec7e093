"""How many tokens a model writes at most in one answer, where its provider says so.

genai-prices knows context windows but not output maxima. The longest prefix that fits the model's bare name counts; a
model that none fits is bounded by its context window. Sources: the providers' model pages.
"""

from __future__ import annotations

from datetime import datetime

from paig_gateway.formats.base import Call
from paig_gateway.pricing.price import DEFAULT_CONTEXT_WINDOW, Price, WorstCase

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


def worst_case(call: Call, model: str, price: Price | None, hidden: int = 0) -> WorstCase:
    """The most tokens that `call` could use at `model`.

    Input is bounded by the text of the request and the known sizes of its media, never above the model's context
    window, which alone bounds links, stored files and tools that run at the provider. Output is bounded by the
    request's own maximum, else the model's, else its context window.

    Args:
        call: What the request asks.
        model: The model's name at the provider.
        price: Its price, which knows the context window; None where there is none.
        hidden: Tokens that the provider may add to a prompt unseen.
    """
    window = (price.context_window if price else None) or DEFAULT_CONTEXT_WINDOW
    stated = None if call.media_tokens is None or call.unbounded_tools else call.input_tokens + call.media_tokens
    most = (price.max_output if price else None) or output_maximum(model) or window
    asked = call.output_tokens
    return WorstCase(
        # Each text of a batch has a context window of its own.
        input_tokens=window * call.answers if stated is None else min(stated + hidden, window * call.answers),
        output_tokens=most * call.answers if asked is None else min(asked, max(most, window) * call.answers),
        cache_write=call.cache_write,
        media_in=call.media_in,
        media_out=call.media_out,
        searches=call.searches,
    )


DEAR = ("priority", "fast", "auto", "optimized")
"""Service tiers that may cost more than the standard one."""


def ceiling(worst: WorstCase, price: Price | None, at: datetime, tier: str | None) -> int:
    """The most that `worst` could cost, in nanodollars; 0 where nothing is priced.

    Args:
        worst: The bound of what is used.
        price: The model's price, or None.
        at: The time of the request.
        tier: The service tier asked for, else the account's own, else None for the standard one. The standard rates
            are always among those compared, since a provider may fall back to them.
    """
    if price is None:
        return 0
    standard = price.ceiling(worst, at)
    if tier not in DEAR:
        return standard
    dear = ({"service_tier": "priority"}, {"service_tier": "fast"}, {"speed": "fast"})
    return max([standard, *(price.ceiling(worst, at, context) for context in dear)])
