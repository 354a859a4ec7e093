"""Routes in the catalogue: members name their providers, as in the configuration file."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlmodel import select

from paig_client.api import resources
from paig_client.api.specs import RouteSpec
from paig_gateway.catalog.base import Edit, check_url_name, suggestion
from paig_gateway.catalog.objects import ObjectType, Problem
from paig_gateway.catalog.references import check_name_unused, check_serves_no_model, check_unlimited
from paig_gateway.database.tables import ProviderRow, RouteRow


def problems(spec: RouteSpec, providers: Collection[str]) -> Iterator[Problem]:
    """The errors in a route, given the providers: (field, message)."""
    for number, member in enumerate(spec.members):
        if member.provider not in providers:
            yield f"members.{number}.provider", no_provider(member.provider, providers)
        if not -(2**31) <= member.priority < 2**31:
            yield f"members.{number}.priority", "is out of range"
        if member.weight >= 2**31:
            yield f"members.{number}.weight", "is out of range"


def no_provider(name: str, providers: Collection[str]) -> str:
    """The message for a name that no provider has."""
    return f"there is no provider '{name}'{suggestion(name, providers) or ': make it first'}"


def _unlink(edit: Edit, row: RouteRow) -> None:
    if edit.session.exec(select(ProviderRow.id).where(ProviderRow.name == row.name)).first() is None:
        check_name_unused(edit.session, "route", row.name)
        check_unlimited(edit.session, "route", row.name)
        check_serves_no_model(edit.session, "route", row.name)


ROUTES: ObjectType[RouteRow, RouteSpec, resources.Route] = ObjectType(
    kind="route",
    prefix="rte",
    row=RouteRow,
    spec=RouteSpec,
    resource=resources.Route,
    check_name=check_url_name,
    problems=lambda edit, spec: problems(spec, set(edit.session.exec(select(ProviderRow.name)))),
    unlink=_unlink,
)
