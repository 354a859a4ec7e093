"""A price compiled for usage of one shape: genai-prices' calculation without its generality, and equal to it.

genai-prices splits usage into parts that do not overlap (plain, cached, audio, …) and charges each at one rate. The
parts depend only on the prices and on which counts are reported, so they are computed once; each request then needs one
subtraction and one multiplication per part.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from genai_prices import Usage as GenaiUsage
from genai_prices.types import ModelPrice, TieredPrices
from genai_prices.units import UnitDef, UnitRegistry

from paig_gateway.pricing.usage import Usage

ReportedCounts = tuple[tuple[str, bool], ...]
"""The names of the reported counts, and whether each is more than zero."""


def _units() -> dict[str, UnitDef]:
    from genai_prices.data_units import unit_data

    return {unit.price_key: unit for unit in UnitRegistry(unit_data).units.values()}


UNITS = _units()
"""genai-prices' units, by the name of their price."""


@dataclass(frozen=True, slots=True)
class Term:
    """One part of the usage: the count `key`, less the finer parts that have rates of their own.

    Attributes:
        finer: Places of those parts among the terms; they come before it.
        per: The number of units that the price is for.
    """

    key: str
    finer: tuple[int, ...]
    price: Decimal | TieredPrices
    per: int


@dataclass(frozen=True, slots=True)
class Formula:
    """The cost of usage of one shape.

    Attributes:
        flat: US dollars for each request, independent of its usage.
    """

    terms: tuple[Term, ...]
    flat: Decimal

    def cost(self, usage: Usage) -> Decimal | None:
        """US dollars; None where the counts contradict each other."""
        total = self.flat
        left: list[int | float] = []
        everything = usage.get("input_tokens", 0)
        for term in self.terms:
            count = usage.get(term.key, 0)
            for place in term.finer:
                count -= left[place]
            if count < 0:
                return None
            left.append(count)
            if count:
                price = term.price
                if type(price) is not Decimal:
                    price = rate(price, everything)
                total += price * Decimal(count) / term.per
        return total


def shape(usage: Usage) -> ReportedCounts | None:
    """The shape of a usage; None where its counts are not all whole numbers."""
    found = []
    for key, count in usage.items():
        if not isinstance(count, int):
            return None
        found.append((key, count > 0))
    return tuple(found)


def compile_formula(prices: ModelPrice, reported: ReportedCounts) -> Formula | None:
    """The formula for usage of a shape; None if genai-prices must compute the cost, because it may reject the usage."""
    priced = [(UNITS[key], value) for key, value in vars(prices).items() if value is not None and key in UNITS]
    flat = Decimal(0)
    counted = []
    for unit, value in priced:
        if unit.usage_key == "requests":
            flat += rate(value, 0) / unit.per
        else:
            counted.append((unit, value))
    counted.sort(key=lambda item: (-len(item[0].dimensions), item[0].usage_key))
    sample = GenaiUsage(**{key: 10**9 if positive else 0 for key, positive in reported})
    names = {key for key, _ in reported}
    terms: list[Term] = []
    try:
        for unit, value in counted:
            if unit.usage_key not in names and getattr(sample, unit.usage_key):
                return None
            finer = [
                place
                for place, term in enumerate(terms)
                if unit.dimensions.items() <= _dimensions(term.key).items() and term.key != unit.usage_key
            ]
            terms.append(Term(unit.usage_key, tuple(finer), value, unit.per))
        if any(isinstance(term.price, TieredPrices) for term in terms) and "input_tokens" not in names:
            return None
    except ValueError:
        return None
    return Formula(tuple(terms), flat)


def rate(price: Decimal | TieredPrices, input_tokens: int | float) -> Decimal:
    """The price in the highest tier that this much input reaches."""
    if not isinstance(price, TieredPrices):
        return price
    reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
    return reached[-1] if reached else price.base


BY_USAGE_KEY = {unit.usage_key: unit for unit in UNITS.values()}
"""genai-prices' units, by the name of their count."""


def _dimensions(usage_key: str) -> dict[str, str]:
    return dict(BY_USAGE_KEY[usage_key].dimensions)
