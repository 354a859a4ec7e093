"""One way to make, change and delete any kind of object; each kind is a record of functions (a `ObjectType`).

All functions here work inside an open `Edit`; `Catalog` opens one for each call, `config.apply` one for a whole file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from sqlmodel import Session, SQLModel, select

from paig_client.api.specs import Spec
from paig_gateway.catalog.base import CatalogError, Edit, Kinds, is_id, new_id
from paig_gateway.catalog.credentials import is_mask
from paig_gateway.database.tables import AdminRow, KeyRow, PriceRow, ProjectRow, ProviderRow, RouteRow, UserRow
from paig_gateway.secrets.vault import Vault

R = TypeVar("R", ProviderRow, RouteRow, PriceRow, ProjectRow, UserRow, KeyRow, AdminRow)
S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Context:
    """What validation may consult besides the Spec itself."""

    kinds: Kinds
    vault: Vault


@dataclass(frozen=True)
class ObjectType(Generic[R, S]):
    """What sets one kind of object apart.

    Attributes:
        kind: Its name in messages and in the audit log.
        prefix: What its ids begin with.
        check_name: What is wrong with a name, or None.
        blank: A row with nothing but id, name and times.
        normal: A Spec in the one form that is stored, given the row if there is one already; raises CatalogError.
        read: The Spec that a row stands for.
        write: Put a normal Spec onto a row and into its limits; raises CatalogError for what it refers to in vain.
        unlink: Undo what refers to the row, or raise CatalogError `in-use`.
    """

    kind: str
    prefix: str
    row: type[R]
    spec: type[S]
    check_name: Callable[[str], str | None]
    blank: Callable[[str, str, int], R]
    normal: Callable[[Context, R | None, S], S]
    read: Callable[[Session, R], S]
    write: Callable[[Edit, R, S], None]
    unlink: Callable[[Edit, R], None]


def find(session: Session, shape: ObjectType[R, S], reference: str) -> R | None:
    """The object of that id or name, or None."""
    if is_id(reference):
        return session.get(shape.row, reference)
    if shape.check_name(reference):
        return None  # nothing has such a name, and a database may stumble over it
    return session.exec(select(shape.row).where(shape.row.name == reference)).first()


def get(session: Session, shape: ObjectType[R, S], reference: str) -> R:
    """The object of that id or name.

    Raises:
        CatalogError: `not-found`.
    """
    found = find(session, shape, reference)
    if found is None:
        raise CatalogError("not-found", f"There is no {shape.kind} '{reference}': `paig {shape.kind}s list` shows all.")
    return found


def create(edit: Edit, shape: ObjectType[R, S], name: str, spec: S) -> R:
    """Make an object.

    Raises:
        CatalogError: `invalid`, or `conflict` where the name is taken.
    """
    wrong = shape.check_name(name)
    if wrong:
        raise CatalogError("invalid", wrong, field="name")
    if find(edit.session, shape, name) is not None:
        article = "an" if shape.kind[0] in "aeio" else "a"
        raise CatalogError(
            "conflict", f"There is {article} {shape.kind} '{name}' already: choose another name or change it."
        )
    normal = shape.normal(Context(edit.kinds, edit.vault), None, spec)
    row = shape.blank(new_id(shape.prefix), name, edit.now)
    shape.write(edit, row, normal)
    edit.session.flush()
    edit.record("create", shape.kind, name, None, shown(normal), project_id=project_of(row))
    return row


def put(edit: Edit, shape: ObjectType[R, S], row: R, spec: S) -> None:
    """Make an object what `spec` says; nothing happens where it already is.

    Raises:
        CatalogError: `invalid`.
    """
    before, old_project = shape.read(edit.session, row), project_of(row)
    normal = shape.normal(Context(edit.kinds, edit.vault), row, spec)
    if normal == before:
        return
    shape.write(edit, row, normal)
    touch(edit, row)
    edit.session.flush()
    project = project_of(row)
    edit.record(
        "update", shape.kind, row.name, shown(before), shown(normal),
        project_id=project, old_project_id=old_project if old_project != project else None,
    )  # fmt: skip


def update(edit: Edit, shape: ObjectType[R, S], row: R, changes: Mapping[str, Any]) -> None:
    """Merge changes into an object, as RFC 7396 has it: null takes a field back to its default.

    Raises:
        CatalogError: `invalid`.
    """
    put(edit, shape, row, merged(shape.read(edit.session, row), changes))


def merged(spec: S, changes: Mapping[str, Any]) -> S:
    """A Spec with changes, as RFC 7396 has it.

    Raises:
        CatalogError: `invalid`.
    """
    try:
        return type(spec).model_validate(_merge(spec.model_dump(mode="json"), changes))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        message = "unknown field" if first["type"] == "extra_forbidden" else first["msg"]
        raise CatalogError("invalid", message, field=".".join(map(str, first["loc"]))) from None


def delete(edit: Edit, shape: ObjectType[R, S], row: R) -> None:
    """Delete an object and its limits.

    Raises:
        CatalogError: `in-use`.
    """
    before = shape.read(edit.session, row)
    shape.unlink(edit, row)
    edit.session.delete(row)
    edit.session.flush()
    edit.record("delete", shape.kind, row.name, shown(before), None, project_id=project_of(row))


def project_of(row: SQLModel) -> str | None:
    """The id of the project that an object is, or belongs to."""
    if isinstance(row, ProjectRow):
        return row.id
    return row.project_id if isinstance(row, KeyRow) else None


def touch(edit: Edit, row: R) -> None:
    """Note on the row that it has changed."""
    row.version += 1
    row.updated_at = edit.now
    edit.session.add(row)


def check_version(shape: ObjectType[R, S], row: R, version: int | None) -> None:
    """Refuse a change that was made on an older version than the stored one.

    Raises:
        CatalogError: `changed`.
    """
    if version is not None and version != row.version:
        raise CatalogError(
            "changed",
            f"The {shape.kind} '{row.name}' has changed meanwhile (it is at version {row.version}, not {version}): "
            "read it again and repeat the change.",
        )


def shown(spec: Spec) -> dict[str, Any]:
    """A Spec as the audit log and plans show it: only what is set, and no secret."""
    values: dict[str, Any] = spec.model_dump(mode="json", exclude_defaults=True)
    for name in ("credential", "secret"):
        if name in values:
            values[name] = _masked(values[name])
    if "credentials" in values:
        values["credentials"] = [_masked(text) for text in values["credentials"]]
    return values


def _masked(credential: str) -> str:
    new = credential.startswith("value:") and not is_mask(credential)
    return "value:<new>" if new else credential


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in changes.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(into.get(name), dict):
            into[name] = _merge(into[name], value)
        else:
            into[name] = value
    return into
