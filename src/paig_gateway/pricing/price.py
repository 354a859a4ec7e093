"""Prices: the cost of a usage, and the most that a request could cost, from one cached price book.

Prices are genai-prices'. A model is matched once and the match kept, because matching and the generic calculation cost
far more than the arithmetic (https://github.com/pydantic/genai-prices). What the price book lacks comes from our own
dated tables: `extra_models`, `modifiers`, `units`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, distribution, version
from math import prod

from genai_prices import Usage as GenaiUsage
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice, Provider, TieredPrices

from paig_gateway.domain.money import nanodollars
from paig_gateway.pricing.derived_rates import complete, rules_of, variants_of
from paig_gateway.pricing.extra_models import extra_model, extra_rates, listed_model, replaced_rates
from paig_gateway.pricing.formula import BY_USAGE_KEY, UNITS, Formula, ReportedCounts, compile_formula, rate, shape
from paig_gateway.pricing.modifiers import IN_BATCH, Applied, Modifiers, apply, unusual
from paig_gateway.pricing.names import spellings
from paig_gateway.pricing.usage import Usage

OWN = "own"
"""The provider in the identity of a price that the operator set: `own/my-model`."""

Context = Mapping[str, str]
"""Modifiers that the price book has variants for."""

RateOf = Callable[[str], "Decimal | None"]
"""The price of one unit in US dollars, for units that a model's own price does not have; or None."""

MAX_FORMULAS = 512
"""The most compiled formulas that a price keeps."""


@dataclass(frozen=True, slots=True)
class PricedUsage:
    """The cost of a usage.

    Attributes:
        cost: Nanodollars.
        doubts: Units without a price, which make the cost an estimate: `unpriced: code_interpreter`.
    """

    cost: int
    doubts: tuple[str, ...] = ()


LONG_CACHE_WRITES = "cache_write_12h_tokens"
"""OpenAI's cache writes that are kept for twelve hours, a part of `cache_write_tokens`."""

LONG_CACHE_FACTOR = Decimal("2.5")
"""Their price, in multiples of plain input (litellm 1.110.2's price map, 2026-11)."""


def _long_cache_writes(number: int, usage: Usage, prices: ModelPrice) -> Decimal:
    """The additional cost of cache writes for twelve hours, in US dollars."""
    plain = prices.input_mtok
    if plain is None:
        return Decimal(0)
    everything = usage.get("input_tokens", 0)
    written = prices.cache_write_mtok
    charged = rate(plain if written is None else written, everything)
    return (LONG_CACHE_FACTOR * rate(plain, everything) - charged) * number / 1_000_000


_SPEAKS_ONLY = re.compile(r"-tts(?:-|$)")
_DRAWS_ONLY = re.compile(r"gpt-image-(?!1\.5)")
_ALWAYS_PRICED = frozenset({"input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"})


