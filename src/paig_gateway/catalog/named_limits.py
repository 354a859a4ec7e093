"""Named limits in the catalogue: the requests that each matches, and its caps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from sqlmodel import Session, select

from paig_client.api import resources
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import NamedLimitSpec
from paig_gateway.catalog import limits
from paig_gateway.catalog.base import Edit, Secrets, check_free_name, suggestion
from paig_gateway.catalog.objects import ObjectType, Problem
from paig_gateway.catalog.references import route_names
from paig_gateway.database.tables import KeyRow, NamedLimitRow, ProjectRow, ProviderRow, UserRow

NAMES: Mapping[str, Callable[[Session], set[str]]] = {
    "key": lambda session: set(session.exec(select(KeyRow.name))),
    "user": lambda session: set(session.exec(select(UserRow.name))),
    "project": lambda session: set(session.exec(select(ProjectRow.name))),
    "route": route_names,
    "provider": lambda session: set(session.exec(select(ProviderRow.name))),
}
"""The names that a limit's `match` may use, by kind."""


def problems(spec: NamedLimitSpec, known: Callable[[str], Collection[str]]) -> Iterator[Problem]:
    """The errors in a named limit: (field, message).

    Args:
        known: The names of the objects of a kind.
    """
    for kind in NAMES:
        name = getattr(spec.match, kind)
        if name is not None and name not in (names := known(kind)):
            yield f"match.{kind}", f"there is no {kind} '{name}'{suggestion(name, names) or ': make it first'}"


def _normal(secrets: Secrets, row: NamedLimitRow | None, spec: NamedLimitSpec) -> NamedLimitSpec:
    caps = limits.normal(spec.limits)
    return spec.model_copy(update={name: getattr(caps, name) for name in LimitsSpec.model_fields})


def _store(edit: Edit, row: NamedLimitRow, spec: NamedLimitSpec) -> NamedLimitSpec:
    before = NamedLimitSpec.model_validate(row.spec, extra="ignore")
    if (before.match, before.per) != (spec.match, spec.per):
        # The old counters do not apply to the new definition.
        limits.write(edit, "limit", row.id, LimitsSpec())
        row.spec = spec.model_dump(mode="json", exclude_defaults=True, exclude=set(LimitsSpec.model_fields))
        edit.session.add(row)
        edit.session.flush()
    return spec


NAMED_LIMITS: ObjectType[NamedLimitRow, NamedLimitSpec, resources.NamedLimit] = ObjectType(
    kind="limit",
    prefix="nlim",
    row=NamedLimitRow,
    spec=NamedLimitSpec,
    resource=resources.NamedLimit,
    check_name=check_free_name,
    limited=True,
    normal=_normal,
    problems=lambda edit, spec: problems(spec, lambda kind: NAMES[kind](edit.session)),
    store=_store,
)
