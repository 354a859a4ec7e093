"""From a checked configuration to changes of the catalogue: shown as a plan, applied in one transaction."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlmodel import Session, col, func, select

from paig_client.api.resources import AuditEntry, NewKey
from paig_client.api.specs import KeySpec, LimitsSpec, Spec
from paig_gateway.catalog import Catalog, CatalogError, Edit, keys, limits, objects, owners, prices, providers, routes
from paig_gateway.catalog.base import moment
from paig_gateway.catalog.collection import read_organisation, write_organisation
from paig_gateway.catalog.objects import Context, ObjectType, R, S
from paig_gateway.config.lines import Path
from paig_gateway.config.model import Config, ConfigError, Issue
from paig_gateway.database.tables import AuditRow

Action = Literal["create", "change", "delete"]
SIGNS: Mapping[Action, str] = {"create": "+", "change": "~", "delete": "-"}
CONFIGURATION = "configuration"
"""The kind of the audit entry that says that a file was applied; the entries of its changes stand before it."""
BY_HAND = ("create", "update", "delete")
KINDS = ("organisation", "provider", "route", "price", "project", "user", "key")
"""What a file could have said; turning a key off or giving it a new secret is none of its business, nor are admins."""


@dataclass(frozen=True)
class Change:
    """One object that is to be made, changed or deleted.

    Attributes:
        kind: `provider`, `route`, `price`, `project`, `user`, `key` or `organisation`.
        changes: What becomes of each field: (before, after), None where there is none. Never a secret.
    """

    action: Action
    kind: str
    name: str
    changes: Mapping[str, tuple[object, object]]
    carry_out: Callable[[Edit], NewKey | None] = field(repr=False, compare=False)

    def __str__(self) -> str:
        """In a word: `~ key ci`."""
        return f"{SIGNS[self.action]} {self.kind} {self.name}"

    def item(self) -> dict[str, Any]:
        """As the admin API shows it."""
        return {"action": self.action, "kind": self.kind, "name": self.name, "changes": dict(self.changes)}


@dataclass(frozen=True)
class Plan:
    """What applying a configuration would do.

    Attributes:
        changes: In the order in which they are made.
        config: What it was made from.
        prune: Whether what the file does not name is deleted.
        values: The keys' values that are chosen elsewhere, by key name.
    """

    changes: tuple[Change, ...]
    config: Config = field(repr=False)
    prune: bool = False
    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    def items(self) -> list[dict[str, Any]]:
        """As the admin API shows it."""
        return [change.item() for change in self.changes]


def plan(config: Config, catalog: Catalog, *, prune: bool = False, environ: Mapping[str, str] = os.environ) -> Plan:
    """Compare a configuration with the catalogue.

    Args:
        config: The file.
        catalog: What there is.
        prune: Delete what the file does not name; otherwise it is left alone.
        environ: Where `env:` values of keys are looked up.

    Raises:
        ConfigError: A key's value cannot be had, or a stored secret is to be kept where there is none.
    """
    issues: list[Issue] = []
    values = {}
    for name, key in config.keys.items():
        try:
            value = keys.chosen_value(key.secret, environ)
        except CatalogError as error:
            issues.append(config.issue(("keys", name, "secret"), error.message))
        else:
            if value is not None:
                values[name] = value
    if issues:
        raise ConfigError(issues)
    with catalog.view() as session:
        changes = _Comparison(session, catalog.context, config, values).changes(prune)
    return Plan(tuple(changes), config, prune, values)


def apply(plan: Plan, catalog: Catalog, *, actor: str) -> list[NewKey]:
    """Do what a plan says, all of it or nothing.

    Returns:
        The keys whose values were made here: the only time that they are shown.

    Raises:
        CatalogError: `changed` where the catalogue has changed since, so that the plan would do something else;
            `in-use` or `invalid` where a change cannot be made.
    """
    if not plan.changes:
        _mark(plan, catalog, actor)
        return []
    with catalog.edit(actor) as edit:
        changes = _Comparison(edit.session, catalog.context, plan.config, plan.values).changes(plan.prune)
        if not changes:
            return []  # another process has applied the same file
        if tuple(changes) != plan.changes:
            raise CatalogError("changed", "The catalogue has changed since the plan was made: plan again.")
        made = [change.carry_out(edit) for change in changes]
        summary: dict[str, Any] = {
            action: count for action in SIGNS if (count := sum(change.action == action for change in changes))
        }
        edit.record("apply", CONFIGURATION, plan.config.source, None, summary)
    return [key for key in made if key is not None]


def changed_by_hand(session: Session) -> list[AuditRow] | None:
    """The audit entries since a file was last applied that a file could have said; None where none ever was."""
    applied = select(func.max(col(AuditRow.id))).where(col(AuditRow.kind) == CONFIGURATION)
    last = session.exec(applied).one()
    if last is None:
        return None
    later = select(AuditRow).where(col(AuditRow.id) > last).order_by(col(AuditRow.id))
    return list(session.exec(later.where(col(AuditRow.action).in_(BY_HAND), col(AuditRow.kind).in_(KINDS))))


def _mark(plan: Plan, catalog: Catalog, actor: str) -> None:
    """Note that a file that changes nothing was applied, unless that is known already: drift is counted from here."""
    with catalog.view() as session:
        known = changed_by_hand(session) == []
    if not known:
        with catalog.edit(actor) as edit:
            edit.record("apply", CONFIGURATION, plan.config.source, None, {})


class _Comparison:
    """A configuration held against the catalogue inside one transaction."""

    def __init__(self, session: Session, context: Context, config: Config, values: Mapping[str, str]) -> None:
        self.session = session
        self.context = context
        self.config = config
        self.values = values
        self.issues: list[Issue] = []

    def changes(self, prune: bool) -> list[Change]:
        """Every change, ordered so that nothing is ever missing or in use when its turn comes.

        Raises:
            ConfigError: See `plan`.
        """
        config = self.config
        found = [
            *(self.removed("keys", keys.SHAPE, config.keys) if prune else ()),
            *self.organisation(prune),
            *self.made("projects", owners.PROJECTS, config.projects),
            *self.made("users", owners.USERS, config.users),
            *self.made("providers", providers.SHAPE, config.providers),
            *self.made("routes", routes.SHAPE, config.routes),
            *self.made("prices", prices.SHAPE, config.prices),
            *self.keys(),
        ]
        if prune:
            found += self.removed("routes", routes.SHAPE, config.routes)
            found += self.removed("prices", prices.SHAPE, config.prices)
            found += self.removed("providers", providers.SHAPE, config.providers)
            found += self.removed("projects", owners.PROJECTS, config.projects)
            found += self.removed("users", owners.USERS, config.users)
        if self.issues:
            raise ConfigError(self.issues)
        return found

    def organisation(self, prune: bool) -> Iterator[Change]:
        if self.config.organisation is None and not prune:
            return
        wanted = limits.normal(self.config.organisation.limits if self.config.organisation else LimitsSpec())
        before = read_organisation(self.session)
        if before != wanted:
            yield Change(
                "change", "organisation", "organisation", _difference(before, wanted),
                lambda edit: write_organisation(edit, wanted),
            )  # fmt: skip

    def made(self, table: str, kind: ObjectType[R, S], specs: Mapping[str, S]) -> Iterator[Change]:
        """What is to be created or changed of one kind, keys aside."""
        rows = self.rows(kind)
        for name, spec in specs.items():
            row = rows.get(name)
            wanted = self.normal((table, name), kind, row, spec)
            if wanted is None:
                continue
            if row is None:
                yield Change("create", kind.kind, name, _difference(None, wanted), _creation(kind, name, spec))
            elif (before := kind.read(self.session, row)) != wanted:
                yield Change("change", kind.kind, name, _difference(before, wanted), _replacement(kind, name, spec))

    def keys(self) -> Iterator[Change]:
        """What is to be created or changed of the keys; their values count too."""
        rows = self.rows(keys.SHAPE)
        for name, spec in self.config.keys.items():
            row, value = rows.get(name), self.values.get(name)
            wanted = self.normal(("keys", name), keys.SHAPE, row, spec)
            if wanted is None:
                continue
            if row is None:
                change = _difference(None, wanted)
                yield Change("create", "key", name, change, _key_creation(name, spec, value))
                continue
            before = keys.SHAPE.read(self.session, row)
            change = _difference(before, wanted)
            if value is not None and keys.digest(value) != row.hash and "secret" not in change:
                change["secret"] = (spec.secret, f"{spec.secret} (a new value)")
            if change:
                yield Change("change", "key", name, change, _key_replacement(name, spec, value))

    def removed(self, table: str, kind: ObjectType[R, S], specs: Mapping[str, S]) -> Iterator[Change]:
        """What is to be deleted of one kind."""
        for name, row in self.rows(kind).items():
            if name not in specs:
                before = kind.read(self.session, row)
                yield Change("delete", kind.kind, name, _difference(before, None), _deletion(kind, name))

    def rows(self, kind: ObjectType[R, S]) -> dict[str, R]:
        return {row.name: row for row in self.session.exec(select(kind.row).order_by(kind.row.name))}

    def normal(self, path: Path, kind: ObjectType[R, S], row: R | None, spec: S) -> S | None:
        try:
            return kind.normal(self.context, row, spec)
        except CatalogError as error:
            self.issues.append(self.config.issue((*path, error.field), error.message))
            return None


def _difference(before: Spec | None, after: Spec | None) -> dict[str, tuple[object, object]]:
    was, becomes = (objects.shown(spec) if spec is not None else {} for spec in (before, after))
    names = [*was, *(name for name in becomes if name not in was)]
    return {name: (was.get(name), becomes.get(name)) for name in names if was.get(name) != becomes.get(name)}


def _creation(kind: ObjectType[R, S], name: str, spec: S) -> Callable[[Edit], None]:
    def carry_out(edit: Edit) -> None:
        objects.create(edit, kind, name, spec)

    return carry_out


def _replacement(kind: ObjectType[R, S], name: str, spec: S) -> Callable[[Edit], None]:
    def carry_out(edit: Edit) -> None:
        objects.put(edit, kind, objects.get(edit.session, kind, name), spec)

    return carry_out


def _deletion(kind: ObjectType[R, S], name: str) -> Callable[[Edit], None]:
    def carry_out(edit: Edit) -> None:
        objects.delete(edit, kind, objects.get(edit.session, kind, name))

    return carry_out


def _key_creation(name: str, spec: KeySpec, value: str | None) -> Callable[[Edit], NewKey | None]:
    def carry_out(edit: Edit) -> NewKey | None:
        row, secret = keys.create(edit, name, spec, value)
        return NewKey(id=row.id, name=name, key=secret) if value is None else None

    return carry_out


def _key_replacement(name: str, spec: KeySpec, value: str | None) -> Callable[[Edit], None]:
    def carry_out(edit: Edit) -> None:
        row = objects.get(edit.session, keys.SHAPE, name)
        objects.put(edit, keys.SHAPE, row, spec)
        if value is not None:
            keys.set_value(edit, row, value)

    return carry_out


def drift(catalog: Catalog, config: Config, changes: Sequence[Change]) -> list[AuditEntry]:
    """What a file would put right, or does not name, of all that was changed by hand since the last apply.

    Args:
        catalog: What there is.
        config: The file.
        changes: What applying it would change.

    Returns:
        For each object its last change, with what it was when a configuration was last applied as `before`. Nothing,
        where none was ever applied.
    """
    concerned = {(change.kind, change.name) for change in changes}
    with catalog.view() as session:
        return [
            entry
            for entry in _since_the_last(session)
            if (entry.kind, entry.name) in concerned or not _named(config, entry)
        ]


def _since_the_last(session: Session) -> list[AuditEntry]:
    found: dict[tuple[str, str], AuditEntry] = {}
    for row in changed_by_hand(session) or ():
        entry = AuditEntry.model_validate({**row.model_dump(), "time": moment(row.time)})
        first = found.get((row.kind, row.name), entry)
        found[row.kind, row.name] = entry.model_copy(update={"before": first.before})
    return [entry for entry in found.values() if entry.before != entry.after]


def _named(config: Config, entry: AuditEntry) -> bool:
    """Whether the file speaks of the object; what was deleted and is not in the file is as the file has it."""
    tables = {
        **{"provider": config.providers, "route": config.routes, "project": config.projects},
        **{"user": config.users, "key": config.keys, "price": config.prices},
    }
    if entry.kind not in tables:
        return config.organisation is not None
    return entry.name in tables[entry.kind] or entry.after is None
