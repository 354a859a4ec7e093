"""Modifiers of the price of tokens: service tier, batch, speed, region, data residency.

A modifier is a name and a value (`service_tier=priority`), from an answer, a request or a provider's address. It is
priced by the price book's variant, else by a documented factor (`FACTORS`: dated, with its source); a value without
either makes a cost `estimated`.

Sources: [L] litellm 1.110.2's price map, [D] the provider's documentation, [3] a third party.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import prod

from genai_prices.types import ModelInfo

from paig_gateway.pricing.derived_rates import variants_of

Modifiers = Mapping[str, str]
"""`service_tier`, `processing`, `speed` and the other keys of `STANDARD`, with lower-case values."""

IN_BATCH: Modifiers = {"processing": "batch"}
"""The modifier of every line of a batch."""

STANDARD: Mapping[str, frozenset[str]] = {
    "service_tier": frozenset({"", "auto", "default", "standard", "standard_only", "on_demand", "unspecified"}),
    "processing": frozenset({"", "standard", "online"}),
    "speed": frozenset({"", "standard"}),
    "inference_geo": frozenset({"", "global", "not_available"}),
    "region": frozenset({"", "global"}),
    "latency": frozenset({"", "standard"}),
    "search_context_size": frozenset({""}),
}
"""Values that leave the price as it is."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor on the prices of tokens under a modifier.

    Attributes:
        name: The modifier.
        values: Matches its value.
        sources: Matches the price source (a genai-prices provider).
        uncached: Whether it does not apply to tokens read from a cache.
        precise: Whether it is the same for all those models; otherwise the cost is an estimate.
        origin: Its source and date.
    """

    name: str
    values: re.Pattern[str]
    sources: re.Pattern[str]
    models: re.Pattern[str]
    factor: Decimal
    uncached: bool
    precise: bool
    origin: str

    def applies(self, name: str, value: str, source: str, model: str) -> bool:
        fits = self.name == name and self.sources.fullmatch(source) and self.values.fullmatch(value)
        return bool(fits) and self.models.search(model) is not None


def _factor(
    name: str,
    values: str,
    sources: str,
    factor: str,
    origin: str,
    *,
    models: str = "",
    uncached: bool = False,
    precise: bool = True,
) -> Factor:
    compiled = (re.compile(values), re.compile(sources), re.compile(models))
    return Factor(name, *compiled, Decimal(factor), uncached, precise, origin)


_LATER_CLAUDE = r"claude-(?:opus|sonnet|haiku)-(?:4-[6-9]|[5-9])|claude-(?:fable|mythos)"
_REGIONAL_CLAUDE = r"claude-(?:opus|sonnet|haiku)-(?:4-[5-9]|[5-9])|claude-(?:fable|mythos)"
_REGIONAL_GEMINI = r"gemini-(?:3\.1-flash-(?:image|lite)|3\.[5-9]|[4-9])"
_REGIONAL_GPT = r"gpt-(?:5\.[4-9]|[6-9])|gpt-realtime-2\.1"


def _bedrock(geography: str, factor: str, models: str, *, precise: bool = True) -> Factor:
    """The factor on the price of Bedrock's models in a geography other than the United States."""
    return _factor("region", geography, "aws", factor, "[L] 2026-11", models=models, precise=precise)


