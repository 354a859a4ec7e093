"""Projects and users: names that keys belong to, and their limits."""

from __future__ import annotations

from typing import Literal, TypeVar

from sqlmodel import Session

from paig_client import schema
from paig_client.schema import LimitsSpec, OwnerSpec
from paig_gateway.store.catalog import limits
from paig_gateway.store.catalog.base import Edit, check_free_name
from paig_gateway.store.catalog.references import check_owner_unused
from paig_gateway.store.catalog.shape import Context, Shape
from paig_gateway.store.tables import ProjectRow, UserRow

O = TypeVar("O", ProjectRow, UserRow)  # noqa: E741


def wire(row: ProjectRow | UserRow, caps: LimitsSpec) -> schema.Owner:
    """The project or user as the admin API shows it."""
    return schema.Owner.model_validate(
        {
            **row.model_dump(include={"id", "name", "version"}),
            "created_at": row.created_at / 1000,
            "updated_at": row.updated_at / 1000,
            "limits": caps,
        }
    )


def _shape(kind: Literal["project", "user"], prefix: str, table: type[O]) -> Shape[O, OwnerSpec]:
    def blank(id: str, name: str, now: int) -> O:
        return table(id=id, name=name, created_at=now, updated_at=now)

    def normal(context: Context, row: O | None, spec: OwnerSpec) -> OwnerSpec:
        return OwnerSpec(limits=limits.normal(spec.limits))

    def read(session: Session, row: O) -> OwnerSpec:
        return OwnerSpec(limits=limits.spec_of(limits.rows_of(session, kind, row.id)))

    def write(edit: Edit, row: O, spec: OwnerSpec) -> None:
        edit.session.add(row)
        limits.write(edit, kind, row.id, spec.limits)

    def unlink(edit: Edit, row: O) -> None:
        check_owner_unused(edit.session, kind, row.id, row.name)
        limits.write(edit, kind, row.id, LimitsSpec())

    return Shape(
        kind=kind,
        prefix=prefix,
        row=table,
        spec=OwnerSpec,
        check_name=check_free_name,
        blank=blank,
        normal=normal,
        read=read,
        write=write,
        unlink=unlink,
    )


PROJECTS = _shape("project", "proj", ProjectRow)
USERS = _shape("user", "user", UserRow)
