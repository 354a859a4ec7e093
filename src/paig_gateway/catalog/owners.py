"""Projects and users: names that keys belong to, and their limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from sqlmodel import Session

from paig_client.api import resources
from paig_client.api.specs import LimitsSpec, OwnerSpec, ProjectSpec, ProjectTelemetry
from paig_gateway.catalog import limits
from paig_gateway.catalog.base import Edit, check_free_name
from paig_gateway.catalog.objects import Context, ObjectType
from paig_gateway.catalog.references import check_no_grants, check_owner_unused
from paig_gateway.database.tables import ProjectRow, UserRow

O = TypeVar("O", ProjectRow, UserRow)  # noqa: E741
P = TypeVar("P", bound=OwnerSpec)


def wire(row: UserRow, caps: LimitsSpec) -> resources.Owner:
    """The user as the admin API shows it."""
    return resources.Owner.model_validate(_common(row, caps))


def wire_project(row: ProjectRow, caps: LimitsSpec) -> resources.Project:
    """The project as the admin API shows it."""
    return resources.Project.model_validate({**_common(row, caps), "telemetry": telemetry(row.telemetry)})


def telemetry(stored: Mapping[str, Any] | None) -> ProjectTelemetry:
    """What a project has set of its own; without what only a newer gateway on the same database knows."""
    known = {name: value for name, value in (stored or {}).items() if name in ProjectTelemetry.model_fields}
    return ProjectTelemetry.model_validate(known)


def _common(row: ProjectRow | UserRow, caps: LimitsSpec) -> dict[str, object]:
    return {
        **row.model_dump(include={"id", "name", "version"}),
        "created_at": row.created_at / 1000,
        "updated_at": row.updated_at / 1000,
        "limits": caps,
    }


def _shape(
    kind: Literal["project", "user"],
    prefix: str,
    table: type[O],
    spec_of: type[P],
    own: Callable[[O], dict[str, object]],
    keep: Callable[[O, P], None],
) -> ObjectType[O, P]:
    """The shape of one kind; `own` reads from a row what only this kind has, and `keep` puts it there."""

    def blank(id: str, name: str, now: int) -> O:
        return table(id=id, name=name, created_at=now, updated_at=now)

    def normal(context: Context, row: O | None, spec: P) -> P:
        return spec_of.model_validate({**dict(spec), "limits": limits.normal(spec.limits)})

    def read(session: Session, row: O) -> P:
        return spec_of.model_validate({"limits": limits.spec_of(limits.rows_of(session, kind, row.id)), **own(row)})

    def write(edit: Edit, row: O, spec: P) -> None:
        keep(row, spec)
        edit.session.add(row)
        limits.write(edit, kind, row.id, spec.limits)

    def unlink(edit: Edit, row: O) -> None:
        check_owner_unused(edit.session, kind, row.id, row.name)
        check_no_grants(edit.session, row.id, row.name)
        limits.write(edit, kind, row.id, LimitsSpec())

    return ObjectType(
        kind=kind,
        prefix=prefix,
        row=table,
        spec=spec_of,
        check_name=check_free_name,
        blank=blank,
        normal=normal,
        read=read,
        write=write,
        unlink=unlink,
    )


def _own(row: ProjectRow) -> dict[str, object]:
    return {"telemetry": telemetry(row.telemetry)}


def _keep(row: ProjectRow, spec: ProjectSpec) -> None:
    row.telemetry = spec.telemetry.model_dump(mode="json", exclude_defaults=True) or None


PROJECTS = _shape("project", "proj", ProjectRow, ProjectSpec, _own, _keep)
USERS = _shape("user", "user", UserRow, OwnerSpec, lambda row: {}, lambda row, spec: None)