def _is_tokens(key: str) -> bool:
    unit = BY_USAGE_KEY.get(key)
    return unit is not None and unit.dimensions.get("family") in ("tokens", "characters")


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model at one provider.

    Attributes:
        provider_id: genai-prices' provider.
        model_id: genai-prices' model: with `provider_id`, the price's identity.
        context_window: Tokens that the model reads at most, where known.
        max_output: The operator's bound of its output tokens.
        factor: Multiplies the price: a discount that the provider gives.
        host: The genai-prices provider that serves the model, where its price is another one's.
    """

    provider_id: str
    model_id: str
    context_window: int | None
    _provider: Provider
    _model: ModelInfo
    max_output: int | None = None
    factor: Decimal = Decimal(1)
    host: str = ""
    _formulas: dict[object, Formula | None] = field(default_factory=dict, repr=False, compare=False)

    def identity(self, modifiers: Modifiers | None = None) -> str:
        """The price's name in the ledger: `openai/gpt-5`, `openai/gpt-5;service_tier=flex`."""
        changed = [f"{name}={value}" for name, value in unusual(modifiers or {}).items()]
        return ";".join([f"{self.provider_id}/{self.model_id}", *changed])

    def cost(self, usage: Usage, at: datetime, modifiers: Modifiers | None = None) -> int:
        return self.charge(usage, at, modifiers).cost

    def charge(
        self, usage: Usage, at: datetime, modifiers: Modifiers | None = None, rate_of: RateOf | None = None
    ) -> PricedUsage:
        """The cost of `usage`, and the units without a price.

        Args:
            at: The time of the request, whose prices apply.
            modifiers: Service tier and the like, as the answer reported them.
            rate_of: Prices of units that this price does not have.

        Usage that contradicts itself (more cached than input tokens) or does not say how its parts overlap (cached and
        audio tokens, but not cached audio tokens) is charged without its cached parts, or else by its totals: in doubt
        at the higher rate.
        """
        applied = apply(modifiers or {}, self._model, self.provider_id, at)
        known = usage if usage.keys() <= BY_USAGE_KEY.keys() else {k: n for k, n in usage.items() if k in BY_USAGE_KEY}
        dollars = self._dollars(known, at, applied.context)
        prices: ModelPrice | None = None
        doubts = [f"unpriced: {name}" for name in applied.doubts]
        if applied.factors:
            prices = self.model_prices(at, applied.context)
            dollars += self._surcharge(known, at, applied, prices)
        for key, number in usage.items():
            if not number or key in _ALWAYS_PRICED:
                continue
            prices = prices or self.model_prices(at, applied.context)
            if key == LONG_CACHE_WRITES:
                dollars += _long_cache_writes(int(number), usage, prices)
            elif not self._has_rate(key, prices):
                each = rate_of(key) if rate_of is not None and not _is_tokens(key) else None
                if each is None:
                    doubts.append(f"unpriced: {key}")
                else:
                    dollars += each * Decimal(str(number))
        return PricedUsage(nanodollars(dollars * self.factor), tuple(doubts))

    def formula(self, usage: Usage, at: datetime, modifiers: Modifiers, rate_of: RateOf) -> Formula | None:
        """The formula of `charge` for any usage with the same counts above zero, before the factor.

        None if a formula is not enough: for modifiers with a documented factor, units with a price of their own, counts
        that are not whole numbers.
        """
        applied = apply(modifiers, self._model, self.provider_id, at)
        known = {key: number for key, number in usage.items() if key in BY_USAGE_KEY}
        if applied.factors or (reported := shape(known)) is None:
            return None
        prices = self.model_prices(at, applied.context)
        for key in (key for key, number in usage.items() if number and key not in _ALWAYS_PRICED):
            uncovered = not _is_tokens(key) and not self._has_rate(key, prices)
            if key == LONG_CACHE_WRITES or (uncovered and rate_of(key) is not None):
                return None
        return self._formula(reported, at, applied.context)

    def model_prices(self, at: datetime, context: Context | None = None) -> ModelPrice:
        """The price book's rates at that time, completed by those of our own table."""
        prices = self._model.get_prices(at, context or None)
        added = extra_rates(self.provider_id, self.model_id)
        replaced = replaced_rates(self.host or self.provider_id, self.model_id)
        derives = any(rules_of(self.provider_id, self.model_id)) or variants_of(self.provider_id, self.model_id)
        if not added and not replaced and not derives:
            return prices
        prices = copy(prices)
        for name, usd in added.items():
            prices.__dict__.setdefault(name, usd)
        for name, usd in replaced.items():
            if prices.__dict__.get(name) is not None:
                prices.__dict__[name] = usd
        if derives:
            complete(prices, self.provider_id, self.model_id, context or {})
        return prices

    def draws(self, at: datetime) -> bool:
        """Whether images that the model makes cost more than its text."""
        return vars(self.model_prices(at)).get("output_image_mtok") is not None

    def batch_rates(self, at: datetime) -> tuple[ModelPrice, Decimal]:
        """The rates for requests in a batch, and the largest factor on them."""
        applied = apply(IN_BATCH, self._model, self.provider_id, at)
        # A cached token may cost more than a discounted one, but never more than a plain one.
        factor = prod((one.factor for one in applied.factors), start=Decimal(1))
        return self.model_prices(at, applied.context), factor

    def rate(self, key: str, at: datetime) -> Decimal | None:
        """US dollars for one of a unit that is counted under `key`; None where the price has no flat rate for it."""
        unit = BY_USAGE_KEY.get(key)
        value = vars(self.model_prices(at)).get(unit.price_key) if unit is not None else None
        return value / unit.per if unit is not None and isinstance(value, Decimal) else None

    def _has_rate(self, key: str, prices: ModelPrice) -> bool:
        """Whether a count other than plain tokens has a rate: its own, or that of the count that includes it."""
        unit = BY_USAGE_KEY.get(key)
        if unit is None:
            return False
        dimensions = dict(unit.dimensions)
        priced = [UNITS[name] for name, value in vars(prices).items() if value is not None and name in UNITS]
        if dimensions.get("family") != "tokens":
            return any(one.dimensions.items() <= dimensions.items() for one in priced) or (
                key == "web_searches" and prices.requests_kcount is not None  # searching is what the request is for
            )
        modality = dimensions.get("modality", "text")
        if modality == "audio" and (prices.audio_hours is not None or _SPEAKS_ONLY.search(self.model_id)):
            return True  # the same sound is billed by its length, or all output is sound
        if modality == "image" and dimensions["direction"] == "output" and _DRAWS_ONLY.search(self.model_id):
            return True  # all output is images
        if modality == "text" or (dimensions["direction"] == "input" and not self._dear_input(modality)):
            return True
        return any(
            one.dimensions.get("modality") == modality and one.dimensions.get("direction") == dimensions["direction"]
            for one in priced
        )

    def _dear_input(self, modality: str) -> bool:
        """Whether input of that modality costs more than text wherever it is priced."""
        return modality == "audio" and self.provider_id in ("openai", "azure")

    def _surcharge(self, usage: Usage, at: datetime, applied: Applied, prices: ModelPrice) -> Decimal:
        """The amount that documented factors add to the price of the tokens, in US dollars; negative for a discount."""
        tokens = {key: number for key, number in usage.items() if _is_tokens(key)}
        requests = prices.requests_kcount
        flat = rate(requests, 0) / UNITS["requests_kcount"].per if requests is not None else Decimal(0)
        before = after = self._dollars(tokens, at, applied.context) - flat
        everything = usage.get("input_tokens", 0)
        cached = sum(
            (
                rate(value, everything) * Decimal(usage.get(UNITS[name].usage_key, 0)) / UNITS[name].per
                for name, value in vars(prices).items()
                if name in UNITS and value is not None and UNITS[name].dimensions.get("token_type") == "cache_read"
            ),
            start=Decimal(0),
        )
        for factor in applied.factors:
            exempt = min(cached, after) if factor.uncached else Decimal(0)
            after = (after - exempt) * factor.factor + exempt
        return after - before

    def _dollars(self, usage: Usage, at: datetime, context: Context) -> Decimal:
        reported = shape(usage)
        formula = self._formula(reported, at, context) if reported is not None else None
        total = formula.cost(usage) if formula is not None else None
        return self._library_cost(usage, at, context) if total is None else total

    def _formula(self, reported: ReportedCounts, at: datetime, context: Context) -> Formula | None:
        """The compiled price of a minute; prices change at whole minutes at most."""
        key = (reported, int(at.timestamp()) // 60, tuple(context.items()))
        if key not in self._formulas:
            if len(self._formulas) >= MAX_FORMULAS:
                self._formulas.clear()
            self._formulas[key] = self._compile(reported, at, context)
        return self._formulas[key]

    def _compile(self, reported: ReportedCounts, at: datetime, context: Context) -> Formula | None:
        if self.provider_id == "groq" and "whisper" in self.model_id:
            return None  # billed for ten seconds at least
        return compile_formula(self.model_prices(at, context), reported)

    def _library_cost(self, usage: Usage, at: datetime, context: Context) -> Decimal:
        """The cost by genai-prices itself, in US dollars."""
        for counts in (usage, _without_cache(usage), _totals(usage)):
            try:
                if self.provider_id == "groq":
                    asked = GenaiUsage(**counts)
                    return self._model.calc_price(asked, self._provider, genai_request_timestamp=at).total_price
                return self.model_prices(at, context).calc_price(GenaiUsage(**counts))["total_price"]
            except ValueError:
                continue
        raise AssertionError("totals alone cannot contradict themselves")

    @property
    def is_own(self) -> bool:
        return self.provider_id == OWN

    def highest_tier(self, prices: ModelPrice) -> int:
        """Input tokens above which the last of its tiers begins; 0 without tiers."""
        tiered = [value for value in vars(prices).values() if isinstance(value, TieredPrices)]
        return max((tier.start for value in tiered for tier in value.tiers), default=0)


ROUTED = "huggingface_"
"""The source of prices if Hugging Face's router chooses the provider: the prefix of the names of all of them."""

UNKNOWN_MODEL = "(named by the answer)"
"""Marks the identity of a price that is only a bound: see `PriceBook.dearest`."""


def book_version() -> str:
    """The price book that is installed: `genai-prices 0.2.3`."""
    return f"genai-prices {version('genai-prices')}"


def book_refreshed_at() -> datetime | None:
    """When newer prices were last fetched, in UTC; None if the installed package's prices are used."""
    snapshot = get_snapshot()
    return snapshot.timestamp.astimezone(UTC) if snapshot.from_auto_update else None


def book_installed_at() -> datetime | None:
    """When the price book was installed, in UTC: its prices are at least that old. None if that is not known."""
    try:
        found = distribution("genai-prices").locate_file("genai_prices/data.py")
        return datetime.fromtimestamp(os.stat(str(found)).st_ctime, UTC)
    except (OSError, PackageNotFoundError):
        return None


class PriceBook:
    """Finds prices of models, and remembers the matches."""

    def __init__(
        self, snapshot: Callable[[], DataSnapshot] = get_snapshot, *, size: int = 10_000, listed: bool = True
    ) -> None:
        """Open the book.

        Args:
            snapshot: Returns the present prices and matching rules: the bundled ones, or those of an update.
            size: The most matches that are remembered, so that invented model names cannot fill the memory.
            listed: Whether models that the book lacks are looked up in the table of listed prices.
        """
        self._present = snapshot
        self._snapshot = snapshot()
        self._size = size
        self._listed = listed
        self._found: dict[tuple[str, str], Price | None] = {}

    def present(self) -> DataSnapshot:
        return self._present()

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

    def models(self, provider_id: str) -> list[str]:
        """The names of the models of a genai-prices provider; empty if there is no such provider."""
        found = next((known for known in self._present().providers if known.id == provider_id), None)
        return [model.id for model in found.models] if found is not None else []

    def _match(self, provider_id: str, model: str) -> Price | None:
        if provider_id == ROUTED:
            return self._dearest_of(ROUTED, model)
        for ref in spellings(provider_id, model):
            if (found := self._in_book(provider_id, ref) or self._in_our_table(provider_id, ref)) is not None:
                provider, info = found
                host = "" if provider.id == provider_id else provider_id
                return Price(provider.id, info.id, info.context_window, provider, info, host=host)
        return None

    def _dearest_of(self, prefix: str, model: str) -> Price | None:
        """The price of a model at the most expensive one of several providers."""
        sources = [provider.id for provider in self._snapshot.providers if provider.id.startswith(prefix)]
        found = [price for source in sources if (price := self._match(source, model)) is not None]
        at = datetime.now(UTC)
        return max(found, key=lambda price: price.rate("output_tokens", at) or Decimal(0), default=None)

    def _in_book(self, provider_id: str, ref: str) -> tuple[Provider, ModelInfo] | None:
        try:
            return self._snapshot.find_provider_model(ref, None, provider_id, None)
        except LookupError:
            return None

    def _in_our_table(self, provider_id: str, ref: str) -> tuple[Provider, ModelInfo] | None:
        provider = next((known for known in self._snapshot.providers if known.id == provider_id), None)
        info = extra_model(provider_id, ref) or (listed_model(provider_id, ref) if self._listed else None)
        return (provider, info) if provider is not None and info is not None else None

    def dearest(self, provider_ids: Iterable[str], at: datetime) -> Price | None:
        """A price that no generating model of these providers exceeds, to bound a request whose model is not known."""
        wanted = tuple(provider_ids)
        providers = [provider for provider in self._snapshot.providers if provider.id in wanted]
        rates: dict[str, Decimal] = {}
        windows: list[int] = []
        for model in (model for provider in providers for model in provider.models):
            prices = model.get_prices(at)
            if prices.output_mtok is None:
                continue
            windows.append(model.context_window or 0)
            for name, value in vars(prices).items():
                if name in UNITS and value is not None and UNITS[name].dimensions.get("family") in _BOUNDING:
                    rates[name] = max(rates.get(name, Decimal(0)), _dearest(value))
        if not rates:
            return None
        info = ModelInfo(id=UNKNOWN_MODEL, match=ClauseEquals(equals=UNKNOWN_MODEL), prices=ModelPrice(**rates))
        return Price(wanted[0], UNKNOWN_MODEL, max(windows) or None, providers[0], info)


_BOUNDING = ("tokens", "tool_calls", "requests")
"""Families of units that a request to a model of unknown name may be billed by."""


def _without_cache(usage: Usage) -> Usage:
    return {key: count for key, count in usage.items() if not key.startswith("cache_")}


def _totals(usage: Usage) -> Usage:
    return {key: usage.get(key, 0) for key in ("input_tokens", "output_tokens")}


def _dearest(value: Decimal | TieredPrices) -> Decimal:
    """The highest rate of all tiers."""
    return max([value.base, *(tier.price for tier in value.tiers)]) if isinstance(value, TieredPrices) else value
