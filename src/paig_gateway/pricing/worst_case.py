"""The worst case of a request: the most that it could use, and the most that this could cost.

The amount held before a request is sent must never be less than its cost. So each number here is an upper bound, and
a unit without a bound raises `Unbounded` instead of counting as 0. docs/bounds.md lists the bound of each format, and
what cannot be bounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from genai_prices.types import ModelPrice, TieredPrices
from genai_prices.units import UnitDef

from paig_gateway.domain.money import NANO, nanodollars_ceiling
from paig_gateway.formats.base import Call, ModelCall
from paig_gateway.formats.images import IMAGE_UNITS
from paig_gateway.pricing.derived_rates import variants_of
from paig_gateway.pricing.formula import BY_USAGE_KEY, UNITS
from paig_gateway.pricing.media_tokens import audio_seconds, media_tokens
from paig_gateway.pricing.model_limits import ModelLimits, model_limits, rounded_up, standard_window
from paig_gateway.pricing.price import LONG_CACHE_FACTOR, Price

DEFAULT_CONTEXT_WINDOW = 1_050_000
"""Tokens; used if no context window is known, or if a price has a tier above the known one."""

DEAR = ("priority", "fast", "auto", "optimized", "ultrafast")
"""Service tiers that may cost more than the standard one."""

_DEAR_CONTEXTS = ({"service_tier": "priority"}, {"service_tier": "fast"}, {"speed": "fast"})

SHORTEST_AUDIO = 10
"""The fewest seconds that are billed for a sound: Groq's minimum."""


LEAST_READ = 131_072
"""A smaller context window does not bound input: some models accept more than their vendor says, and cut it.

A refused request costs nothing, so all of a text is held.
"""


class Unbounded(Exception):
    """The cost of a request to a model has no known bound.

    Attributes:
        unit: The unit without a bound, as genai-prices names it.
    """

    def __init__(self, unit: str) -> None:
        super().__init__(unit)
        self.unit = unit


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class WorstCase:
    """The most that a request could use.

    Attributes:
        input_tokens: Upper bound of input tokens, all kinds together.
        output_tokens: Upper bound of output tokens over all answers asked for.
        media_tokens: How many of the input tokens may be audio, image or video, which may cost more than text.
        cache_write: Whether the request may write to a prompt cache that costs more than plain input.
        media_out: Whether output may be audio, image or video.
        searches: Upper bound of server-side tool calls that are billed apiece.
        seconds: Upper bound of seconds of audio in the input; None where there is none.
        units: Upper bounds of further units, by genai-prices' name.
    """

    input_tokens: int
    output_tokens: int
    media_tokens: int = 0
    cache_write: bool = False
    media_out: bool = False
    searches: int = 0
    seconds: int | None = None
    units: Mapping[str, int] = field(default_factory=dict)


def worst_case(
    call: Call, model: str, price: Price | None, at: datetime, hidden: int = 0, window: int | None = None
) -> WorstCase:
    """The most that `call` could use at `model`.

    Input is bounded by the text of the request and the known sizes of its media, never above the model's context
    window, which alone bounds links, stored files and tools that run at the provider. Output is bounded by the
    request's own maximum, else the model's, else its context window.

    Args:
        model: The model's name at the provider.
        price: Its price, which may know a context window; None where there is none.
        at: The time of the request.
        hidden: Tokens that the provider may add to a prompt unseen.
        window: The model's context window, where it was looked up before (`context_window`).
    """
    limits = model_limits(model, price.provider_id if price else "")
    if window is None:
        window = context_window(price, limits, at)
    most = (price.max_output if price else None) or limits.most or window
    sizes = [media_tokens(item, model) for item in call.media] if call.media else []
    media = sum(size for size in sizes if size is not None) if sizes else 0
    unbounded = call.unbounded_input or call.unbounded_tools or None in sizes
    stated_by_operator = price is not None and price.is_own and price.context_window
    reads = window if stated_by_operator else max(window, LEAST_READ)
    # Each text of a batch has a context window of its own.
    whole = reads * call.answers
    stated = call.input_tokens + media + hidden
    if unbounded:
        # Tools read the input several times, and a long text is held whole: the standard window bounds only documents.
        by_default = call.standard_window and not call.unbounded_tools
        standard = standard_window(model, price.provider_id if price else "") if by_default else None
        fetched = whole if standard is None else min(whole, standard * call.answers)
        stated = max(min(stated, whole), fetched)
    asked = call.output_tokens
    sounds = [audio_seconds(item) for item in call.media if item.kind == "audio"] if call.media else []
    return WorstCase(
        input_tokens=min(stated, whole),
        output_tokens=(most * call.answers if asked is None else min(asked, max(most, window) * call.answers))
        + call.extra_output,
        media_tokens=min(stated, whole) if unbounded and call.media_in else min(media, whole),
        cache_write=call.cache_write,
        media_out=call.media_out,
        searches=call.searches,
        seconds=int(sum(max(SHORTEST_AUDIO, seconds) for seconds in sounds)) + 1 if sounds else None,
        units=call.units,
    )


