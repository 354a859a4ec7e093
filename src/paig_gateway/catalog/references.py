"""References between objects: keys name routes and owners, and a named object cannot be deleted."""

from __future__ import annotations

import json

from sqlmodel import Session, col, select

from paig_gateway.catalog.base import CatalogError
from paig_gateway.catalog.zones import ORGANISATION
from paig_gateway.database.tables import AdminRow, KeyRow, MetaRow, NamedLimitRow, ProviderRow, RouteRow

_SHOWN = 5


def check_name_unused(session: Session, kind: str, name: str) -> None:
    """Refuse to delete the last provider or route of a name that a key is confined to.

    Raises:
        CatalogError: `in-use`.
    """
    keys = session.exec(select(KeyRow.name, col(KeyRow.spec)).order_by(KeyRow.name))
    _refuse(kind, name, [key for key, spec in keys if name in (spec.get("routes") or ())])


def check_owner_unused(session: Session, kind: str, id: str, name: str) -> None:
    """Refuse to delete a project or a user that has keys.

    Raises:
        CatalogError: `in-use`.
    """
    column = col(KeyRow.project_id if kind == "project" else KeyRow.user_id)
    _refuse(kind, name, list(session.exec(select(KeyRow.name).where(column == id).order_by(KeyRow.name))))


def check_no_grants(session: Session, project: str) -> None:
    """Refuse to delete a project that admins have roles in.

    Raises:
        CatalogError: `in-use`.
    """
    admins = session.exec(select(AdminRow.name, col(AdminRow.spec)).order_by(AdminRow.name))
    named = [
        admin for admin, spec in admins if any(grant.get("project") == project for grant in spec.get("grants", ()))
    ]
    _refuse("project", project, named, "admins")


def check_unlimited(session: Session, kind: str, name: str) -> None:
    """Refuse to delete an object that a named limit matches.

    Raises:
        CatalogError: `in-use`.
    """
    limits = session.exec(select(NamedLimitRow.name, col(NamedLimitRow.spec)).order_by(NamedLimitRow.name))
    _refuse(kind, name, [limit for limit, spec in limits if spec.get("match", {}).get(kind) == name], "limits")


def check_serves_no_model(session: Session, kind: str, name: str) -> None:
    """Refuse to delete the last provider or route of a name that `[models]` leads to.

    Raises:
        CatalogError: `in-use`.
    """
    row = session.get(MetaRow, ORGANISATION)
    models = json.loads(row.text).get("models", {}) if row is not None and row.text else {}
    _refuse(kind, name, sorted(model for model, route in models.items() if route == name), "entries of [models]")


def route_names(session: Session) -> set[str]:
    """Every name that a request can be sent to: routes, and providers as routes of their own."""
    return {*session.exec(select(RouteRow.name)), *session.exec(select(ProviderRow.name))}


def _refuse(kind: str, name: str, users: list[str], what: str = "keys") -> None:
    if not users:
        return
    more = f" and {len(users) - _SHOWN} more" if len(users) > _SHOWN else ""
    listed = ", ".join(f"'{user}'" for user in users[:_SHOWN])
    raise CatalogError(
        "in-use", f"The {kind} '{name}' is named by the {what} {listed}{more}: change or delete them first."
    )
