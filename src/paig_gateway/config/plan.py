"""Turns a checked configuration into changes of the catalogue: shown as a plan, applied in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlmodel import Session, col, func, select

from paig_client.api.fields import Spec
from paig_client.api.limits import LimitsSpec
from paig_client.api.resources import AuditEntry, NewKey
from paig_client.api.specs import KeySpec, OrganisationSpec
from paig_client.api.vocabulary import WhenTight
from paig_gateway.catalog import Catalog, CatalogError, Edit, keys, objects
from paig_gateway.catalog.base import Secrets
from paig_gateway.catalog.cap_warnings import cap_warnings
from paig_gateway.catalog.collection import normal_organisation, read_organisation, write_organisation
from paig_gateway.catalog.keys import KEYS
from paig_gateway.catalog.logins import ACTOR as LOGINS
from paig_gateway.catalog.logins import made_by_login
from paig_gateway.catalog.named_limits import NAMED_LIMITS
from paig_gateway.catalog.objects import ObjectType, R, S, W
from paig_gateway.catalog.owners import PROJECTS, USERS
from paig_gateway.catalog.prices import PRICES
from paig_gateway.catalog.providers import PROVIDERS
from paig_gateway.catalog.routes import ROUTES
from paig_gateway.config.lines import SpecPath
from paig_gateway.config.model import Config, ConfigError, Issue
from paig_gateway.database.columns import moment
from paig_gateway.database.tables import AuditRow
from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.secrets.references import References

Action = Literal["create", "change", "delete"]
SIGNS: Mapping[Action, str] = {"create": "+", "change": "~", "delete": "-"}
CONFIGURATION = "configuration"
"""The kind of the audit entry for an applied file; the entries of its changes come before it."""
BY_HAND = ("create", "update", "delete")
KINDS = ("organisation", "provider", "route", "price", "project", "user", "key", "limit")
"""The kinds of object that a file can define."""
_PLACES = {"organisation": "organisation", **{kind: f"{kind}s" for kind in KINDS[1:]}}


@dataclass(frozen=True)
class PlanStep:
    """One object to create, change or delete.

    Attributes:
        kind: `provider`, `route`, `price`, `project`, `user`, `key`, `limit` or `organisation`.
        changes: The change of each field: (before, after), with None for a missing value. Never a secret.
    """

    action: Action
    kind: str
    name: str
    changes: Mapping[str, tuple[object, object]]
    carry_out: Callable[[Edit], NewKey | None] = field(repr=False, compare=False)

    def __str__(self) -> str:
        """In one line: `~ key ci`."""
        return f"{SIGNS[self.action]} {self.kind} {self.name}"

    def item(self) -> dict[str, Any]:
        return {"action": self.action, "kind": self.kind, "name": self.name, "changes": dict(self.changes)}


@dataclass(frozen=True)
class Plan:
    """What applying a configuration would do.

    Attributes:
        changes: In the order in which they are made.
        config: The configuration that it was made from.
        prune: Whether objects that the file does not name are deleted.
        values: The keys' values that are chosen elsewhere, by key name.
        drift: Changes made by hand since the last apply that the file contradicts or does not name; `before` has the
            values at the last apply.
        kept: The kind and name of each object whose changes by hand are kept.
    """

    changes: tuple[PlanStep, ...]
    config: Config = field(repr=False)
    prune: bool = False
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    drift: Sequence[AuditEntry] = ()
    kept: frozenset[tuple[str, str]] = frozenset()

    def warnings(self, at: datetime) -> list[str]:
        """Warnings about caps that are smaller than the hold of one usual request, with the owner's name."""
        config, organisation = self.config, self.config.organisation or OrganisationSpec()
        everywhere = organisation.when_tight or "fit"
        owners: dict[tuple[str, str], tuple[LimitsSpec, list[str] | None, WhenTight]] = {
            ("organisation", "organisation"): (organisation.limits, None, everywhere),
            **{("user", name): (user.limits, None, everywhere) for name, user in config.users.items()},
        }
        for name, project in config.projects.items():
            owners["project", name] = (project.limits, None, project.when_tight or everywhere)
        for name, key in config.keys.items():
            project_of = config.projects.get(key.project or "")
            above = project_of.when_tight if project_of is not None else None
            owners["key", name] = (key.limits, key.models, key.when_tight or above or everywhere)
        return [
            f"{change.kind} {change.name}: {sentence}"
            for change in self.changes
            if change.action != "delete" and (change.kind, change.name) in owners
            for sentence in cap_warnings(*owners[change.kind, change.name], at)
        ]

    def unreadable(self, references: References) -> list[str]:
        """Which credentials that the plan sets cannot be read where the gateway runs, with the provider's name."""
        found = []
        for change in self.changes:
            spec = self.config.providers.get(change.name) if change.kind == "provider" else None
            if spec is None or change.action == "delete":
                continue
            for reference in spec.credentials or filter(None, [spec.credential]):
                try:
                    references.resolve(reference)
                except SecretReferenceError as error:
                    found.append(f"provider {change.name}: {error}")
        return found

    def items(self) -> list[dict[str, Any]]:
        return [change.item() for change in self.changes]

    def reverts(self, change: PlanStep) -> AuditEntry | None:
        """The change by hand that a change of the plan would undo, or None."""
        return next((entry for entry in self.drift if (entry.kind, entry.name) == (change.kind, change.name)), None)


