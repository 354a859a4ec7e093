"""Prices that the operator set: they replace the price book's, or add to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial

from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice
from genai_prices.types import Provider as PriceProvider

from paig_gateway.pricing.formula import UNITS, Formula
from paig_gateway.pricing.known_shapes import KnownShapes
from paig_gateway.pricing.modifiers import Modifiers
from paig_gateway.pricing.names import answer_names, vendor_of
from paig_gateway.pricing.price import OWN, Price, PriceBook, PricedUsage
from paig_gateway.pricing.provider_charge import ChargeRule
from paig_gateway.pricing.rates import PLAIN, own_rate
from paig_gateway.pricing.units import UNITS as BILLED_UNITS
from paig_gateway.pricing.usage import Usage


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """One price, from one day on.

    Attributes:
        name: The operator's name of it.
        model: The model, or a pattern such as `my-*`; as the provider names it, in lower case.
        provider: The configured provider; None for all.
        since: The first day (UTC) on which it applies; None for any time.
        price: Replaces the price book's price; None if only `each` is given, which adds to it.
        each: US dollars for one of a unit, by the unit's name.
    """

    name: str
    model: str
    provider: str | None
    since: date | None
    price: Price | None
    each: Mapping[str, Decimal] = field(default_factory=dict)

    def is_of(self, provider: str, model: str) -> bool:
        """Whether it is a price of that model at that provider, on whatever day."""
        return self.provider in (None, provider) and fnmatchcase(model.lower(), self.model)

    def holds(self, at: datetime) -> bool:
        return self.since is None or at.astimezone(UTC).date() >= self.since


def own_price(
    name: str,
    *,
    rates: Mapping[str, Decimal],
    model: str | None = None,
    provider: str | None = None,
    since: date | None = None,
    context_window: int | None = None,
    max_output: int | None = None,
) -> PriceOverride:
    """A price as the operator wrote it.

    Args:
        name: Its name, and the model's name unless `model` is given.
        rates: US dollars by genai-prices' units, such as `input_mtok`: for a million input tokens; or for one of
            another unit, such as `code_interpreter_each`.
        model: The model's name or a pattern of it.
        provider: See `PriceOverride`.
        since: See `PriceOverride`.
        context_window: Tokens that the model reads at most.
        max_output: Tokens that it writes at most.
    """
    known = {rate: usd for rate, usd in rates.items() if rate in UNITS}
    each = {rate.removesuffix(EACH): usd for rate, usd in rates.items() if rate not in UNITS}
    info = ModelInfo(
        id=name, match=ClauseEquals(equals=name), context_window=context_window, prices=ModelPrice(**known)
    )
    book = PriceProvider(id=OWN, name="set by the operator", api_pattern="^$", models=[info])
    price = Price(OWN, name, context_window, book, info, max_output=max_output) if known else None
    return PriceOverride(name, (model or name).lower(), provider, since, price, each)


EACH = "_each"
"""The suffix of a rate for one of a unit of `units.UNITS`."""


def rate_problems(rates: Mapping[str, Decimal]) -> Iterator[tuple[str, str]]:
    """The errors in the rates of a price: (rate or nothing, message)."""
    if not rates:
        yield "", "needs a rate at least, such as input_mtok and output_mtok (US dollars for a million tokens)"
    names = {*UNITS, *(f"{unit.name}{EACH}" for unit in BILLED_UNITS)}
    for name in rates:
        if name not in names:
            close = get_close_matches(name, names, n=1)
            yield name, "is not a known rate" + (f"; did you mean {close[0]}?" if close else "; see the page on prices")
            return
    try:
        ModelPrice(**{name: usd for name, usd in rates.items() if name in UNITS}).calc_price({})
    except ValueError as error:
        yield "", str(error)


def in_force(prices: tuple[PriceOverride, ...], provider: str, model: str) -> tuple[PriceOverride, ...]:
    """The overrides of a model at a provider by precedence: those for the provider first, the latest first."""
    found = [price for price in prices if price.is_of(provider, model)]
    return tuple(sorted(found, key=lambda p: (p.provider is None, -(p.since or date.min).toordinal(), p.name)))


MAX_DEAREST = 64
"""How many bounding prices are remembered at once."""

MAX_FOUND = 10_000
"""How many models' own prices, and discounted prices, are remembered at once."""


