"""What can be done with all objects of one kind, each change in one transaction of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlmodel import Session, select

from paig_client.api import resources
from paig_client.api.resources import NewKey
from paig_client.api.specs import KeySpec, LimitsSpec, OwnerSpec
from paig_gateway.catalog import keys, limits, objects, owners
from paig_gateway.catalog.base import Edit
from paig_gateway.catalog.idempotency import Repeat, once
from paig_gateway.catalog.objects import ObjectType, R, S
from paig_gateway.catalog.transactions import Transactions
from paig_gateway.database.tables import KeyRow, LimitRow, ProjectRow, UserRow

W = TypeVar("W", bound=BaseModel)


class Collection(Generic[R, S, W]):
    """All objects of one kind. Each is addressed by its id or name; each change is one transaction."""

    def __init__(
        self, catalog: Transactions, kind: ObjectType[R, S], wire: Callable[[Session, Sequence[R]], Sequence[W]]
    ) -> None:
        """Bind a shape to a catalogue; `wire` turns rows into what the admin API shows."""
        self._catalog = catalog
        self._shape: ObjectType[R, S] = kind
        self._wire: Callable[[Session, Sequence[R]], Sequence[W]] = wire

    def list(self) -> Sequence[W]:
        """Every object, by name."""
        with self._catalog.view() as session:
            return self._wire(session, session.exec(select(self._shape.row).order_by(self._shape.row.name)).all())

    def get(self, reference: str) -> W:
        """One object.

        Raises:
            CatalogError: `not-found`.
        """
        with self._catalog.view() as session:
            return self._one(session, objects.get(session, self._shape, reference))

    def ensure(self, name: str, spec: S, *, actor: str) -> W:
        """The object of that name, made of `spec` if there is none.

        Raises:
            CatalogError: `invalid`.
        """
        with self._catalog.edit(actor) as edit:
            row = objects.find(edit.session, self._shape, name) or objects.create(edit, self._shape, name, spec)
            return self._one(edit.session, row)

    def create(self, name: str, spec: S, *, actor: str, repeat: Repeat[W] | None = None) -> W:
        """Make an object; with `repeat`, only if that has not made it before.

        Raises:
            CatalogError: `invalid`, `conflict` where the name is taken, or `idempotency-mismatch`.
        """
        with self._catalog.edit(actor) as edit:
            return once(edit, repeat, lambda: self._one(edit.session, objects.create(edit, self._shape, name, spec)))

    def update(self, reference: str, changes: Mapping[str, Any], *, actor: str, version: int | None = None) -> W:
        """Merge changes into an object, as RFC 7396 has it: null takes a field back to its default.

        Args:
            reference: Its id or name.
            changes: Fields of its Spec.
            actor: Who asks.
            version: The version that the change was made on; None for any.

        Raises:
            CatalogError: `not-found`, `invalid`, or `changed` where somebody else was faster.
        """
        with self._catalog.edit(actor) as edit:
            row = objects.get(edit.session, self._shape, reference)
            objects.check_version(self._shape, row, version)
            objects.update(edit, self._shape, row, changes)
            return self._one(edit.session, row)

    def delete(self, reference: str, *, actor: str, version: int | None = None) -> None:
        """Delete an object and its limits.

        Raises:
            CatalogError: `not-found`, `in-use`, or `changed` where somebody else was faster.
        """
        with self._catalog.edit(actor) as edit:
            row = objects.get(edit.session, self._shape, reference)
            objects.check_version(self._shape, row, version)
            objects.delete(edit, self._shape, row)

    def _one(self, session: Session, row: R) -> W:
        return self._wire(session, [row])[0]


class KeyCollection:
    """All keys. What is made or rotated answers its secret, once."""

    def __init__(self, catalog: Transactions) -> None:
        """Bind to a catalogue."""
        self._catalog = catalog
        self._all = Collection(catalog, keys.SHAPE, self._wire)

    def list(self) -> Sequence[resources.Key]:
        """Every key, by name."""
        return self._all.list()

    def get(self, reference: str) -> resources.Key:
        """One key.

        Raises:
            CatalogError: `not-found`.
        """
        return self._all.get(reference)

    def create(self, name: str, spec: KeySpec, *, actor: str, repeat: Repeat[NewKey] | None = None) -> NewKey:
        """Make a key of the value that `spec.secret` refers to, or of a new one; `repeat` as for other objects.

        Raises:
            CatalogError: `invalid`, `conflict` where the name or the value is taken, or `idempotency-mismatch`.
        """
        value = keys.chosen_value(spec.secret)

        def make() -> NewKey:
            row, secret = keys.create(edit, name, spec, value)
            return NewKey(id=row.id, name=row.name, key=secret)

        with self._catalog.edit(actor) as edit:
            return once(edit, repeat, make)

    def update(
        self, reference: str, changes: Mapping[str, Any], *, actor: str, version: int | None = None
    ) -> resources.Key:
        """Merge changes into a key, as `Collection.update` does; another `secret` gives it that value.

        Raises:
            CatalogError: `not-found`, `invalid`, `conflict`, or `changed` where somebody else was faster.
        """
        given = changes.get("secret")
        value = keys.chosen_value(given) if isinstance(given, str) else None
        with self._catalog.edit(actor) as edit:
            row = objects.get(edit.session, keys.SHAPE, reference)
            objects.check_version(keys.SHAPE, row, version)
            objects.update(edit, keys.SHAPE, row, changes)
            if value is not None:
                keys.set_value(edit, row, value)
            return self._wire(edit.session, [row])[0]

    def delete(self, reference: str, *, actor: str, version: int | None = None) -> None:
        """Delete a key and its limits; its requests stay in the ledger.

        Raises:
            CatalogError: `not-found`, or `changed` where somebody else was faster.
        """
        self._all.delete(reference, actor=actor, version=version)

    def rotate(self, reference: str, *, actor: str, version: int | None = None) -> NewKey:
        """Give a key a new secret; its id, its limits and what is spent of them stay.

        Raises:
            CatalogError: `not-found`, `changed`, or `conflict` where its value is chosen elsewhere.
        """
        with self._catalog.edit(actor) as edit:
            row = objects.get(edit.session, keys.SHAPE, reference)
            objects.check_version(keys.SHAPE, row, version)
            return NewKey(id=row.id, name=row.name, key=keys.rotate(edit, row))

    def set_state(self, reference: str, state: keys.State, *, actor: str, version: int | None = None) -> resources.Key:
        """Enable (`active`), disable or block a key.

        Raises:
            CatalogError: `not-found`, or `changed`.
        """
        with self._catalog.edit(actor) as edit:
            row = objects.get(edit.session, keys.SHAPE, reference)
            objects.check_version(keys.SHAPE, row, version)
            keys.set_state(edit, row, state)
            return self._wire(edit.session, [row])[0]

    def _wire(self, session: Session, rows: Sequence[KeyRow]) -> Sequence[resources.Key]:
        now = self._catalog.now()
        return [keys.wire(row, spec, now) for row, spec in key_specs(session, rows)]


class Organisation:
    """The limits of the whole gateway."""

    def __init__(self, catalog: Transactions) -> None:
        """Bind to a catalogue."""
        self._catalog = catalog

    def get(self) -> LimitsSpec:
        """The limits."""
        with self._catalog.view() as session:
            return read_organisation(session)

    def put(self, spec: LimitsSpec, *, actor: str) -> LimitsSpec:
        """Make the limits those of `spec`.

        Raises:
            CatalogError: `invalid`.
        """
        with self._catalog.edit(actor) as edit:
            write_organisation(edit, spec)
            return read_organisation(edit.session)

    def update(self, changes: Mapping[str, Any], *, actor: str) -> LimitsSpec:
        """Merge changes into the limits, as `Collection.update` does.

        Args:
            changes: Fields of an OwnerSpec.
            actor: Who asks.

        Raises:
            CatalogError: `invalid`.
        """
        with self._catalog.edit(actor) as edit:
            before = OwnerSpec(limits=read_organisation(edit.session))
            write_organisation(edit, objects.merged(before, changes).limits)
            return read_organisation(edit.session)


def read_organisation(session: Session) -> LimitsSpec:
    """The limits of the whole gateway."""
    return limits.spec_of(limits.rows_of(session, "organisation", limits.ORGANISATION_ID))


def write_organisation(edit: Edit, spec: LimitsSpec) -> None:
    """Make the limits of the whole gateway those of `spec`; nothing happens where they already are."""
    before, normal = read_organisation(edit.session), limits.normal(spec)
    if before == normal:
        return
    limits.write(edit, "organisation", limits.ORGANISATION_ID, normal)
    edit.record("update", "organisation", "organisation", objects.shown(before), objects.shown(normal))


def key_specs(session: Session, rows: Sequence[KeyRow]) -> list[tuple[KeyRow, KeySpec]]:
    """Keys with their Specs: by a handful of queries for any number of them."""
    if len(rows) == 1:
        return [(rows[0], keys.SHAPE.read(session, rows[0]))]
    projects = dict(session.exec(select(ProjectRow.id, ProjectRow.name)).all())
    users = dict(session.exec(select(UserRow.id, UserRow.name)).all())
    caps = _caps(session, "key")
    return [
        (
            row,
            keys.spec_of(
                row,
                projects.get(row.project_id or ""),
                users.get(row.user_id or ""),
                limits.spec_of(caps.get(row.id, ())),
            ),
        )
        for row in rows
    ]


def wire_owners(session: Session, rows: Sequence[UserRow]) -> list[resources.Owner]:
    """Users as the admin API shows them."""
    caps = _caps(session, "user", rows[0].id if len(rows) == 1 else None)
    return [owners.wire(row, limits.spec_of(caps.get(row.id, ()))) for row in rows]


def wire_projects(session: Session, rows: Sequence[ProjectRow]) -> list[resources.Project]:
    """Projects as the admin API shows them."""
    caps = _caps(session, "project", rows[0].id if len(rows) == 1 else None)
    return [owners.wire_project(row, limits.spec_of(caps.get(row.id, ()))) for row in rows]


def _caps(session: Session, owner_kind: str, owner_id: str | None = None) -> dict[str, list[LimitRow]]:
    query = select(LimitRow).where(LimitRow.owner_kind == owner_kind)
    if owner_id is not None:
        query = query.where(LimitRow.owner_id == owner_id)
    found: dict[str, list[LimitRow]] = {}
    for row in session.exec(query):
        found.setdefault(row.owner_id, []).append(row)
    return found
