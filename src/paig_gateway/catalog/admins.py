"""Admins: who may do what in the gateway, or in single projects of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, delete, select

from paig_client.api import resources
from paig_client.api.specs import AdminSpec, GrantSpec
from paig_gateway.catalog.base import CatalogError, Edit, check_free_name, suggestion
from paig_gateway.catalog.objects import Context, ObjectType
from paig_gateway.database.tables import AdminRow, ProjectRow, TokenRow


def wire(session: Session, rows: Sequence[AdminRow]) -> list[resources.Admin]:
    """Admins as the admin API shows them."""
    return [
        resources.Admin.model_validate(
            {
                **row.model_dump(include={"id", "name", "version", "active"}),
                "created_at": row.created_at / 1000,
                "updated_at": row.updated_at / 1000,
                "grants": _read(session, row).grants,
                "sso": row.subject is not None,
            }
        )
        for row in rows
    ]


def _normal(context: Context, row: AdminRow | None, spec: AdminSpec) -> AdminSpec:
    unique = {(grant.project or "", grant.role): grant for grant in spec.grants}
    return AdminSpec(grants=[unique[place] for place in sorted(unique)], active=spec.active)


def _read(session: Session, row: AdminRow) -> AdminSpec:
    grants = []
    for grant in row.grants:
        project = session.get(ProjectRow, grant["project_id"]) if grant["project_id"] else None
        grants.append(GrantSpec(role=grant["role"], project=project.name if project else None))
    return AdminSpec(grants=grants, active=row.active)


def _write(edit: Edit, row: AdminRow, spec: AdminSpec) -> None:
    known: dict[str, str] = dict(edit.session.exec(select(ProjectRow.name, ProjectRow.id)).all())
    grants: list[dict[str, Any]] = []
    for number, grant in enumerate(spec.grants):
        if grant.project is not None and grant.project not in known:
            raise CatalogError(
                "invalid",
                f"there is no project '{grant.project}': make it first{suggestion(grant.project, known)}",
                field=f"grants.{number}.project",
            )
        grants.append({"role": grant.role, "project_id": known[grant.project] if grant.project is not None else None})
    row.grants, row.active = grants, spec.active
    edit.session.add(row)


def _unlink(edit: Edit, row: AdminRow) -> None:
    edit.session.exec(delete(TokenRow).where(col(TokenRow.admin_id) == row.id))


def _blank(id: str, name: str, now: int) -> AdminRow:
    return AdminRow(id=id, name=name, created_at=now, updated_at=now)


SHAPE: ObjectType[AdminRow, AdminSpec] = ObjectType(
    kind="admin",
    prefix="adm",
    row=AdminRow,
    spec=AdminSpec,
    check_name=check_free_name,
    blank=_blank,
    normal=_normal,
    read=_read,
    write=_write,
    unlink=_unlink,
)
