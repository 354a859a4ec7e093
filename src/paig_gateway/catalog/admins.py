"""Admins: people and programs with roles in the gateway, or in single projects."""

from __future__ import annotations

from collections.abc import Iterable

from sqlmodel import col, delete, select

from paig_client.api import resources
from paig_client.api.specs import AdminSpec
from paig_gateway.catalog.base import Edit, Secrets, check_free_name, suggestion
from paig_gateway.catalog.objects import ObjectType, Problem
from paig_gateway.database.tables import AdminRow, ProjectRow, TokenRow


def _normal(secrets: Secrets, row: AdminRow | None, spec: AdminSpec) -> AdminSpec:
    unique = {(grant.project or "", grant.role): grant for grant in spec.grants}
    return AdminSpec(grants=[unique[place] for place in sorted(unique)], active=spec.active)


def _problems(edit: Edit, spec: AdminSpec) -> Iterable[Problem]:
    known = set(edit.session.exec(select(ProjectRow.name)))
    for number, grant in enumerate(spec.grants):
        if grant.project is not None and grant.project not in known:
            close = suggestion(grant.project, known)
            yield f"grants.{number}.project", f"there is no project '{grant.project}': make it first{close}"


def _unlink(edit: Edit, row: AdminRow) -> None:
    edit.session.exec(delete(TokenRow).where(col(TokenRow.admin_id) == row.id))


ADMINS: ObjectType[AdminRow, AdminSpec, resources.Admin] = ObjectType(
    kind="admin",
    prefix="adm",
    row=AdminRow,
    spec=AdminSpec,
    resource=resources.Admin,
    check_name=check_free_name,
    normal=_normal,
    problems=_problems,
    unlink=_unlink,
    shown=lambda row, spec, now: {"sso": row.subject is not None},
)
