"""Prices that the operator sets: which of them counts, from when, and what they make a request cost."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from paig_gateway.pricing.overrides import PriceLookup, PriceOverride, PriceSources, own_price, rate_problems
from paig_gateway.pricing.price import PriceBook
from paig_gateway.pricing.worst_case import WorstCase, ceiling

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
USAGE = {"input_tokens": 1000, "output_tokens": 500, "cache_read_tokens": 400}


def price(name: str, dollars: int, **more: object) -> PriceOverride:
    """A price of so many dollars for a million tokens, in and out."""
    rates = {"input_mtok": Decimal(dollars), "output_mtok": Decimal(dollars)}
    return own_price(name, rates=rates, **more)  # type: ignore[arg-type]


def cost(prices: tuple[PriceOverride, ...], model: str, provider: str = "house", at: datetime = NOW) -> int | None:
    """What 1000 tokens in and 500 out cost, in nanodollars; None without a price."""
    found = PriceLookup(PriceSources(PriceBook(), lambda: prices), provider, "openai", model, at).price()
    return found.cost(USAGE, at) if found else None


def test_cost_by_hand() -> None:
    """600 tokens at $2, 400 cached ones at $0.50 and 500 at $8 for a million: $0.0054."""
    rates = {"input_mtok": Decimal(2), "cache_read_mtok": Decimal("0.5"), "output_mtok": Decimal(8)}
    assert cost((own_price("m", rates=rates),), "m") == 1_200_000 + 200_000 + 4_000_000


def test_cached_tokens_without_a_rate_cost_as_others() -> None:
    """1500 tokens at $2 for a million, whatever is cached."""
    assert cost((price("m", 2),), "m") == 3_000_000


@pytest.mark.parametrize(
    ("model", "provider", "at", "expected"),
    [
        ("m", "house", NOW, 3),
        ("m", "other", NOW, 2),
        ("m", "other", datetime(2026, 12, 1, tzinfo=UTC), 4),
        ("m", "house", datetime(2026, 12, 1, tzinfo=UTC), 3),
        ("M", "other", datetime(2026, 11, 30, 23, 59, tzinfo=UTC), 2),
        ("llama-9", "any", NOW, 5),
    ],
)
def test_which_price_counts(model: str, provider: str, at: datetime, expected: int) -> None:
    """One for the provider before one for any, then the latest that has begun; names match in any case."""
    prices = (
        price("m", 2),
        price("m, house", 3, model="m", provider="house"),
        price("m, later", 4, model="m", since=date(2026, 12, 1)),
        price("llamas", 5, model="Llama-*"),
    )
    assert cost(prices, model, provider, at) == expected * 1_500_000


def test_an_own_price_takes_the_books_place() -> None:
    """Also where the answer names the model more exactly, as the book knows it."""
    price_lookup = PriceLookup(
        PriceSources(PriceBook(), lambda: (price("gpt-5", 100),)), "openai", "openai", "gpt-5", NOW
    )
    found = price_lookup.price("gpt-5-2025-08-07")
    assert found is not None
    assert found.identity() == "own/gpt-5"


def test_before_the_first_day_the_book_counts() -> None:
    """A price that is to begin later changes nothing yet."""
    future = price("gpt-5", 100, since=date(2026, 12, 1))
    assert cost((future,), "gpt-5") == cost((), "gpt-5")


def test_changed_prices_are_seen_at_once() -> None:
    """The tuple of prices is looked at again as soon as it is another."""
    present: tuple[PriceOverride, ...] = (price("m", 2),)
    prices = PriceSources(PriceBook(), lambda: present)
    price_lookup = PriceLookup(prices, "house", "", "m", NOW)
    assert price_lookup.price() is present[0].price
    present = (price("m", 3),)
    assert price_lookup.price() is present[0].price
    present = ()
    assert price_lookup.price() is None


def test_discount_on_the_book() -> None:
    """The factor multiplies the book's price, in costs and in ceilings, and no price of the operator's own."""
    prices = PriceSources(PriceBook(), lambda: (price("m", 2),))
    full = PriceLookup(prices, "p", "openai", "gpt-5", NOW).price()
    reduced = PriceLookup(prices, "p", "openai", "gpt-5", NOW, Decimal("0.8")).price()
    own = PriceLookup(prices, "p", "openai", "m", NOW, Decimal("0.8")).price()
    assert full is not None
    assert reduced is not None
    assert own is not None
    assert reduced.cost(USAGE, NOW) * 5 == full.cost(USAGE, NOW) * 4
    worst = WorstCase(1000, 1000)
    assert ceiling(worst, reduced, NOW, None) * 5 == ceiling(worst, full, NOW, None) * 4
    assert own.cost(USAGE, NOW) == 3_000_000
    assert PriceLookup(prices, "p", "openai", "gpt-5", NOW, Decimal("0.8")).price() is reduced


@pytest.mark.parametrize(
    ("rates", "wrong"),
    [
        ({}, "needs a rate"),
        ({"input_mtokens": 1}, "did you mean input_mtok?"),
        ({"zzz": 1}, "is not a known rate"),
    ],
)
def test_rates_that_make_no_price(rates: dict[str, int], wrong: str) -> None:
    """What cannot be charged is refused, with what was probably meant."""
    [(_, message)] = rate_problems({name: Decimal(value) for name, value in rates.items()})
    assert wrong in message
