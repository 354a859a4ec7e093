"""Prices that the operator sets, in the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlmodel import select

from paig_client.api import resources
from paig_client.api.specs import PriceSpec
from paig_gateway.catalog.base import check_free_name
from paig_gateway.catalog.objects import ObjectType, Problem
from paig_gateway.catalog.routes import no_provider
from paig_gateway.database.tables import PriceRow, ProviderRow
from paig_gateway.pricing.overrides import rate_problems


def problems(spec: PriceSpec, providers: Collection[str]) -> Iterator[Problem]:
    """The errors in a price, given the providers: (field, message)."""
    yield from rate_problems(spec.rates)
    if spec.provider is not None and spec.provider not in providers:
        yield "provider", no_provider(spec.provider, providers)


PRICES: ObjectType[PriceRow, PriceSpec, resources.OwnPrice] = ObjectType(
    kind="price",
    prefix="price",
    row=PriceRow,
    spec=PriceSpec,
    resource=resources.OwnPrice,
    check_name=check_free_name,
    extensible=True,
    problems=lambda edit, spec: problems(spec, set(edit.session.exec(select(ProviderRow.name)))),
    shown=lambda row, spec, now: {"spec": spec},
)
