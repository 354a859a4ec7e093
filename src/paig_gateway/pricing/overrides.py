"""Prices that the operator set, in place of the price book's or where it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import chain

from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice
from genai_prices.types import Provider as PriceProvider

from paig_gateway.pricing.formula import UNITS
from paig_gateway.pricing.price import OWN, Price, PriceBook


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """One price, from one day on.

    Attributes:
        name: What the operator calls it.
        model: The model that it is of, or a pattern such as `my-*`; as the provider names it, in lower case.
        provider: The configured provider that it is for; None for each.
        since: The first day (UTC) that it holds; None for ever.
        price: What the model costs.
    """

    name: str
    model: str
    provider: str | None
    since: date | None
    price: Price

    def is_of(self, provider: str, model: str) -> bool:
        """Whether it is a price of that model at that provider, on whatever day."""
        return self.provider in (None, provider) and fnmatchcase(model.lower(), self.model)

    def holds(self, at: datetime) -> bool:
        """Whether it has begun."""
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
) -> OwnPrice:
    """A price from what the operator wrote.

    Args:
        name: What it is called, and the model's name unless `model` is given.
        rates: US dollars by genai-prices' units, such as `input_mtok`: for a million input tokens.
        model: The model's name or a pattern of it.
        provider: See `OwnPrice`.
        since: See `OwnPrice`.
        context_window: Tokens that the model reads at most.
        max_output: Tokens that it writes at most.
    """
    info = ModelInfo(
        id=name, match=ClauseEquals(equals=name), context_window=context_window, prices=ModelPrice(**rates)
    )
    book = PriceProvider(id=OWN, name="set by the operator", api_pattern="^$", models=[info])
    price = Price(OWN, name, context_window, book, info, max_output=max_output)
    return OwnPrice(name, (model or name).lower(), provider, since, price)


def rate_problems(rates: Mapping[str, Decimal]) -> Iterator[tuple[str, str]]:
    """What is wrong with the rates of a price: (rate or nothing, message)."""
    if not rates:
        yield "", "needs a rate at least, such as input_mtok and output_mtok (US dollars for a million tokens)"
    for name in rates:
        if name not in UNITS:
            close = get_close_matches(name, UNITS, n=1)
            yield name, "is no rate" + (f"; did you mean {close[0]}?" if close else "; see the page on prices")
            return
    try:
        ModelPrice(**rates).calc_price({})
    except ValueError as error:
        yield "", str(error)


def in_force(prices: tuple[OwnPrice, ...], provider: str, model: str) -> tuple[OwnPrice, ...]:
    """Those of a model at a provider, the one that counts first: a provider's own before any, the latest before."""
    found = [price for price in prices if price.is_of(provider, model)]
    return tuple(sorted(found, key=lambda p: (p.provider is None, -(p.since or date.min).toordinal(), p.name)))


MAX_FOUND = 10_000
"""How many models' own prices, and discounted prices, are remembered at once."""


@dataclass(slots=True)
class PriceSources:
    """Every price there is.

    Attributes:
        book: The price book.
        own: Answers the operator's own prices; another tuple whenever they change.
    """

    book: PriceBook
    own: Callable[[], tuple[OwnPrice, ...]] = tuple
    _seen: tuple[OwnPrice, ...] = ()
    _in_force: dict[tuple[str, str], tuple[OwnPrice, ...]] = field(default_factory=dict)
    _discounted: dict[tuple[int, Decimal], tuple[Price, Price]] = field(default_factory=dict)

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
        return next((found.price for found in self._in_force[key] if found.holds(at)), None)

    def book_price(self, source: str, model: str, factor: Decimal) -> Price | None:
        """The price book's price at one of its own providers, times a discount factor."""
        price = self.book.find(source, model) if source and model else None
        if price is None or factor == 1:
            return price
        key = (id(price), factor)
        if key not in self._discounted:
            if len(self._discounted) >= MAX_FOUND:
                self._discounted.clear()
            # The pair holds on to the price, so that its id is no other's.
            self._discounted[key] = price, replace(price, factor=factor, _formulas={})
        return self._discounted[key][1]


@dataclass(frozen=True, slots=True)
class PriceLookup:
    """What turns an answer into money: whose prices, of when, for which model where the answer names none.

    Attributes:
        prices: Every price there is.
        provider: The configured provider.
        source: Whose prices in the price book; empty for none.
        model: The model asked for, by its name at the provider.
        at: When it was asked for.
        factor: The provider's discount on the price book.
        asked_first: The model asked for decides, as the answer's name says less (of a region, say).
    """

    prices: PriceSources
    provider: str
    source: str
    model: str
    at: datetime
    factor: Decimal = Decimal(1)
    asked_first: bool = False

    def price(self, answered: str | None = None) -> Price | None:
        """The price of the model that answered, else of the one asked for; the operator's own before the book's."""
        names = (self.model, answered) if self.asked_first else (answered, self.model)
        known = [name for name in names if name]
        own = (self.prices.own_price(self.provider, name, self.at) for name in known)
        book = (self.prices.book_price(self.source, name, self.factor) for name in known)
        return next((price for price in chain(own, book) if price), None)
