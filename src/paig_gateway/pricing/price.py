"""Prices: what a usage costs, and the most that a request could cost, from one cached price book.

Prices are genai-prices'. A model is matched once and the match kept, because matching and the generic calculation cost
far more than the arithmetic (https://github.com/pydantic/genai-prices).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from genai_prices import Usage as GenaiUsage
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelInfo, Provider, TieredPrices
from genai_prices.units import UnitDef

from paig_gateway.domain.money import nanodollars, nanodollars_ceiling
from paig_gateway.pricing.formula import UNITS, Formula, Shape, compile_formula, shape
from paig_gateway.pricing.usage import Usage

Context = Mapping[str, str]
"""What besides usage decides a price: `service_tier`, `processing`, `speed`."""

DEFAULT_CONTEXT_WINDOW = 1_048_576
"""Tokens; stands in where the price book knows no context window, as no priced model reads more at once."""


MAX_FORMULAS = 512
"""How many compiled formulas a price keeps."""


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The most that a request could use.

    Attributes:
        input_tokens: Upper bound of input tokens, all kinds together.
        output_tokens: Upper bound of output tokens over all answers asked for.
        cache_write: Whether the request may write to a prompt cache that costs more than plain input.
        media_in: Whether input may be audio, image or video, which may cost more than text.
        media_out: Whether output may be audio, image or video.
        searches: Upper bound of server-side tool calls that are billed apiece.
        seconds: Upper bound of audio seconds, for models billed by time.
    """

    input_tokens: int
    output_tokens: int
    cache_write: bool = False
    media_in: bool = False
    media_out: bool = False
    searches: int = 0
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model at one provider.

    Attributes:
        provider_id: genai-prices' provider.
        model_id: genai-prices' model: with `provider_id`, the price's identity.
        context_window: Tokens that the model reads at most, where known.
        max_output: Tokens that it writes at most, where the operator says so.
        factor: What the price is multiplied by: a discount that the provider gives.
    """

    provider_id: str
    model_id: str
    context_window: int | None
    _provider: Provider
    _model: ModelInfo
    max_output: int | None = None
    factor: Decimal = Decimal(1)
    _formulas: dict[object, Formula | None] = field(default_factory=dict, repr=False, compare=False)

    def identity(self, context: Context | None = None) -> str:
        """What the ledger says of a cost: `openai/gpt-5`, `openai/gpt-5;service_tier=flex`."""
        unusual = [f"{name}={value}" for name, value in (context or {}).items() if value not in ("default", "standard")]
        return ";".join([f"{self.provider_id}/{self.model_id}", *unusual])

    def cost(self, usage: Usage, at: datetime, context: Context | None = None) -> int:
        """What `usage` costs, in nanodollars.

        Args:
            usage: The counts.
            at: The time of the request: prices are those of that moment.
            context: Service tier and the like, as the answer reported them.

        Usage that contradicts itself (more cached than input tokens) or leaves open how its parts overlap (cached and
        audio tokens, but not cached audio tokens) is charged without its cached parts, and failing that by its totals:
        in doubt at the dearer rate.
        """
        reported = shape(usage)
        formula = self._formula(reported, at, context) if reported is not None else None
        total = formula.cost(usage) if formula is not None else None
        return nanodollars((self._asked(usage, at, context) if total is None else total) * self.factor)

    def _formula(self, reported: Shape, at: datetime, context: Context | None) -> Formula | None:
        """The compiled price of a minute; prices change at whole minutes at most."""
        key = (reported, int(at.timestamp()) // 60, tuple(context.items()) if context else None)
        if key not in self._formulas:
            if len(self._formulas) >= MAX_FORMULAS:
                self._formulas.clear()
            self._formulas[key] = self._compile(reported, at, context)
        return self._formulas[key]

    def _compile(self, reported: Shape, at: datetime, context: Context | None) -> Formula | None:
        if self.provider_id == "groq" and "whisper" in self.model_id:
            return None  # billed for ten seconds at least
        own = any(self._model is model for model in self._provider.models)
        return compile_formula(self._model.get_prices(at, (context or None) if own else None), reported)

    def _asked(self, usage: Usage, at: datetime, context: Context | None) -> Decimal:
        """What genai-prices itself says, in US dollars."""
        for counts in (usage, _without_cache(usage), _totals(usage)):
            try:
                price = self._model.calc_price(
                    GenaiUsage(**counts), self._provider, genai_request_timestamp=at, price_context=context or None
                )
            except ValueError:
                continue
            return price.total_price
        raise AssertionError("totals alone cannot contradict themselves")

    def ceiling(self, worst: WorstCase, at: datetime, context: Context | None = None) -> int:
        """The most that a request could cost, in nanodollars: every token at the dearest rate that could apply.

        Usage keys partition tokens, so each token is charged at exactly one rate; the dearest of the rates that the
        request can reach, times the bound of the tokens, is a bound of the sum.
        """
        prices = self._model.get_prices(at, context or None)
        total = Decimal(0)
        rates: dict[str, Decimal] = {}
        for key, value in vars(prices).items():
            unit = UNITS.get(key)
            if unit is None or value is None:
                continue
            rate = _dearest(value, worst.input_tokens) / unit.per
            if unit.usage_key == "requests":
                total += rate
            elif unit.dimensions.get("family") == "tool_calls":
                total += rate * worst.searches
            elif unit.dimensions.get("family") == "durations":
                rates["seconds"] = max(rate, rates.get("seconds", rate))
            elif unit.dimensions.get("family") == "tokens" and _reachable(unit, worst):
                direction = unit.dimensions["direction"]
                rates[direction] = max(rate, rates.get(direction, rate))
            elif unit.usage_key == "input_characters":
                rates["input"] = max(rate, rates.get("input", rate))
        total += rates.get("input", Decimal(0)) * worst.input_tokens
        total += rates.get("output", Decimal(0)) * worst.output_tokens
        total += rates.get("seconds", Decimal(0)) * worst.seconds
        return nanodollars_ceiling(total * self.factor)


class PriceBook:
    """Finds the price of a model, and remembers where it found it."""

    def __init__(self, snapshot: Callable[[], DataSnapshot] = get_snapshot, *, size: int = 10_000) -> None:
        """Open the book.

        Args:
            snapshot: Answers the present prices and matching rules: the bundled ones, or what an update has brought.
            size: How many matches are remembered, so that made-up model names cannot fill the memory.
        """
        self._present = snapshot
        self._snapshot = snapshot()
        self._size = size
        self._found: dict[tuple[str, str], Price | None] = {}

    def find(self, provider_id: str, model: str) -> Price | None:
        """The price of `model` (as a client or an answer names it) at a genai-prices provider, or None."""
        if (present := self._present()) is not self._snapshot:
            self._snapshot, self._found = present, {}
        key = (provider_id, model)
        if key in self._found:
            return self._found[key]
        if len(self._found) >= self._size:
            self._found.clear()
        self._found[key] = price = self._match(provider_id, model)
        return price

    def _match(self, provider_id: str, model: str) -> Price | None:
        ref = model.rsplit("/", 1)[-1] if model.startswith("arn:") else model
        try:
            provider, info = self._snapshot.find_provider_model(ref, None, provider_id, None)
        except LookupError:
            return None
        return Price(provider.id, info.id, info.context_window, provider, info)


def _without_cache(usage: Usage) -> Usage:
    return {key: count for key, count in usage.items() if not key.startswith("cache_")}


def _totals(usage: Usage) -> Usage:
    return {key: usage.get(key, 0) for key in ("input_tokens", "output_tokens")}


def _dearest(value: Decimal | TieredPrices, input_tokens: int) -> Decimal:
    if not isinstance(value, TieredPrices):
        return value
    return max([value.base, *(tier.price for tier in value.tiers if input_tokens > tier.start)])


def _reachable(unit: UnitDef, worst: WorstCase) -> bool:
    kind = unit.dimensions
    media = worst.media_in if kind["direction"] == "input" else worst.media_out
    if kind.get("modality", "text") != "text" and not media:
        return False
    return kind.get("token_type") != "cache_write" or worst.cache_write
