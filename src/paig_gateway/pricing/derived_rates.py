"""Rates that the price book leaves out, and that follow from a model's own ones by a documented rule.

These are long contexts, tokens read from a cache, and request fees by the amount of search. Each row is dated and names
its source: [L] litellm 1.110.2's price map, which names the provider's page for each; [D] the
provider's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from genai_prices.types import ModelPrice, Tier, TieredPrices


@dataclass(frozen=True, slots=True)
class LongContext:
    """Models whose tokens cost more in a request of more than `above` input tokens."""

    source: str
    models: re.Pattern[str]
    above: int
    input_factor: Decimal
    output_factor: Decimal
    origin: str


def _long(source: str, models: str, above: int, origin: str = "[L] 2026-11") -> LongContext:
    return LongContext(source, re.compile(models), above, Decimal(2), Decimal("1.5"), origin)


LONG_CONTEXTS = (
    _long("aws", r"anthropic\.claude-sonnet-4(?:-5)?-2025", 200_000),
    _long("aws", r"openai\.gpt-5\.[45]$", 272_000),
    _long("google", r"gemini-2\.5-computer-use", 200_000),
    _long("openai", r"gpt-5\.6-cyber", 272_000),
)


@dataclass(frozen=True, slots=True)
class CachedShare:
    """Models whose tokens from a cache cost a share of plain input, where the price book has no rate for them."""

    source: str
    models: re.Pattern[str]
    share: Decimal
    origin: str


def _share(source: str, models: str, share: str, origin: str) -> CachedShare:
    return CachedShare(source, re.compile(models), Decimal(share), origin)


CACHED_SHARES = (
    _share("google", r"gemini-[23].*-image|nano-banana", "0.1", "[L] 2026-11"),
    _share("fireworks", r"", "0.5", "[D] docs.fireworks.ai, 2026-11: what models without a price of their own cost"),
)


@dataclass(frozen=True, slots=True)
class Variant:
    """Rates of models under a modifier that the price book has no variant for."""

    source: str
    models: re.Pattern[str]
    name: str
    value: str
    rates: Mapping[str, Decimal]
    origin: str


def _fees(models: str, **usd: str) -> tuple[Variant, ...]:
    """Perplexity's fee for a thousand requests, by the size of the search context."""
    return tuple(
        Variant(
            "perplexity",
            re.compile(models),
            "search_context_size",
            size,
            {"requests_kcount": Decimal(fee)},
            "[L] 2026-11",
        )
        for size, fee in usd.items()
    )


VARIANTS = (
    *_fees(r"^sonar(?:-reasoning)?$", low="5", medium="8", high="12"),
    *_fees(r"^sonar-(?:reasoning-)?pro$", low="6", medium="10", high="14"),
)


@lru_cache(maxsize=4096)
def variants_of(source: str, model: str) -> Mapping[tuple[str, str], Variant]:
    """The variants of a model, by modifier and value."""
    return {(row.name, row.value): row for row in VARIANTS if row.source == source and row.models.search(model)}


@lru_cache(maxsize=4096)
def rules_of(source: str, model: str) -> tuple[LongContext | None, CachedShare | None]:
    """The rules of a model."""
    tier = next((row for row in LONG_CONTEXTS if row.source == source and row.models.search(model)), None)
    share = next((row for row in CACHED_SHARES if row.source == source and row.models.search(model)), None)
    return tier, share


def complete(prices: ModelPrice, source: str, model: str, context: Mapping[str, str]) -> None:
    """Complete the rates of a model, in place, by its rules and its variants."""
    rates = prices.__dict__
    tier, share = rules_of(source, model)
    if share is not None and rates.get("cache_read_mtok") is None and rates.get("input_mtok") is not None:
        rates["cache_read_mtok"] = _times(rates["input_mtok"], share.share)
    if tier is not None:
        for name, rate in list(rates.items()):
            if name.endswith("_mtok") and isinstance(rate, Decimal):
                factor = tier.output_factor if name.startswith("output") else tier.input_factor
                rates[name] = TieredPrices(base=rate, tiers=[Tier(start=tier.above, price=rate * factor)])
    for item, variant in variants_of(source, model).items():
        if context.get(item[0]) == item[1]:
            rates.update(variant.rates)


def _times(rate: Decimal | TieredPrices, share: Decimal) -> Decimal | TieredPrices:
    if isinstance(rate, Decimal):
        return rate * share
    tiers = [Tier(start=tier.start, price=tier.price * share) for tier in rate.tiers]
    return TieredPrices(base=rate.base * share, tiers=tiers)