FACTORS: tuple[Factor, ...] = (
    _factor("service_tier", "flex", "openai|azure", "0.5", "[L] 2026-11"),
    _factor("service_tier", "ultrafast", "openai|azure|aws", "6", "[L] 2026-11", precise=False),
    _factor("processing", "batch", "openai|azure", "0.5", "[L] 2026-11", uncached=True),
    _factor("processing", "batch", "anthropic|azure|google", "0.5", "[L] 2026-11", models="claude"),
    _factor("service_tier", "priority", "google", "1.8", "[L] 2026-11", models="gemini"),
    _factor("service_tier", "flex", "google", "0.5", "[L] 2026-11", models="gemini", uncached=True),
    _factor("processing", "batch", "google", "0.5", "[L] 2026-11", models="gemini", uncached=True),
    # Between 1.7 and 1.85, by model.
    _factor("service_tier", "priority", "aws", "1.75", "[L] 2026-11", precise=False),
    _factor("service_tier", "flex", "aws", "0.5", "[L] 2026-11"),
    _factor("processing", "batch", "aws", "0.5", "[L] 2026-11"),
    _factor("processing", "batch", "x-ai", "0.8", "[L] 2026-11"),
    # Groq's flex tier has the same prices and other limits.
    _factor("service_tier", "flex", "groq", "1", "[D] console.groq.com, 2026-11"),
    _factor("inference_geo", "us", "anthropic", "1.1", "[L, 3] 2026-11", models=_LATER_CLAUDE),
    # Older models cost the same wherever they run.
    _factor("inference_geo", ".*", "anthropic", "1", "[3] 2026-11", models=rf"^(?!.*(?:{_LATER_CLAUDE}))"),
    _factor("region", ".+", "google", "1.1", "[L] 2026-11", models=f"{_REGIONAL_CLAUDE}|{_REGIONAL_GEMINI}"),
    _factor("region", ".+", "google", "1", "[L] 2026-11", models=rf"^(?!.*(?:{_REGIONAL_CLAUDE}|{_REGIONAL_GEMINI}))"),
    # Models whose searches are billed one by one, or not at all.
    _factor("search_context_size", "low|medium|high", "perplexity", "1", "[L] 2026-11"),
    # Models that are priced by geography, and those that cost the same in all of them.
    _bedrock(".+", "1", r"^(?:eu|apac|jp|au|us-gov)\."),
    _bedrock("us-gov.*", str(Decimal(12) / 11), "claude"),
    _bedrock(".+", "1", r"claude|openai\.gpt-[5-9]"),
    _bedrock("eu.*", "1.3125", r"nova-pro"),
    _bedrock("eu.*", "1.3", r"nova-lite"),
    _bedrock("eu.*", str(Decimal(46) / 35), r"nova-micro"),
    _bedrock("eu.*", "1.3", r"nova-2-lite", precise=False),
    _bedrock("(?:ap|jp).*", "1.05", r"nova-(?:pro|lite)"),
    _bedrock("(?:ap|jp).*", str(Decimal(37) / 35), r"nova-micro"),
    _bedrock("(?:ap|jp).*", "1.2", r"nova-2-lite", precise=False),
    _factor("region", "eu|us", "openai", "1.1", "[L] 2026-11", models=_REGIONAL_GPT),
    _factor("region", "eu|us", "openai", "1", "[L] 2026-11", models=rf"^(?!.*(?:{_REGIONAL_GPT}))"),
)


@dataclass(frozen=True, slots=True)
class Applied:
    """How modifiers are priced.

    Attributes:
        context: Those that the price book has variants for: genai-prices' price context.
        factors: Those that a factor prices.
        doubts: Those that make the cost an estimate: `service_tier=scale`.
    """

    context: dict[str, str]
    factors: tuple[Factor, ...]
    doubts: tuple[str, ...]


NOTHING = Applied({}, (), ())


def unusual(modifiers: Modifiers) -> dict[str, str]:
    """The modifiers that may change a price."""
    return {name: value for name, value in modifiers.items() if value not in STANDARD.get(name, ("",))}


def apply(modifiers: Modifiers, model: ModelInfo, source: str, at: datetime) -> Applied:
    """Price modifiers.

    Args:
        modifiers: Those that the answer, the request and the address name.
        model: The model in the price book.
        source: The genai-prices provider whose prices apply.
        at: When the request came.
    """
    changed = unusual(modifiers) if modifiers else {}
    if not changed:
        return NOTHING
    known = variants(model, at) | variants_of(source, model.id).keys()
    context: dict[str, str] = {}
    factors: list[Factor] = []
    doubts: list[str] = []
    for name, value in changed.items():
        if (name, value) in known:
            context[name] = value
        elif (found := factor_of(name, value, source, model.id)) is not None:
            factors.append(found)
            if not found.precise:
                doubts.append(f"{name}={value}")
        else:
            doubts.append(f"{name}={value}")
    return Applied(context, tuple(factors), tuple(doubts))


def variants(model: ModelInfo, at: datetime) -> set[tuple[str, str]]:
    """The modifiers that the price book has prices for at that time."""
    return {
        (name, value)
        for variant in model.price_variants or ()
        if variant.constraint is None or variant.constraint.active(at)
        for name, value in variant.when.items()
    }


def factor_of(name: str, value: str, source: str, model: str) -> Factor | None:
    """The documented factor of a modifier, or None."""
    return next((row for row in FACTORS if row.applies(name, value, source, model.lower())), None)


def bound_factor(source: str, model: str, asked: Modifiers) -> Decimal:
    """The largest factor by which documented factors could multiply a request's price.

    Args:
        source: Whose prices apply.
        model: The model's name.
        asked: The modifiers that the request and the address name; `auto` may become any value.
    """
    stated = {**UNSAID, **asked}
    return prod((_largest(name, value, source, model.lower()) for name, value in stated.items()), start=Decimal(1))


UNSAID: Modifiers = {"inference_geo": "auto"}
"""What an account may set where a request does not say: Anthropic's workspaces have a default region."""


def _largest(name: str, value: str, source: str, model: str) -> Decimal:
    rows: Iterable[Factor] = (
        row
        for row in FACTORS
        if row.name == name
        and row.sources.fullmatch(source)
        and row.models.search(model)
        and (value == "auto" or row.values.fullmatch(value))
    )
    return max((row.factor for row in rows), default=Decimal(1)).max(Decimal(1))