def context_window(price: Price | None, limits: ModelLimits, at: datetime) -> int:
    """The most tokens that a model reads.

    The window in an operator's price is taken as it is. Other numbers may be rounded, or be the window of the standard
    rates: if a price has a tier that begins there or above, the real window is larger.
    """
    if price is None:
        return limits.window or DEFAULT_CONTEXT_WINDOW
    if price.is_own and price.context_window:
        return price.context_window
    known = max(limits.window or 0, rounded_up(price.context_window or 0)) or DEFAULT_CONTEXT_WINDOW
    highest = price.highest_tier(price.model_prices(at))
    return known if known > highest * 1.06 else max(known, DEFAULT_CONTEXT_WINDOW)


def ceiling(worst: WorstCase, price: Price | None, at: datetime, tier: str | None) -> int:
    """The most that `worst` could cost, in nanodollars; 0 without a price.

    Args:
        worst: The bound of the usage.
        price: The model's price, or None.
        at: The time of the request.
        tier: The requested service tier, else the account's own, else None for the standard one. The standard rates are
            always among those compared, since a provider may fall back to them.

    Raises:
        Unbounded: The price has a unit without a known bound.
    """
    if price is None:
        return 0
    return DearestRates.of(price, at, tier).ceiling(worst)


@dataclass(frozen=True, slots=True)
class DearestRates:
    """The rates of a price that bound a cost, for requests of one service tier at one time.

    Attributes:
        factor: Multiplies the price.
        contexts: The rates under each service tier that may be charged, with the input tokens at which any of them
            changes.
    """

    factor: Decimal
    contexts: tuple[tuple[ModelPrice, tuple[int, ...]], ...]
    _reached: dict[tuple[int, int, bool, bool], _Rates] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, price: Price, at: datetime, tier: str | None) -> DearestRates:
        """The rates of a price; see `ceiling` for the arguments."""
        names: list[Mapping[str, str] | None] = [None, *(_DEAR_CONTEXTS if tier in DEAR else ())]
        names += [{name: value} for name, value in variants_of(price.provider_id, price.model_id)]
        found = [price.model_prices(at, context) for context in names]
        return cls(price.factor, tuple((prices, _steps(prices)) for prices in found))

    @classmethod
    def of_batch(cls, price: Price, at: datetime) -> DearestRates:
        """The rates of a price for requests in a batch: those of batches where they are known, else the standard ones.

        A provider never falls back to other rates: it leaves undone what a batch cannot do.
        """
        prices, factor = price.batch_rates(at)
        return cls(price.factor * factor, ((prices, _steps(prices)),))

    def ceiling(self, worst: WorstCase) -> int:
        """The most that `worst` could cost, in nanodollars.

        Raises:
            Unbounded: The price has a unit without a known bound.
        """
        return max([self._rates(number, worst).nanodollars(worst) for number in range(len(self.contexts))])

    def _rates(self, number: int, worst: WorstCase) -> _Rates:
        prices, steps = self.contexts[number]
        level = sum(worst.input_tokens > step for step in steps) if steps else 0
        key = (number, level, worst.cache_write, worst.media_out)
        if (found := self._reached.get(key)) is None:
            found = self._reached[key] = _reachable(worst, prices, Fraction(self.factor))
        return found


def _steps(prices: ModelPrice) -> tuple[int, ...]:
    """The numbers of input tokens at which a rate changes."""
    tiered = [value for value in vars(prices).values() if isinstance(value, TieredPrices)]
    return tuple({tier.start for value in tiered for tier in value.tiers})


