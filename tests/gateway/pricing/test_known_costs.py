"""What known usage costs, worked out by hand from the providers' published rates of November 2026."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from paig_gateway.pricing.price import PriceBook
from paig_gateway.pricing.usage import Usage

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

# Rates are US dollars for a million tokens, so a token costs a thousand times that in nanodollars.
CASES: list[tuple[str, str, Usage, dict[str, str] | None, int]] = [
    # Cached: 600 tokens at $1.25, 400 cached at $0.125, 200 out at $10.
    ("openai", "gpt-5", {"input_tokens": 1000, "cache_read_tokens": 400, "output_tokens": 200}, None, 2_800_000),
    # Reasoning counts into output: 1000 out at $10, 700 of them thought.
    ("openai", "gpt-5", {"input_tokens": 8, "output_tokens": 1000, "output_reasoning_tokens": 700}, None, 10_010_000),
    # A tier: the same request at flex, half price.
    ("openai", "gpt-5", {"input_tokens": 8, "output_tokens": 1000}, {"service_tier": "flex"}, 5_005_000),
    # A tier at twice the price.
    ("openai", "gpt-5", {"input_tokens": 8, "output_tokens": 1000}, {"service_tier": "priority"}, 20_020_000),
    # A tool: two searches at $10 a thousand, besides 100 tokens in at $1.25.
    ("openai", "gpt-5", {"input_tokens": 100, "output_tokens": 0, "web_searches": 2}, None, 20_125_000),
    # Written to the cache: 100 plain at $3, 300 for five minutes at $3.75, 600 for an hour at $6, 50 out at $15.
    (
        "anthropic",
        "claude-sonnet-4-5",
        {
            "input_tokens": 1000,
            "cache_write_tokens": 900,
            "cache_write_5m_tokens": 300,
            "cache_write_1h_tokens": 600,
            "output_tokens": 50,
        },
        None,
        300_000 + 1_125_000 + 3_600_000 + 750_000,
    ),
    # Long context: 300,000 tokens in at $2.50, since more than 200,000, and 100 out at $15.
    ("google", "gemini-2.5-pro", {"input_tokens": 300_000, "output_tokens": 100}, None, 750_000_000 + 1_500_000),
    # An embedding: 1,000 tokens at $0.02.
    ("openai", "text-embedding-3-small", {"input_tokens": 1000, "output_tokens": 0}, None, 20_000),
    # An image: 50 tokens of text at $5, 194 of an image at $10, 272 out at $40.
    (
        "openai",
        "gpt-image-1",
        {"input_tokens": 244, "input_image_tokens": 194, "output_tokens": 272},
        None,
        250_000 + 1_940_000 + 10_880_000,
    ),
]


@pytest.mark.parametrize(("provider", "model", "usage", "context", "nanodollars"), CASES)
def test_cost_by_hand(
    provider: str, model: str, usage: Usage, context: dict[str, str] | None, nanodollars: int
) -> None:
    """Cached, reasoning, tiered, tool, cache-writing, long-context, embedding and image usage, to the nanodollar."""
    price = PriceBook().find(provider, model)
    assert price is not None
    assert price.cost(usage, NOW, context) == nanodollars
