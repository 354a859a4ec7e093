"""Rates that follow from a model's own ones: long contexts, cached tokens, fees by the amount of search."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from paig_gateway.pricing.derived_rates import CACHED_SHARES, LONG_CONTEXTS, VARIANTS
from paig_gateway.pricing.price import PriceBook

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
BOOK = PriceBook()


@pytest.mark.parametrize(
    ("source", "model", "usage", "modifiers", "dollars"),
    [
        ("aws", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", {"input_tokens": 200_000}, {}, "0.6"),
        ("aws", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", {"input_tokens": 210_000}, {}, "1.26"),
        ("google", "gemini-2.5-flash-image", {"input_tokens": 1_000_000, "cache_read_tokens": 1_000_000}, {}, "0.03"),
        ("perplexity", "sonar", {"input_tokens": 0}, {}, "0.012"),
        ("perplexity", "sonar", {"input_tokens": 0}, {"search_context_size": "low"}, "0.005"),
        ("perplexity", "sonar-pro", {"input_tokens": 0}, {"search_context_size": "medium"}, "0.01"),
        ("perplexity", "sonar-deep-research", {"input_tokens": 0}, {"search_context_size": "low"}, "0"),
    ],
)
def test_a_rate_by_rule(
    source: str, model: str, usage: dict[str, int | float], modifiers: dict[str, str], dollars: str
) -> None:
    """The rule holds where the price book has no rate, and nothing is in doubt."""
    price = BOOK.find(source, model)
    assert price is not None
    everything = {"output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, **usage}
    charge = price.charge(everything, NOW, modifiers)
    assert (charge.cost, charge.doubts) == (int(Decimal(dollars) * 10**9), ())


def test_an_amount_of_search_that_is_not_known() -> None:
    """It is charged at the price book's fee, and is in doubt."""
    price = BOOK.find("perplexity", "sonar")
    assert price is not None
    usage: dict[str, int | float] = dict.fromkeys(
        ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), 0
    )
    charge = price.charge(usage, NOW, {"search_context_size": "vast"})
    assert (charge.cost, charge.doubts) == (12_000_000, ("unpriced: search_context_size=vast",))


def test_every_rule_has_a_date() -> None:
    """Each row says where it is from, and when that was read."""
    assert all("2026-11" in row.origin for row in (*LONG_CONTEXTS, *CACHED_SHARES, *VARIANTS))
