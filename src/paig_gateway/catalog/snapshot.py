"""The directory: the catalogue in memory, for the data plane.

A snapshot is immutable and replaced as a whole. Every change to the catalogue raises `directory_version`; each node
reads that number several times a second, and loads a new snapshot when it has changed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Engine, Row, select
from sqlmodel import SQLModel, col

from paig_client.api.specs import KeySpec, PriceSpec, ProjectTelemetry, ProviderSpec
from paig_client.api.vocabulary import Role, Stored, WhenTight
from paig_gateway.catalog import owners, providers
from paig_gateway.catalog.base import Secrets
from paig_gateway.catalog.limits import ORGANISATION_ID
from paig_gateway.catalog.objects import spec_of
from paig_gateway.catalog.owners import PROJECTS
from paig_gateway.catalog.resolver import Resolver
from paig_gateway.catalog.routes import ROUTES
from paig_gateway.catalog.transactions import DIRECTORY_VERSION
from paig_gateway.catalog.zones import ORGANISATION
from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.engine import in_thread, utc_now
from paig_gateway.database.limit_rows import limit_of, named_limit
from paig_gateway.database.tables import (
    AdminRow,
    KeyRow,
    LimitRow,
    MetaRow,
    NamedLimitRow,
    PriceRow,
    ProjectRow,
    ProviderRow,
    RaiseRow,
    RouteRow,
    StoppedSessionRow,
    TokenRow,
    UserRow,
)
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import PREFIX, Limit, Raise
from paig_gateway.domain.named_limits import LimitRule
from paig_gateway.domain.route import NO_CREDENTIAL, ActiveProvider, ActiveRoute, Credential, Member
from paig_gateway.pricing.overrides import PriceOverride, own_price
from paig_gateway.providers.kinds import KINDS
from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.secrets.references import References
from paig_gateway.secrets.vault import Vault

log = logging.getLogger(__name__)

ALIASES: Mapping[str, tuple[str, ...]] = {
    "openai-chat": ("openai",),
    "openai-responses": ("openai",),
    "chat": ("openai",),
    "responses": ("openai",),
    "gemini": ("google-vertex", "google"),
    "google-cloud": ("google-vertex", "google"),
    "google-vertex": ("google",),
    "google": ("google-vertex",),
    "converse": ("bedrock",),
}
"""Other names of routes: a name without a route means the first of these that exists.

Google's two kinds accept each other's paths, so pydantic-ai's `gateway/google:` works with either.
"""

POLL_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """The permissions of a token of the admin API.

    Attributes:
        token: The token's name.
        admin: The admin's name.
        grants: The admin's roles, each with the id of the project that it applies in, None for everywhere.
        scopes: The permissions that the token is confined to; None for all.
        expires_at: When it ends.
        session: Whether a login made it.
    """

    token_id: str
    token: str
    admin_id: str
    admin: str
    grants: tuple[tuple[Role, str | None], ...]
    scopes: frozenset[str] | None
    expires_at: datetime | None
    session: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The catalogue at one version.

    Attributes:
        callers: By the SHA-256 of the key's secret, in hex; after a rotation, for a while also by that of the old one.
        routes: By name; every provider is also a route, unless a route has its name.
        problems: By provider's name: why requests to it cannot be sent.
        lacking: By provider's name: which of its credentials cannot be read, and why, while others can.
        prices: The operator's own.
        providers: By name.
        telemetry: The settings of projects that have their own, by the project's id.
        bearers: By the SHA-256 of an admin token, in hex; those of inactive admins are left out.
        projects: Names by id.
        stopped: The actor that stopped a session, by key id and session.
        models: For the one address: the names of routes, by patterns of models.
        old_until: Until when the old secret of a rotation is accepted, by its SHA-256.
    """

    version: int = -1
    callers: Mapping[str, Caller] = field(default_factory=dict)
    routes: Mapping[str, ActiveRoute] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    prices: tuple[PriceOverride, ...] = ()
    providers: Mapping[str, ActiveProvider] = field(default_factory=dict)
    telemetry: Mapping[str, ProjectTelemetry] = field(default_factory=dict)
    bearers: Mapping[str, TokenGrant] = field(default_factory=dict)
    projects: Mapping[str, str] = field(default_factory=dict)
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    old_until: Mapping[str, datetime] = field(default_factory=dict)
    stopped: Mapping[tuple[str, str], str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)


