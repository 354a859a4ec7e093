"""Prices that the operator set, in place of the price book's or where it has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatchcase

from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice
from genai_prices.types import Provider as PriceProvider

from paig_gateway.domain.formula import UNITS
from paig_gateway.domain.pricing import Price

OWN = "own"
"""What stands for the price book's provider in the identity of such a price: `own/my-model`."""


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