def plan(config: Config, catalog: Catalog, *, actor: str = "", prune: bool = False, keep_drift: bool = False) -> Plan:
    """Compare a configuration with the catalogue.

    Args:
        catalog: The present catalogue.
        actor: The actor of the changes, which decides what references may name.
        prune: Delete objects that the file does not name.
        keep_drift: Keep changes made by hand since the last apply.

    Raises:
        ConfigError: A key's value cannot be read, or a stored secret is to be kept if there is none.
    """
    issues: list[Issue] = []
    values = {}
    secrets = catalog.secrets_for(actor)
    for name, key in config.keys.items():
        try:
            value = keys.chosen_value(key.secret, secrets.references)
        except CatalogError as error:
            issues.append(config.issue(("keys", name, "secret"), error.message))
        else:
            if value is not None:
                values[name] = value
    if issues:
        raise ConfigError(issues)
    with catalog.view() as session:
        changes = _Comparison(session, secrets, config, values).changes(prune)
        drift = _drift(session, config, changes)
    kept = frozenset((entry.kind, entry.name) for entry in drift) if keep_drift else frozenset()
    return Plan(_without(kept, changes), config, prune, values, drift, kept)


def apply(plan: Plan, catalog: Catalog, *, actor: str) -> list[NewKey]:
    """Apply a plan, all of it or nothing.

    Returns:
        The keys whose values were created here; they are shown only now.

    Raises:
        CatalogError: `changed` where the catalogue has changed since, so that the plan would do something else;
            `in-use` or `invalid` where a change cannot be made.
    """
    if not plan.changes:
        _mark(plan, catalog, actor)
        return []
    with catalog.edit(actor) as edit:
        found = _Comparison(edit.session, edit.secrets, plan.config, plan.values).changes(plan.prune)
        changes = _without(plan.kept, found)
        if not changes:
            return []  # another process has applied the same file
        if changes != plan.changes:
            raise CatalogError("changed", "The catalogue has changed since the plan was made: plan again.")
        made = [change.carry_out(edit) for change in changes]
        summary: dict[str, Any] = {
            action: count for action in SIGNS if (count := sum(change.action == action for change in changes))
        }
        if not plan.kept:  # otherwise the next plan still needs the changes by hand
            edit.record("apply", CONFIGURATION, plan.config.source, None, summary)
    return [key for key in made if key is not None]


