"""The worst case of a request: from what it asks and what its model can do to the most it could cost."""

from __future__ import annotations

from datetime import datetime

from paig_gateway.domain.output_maximum import output_maximum
from paig_gateway.domain.pricing import DEFAULT_CONTEXT_WINDOW, Price, WorstCase
from paig_gateway.formats.base import Call


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