@dataclass(slots=True)
class PriceSources:
    """Every price there is.

    Attributes:
        own: Returns the operator's own prices; a new tuple whenever they change.
    """

    book: PriceBook
    own: Callable[[], tuple[PriceOverride, ...]] = tuple
    _present: tuple[object, ...] = ()
    _seen: tuple[PriceOverride, ...] = ()
    _in_force: dict[tuple[str, str], tuple[PriceOverride, ...]] = field(default_factory=dict)
    _discounted: dict[tuple[int, Decimal, str], tuple[Price, Price]] = field(default_factory=dict)
    _dearest: dict[tuple[tuple[str, ...], date], Price | None] = field(default_factory=dict)

    def present(self) -> tuple[object, ...]:
        """The present sources of prices: another tuple whenever one of them has changed."""
        book, own = self.book.present(), self.own()
        if not self._present or book is not self._present[0] or own is not self._present[1]:
            self._present = book, own
        return self._present

    def dearest(self, sources: tuple[str, ...], at: datetime) -> Price | None:
        """See `PriceBook.dearest`; kept for a day, as that is when prices change."""
        key = (sources, at.astimezone(UTC).date())
        if key not in self._dearest:
            if len(self._dearest) >= MAX_DEAREST:
                self._dearest.clear()
            self._dearest[key] = self.book.dearest(sources, at)
        return self._dearest[key]

    def own_price(self, provider: str, model: str, at: datetime) -> Price | None:
        """The operator's own price of a model at a configured provider, as it was at that time; None without one."""
        own = self.own()
        if own is not self._seen:
            self._seen, self._in_force = own, {}
        if not own:
            return None
        key = (provider, model)
        if key not in self._in_force:
            if len(self._in_force) >= MAX_FOUND:
                self._in_force.clear()
            self._in_force[key] = in_force(own, provider, model)
        return next((found.price for found in self._in_force[key] if found.price and found.holds(at)), None)

    def own_rate(self, provider: str, model: str, unit: str, at: datetime) -> Decimal | None:
        self.own_price(provider, model, at)  # updates the prices that are in force
        found = self._in_force.get((provider, model), ())
        return next((price.each[unit] for price in found if unit in price.each and price.holds(at)), None)

    def book_price(self, source: str, model: str, factor: Decimal, host: str = "") -> Price | None:
        """The price book's price at one of its own providers, times a discount factor; `host`: who sells it on."""
        price = self.book.find(source, model) if source and model else None
        if price is None or (factor == 1 and not host):
            return price
        key = (id(price), factor, host)
        if key not in self._discounted:
            if len(self._discounted) >= MAX_FOUND:
                self._discounted.clear()
            # The pair keeps the price alive, so that no other object gets its id.
            sold = replace(price, factor=factor, host=host or price.host, _formulas={})
            self._discounted[key] = price, sold
        return self._discounted[key][1]


@dataclass(frozen=True, slots=True)
class PriceLookup:
    """Finds the prices for an answer: of one provider, at one time, for the requested model if the answer names none.

    Attributes:
        prices: Every price there is.
        provider: The configured provider.
        source: The price book's provider; empty for none.
        model: The requested model, by its name at the provider.
        at: The time of the request.
        factor: The provider's discount on the price book.
        asked_first: Whether the requested model decides, because the answer's name says less (it has no region, for
            example).
        aliases: Names of models at the provider, and the models that they are priced as.
        modifiers: Those that the request and the provider's address name.
        charge_rule: Reads the provider's own charge; None if it states none, or the operator does not want it.
        always_reports: Whether the provider states the usage of every complete answer.
        free_unpriced: Whether the provider's kind is one whose unpriced models are known to cost nothing.
        known: Plans for answers of shapes that were read before.
    """

    prices: PriceSources
    provider: str
    source: str
    model: str
    at: datetime
    factor: Decimal = Decimal(1)
    asked_first: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    modifiers: Modifiers = field(default_factory=dict)
    charge_rule: ChargeRule | None = None
    always_reports: bool = True
    free_unpriced: bool = False
    known: KnownShapes = field(default_factory=KnownShapes, init=False, repr=False, compare=False)

    def price(self, answered: str | None = None) -> Price | None:
        """The price of the model that answered, else of the requested one; the operator's before the price book's."""
        known = self._names(answered)
        for name in known:
            if (own := self.prices.own_price(self.provider, name, self.at)) is not None:
                return own
        for name in known:
            if (book := self.prices.book_price(self.source, name, self.factor)) is not None:
                return book
        for vendor in filter(None, (vendor_of(self.source, name) for name in known)):
            if (book := self.prices.book_price(*vendor, self.factor, host=self.source)) is not None:
                return book
        return None

    def price_of(self, model: str) -> Price | None:
        """The price of another model that was used for the same answer."""
        return replace(self, model=model, asked_first=True).price()

    def stand_in(self, fmt: str) -> Price | None:
        """A price that bounds a request whose model only the answer names; None if the answer would not name it."""
        if not answer_names(self.source, self.model, fmt):
            return None
        return self.prices.dearest(_stand_in_sources(self.source, fmt), self.at)

    def charge(self, price: Price, usage: Usage, modifiers: Modifiers, answered: str | None = None) -> PricedUsage:
        """The cost of a usage at a price, with the operator's and our own prices of units."""
        return price.charge(usage, self.at, modifiers, partial(self.rate_of, answered=answered))

    def formula(self, price: Price, usage: Usage, modifiers: Modifiers, answered: str | None = None) -> Formula | None:
        return price.formula(usage, self.at, modifiers, partial(self.rate_of, answered=answered))

    def rate_of(self, unit: str, answered: str | None = None) -> Decimal | None:
        """US dollars for one of a unit: the operator's, the price book's, our own.

        Args:
            unit: Its name.
            answered: The model that answered, where none was asked for by name.
        """
        answered = None if self.model else answered
        for name in self._names(answered):
            own = self.prices.own_rate(self.provider, name, unit, self.at)
            if own is not None:
                return own
            book = self.prices.book_price(self.source, name, Decimal(1))
            if book is not None and (listed := book.rate(unit, self.at)) is not None:
                return listed
        ours = own_rate(unit, self.source, self.aliases.get(self.model, self.model) or answered or "")
        return self.rate_of(PLAIN[unit], answered) if ours is None and unit in PLAIN else ours

    def _names(self, answered: str | None) -> list[str]:
        alias = self.aliases.get(self.model)
        if alias is not None:
            return [alias]
        names = (self.model, answered) if self.asked_first else (answered, self.model)
        return [name for name in names if name]


def _stand_in_sources(source: str, fmt: str) -> tuple[str, ...]:
    """The price sources that the answering model must be one of."""
    if source == "azure":
        return ("azure", "anthropic") if fmt == "anthropic" else ("azure", "openai", "deepseek", "x-ai", "moonshotai")
    return (source,)
