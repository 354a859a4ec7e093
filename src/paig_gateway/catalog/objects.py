"""Reads, creates, changes and deletes objects of any kind; each kind is a record of functions (an `ObjectType`).

All functions here work inside an open `Edit` or session; `Catalog` opens one for each call, `config.apply` one for a
whole file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import ValidationError
from sqlmodel import Session, SQLModel, select

from paig_client.api.fields import Spec
from paig_client.api.limits import Amounts, LimitsSpec
from paig_client.api.resources import Resource
from paig_client.api.vocabulary import OwnerKind
from paig_gateway.catalog import limits, zones
from paig_gateway.catalog.base import CatalogError, Edit, Secrets, is_id, new_id
from paig_gateway.catalog.credentials import is_mask
from paig_gateway.database.columns import moment
from paig_gateway.database.tables import (
    AdminRow,
    KeyRow,
    NamedLimitRow,
    PriceRow,
    ProjectRow,
    ProviderRow,
    RouteRow,
    UserRow,
)

R = TypeVar("R", ProviderRow, RouteRow, PriceRow, ProjectRow, UserRow, KeyRow, AdminRow, NamedLimitRow)
S = TypeVar("S", bound=Spec)
W = TypeVar("W", bound=Resource)

Problem = tuple[str, str]
"""A field and its error."""


def _unlinked(edit: Edit, row: Any) -> None:
    """Nothing refers to the object."""


@dataclass(frozen=True)
class ObjectType(Generic[R, S, W]):
    """The specifics of one kind of object.

    Attributes:
        kind: Its name in messages and in the audit log.
        prefix: The prefix of its ids.
        check_name: Returns the error in a name, or None.
        limited: Whether its objects have limits, which are rows of their own.
        extensible: Whether its Spec takes fields of any name.
        normal: Returns a Spec in the stored form, given the row if there is one; raises CatalogError.
        problems: Returns the errors in a spec, given the rest of the catalogue.
        store: Sets the row's columns that queries use; returns the spec to store, without secrets.
        unlink: Removes references to the row, or raises CatalogError `in-use`.
        shown: Returns the fields of a resource besides its Spec's, at a moment in milliseconds since the epoch.
    """

    kind: str
    prefix: str
    row: type[R]
    spec: type[S]
    resource: type[W]
    check_name: Callable[[str], str | None]
    limited: bool = False
    extensible: bool = False
    normal: Callable[[Secrets, R | None, S], S] = lambda secrets, row, spec: spec
    problems: Callable[[Edit, S], Iterable[Problem]] = lambda edit, spec: ()
    store: Callable[[Edit, R, S], S] = lambda edit, row, spec: spec
    unlink: Callable[[Edit, R], None] = _unlinked
    shown: Callable[[R, S, int], Mapping[str, Any]] = lambda row, spec, now: {}

    @property
    def is_limit(self) -> bool:
        """Whether its Spec is itself a limit, with the caps among its fields."""
        return issubclass(self.spec, Amounts)

    @property
    def owner_kind(self) -> OwnerKind:
        return cast(OwnerKind, self.kind)


def read(session: Session, type: ObjectType[R, S, W], row: R) -> S:
    """The Spec of a row."""
    return specs(session, type, [row])[0]


def specs(session: Session, type: ObjectType[R, S, W], rows: Sequence[R]) -> list[S]:
    """The Specs of rows, with one query for any number of them."""
    caps = limits.by_owner(session, type.owner_kind, [row.id for row in rows]) if type.limited else {}
    return [spec_of(type, row.spec, caps.get(row.id)) for row in rows]


def spec_of(type: ObjectType[R, S, W], stored: Mapping[str, Any], caps: LimitsSpec | None = None) -> S:
    """The Spec of a row, given its `spec` column and its limits."""
    fields = dict(stored)
    if type.limited:
        own = caps or LimitsSpec()
        fields |= dict(own) if type.is_limit else {"limits": own}
    # A newer gateway on the same database may have stored fields that this version does not have.
    return type.spec.model_validate(fields, extra=None if type.extensible else "ignore")


def resources(session: Session, type: ObjectType[R, S, W], rows: Sequence[R], now: int) -> list[W]:
    """The objects as the admin API shows them."""
    return [
        type.resource.model_validate(
            {
                **dict(spec),
                "id": row.id,
                "name": row.name,
                "version": row.version,
                "created_at": moment(row.created_at),
                "updated_at": moment(row.updated_at),
                **type.shown(row, spec, now),
            }
        )
        for row, spec in zip(rows, specs(session, type, rows), strict=True)
    ]


def rows(session: Session, type: ObjectType[R, S, W]) -> Sequence[R]:
    """Every row of a kind, by name."""
    return session.exec(select(type.row).order_by(type.row.name)).all()


def find(session: Session, type: ObjectType[R, S, W], reference: str) -> R | None:
    """The object of that id or name, or None."""
    if is_id(reference):
        return session.get(type.row, reference)
    if type.check_name(reference):
        return None  # no object has such a name, and a database may not accept it as a value
    return session.exec(select(type.row).where(type.row.name == reference)).first()


def get(session: Session, type: ObjectType[R, S, W], reference: str) -> R:
    """The object of that id or name.

    Raises:
        CatalogError: `not-found`.
    """
    found = find(session, type, reference)
    if found is None:
        raise CatalogError("not-found", f"There is no {type.kind} '{reference}': `paig {type.kind}s list` shows all.")
    return found


def create(edit: Edit, type: ObjectType[R, S, W], name: str, spec: S, **columns: Any) -> R:
    """Make an object.

    Args:
        spec: Its new settings.
        **columns: Columns of its row that its Spec does not decide.

    Raises:
        CatalogError: `invalid`, or `conflict` where the name is taken.
    """
    wrong = type.check_name(name)
    if wrong:
        raise CatalogError("invalid", wrong, field="name")
    if find(edit.session, type, name) is not None:
        article = "an" if type.kind[0] in "aeio" else "a"
        raise CatalogError(
            "conflict", f"There is {article} {type.kind} '{name}' already: choose another name or change it."
        )
    normal = type.normal(edit.secrets, None, spec)
    row = type.row(id=new_id(type.prefix), name=name, created_at=edit.now, updated_at=edit.now, **columns)
    _write(edit, type, row, normal)
    edit.record("create", type.kind, name, None, shown(normal), project_id=project_of(row))
    return row


def put(edit: Edit, type: ObjectType[R, S, W], row: R, spec: S) -> None:
    """Set an object to `spec`; nothing happens if it is equal.

    Raises:
        CatalogError: `invalid`.
    """
    before, old_project = read(edit.session, type, row), project_of(row)
    normal = type.normal(edit.secrets, row, spec)
    if normal == before:
        return
    _write(edit, type, row, normal)
    touch(edit, row)
    project = project_of(row)
    edit.record(
        "update", type.kind, row.name, shown(before), shown(normal),
        project_id=project, old_project_id=old_project if old_project != project else None,
    )  # fmt: skip


def _write(edit: Edit, type: ObjectType[R, S, W], row: R, normal: S) -> None:
    for field, wrong in type.problems(edit, normal):
        raise CatalogError("invalid", wrong, field=field)
    stored = type.store(edit, row, normal)
    apart = set(LimitsSpec.model_fields) if type.is_limit else {"limits"} if type.limited else None
    row.spec = stored.model_dump(mode="json", exclude_defaults=True, exclude=apart)
    edit.session.add(row)
    edit.session.flush()
    if type.limited:
        limits.write(edit, type.owner_kind, row.id, limits.of(normal))
        zones.follow(edit, type.owner_kind, row.id)


def update(edit: Edit, type: ObjectType[R, S, W], row: R, changes: Mapping[str, Any]) -> None:
    """Merge changes into an object (RFC 7396): null takes a field back to its default.

    Raises:
        CatalogError: `invalid`.
    """
    put(edit, type, row, merged(read(edit.session, type, row), changes))


def merged(spec: S, changes: Mapping[str, Any]) -> S:
    """A Spec with changes merged into it (RFC 7396).

    Raises:
        CatalogError: `invalid`.
    """
    try:
        return type(spec).model_validate(_merge(spec.model_dump(mode="json"), changes))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        message = "unknown field" if first["type"] == "extra_forbidden" else first["msg"]
        raise CatalogError("invalid", message, field=".".join(map(str, first["loc"]))) from None


def delete(edit: Edit, type: ObjectType[R, S, W], row: R) -> None:
    """Delete an object and its limits.

    Raises:
        CatalogError: `in-use`.
    """
    before = read(edit.session, type, row)
    type.unlink(edit, row)
    if type.limited:
        limits.write(edit, type.owner_kind, row.id, LimitsSpec())
    edit.session.delete(row)
    edit.session.flush()
    edit.record("delete", type.kind, row.name, shown(before), None, project_id=project_of(row))


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
    edit.session.flush()


def check_version(type: ObjectType[R, S, W], row: R, version: int | None) -> None:
    """Refuse a change that was made on an older version than the stored one.

    Raises:
        CatalogError: `changed`.
    """
    if version is not None and version != row.version:
        raise CatalogError(
            "changed",
            f"The {type.kind} '{row.name}' has changed meanwhile (it is at version {row.version}, not {version}): "
            "read it again and repeat the change.",
        )


def shown(spec: Spec) -> dict[str, Any]:
    """A spec as the audit log and plans show it: only the values that are set, and no secrets."""
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
