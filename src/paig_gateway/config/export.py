"""Writes the catalogue as a `paig.toml` that, applied to the same catalogue, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlmodel import Session

from paig_client.api import toml
from paig_client.api.fields import Spec
from paig_gateway.catalog import Catalog, objects
from paig_gateway.catalog.collection import read_organisation
from paig_gateway.catalog.keys import KEYS
from paig_gateway.catalog.logins import made_by_login
from paig_gateway.catalog.named_limits import NAMED_LIMITS
from paig_gateway.catalog.objects import ObjectType
from paig_gateway.catalog.owners import PROJECTS, USERS
from paig_gateway.catalog.prices import PRICES
from paig_gateway.catalog.providers import PROVIDERS
from paig_gateway.catalog.routes import ROUTES

_TYPES: tuple[ObjectType[Any, Any, Any], ...] = (PROVIDERS, ROUTES, PRICES, PROJECTS, USERS, KEYS, NAMED_LIMITS)


def export(catalog: Catalog) -> str:
    """All of the catalogue as TOML.

    References to credentials are shown as they were written. A secret that only the catalogue has is not shown: a
    literal credential is written as `value:<stored>`, which keeps it, and a key made here has no `secret` at all.
    Users and keys that logins by single sign-on made are left out: the next login makes them.
    """
    with catalog.view() as session:
        return "\n".join(_document(session))


def _document(session: Session) -> Iterator[str]:
    organisation = _fields(read_organisation(session))
    models = organisation.pop("models", None)
    if organisation:
        yield toml.table("organisation", organisation)
    if isinstance(models, dict):
        yield toml.table("models", models)
    for type in _TYPES:
        rows = [row for row in objects.rows(session, type) if not made_by_login(row)]
        names = [row.name for row in rows]
        yield from _tables(f"{type.kind}s", zip(names, objects.specs(session, type, rows), strict=True))


def _tables(table: str, specs: Iterable[tuple[str, Spec]]) -> Iterator[str]:
    for name, spec in specs:
        yield toml.table(f"{table}.{toml.key(name)}", _fields(spec))


def _fields(spec: Spec) -> dict[str, object]:
    return spec.model_dump(exclude_defaults=True)
