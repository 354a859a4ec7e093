"""What finished requests would cost at the prices known now: a report, which changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import TypedDict

from sqlalchemy import Engine

from paig_client.api.resources import RepricedTotal, Repricing
from paig_gateway.domain.money import dollars
from paig_gateway.domain.route import ActiveProvider
from paig_gateway.ledger.reports import Charged, Filter, charged_requests
from paig_gateway.pricing.modifiers import Modifiers
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.pricing.price import OWN, Price
from paig_gateway.pricing.rates import own_rate
from paig_gateway.providers.kinds import KINDS
from paig_gateway.routing.candidates import price_provider


class _Shown(TypedDict):
    requests: int
    cost: Decimal
    repriced: Decimal
    difference: Decimal


@dataclass(slots=True)
class _Sum:
    requests: int = 0
    cost: int = 0
    repriced: int = 0

    def add(self, cost: int, repriced: int) -> None:
        self.requests += 1
        self.cost += cost
        self.repriced += repriced

    def shown(self) -> _Shown:
        return {
            "requests": self.requests,
            "cost": dollars(self.cost),
            "repriced": dollars(self.repriced),
            "difference": dollars(self.repriced - self.cost),
        }


def reprice(engine: Engine, prices: PriceSources, providers: Mapping[str, ActiveProvider], which: Filter) -> Repricing:
    """Compare what requests were charged with what their usage costs now, at the prices of their own time.

    Args:
        prices: Every price there is.
        providers: The configured providers, for their discounts.
    """
    groups: dict[tuple[str, str, str, str], _Sum] = {}
    total, left = _Sum(), 0
    for request in charged_requests(engine, which):
        is_ours = request.certainty == "exact" and request.cost_source != "provider"
        repriced = _repriced(request, prices, providers) if is_ours else None
        if repriced is None:
            left += 1
            continue
        identity, cost = repriced
        total.add(request.cost, cost)
        if cost != request.cost:
            key = (request.provider, request.model, request.price, identity)
            groups.setdefault(key, _Sum()).add(request.cost, cost)
    items = sorted(groups.items(), key=lambda item: (-abs(item[1].repriced - item[1].cost), item[0]))
    return Repricing(items=list(_totals(items)), left=left, **total.shown())


def _repriced(
    request: Charged, prices: PriceSources, providers: Mapping[str, ActiveProvider]
) -> tuple[str, int] | None:
    account = providers.get(request.provider)
    source, model, context = _read(request.price)
    price: Price | None = None
    for name in (request.sent_model, model):
        price = price or prices.own_price(request.provider, name, request.time)
    if price is None and account is not None:
        if source == OWN:  # an operator's price that was deleted
            kind = KINDS.get(account.kind)
            known = account.price_provider or (kind.price_provider if kind else None)
            source = price_provider(known, "", request.sent_model)
        found = [prices.book_price(source, name, account.price_factor) for name in (request.sent_model, model)]
        # Some of the book's models are not found by their own ids, but by the name that was sent.
        found.sort(key=lambda one: one is None or one.model_id != model)
        price = found[0] or found[1]
    if price is None or request.usage is None:
        return None
    names = (request.sent_model, request.provider, request.time)
    charge = price.charge(request.usage, request.time, context, partial(_rate_of, prices, source, *names))
    # What has no price, or was used by another model, cannot be told from the counts.
    return None if charge.doubts else (price.identity(context), charge.cost)


def _rate_of(prices: PriceSources, source: str, model: str, provider: str, at: datetime, unit: str) -> Decimal | None:
    own = prices.own_rate(provider, model, unit, at)
    return own if own is not None else own_rate(unit, source, model)


def _read(identity: str) -> tuple[str, str, Modifiers | None]:
    """The parts of a price's identity; see `Price.identity`."""
    price, *context = identity.split(";")
    source, _, model = price.partition("/")
    return source, model, dict(part.split("=", 1) for part in context) or None


def _totals(groups: list[tuple[tuple[str, str, str, str], _Sum]]) -> Iterator[RepricedTotal]:
    for (provider, model, price, new_price), found in groups:
        yield RepricedTotal(provider=provider, model=model, price=price, new_price=new_price, **found.shown())
