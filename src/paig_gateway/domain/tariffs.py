"""What a provider charges for a model: the operator's own price, else the price book's with the provider's discount."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import chain

from paig_gateway.domain.own_prices import OwnPrice, in_force
from paig_gateway.domain.pricing import Price, PriceBook

MAX_FOUND = 10_000
"""How many models' own prices, and discounted prices, are remembered at once."""


@dataclass(slots=True)
class Prices:
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
class Tariff:
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

    prices: Prices
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