@dataclass(frozen=True, slots=True)
class _Rates:
    """The dearest rates that requests of one kind can reach, in whole parts of a nanodollar.

    Attributes:
        text: For a token of text in the input.
        media: For a token of anything else in the input.
        output: For a token of the output.
        others: For one of each unit that is not a token.
        parts: How many parts a nanodollar has.
    """

    text: int
    media: int
    output: int
    others: tuple[tuple[UnitDef, int], ...]
    parts: int

    def nanodollars(self, worst: WorstCase) -> int:
        """Every token at the dearest rate that could apply, rounded up.

        Usage keys partition tokens, so each token is charged at exactly one rate: the dearest of the rates that the
        request can reach, times the bound of the tokens, is a bound of the sum.
        """
        total = self.text * (worst.input_tokens - worst.media_tokens) + self.output * worst.output_tokens
        if worst.media_tokens:
            total += self.media * worst.media_tokens
        for unit, rate in self.others:
            total += rate * _count(unit, worst)
        return -(-total // self.parts)


def _reachable(worst: WorstCase, prices: ModelPrice, factor: Fraction) -> _Rates:
    others: list[tuple[UnitDef, Fraction]] = []
    text: dict[str, Fraction] = {}
    media: dict[str, Fraction] = {}
    for key, value in vars(prices).items():
        unit = UNITS.get(key)
        if unit is None or value is None:
            continue
        rate = Fraction(_dearest(value, worst.input_tokens)) / Fraction(unit.per) * factor * NANO
        family = unit.dimensions.get("family")
        if family == "tokens":
            direction = unit.dimensions["direction"]
            if unit.dimensions.get("token_type") == "cache_write" and not worst.cache_write:
                continue
            media[direction] = max(rate, media.get(direction, rate))
            if unit.dimensions.get("modality", "text") == "text":
                text[direction] = max(rate, text.get(direction, rate))
        elif rate:
            others.append((unit, rate))
    output = (media if worst.media_out else text).get("output", Fraction(0))
    tokens = (text.get("input", Fraction(0)), media.get("input", Fraction(0)), output)
    parts = math.lcm(*(rate.denominator for rate in (*tokens, *(rate for _, rate in others))))
    into, other, out = (int(rate * parts) for rate in tokens)
    return _Rates(into, other, out, tuple((unit, int(rate * parts)) for unit, rate in others), parts)


def _count(unit: UnitDef, worst: WorstCase) -> int:
    """The most that a request could use of a unit that is not a token.

    Raises:
        Unbounded: No bound is known.
    """
    if unit.usage_key in worst.units:
        return worst.units[unit.usage_key]
    match unit.dimensions.get("family"):
        case "requests":
            return 1
        case "messages":
            return worst.input_tokens // SHORTEST_MESSAGE + 1
        case "tool_calls":
            return worst.searches
        case "characters":
            # A character is at least one byte, and the bound of the tokens is a number of bytes.
            return worst.input_tokens
        case "durations" if unit.dimensions.get("direction") != "output" and worst.seconds is not None:
            return worst.seconds
        case "document_pages" if unit.dimensions.get("page_type") == "annotated":
            return 0  # a request for annotations states the number of its pages
        case "pixels" if not worst.media_tokens:
            return 0
    raise Unbounded(unit.usage_key)


_UNLESS_IN_TOKENS = frozenset({*IMAGE_UNITS, "tool_images", "tool_containers"})
"""Units that cost nothing by themselves if they have no price: they are billed in tokens."""

_CALLED = (
    *("web_searches", "preview_searches", "social_searches", "storage_searches", "attachment_searches"),
    *("page_visits", "code_executions", "map_groundings", "retrieval_queries", "web_fetches", "search_sources"),
    *("connector_web_search", "connector_web_search_premium", "connector_code_interpreter"),
)
"""Units that a call of a tool at the provider may be billed as."""

SHORTEST_MESSAGE = 20
"""The fewest bytes of JSON around a message."""


def _dearest(value: Decimal | TieredPrices, input_tokens: int) -> Decimal:
    if not isinstance(value, TieredPrices):
        return value
    return max([value.base, *(tier.price for tier in value.tiers if input_tokens > tier.start)])


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class CostBound:
    """The amounts to hold for a request.

    Attributes:
        worst: What the model that it asks for could use.
        money: Nanodollars, over all models that may work on it.
        tokens: Tokens, over all models that may work on it.
    """

    worst: WorstCase
    money: int
    tokens: int


@dataclass(frozen=True, slots=True)
class BoundFormula:
    """Bounds the cost of a request at one member of a route.

    Attributes:
        model: The model's name at the provider.
        price: Its price, or None.
        instead: Models that may answer in place of the requested one, with their prices.
        besides: Models that the provider may call in addition, with their prices.
        at: The time of the request.
        tier: The requested service tier, else the account's own.
        batch: Whether the request is a line of a batch.
        heeds: The only member of `Call.maxima` that bounds the output; empty where none does, None where each does.
        hidden: Tokens that the provider may add to a prompt.
        factor: The largest factor on the price: regions, data residency.
        rate_of: US dollars for one of a unit that is not the price book's, or None.
    """

    model: str
    price: Price | None
    at: datetime
    tier: str | None = None
    hidden: int = 0
    factor: Decimal = Decimal(1)
    rate_of: Callable[[str], Decimal | None] = lambda unit: None
    instead: tuple[tuple[str, Price | None], ...] = ()
    besides: tuple[tuple[ModelCall, Price | None], ...] = ()
    batch: bool = False
    heeds: str | None = None
    _known: dict[tuple[str, int], tuple[int, DearestRates | None]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def hold(self, call: Call) -> CostBound:
        """The hold for `call`: the dearest of the models that may answer, plus all that may be called in addition.

        Raises:
            Unbounded: See `ceiling`.
        """
        call = self._heeded(call)
        worst, money = self._of(call, self.model, self.price)
        tokens = worst.input_tokens + worst.output_tokens
        for name, price in self.instead:
            other, own = self._of(call, name, price)
            money = max(money, own)
            tokens = max(tokens, other.input_tokens + other.output_tokens)
        for extra, price in self.besides:
            work = replace(call, output_tokens=extra.output_tokens, extra_output=0, units={}, searches=0)
            other, own = self._of(work, extra.model, price)
            money += own * extra.times
            tokens += (other.input_tokens + other.output_tokens) * extra.times
        most = nanodollars_ceiling(Decimal(money) / NANO * self.factor) if self.factor != 1 else money
        return CostBound(worst, most * call.repeats, tokens * call.repeats)

    def worst(self, call: Call) -> WorstCase:
        """The most that `call` could use at the requested model."""
        call = self._heeded(call)
        return worst_case(call, self.model, self.price, self.at, self.hidden, self._rates(self.model, self.price)[0])

    def ignores_maximum(self, call: Call) -> bool:
        """Whether the provider heeds none of the members in which `call` states its output maximum."""
        return self.heeds is not None and bool(call.maxima) and self.heeds not in call.maxima

    def _heeded(self, call: Call) -> Call:
        return replace(call, output_tokens=None) if self.ignores_maximum(call) else call

    def _of(self, call: Call, model: str, price: Price | None) -> tuple[WorstCase, int]:
        window, rates = self._rates(model, price)
        worst = worst_case(call, model, price, self.at, self.hidden, window)
        if rates is None or price is None:
            return worst, 0
        return worst, rates.ceiling(worst) + self._units(call, price) + self._long_cache(call, price, worst)

    def _units(self, call: Call, price: Price) -> int:
        """The most that units without a price in the price book could cost: seconds of video, images, calls of tools.

        Raises:
            Unbounded: One of them has no price.
        """
        total = self._tools(call, price) if call.searches else Decimal(0)
        for unit, number in call.units.items():
            if unit in BY_USAGE_KEY or not number:
                continue
            if (rate := self.rate_of(unit)) is None:
                if unit in _UNLESS_IN_TOKENS and price.rate("output_tokens", self.at):
                    continue
                raise Unbounded(unit)
            total += rate * number
        return nanodollars_ceiling(total * price.factor) if total else 0

    def _tools(self, call: Call, price: Price) -> Decimal:
        """The cost of calls of tools beyond the price book's rates, in US dollars."""
        names = [
            unit for unit in _CALLED if unit != "preview_searches" or any("preview" in t for t in call.server_tools)
        ]
        dearest = max((rate for unit in names if (rate := self.rate_of(unit)) is not None), default=Decimal(0))
        booked = (price.rate(unit, self.at) for unit in ("web_searches", "storage_searches"))
        return call.searches * max(Decimal(0), dearest - sum((rate for rate in booked if rate), start=Decimal(0)))

    def _long_cache(self, call: Call, price: Price, worst: WorstCase) -> int:
        """The cost of writing all input to a cache for twelve hours, beyond plain input."""
        plain = price.model_prices(self.at).input_mtok if call.long_cache else None
        if plain is None:
            return 0
        each = _dearest(plain, worst.input_tokens) / 1_000_000 * (LONG_CACHE_FACTOR - 1)
        return nanodollars_ceiling(each * worst.input_tokens * price.factor)

    def _rates(self, model: str, price: Price | None) -> tuple[int, DearestRates | None]:
        """A model's context window and the rates that bound its cost, looked up once."""
        key = (model, id(price))
        if (found := self._known.get(key)) is None:
            window = context_window(price, model_limits(model, price.provider_id if price else ""), self.at)
            rates: DearestRates | None = None
            if price is not None:
                tier = self.tier
                rates = DearestRates.of_batch(price, self.at) if self.batch else DearestRates.of(price, self.at, tier)
            found = self._known[key] = window, rates
        return found