class Directory:
    """The catalogue in memory. Lookups are dictionary lookups; only `refresh` touches the database."""

    def __init__(
        self,
        engine: Engine,
        vault: Vault,
        references: References | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Open the directory, empty until `refresh` is called.

        Args:
            vault: Opens literal credentials.
            references: What references may name; by default all but the gateway's own.
        """
        self._engine = engine
        self._references = references or References()
        self._resolver = Resolver(Secrets(vault, self._references))
        self._clock = clock
        self._lock = threading.Lock()
        self.snapshot = Snapshot()

    def caller_by_hash(self, digest: str) -> Caller | None:
        """The key whose secret has that SHA-256 (hex), whatever its state; None if there is none."""
        snapshot = self.snapshot
        caller = snapshot.callers.get(digest)
        if caller is not None and (until := snapshot.old_until.get(digest)) is not None and self._clock() >= until:
            return None
        return caller

    def caller_of_key(self, key_id: str) -> Caller | None:
        """The key of that id, whatever its state; None if there is none."""
        return next((caller for caller in self.snapshot.callers.values() if caller.key_id == key_id), None)

    def route(self, name: str) -> ActiveRoute | None:
        """The route or the provider of that name, or the one that the name is an alias of; None if there is none."""
        routes = self.snapshot.routes
        return next((routes[one] for one in (name, *ALIASES.get(name, ())) if one in routes), None)

    def stopped(self, key_id: str, session: str) -> str | None:
        """The actor that stopped a session; None if it is not stopped."""
        return self.snapshot.stopped.get((key_id, session))

    def routes_of(self, caller: Caller) -> list[str]:
        """Names of the routes that the caller may use, sorted."""
        return sorted(name for name in self.snapshot.routes if caller.may_use_route(name))

    def providers(self) -> Mapping[str, ActiveProvider]:
        return self.snapshot.providers

    def own_prices(self) -> tuple[PriceOverride, ...]:
        """The prices that the operator set; another tuple after each change of the catalogue."""
        return self.snapshot.prices

    def problem(self, provider: str) -> str | None:
        """Why no request can be sent to the provider of that name, or None."""
        return self.snapshot.problems.get(provider)

    def lacking(self, provider: str) -> tuple[str, ...]:
        """Which of a provider's credentials cannot be read, and why; requests are sent with the others."""
        return self.snapshot.lacking.get(provider, ())

    def telemetry(self, project_id: str) -> ProjectTelemetry | None:
        return self.snapshot.telemetry.get(project_id)

    def credentials(self) -> list[str]:
        """Every provider credential in memory, so that it can be kept out of logs and exports."""
        return self._resolver.secrets()

    def doubt(self, credential: str) -> None:
        """Note that a provider has refused the credential of that id: its file or keyring entry is read again."""
        self._resolver.doubt(credential)

    def renewed(self, credential: Credential) -> Credential | None:
        """The new value of a refused credential, if its file or keyring has changed; None otherwise.

        It reads a file only if it has changed, and asks a keyring seldom. Blocks, so call it in a thread.
        """
        # Without the lock, which is held while the database is read; most credentials are in neither.
        if credential.secret is None or not self._resolver.may_change(credential.id):
            return None
        with self._lock:
            secret = self._resolver.renewed(credential.id, credential.secret)
        return None if secret is None else replace(credential, secret=secret)

    def refresh(self) -> bool:
        """Load a new snapshot if the catalogue has changed; blocks, so call it in a thread.

        Returns:
            Whether there is a new one.

        Raises:
            SQLAlchemyError: The database cannot be read; the snapshot stays as it is.
        """
        with self._lock, self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                # All tables are read at one state; on SQLite any transaction ensures that.
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            version = _version(connection)
            if version == self.snapshot.version and not self._resolver.look_again():
                return False
            self.snapshot = self._load(connection, version)
        return True

    async def run(self) -> None:
        """Keep the directory fresh until cancelled. While the database is away the last snapshot serves."""
        away = False
        while True:
            try:
                await in_thread(self.refresh)
            except Exception as error:  # any error: the next try may succeed; readiness depends on the ledger
                if not away:
                    log.warning("cannot read the catalogue, keys and limits stay as they were; retrying: %s", error)
                away = True
            else:
                if away:
                    log.info("the catalogue can be read again")
                away = False
            await asyncio.sleep(POLL_SECONDS)

    def _load(self, connection: Connection, version: int) -> Snapshot:
        accounts, problems, lacking = self._providers(connection)
        projects = {row.id: row.name for row in _rows(connection, ProjectRow)}
        organisation = _organisation(connection)
        callers, old_until = _callers(connection, projects, organisation, self._clock())
        return Snapshot(
            version, callers, _routes(connection, accounts), problems, _prices(connection), accounts,
            self._telemetry(connection), _bearers(connection, projects), projects, lacking, old_until,
            {(row.key_id, row.session): row.stopped_by for row in _rows(connection, StoppedSessionRow)},
            organisation.get("models", {}),
        )  # fmt: skip

    def _providers(
        self, connection: Connection
    ) -> tuple[dict[str, ActiveProvider], dict[str, str], dict[str, tuple[str, ...]]]:
        rows = [ProviderRow.model_validate(found._asdict()) for found in _rows(connection, ProviderRow)]
        accounts: dict[str, ActiveProvider] = {}
        problems: dict[str, str] = {}
        lacking: dict[str, tuple[str, ...]] = {}
        for row in rows:
            spec = providers.read(row)
            usable, wrong = self._resolver.credentials(row)
            if wrong and usable:
                lacking[row.name] = wrong
            elif wrong:
                problems[row.name] = " ".join(wrong)
            accounts[row.name] = _account(row.name, spec, usable or (NO_CREDENTIAL,))
            if (problem := self._problem(accounts[row.name])) is not None:
                problems[row.name] = problem
        self._resolver.forget_others(rows)
        known = {*self.snapshot.problems.values(), *chain.from_iterable(self.snapshot.lacking.values())}
        for problem in (*problems.values(), *chain.from_iterable(lacking.values())):
            if problem not in known:
                log.warning("%s", problem)
        return accounts, problems, lacking

    def _telemetry(self, connection: Connection) -> dict[str, ProjectTelemetry]:
        """The settings by the project's id, without exports whose references are not allowed."""
        found: dict[str, ProjectTelemetry] = {}
        for row in _rows(connection, ProjectRow):
            if "telemetry" not in row.spec:
                continue
            spec = spec_of(PROJECTS, row.spec)
            wrong = [message for _, message in owners.telemetry_problems(self._references, spec)]
            if wrong:
                log.warning("The telemetry of the project '%s' is not exported: %s.", row.name, "; ".join(wrong))
            found[row.id] = spec.telemetry.model_copy(update={"export": None}) if wrong else spec.telemetry
        return found

    def _problem(self, provider: ActiveProvider) -> str | None:
        if provider.kind not in KINDS:
            return f"This gateway does not know the kind '{provider.kind}' of the provider '{provider.name}'."
        try:
            self._references.check_upstream(provider.base_url)
        except SecretReferenceError as error:
            return f"The address of the provider '{provider.name}' is not allowed: {error}."
        return None


def _account(name: str, spec: ProviderSpec, credentials: tuple[Credential, ...]) -> ActiveProvider:
    kind = KINDS.get(spec.kind)
    required = kind.require_price if kind else True
    return ActiveProvider(
        name=name,
        kind=spec.kind,
        base_url=providers.base_url(spec) or "",
        credentials=credentials,
        inject_cost=spec.inject_cost,
        require_price=required if spec.require_price is None else spec.require_price,
        allow_unmetered=spec.allow_unmetered,
        price_provider=spec.price_provider,
        price_factor=Decimal(1) if spec.price_factor is None else spec.price_factor,
        aliases=spec.aliases,
        provider_cost=spec.provider_cost,
        stream_usage=spec.stream_usage,
        service_tier=spec.service_tier,
        on_disconnect=spec.on_disconnect,
        settings=providers.settings(spec),
        timeouts=spec.timeouts.model_dump(exclude_none=True),
        upstream_proxy=spec.upstream_proxy,
        upstream_ca=spec.upstream_ca,
    )


def _version(connection: Connection) -> int:
    return connection.execute(select(col(MetaRow.value)).where(col(MetaRow.name) == DIRECTORY_VERSION)).scalar() or 0


def _rows(connection: Connection, table: type[SQLModel]) -> list[Row[Any]]:
    """All rows as plain tuples, which takes a tenth of the time of making objects."""
    return list(connection.execute(select(table)))


Caps = Mapping[tuple[str, str], tuple[Limit, ...]]
"""Limits by owner's kind and id."""


def _bearers(connection: Connection, projects: Mapping[str, str]) -> dict[str, TokenGrant]:
    ids = {name: id for id, name in projects.items()}
    admins = {row.id: row for row in _rows(connection, AdminRow) if row.spec.get("active", True)}

    def grants(spec: Mapping[str, Any]) -> tuple[tuple[Role, str | None], ...]:
        given = ((grant["role"], grant.get("project")) for grant in spec.get("grants", ()))
        return tuple((role, ids[name] if name else None) for role, name in given if not name or name in ids)

    return {
        row.hash: TokenGrant(
            token_id=row.id,
            token=row.name,
            admin_id=row.admin_id,
            admin=admins[row.admin_id].name,
            grants=grants(admins[row.admin_id].spec),
            scopes=None if row.scopes is None else frozenset(row.scopes),
            expires_at=None if row.expires_at is None else moment(row.expires_at),
            session=row.session,
        )
        for row in _rows(connection, TokenRow)
        if row.admin_id in admins
    }


RESOLVED = {"limits", "expires_at", "when_tight", "formats", "methods", "stored"}
"""Settings of a key that the caller has in another form, or gets from its project."""

SETTINGS = frozenset(field.name for field in fields(Caller)) & KeySpec.model_fields.keys() - RESOLVED
"""The fields that a caller copies from its key's Spec, with lists as tuples."""


def _organisation(connection: Connection) -> Mapping[str, Any]:
    """The organisation's settings, as they are stored."""
    stored = connection.execute(select(col(MetaRow.text)).where(col(MetaRow.name) == ORGANISATION)).scalar()
    settings: Mapping[str, Any] = json.loads(stored) if stored else {}
    return settings


def _callers(
    connection: Connection, projects: Mapping[str, str], above: Mapping[str, Any], now: datetime
) -> tuple[dict[str, Caller], dict[str, datetime]]:
    """Every key by the hash of its secret, and until when the hashes of rotated secrets are accepted."""
    users = {row.id: row.name for row in _rows(connection, UserRow)}
    keys = _rows(connection, KeyRow)
    owners = {"project": projects, "user": users, "key": {row.id: row.name for row in keys}}
    limits = _limits(connection, owners, now)
    named = _named_limits(connection, limits)
    organisation = limits.get(("organisation", ORGANISATION_ID), ())
    specs: dict[str | None, Mapping[str, Any]] = {row.id: row.spec for row in _rows(connection, ProjectRow)}
    everywhere: WhenTight = above.get("when_tight") or "fit"
    callers: dict[str, Caller] = {}
    old_until: dict[str, datetime] = {}
    for row in keys:
        spec: Mapping[str, Any] = row.spec
        expires = spec.get("expires_at")
        project = specs.get(row.project_id, {})
        caller = Caller(
            key_id=row.id,
            key=row.name,
            project_id=row.project_id,
            user_id=row.user_id,
            state=row.state,
            expires_at=None if expires is None else datetime.fromisoformat(expires),
            limits=(
                *limits.get(("key", row.id), ()),
                *limits.get(("user", row.user_id), ()),
                *limits.get(("project", row.project_id), ()),
                *organisation,
            ),
            stored=_narrowest(spec.get("stored"), project.get("stored"), above.get("stored")),
            named=_own(named, row.name, users.get(row.user_id), projects.get(row.project_id)),
            when_tight=spec.get("when_tight") or project.get("when_tight") or everywhere,
            formats=_both(spec.get("formats"), project.get("formats")),
            methods=_both(spec.get("methods"), project.get("methods")),
            project_networks=_frozen(project.get("networks")),
            **{name: _frozen(value) for name, value in spec.items() if name in SETTINGS},
        )
        callers[row.hash] = caller
        if row.old_hash is not None and row.old_until is not None and (until := moment(row.old_until)) > now:
            callers[row.old_hash], old_until[row.old_hash] = caller, until
    return callers, old_until


def _both(own: list[str] | None, project: list[str] | None) -> tuple[str, ...] | None:
    """The models or routes that both a key and its project allow; None if neither restricts them."""
    if own is None or project is None:
        only = project if own is None else own
        return None if only is None else tuple(only)
    return tuple(name for name in own if name in project)


_WIDTHS: tuple[Stored, ...] = ("off", "own", "project", "shared")


def _narrowest(*settings: Stored | None) -> Stored:
    """The narrowest setting of a key, its project and the organisation; `project` if none has any."""
    given = [one for one in settings if one is not None]
    return min(given, key=_WIDTHS.index) if given else "project"


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _limits(connection: Connection, owners: Mapping[str, Mapping[str, str]], now: datetime) -> Caps:
    found: dict[tuple[str, str], tuple[Limit, ...]] = {}
    raises: dict[str, list[Raise]] = {}
    for row in connection.execute(select(RaiseRow).where(col(RaiseRow.until) > milliseconds(now))):
        member = row.limit_id[PREFIX + 1 :] or None
        raises.setdefault(row.limit_id[:PREFIX], []).append(Raise(row.amount, row.until / 1000, member))
    for row in _rows(connection, LimitRow):
        owner = owners.get(row.owner_kind, {}).get(row.owner_id, row.owner_kind)
        limit = limit_of(row, owner, raises.get(row.id, ()))
        place = row.owner_kind, row.owner_id
        found[place] = (*found.get(place, ()), limit)
    return found


def _named_limits(connection: Connection, limits: Caps) -> tuple[LimitRule, ...]:
    return tuple(
        named_limit(row.name, row.spec, tuple(replace(limit, owner=row.name) for limit in caps))
        for row in _rows(connection, NamedLimitRow)
        if (caps := limits.get(("limit", row.id)))
    )


def _own(named: Iterable[LimitRule], key: str, user: str | None, project: str | None) -> tuple[LimitRule, ...]:
    """The named limits that may bind a key's requests."""
    owner = {"key": key, "user": user, "project": project}
    return tuple(one for one in named if all(one.match.get(kind, name) == name for kind, name in owner.items()))


def _prices(connection: Connection) -> tuple[PriceOverride, ...]:
    found = []
    for row in _rows(connection, PriceRow):
        spec = PriceSpec.model_validate(row.spec)
        found.append(
            own_price(
                row.name,
                rates=spec.rates,
                model=spec.model,
                provider=spec.provider,
                since=spec.since,
                context_window=spec.context_window,
                max_output=spec.max_output,
            )
        )
    return tuple(found)


def _routes(connection: Connection, accounts: Mapping[str, ActiveProvider]) -> dict[str, ActiveRoute]:
    routes = {name: ActiveRoute(name, (Member(account),)) for name, account in accounts.items()}
    for row in _rows(connection, RouteRow):
        spec = spec_of(ROUTES, row.spec)
        routes[row.name] = ActiveRoute(
            row.name,
            tuple(
                Member(accounts[member.provider], member.priority, member.weight, member.models)
                for member in spec.members
                if member.active
            ),
            spec.choice,
            spec.affinity,
            spec.timeouts.model_dump(exclude_none=True, exclude={"deadline"}),
            spec.timeouts.deadline,
        )
    return routes