def _without(kept: frozenset[tuple[str, str]], changes: Sequence[PlanStep]) -> tuple[PlanStep, ...]:
    return tuple(change for change in changes if (change.kind, change.name) not in kept)


def changed_by_hand(session: Session) -> list[AuditRow] | None:
    """The audit entries of changes that a file can make, since a file was last applied; None if none ever was."""
    applied = select(func.max(col(AuditRow.id))).where(col(AuditRow.kind) == CONFIGURATION)
    last = session.exec(applied).one()
    if last is None:
        return None
    later = select(AuditRow).where(col(AuditRow.id) > last, col(AuditRow.actor) != LOGINS).order_by(col(AuditRow.id))
    return list(session.exec(later.where(col(AuditRow.action).in_(BY_HAND), col(AuditRow.kind).in_(KINDS))))


def _mark(plan: Plan, catalog: Catalog, actor: str) -> None:
    """Note that a file without changes was applied, unless that is known: drift is counted from there."""
    with catalog.view() as session:
        known = changed_by_hand(session) == []
    if not known and not plan.kept:
        with catalog.edit(actor) as edit:
            edit.record("apply", CONFIGURATION, plan.config.source, None, {})


class _Comparison:
    """A configuration compared with the catalogue inside one transaction."""

    def __init__(self, session: Session, secrets: Secrets, config: Config, values: Mapping[str, str]) -> None:
        self.session = session
        self.secrets = secrets
        self.config = config
        self.values = values
        self.issues: list[Issue] = []

    def changes(self, prune: bool) -> list[PlanStep]:
        """All changes, ordered so that an object is created before it is named, and deleted only when no longer named.

        Raises:
            ConfigError: See `plan`.
        """
        config = self.config
        found = [
            *(self.removed(NAMED_LIMITS, config.limits) if prune else ()),
            *(self.removed(KEYS, config.keys) if prune else ()),
            *self.organisation(prune),
            *self.made(PROJECTS, config.projects),
            *self.made(USERS, config.users),
            *self.made(PROVIDERS, config.providers),
            *self.made(ROUTES, config.routes),
            *self.made(PRICES, config.prices),
            *self.keys(),
            *self.made(NAMED_LIMITS, config.limits),
        ]
        if prune:
            found += self.removed(ROUTES, config.routes)
            found += self.removed(PRICES, config.prices)
            found += self.removed(PROVIDERS, config.providers)
            found += self.removed(PROJECTS, config.projects)
            found += self.removed(USERS, config.users)
        if self.issues:
            raise ConfigError(self.issues)
        return found

    def organisation(self, prune: bool) -> Iterator[PlanStep]:
        before = read_organisation(self.session)
        absent = OrganisationSpec() if prune else before  # fields that the file does not name stay, unless it is pruned
        models = absent.models if self.config.models is None else self.config.models
        given = self.config.organisation or absent
        wanted = normal_organisation(given.model_copy(update={"models": dict(models)}))
        if before != wanted:
            yield PlanStep(
                "change", "organisation", "organisation", _difference(before, wanted),
                lambda edit: write_organisation(edit, wanted),
            )  # fmt: skip

    def made(self, type: ObjectType[R, S, W], specs: Mapping[str, S]) -> Iterator[PlanStep]:
        """The objects of one kind (except keys) to create or change."""
        there = self.there(type)
        for name, spec in specs.items():
            row, before = there.get(name, (None, None))
            wanted = self.normal(name, type, row, spec)
            if wanted is None:
                continue
            if before is None:
                yield PlanStep("create", type.kind, name, _difference(None, wanted), _creation(type, name, spec))
            elif before != wanted:
                yield PlanStep("change", type.kind, name, _difference(before, wanted), _replacement(type, name, spec))

    def keys(self) -> Iterator[PlanStep]:
        """The keys to create or change, including their values."""
        there = self.there(KEYS)
        for name, spec in self.config.keys.items():
            row, before = there.get(name, (None, None))
            value = self.values.get(name)
            wanted = self.normal(name, KEYS, row, spec)
            if wanted is None:
                continue
            change = _difference(before, wanted)
            if row is None:
                yield PlanStep("create", "key", name, change, _key_creation(name, spec, value))
                continue
            if value is not None and keys.digest(value) != row.hash and "secret" not in change:
                change["secret"] = (spec.secret, f"{spec.secret} (a new value)")
            if change:
                yield PlanStep("change", "key", name, change, _key_replacement(name, spec, value))

    def removed(self, type: ObjectType[R, S, W], specs: Mapping[str, S]) -> Iterator[PlanStep]:
        for name, (row, before) in self.there(type).items():
            if name not in specs and not made_by_login(row):
                yield PlanStep("delete", type.kind, name, _difference(before, None), _deletion(type, name))

    def there(self, type: ObjectType[R, S, W]) -> dict[str, tuple[R, S]]:
        """The present objects of one kind, by name."""
        rows = objects.rows(self.session, type)
        return {row.name: (row, spec) for row, spec in zip(rows, objects.specs(self.session, type, rows), strict=True)}

    def normal(self, name: str, type: ObjectType[R, S, W], row: R | None, spec: S) -> S | None:
        try:
            return type.normal(self.secrets, row, spec)
        except CatalogError as error:
            path: SpecPath = (_PLACES[type.kind], name, error.field)
            self.issues.append(self.config.issue(path, error.message))
            return None


