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
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from paig_gateway.domain.money import nanodollars
from paig_gateway.pricing.formula import Formula, Shape, compile_formula, shape
from paig_gateway.pricing.usage import Usage

OWN = "own"
"""What stands for the price book's provider in the identity of a price that the operator set: `own/my-model`."""

Context = Mapping[str, str]
"""What besides usage decides a price: `service_tier`, `processing`, `speed`."""

MAX_FORMULAS = 512
"""How many compiled formulas a price keeps."""


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

    def model_prices(self, at: datetime, context: Context | None = None) -> ModelPrice:
        """The rates of a moment, in US dollars, without the provider's discount."""
        return self._model.get_prices(at, context or None)

    @property
    def is_own(self) -> bool:
        """Whether the operator set it."""
        return self.provider_id == OWN

    def highest_tier(self, prices: ModelPrice) -> int:
        """Input tokens above which the last of its tiers begins; 0 where it has none."""
        tiered = [value for value in vars(prices).values() if isinstance(value, TieredPrices)]
        return max((tier.start for value in tiered for tier in value.tiers), default=0)


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
