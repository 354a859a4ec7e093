"""Prices that the operator sets, in the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlmodel import Session, select

from paig_client.api import resources
from paig_client.api.specs import PriceSpec
from paig_gateway.catalog.base import CatalogError, Edit, check_free_name
from paig_gateway.catalog.objects import Context, ObjectType
from paig_gateway.catalog.routes import no_provider
from paig_gateway.database.tables import PriceRow, ProviderRow
from paig_gateway.pricing.overrides import rate_problems


def problems(spec: PriceSpec, providers: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with a price, given the providers that there are: (field, message)."""
    yield from rate_problems(spec.rates)
    if spec.provider is not None and spec.provider not in providers:
        yield "provider", no_provider(spec.provider, providers)


def wire(row: PriceRow) -> resources.OwnPrice:
    """The price as the admin API shows it."""
    stamp = {"created_at": row.created_at / 1000, "updated_at": row.updated_at / 1000}
    return resources.OwnPrice.model_validate(
        {**row.model_dump(include={"id", "name", "version"}), **stamp, "spec": row.spec}
    )


def _normal(context: Context, row: PriceRow | None, spec: PriceSpec) -> PriceSpec:
    return spec


def _write(edit: Edit, row: PriceRow, spec: PriceSpec) -> None:
    for field, wrong in problems(spec, set(edit.session.exec(select(ProviderRow.name)))):
        raise CatalogError("invalid", wrong, field=field)
    row.spec = spec.model_dump(mode="json", exclude_defaults=True)
    edit.session.add(row)


def _read(session: Session, row: PriceRow) -> PriceSpec:
    return PriceSpec.model_validate(row.spec)


def _unlink(edit: Edit, row: PriceRow) -> None:
    """Nothing refers to a price: what was charged by it stays."""


def _blank(id: str, name: str, now: int) -> PriceRow:
    return PriceRow(id=id, name=name, created_at=now, updated_at=now)


SHAPE: ObjectType[PriceRow, PriceSpec] = ObjectType(
    kind="price",
    prefix="price",
    row=PriceRow,
    spec=PriceSpec,
    check_name=check_free_name,
    blank=_blank,
    normal=_normal,
    read=_read,
    write=_write,
    unlink=_unlink,
)