def _difference(before: Spec | None, after: Spec | None) -> dict[str, tuple[object, object]]:
    was, becomes = (objects.shown(spec) if spec is not None else {} for spec in (before, after))
    names = [*was, *(name for name in becomes if name not in was)]
    return {name: (was.get(name), becomes.get(name)) for name in names if was.get(name) != becomes.get(name)}


def _creation(type: ObjectType[R, S, W], name: str, spec: S) -> Callable[[Edit], None]:
    def carry_out(edit: Edit) -> None:
        objects.create(edit, type, name, spec)

    return carry_out


def _replacement(type: ObjectType[R, S, W], name: str, spec: S) -> Callable[[Edit], None]:
    def carry_out(edit: Edit) -> None:
        objects.put(edit, type, objects.get(edit.session, type, name), spec)

    return carry_out


def _deletion(type: ObjectType[R, S, W], name: str) -> Callable[[Edit], None]:
    def carry_out(edit: Edit) -> None:
        objects.delete(edit, type, objects.get(edit.session, type, name))

    return carry_out


def _key_creation(name: str, spec: KeySpec, value: str | None) -> Callable[[Edit], NewKey | None]:
    def carry_out(edit: Edit) -> NewKey | None:
        row, secret = keys.create(edit, name, spec, value)
        return NewKey(id=row.id, name=name, key=secret) if value is None else None

    return carry_out


def _key_replacement(name: str, spec: KeySpec, value: str | None) -> Callable[[Edit], None]:
    def carry_out(edit: Edit) -> None:
        row = objects.get(edit.session, KEYS, name)
        objects.put(edit, KEYS, row, spec)
        if value is not None:
            keys.set_value(edit, row, value)

    return carry_out


def _drift(session: Session, config: Config, changes: Sequence[PlanStep]) -> list[AuditEntry]:
    """See `Plan.drift`; empty if no file was ever applied."""
    concerned = {(change.kind, change.name) for change in changes}
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
    """Whether an object is as the file has it: defined there, or deleted and not in the file."""
    tables = {
        **{"provider": config.providers, "route": config.routes, "project": config.projects},
        **{"user": config.users, "key": config.keys, "price": config.prices, "limit": config.limits},
    }
    if entry.kind not in tables:
        return config.organisation is not None or config.models is not None
    return entry.name in tables[entry.kind] or entry.after is None
