"""Routes in the catalogue: members are named, so that they read like the configuration file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlmodel import Session, select

from paig_client.api import resources
from paig_client.api.specs import RouteSpec
from paig_gateway.catalog.base import CatalogError, Edit, check_url_name, suggestion
from paig_gateway.catalog.objects import Context, ObjectType
from paig_gateway.catalog.references import check_name_unused
from paig_gateway.database.tables import ProviderRow, RouteRow


def problems(spec: RouteSpec, providers: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with a route, given the providers that there are: (field, message)."""
    for number, member in enumerate(spec.members):
        if member.provider not in providers:
            yield f"members.{number}.provider", no_provider(member.provider, providers)
        if not -(2**31) <= member.priority < 2**31:
            yield f"members.{number}.priority", "is out of range"
        if member.weight >= 2**31:
            yield f"members.{number}.weight", "is out of range"


def no_provider(name: str, providers: Collection[str]) -> str:
    """What to say of a member whose provider there is not."""
    return f"there is no provider '{name}'{suggestion(name, providers) or ': make it first'}"


def read(row: RouteRow) -> RouteSpec:
    """The Spec that a row stands for."""
    # A newer gateway on the same database may have written options that this one does not know.
    options = {name: value for name, value in row.options.items() if name in RouteSpec.model_fields}
    return RouteSpec.model_validate({"members": row.members, **options})


def wire(row: RouteRow) -> resources.Route:
    """The route as the admin API shows it."""
    stamp: dict[str, Any] = row.model_dump(include={"id", "name", "version"})
    times = {"created_at": row.created_at / 1000, "updated_at": row.updated_at / 1000}
    return resources.Route.model_validate({**stamp, **times, **read(row).model_dump()})


def _normal(context: Context, row: RouteRow | None, spec: RouteSpec) -> RouteSpec:
    return spec


def _write(edit: Edit, row: RouteRow, spec: RouteSpec) -> None:
    for field, wrong in problems(spec, set(edit.session.exec(select(ProviderRow.name)))):
        raise CatalogError("invalid", wrong, field=field)
    row.members = [member.model_dump(mode="json", exclude_defaults=True) for member in spec.members]
    row.options = spec.model_dump(mode="json", exclude_defaults=True, exclude={"members"})
    edit.session.add(row)


def _read(session: Session, row: RouteRow) -> RouteSpec:
    return read(row)


def _unlink(edit: Edit, row: RouteRow) -> None:
    if edit.session.exec(select(ProviderRow.id).where(ProviderRow.name == row.name)).first() is None:
        check_name_unused(edit.session, "route", row.name)


def _blank(id: str, name: str, now: int) -> RouteRow:
    return RouteRow(id=id, name=name, created_at=now, updated_at=now)


SHAPE: ObjectType[RouteRow, RouteSpec] = ObjectType(
    kind="route",
    prefix="rte",
    row=RouteRow,
    spec=RouteSpec,
    check_name=check_url_name,
    blank=_blank,
    normal=_normal,
    read=_read,
    write=_write,
    unlink=_unlink,
)
