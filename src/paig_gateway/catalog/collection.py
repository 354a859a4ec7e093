"""The operations on all objects of one kind; each change is one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic

from sqlmodel import Session

from paig_client.api import resources
from paig_client.api.resources import NewKey
from paig_client.api.specs import KeySpec, OrganisationSpec
from paig_client.api.vocabulary import KeyState, WhenTight
from paig_gateway.catalog import keys, limits, objects, zones
from paig_gateway.catalog.base import CatalogError, Edit, suggestion
from paig_gateway.catalog.cap_warnings import cap_warnings
from paig_gateway.catalog.idempotency import Repeat, once
from paig_gateway.catalog.keys import KEYS
from paig_gateway.catalog.objects import ObjectType, R, S, W
from paig_gateway.catalog.owners import PROJECTS
from paig_gateway.catalog.references import route_names
from paig_gateway.catalog.transactions import Transactions
from paig_gateway.database.columns import moment
from paig_gateway.database.tables import KeyRow, MetaRow


class Collection(Generic[R, S, W]):
    """All objects of one kind. Each is addressed by its id or name; each change is one transaction."""

    def __init__(self, catalog: Transactions, type: ObjectType[R, S, W]) -> None:
        self._catalog = catalog
        self._type: ObjectType[R, S, W] = type

    def list(self) -> Sequence[W]:
        """Every object, by name."""
        with self._catalog.view() as session:
            return objects.resources(session, self._type, objects.rows(session, self._type), self._catalog.now())

    def get(self, reference: str) -> W:
        """One object.

        Raises:
            CatalogError: `not-found`.
        """
        with self._catalog.view() as session:
            return self._one(session, objects.get(session, self._type, reference))

    def create(self, name: str, spec: S, *, actor: str, repeat: Repeat[W] | None = None) -> W:
        """Make an object; with `repeat`, only if the same request has not made it before.

        Raises:
            CatalogError: `invalid`, `conflict` where the name is taken, or `idempotency-mismatch`.
        """
        with self._catalog.edit(actor) as edit:

            def make() -> W:
                row = objects.create(edit, self._type, name, spec)
                return self._one(edit.session, row, warnings(edit, self._type, row))

            return once(edit, repeat, make)

    def update(self, reference: str, changes: Mapping[str, Any], *, actor: str, version: int | None = None) -> W:
        """Merge changes into an object (RFC 7396): null takes a field back to its default.

        Args:
            reference: Its id or name.
            changes: Fields of its Spec.
            actor: The maker of the change.
            version: The version that the change was made on; None for any.

        Raises:
            CatalogError: `not-found`, `invalid`, or `changed` where another change was faster.
        """
        return self._edit(
            reference, actor, version, lambda edit, row: objects.update(edit, self._type, row, changes), warns=True
        )

    def delete(self, reference: str, *, actor: str, version: int | None = None) -> None:
        """Delete an object and its limits.

        Raises:
            CatalogError: `not-found`, `in-use`, or `changed` where another change was faster.
        """
        with self._catalog.edit(actor) as edit:
            row = objects.get(edit.session, self._type, reference)
            objects.check_version(self._type, row, version)
            objects.delete(edit, self._type, row)

    def _edit(
        self,
        reference: str,
        actor: str,
        version: int | None,
        change: Callable[[Edit, R], None],
        *,
        warns: bool = False,
    ) -> W:
        with self._catalog.edit(actor) as edit:
            row = objects.get(edit.session, self._type, reference)
            objects.check_version(self._type, row, version)
            change(edit, row)
            return self._one(edit.session, row, warnings(edit, self._type, row) if warns else ())

    def _one(self, session: Session, row: R, warnings: Sequence[str] = ()) -> W:
        found = objects.resources(session, self._type, [row], self._catalog.now())[0]
        return found.model_copy(update={"warnings": list(warnings)}) if warnings else found


class KeyCollection:
    """All keys. Creating and rotating return the secret, once."""

    def __init__(self, catalog: Transactions) -> None:
        self._catalog = catalog
        self._all = Collection(catalog, KEYS)

    def list(self) -> Sequence[resources.Key]:
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
        value = keys.chosen_value(spec.secret, self._catalog.secrets_for(actor).references)

        def make() -> NewKey:
            row, secret = keys.create(edit, name, spec, value)
            return NewKey(id=row.id, name=row.name, key=secret, warnings=warnings(edit, KEYS, row))

        with self._catalog.edit(actor) as edit:
            return once(edit, repeat, make)

    def update(
        self, reference: str, changes: Mapping[str, Any], *, actor: str, version: int | None = None
    ) -> resources.Key:
        """Merge changes into a key, as `Collection.update` does; another `secret` gives it that value.

        Raises:
            CatalogError: `not-found`, `invalid`, `conflict`, or `changed` where another change was faster.
        """
        given = changes.get("secret")
        references = self._catalog.secrets_for(actor).references
        value = keys.chosen_value(given, references) if isinstance(given, str) else None

        def change(edit: Edit, row: KeyRow) -> None:
            objects.update(edit, KEYS, row, changes)
            if value is not None:
                keys.set_value(edit, row, value)

        return self._all._edit(reference, actor, version, change, warns=True)

    def delete(self, reference: str, *, actor: str, version: int | None = None) -> None:
        """Delete a key and its limits; its requests stay in the ledger.

        Raises:
            CatalogError: `not-found`, or `changed` where another change was faster.
        """
        self._all.delete(reference, actor=actor, version=version)

    def rotate(
        self, reference: str, *, actor: str, version: int | None = None, overlap: timedelta = timedelta()
    ) -> NewKey:
        """Give a key a new secret; its id, its limits and their spent amounts stay.

        Args:
            reference: Its id or name.
            actor: The maker of the change.
            version: The version that it must have; None for any.
            overlap: How long the old secret is still accepted.

        Raises:
            CatalogError: `not-found`, `changed`, `invalid`, or `conflict` where its value is chosen elsewhere.
        """
        with self._catalog.edit(actor) as edit:
            row = objects.get(edit.session, KEYS, reference)
            objects.check_version(KEYS, row, version)
            return NewKey(id=row.id, name=row.name, key=keys.rotate(edit, row, overlap))

    def set_state(self, reference: str, state: KeyState, *, actor: str, version: int | None = None) -> resources.Key:
        """Enable (`active`), disable or block a key.

        Raises:
            CatalogError: `not-found`, or `changed`.
        """
        return self._all._edit(reference, actor, version, lambda edit, row: keys.set_state(edit, row, state))


def warnings(edit: Edit, type: ObjectType[R, S, W], row: R) -> list[str]:
    """Where the caps of a key, project or user are smaller than what one usual request holds."""
    if not type.limited or type.is_limit:
        return []
    spec = objects.read(edit.session, type, row)
    project = getattr(spec, "project", None)
    above = objects.find(edit.session, PROJECTS, project) if project is not None else None
    tight: WhenTight = (
        getattr(spec, "when_tight", None)
        or (above.spec.get("when_tight") if above is not None else None)
        or read_organisation(edit.session).when_tight
        or "fit"
    )
    return list(cap_warnings(limits.of(spec), getattr(spec, "models", None), tight, moment(edit.now)))


class OrganisationSettings:
    """The settings and limits of the whole gateway."""

    def __init__(self, catalog: Transactions) -> None:
        self._catalog = catalog

    def get(self) -> OrganisationSpec:
        with self._catalog.view() as session:
            return read_organisation(session)

    def put(self, spec: OrganisationSpec, *, actor: str) -> resources.Organisation:
        """Make the settings those of `spec`.

        Raises:
            CatalogError: `invalid`.
        """
        with self._catalog.edit(actor) as edit:
            _check_models(edit.session, spec)
            write_organisation(edit, spec)
            return _warned(edit, read_organisation(edit.session))

    def update(self, changes: Mapping[str, Any], *, actor: str) -> resources.Organisation:
        """Merge changes into the settings as `Collection.update` does.

        Raises:
            CatalogError: `invalid`.
        """
        with self._catalog.edit(actor) as edit:
            spec = objects.merged(read_organisation(edit.session), changes)
            _check_models(edit.session, spec)
            write_organisation(edit, spec)
            return _warned(edit, read_organisation(edit.session))


def _warned(edit: Edit, spec: OrganisationSpec) -> resources.Organisation:
    warnings = list(cap_warnings(spec.limits, None, spec.when_tight or "fit", moment(edit.now)))
    return resources.Organisation.model_validate({**dict(spec), "warnings": warnings})


def _check_models(session: Session, spec: OrganisationSpec) -> None:
    """See that the routes of models exist.

    Raises:
        CatalogError: `invalid`.
    """
    known = route_names(session) if spec.models else set()
    for pattern, route in spec.models.items():
        if route not in known:
            close = suggestion(route, known) or ": make it first"
            raise CatalogError("invalid", f"there is no route or provider '{route}'{close}", field=f"models.{pattern}")


def read_organisation(session: Session) -> OrganisationSpec:
    """The settings and limits of the whole gateway."""
    row = session.get(MetaRow, zones.ORGANISATION)
    stored = json.loads(row.text) if row is not None and row.text else {}
    caps = limits.spec_of(limits.rows_of(session, "organisation", limits.ORGANISATION_ID))
    return OrganisationSpec.model_validate({**stored, "limits": caps}, extra="ignore")


def normal_organisation(spec: OrganisationSpec) -> OrganisationSpec:
    """The settings in the one form in which they are read back.

    Raises:
        CatalogError: A limit is too large.
    """
    return spec.model_copy(update={"limits": limits.normal(spec.limits)})


def write_organisation(edit: Edit, spec: OrganisationSpec) -> None:
    """Set the settings of the whole gateway to `spec`; nothing happens if they are equal."""
    before, normal = read_organisation(edit.session), normal_organisation(spec)
    if before == normal:
        return
    row = edit.session.get(MetaRow, zones.ORGANISATION) or MetaRow(name=zones.ORGANISATION, value=0)
    row.text = json.dumps(normal.model_dump(mode="json", exclude_defaults=True, exclude={"limits"}))
    edit.session.add(row)
    edit.session.flush()
    limits.write(edit, "organisation", limits.ORGANISATION_ID, normal.limits)
    if before.timezone != normal.timezone:
        zones.follow_organisation(edit)
    edit.record("update", "organisation", "organisation", objects.shown(before), objects.shown(normal))
