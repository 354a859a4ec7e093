"""One gateway node: puts its parts together, and serves as their ASGI app."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from genai_prices.update_prices import DEFAULT_UPDATE_URL, UpdatePrices
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from paig_gateway import __version__
from paig_gateway.admin.on_demand import AdminOnDemand, App, Feed
from paig_gateway.admin.readiness import Readiness
from paig_gateway.catalog import Catalog, LimitHooks
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.cluster.health_sync import HealthSync
from paig_gateway.config import Config, ServerSpec
from paig_gateway.config.model import BoundsSpec, SessionsSpec
from paig_gateway.core import Core
from paig_gateway.database.engine import migrate, open_engine, utc_now
from paig_gateway.dispatch import Dispatch
from paig_gateway.domain.money import parse_usd
from paig_gateway.ledger import new_limits, stored_objects
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.reports import holder_of
from paig_gateway.ledger.session_loops import LoopLog
from paig_gateway.listener.connections import Connections, ListenerBounds, most_connections
from paig_gateway.observability import Telemetry, secrets_of
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.pricing.price import PriceBook
from paig_gateway.providers.auth import Authenticator
from paig_gateway.proxy.admission import Admission, AdmissionBounds
from paig_gateway.proxy.batches import Batches
from paig_gateway.proxy.browsers import Cors
from paig_gateway.proxy.failover import Failover
from paig_gateway.proxy.loops import LoopRule, Loops
from paig_gateway.proxy.observer import Observer
from paig_gateway.proxy.provider_client import ProviderAccess, ProviderClient
from paig_gateway.proxy.proxy import Proxy
from paig_gateway.proxy.request import Receive, Scope, Send
from paig_gateway.proxy.sockets.dial import Dialler
from paig_gateway.proxy.sockets.money import Books
from paig_gateway.proxy.sockets.relay import SessionTimeouts
from paig_gateway.proxy.sockets.sockets import Sockets
from paig_gateway.proxy.stored import StoredObjects
from paig_gateway.proxy.upstream import Upstream
from paig_gateway.routing.affinity import Affinity, Holder
from paig_gateway.routing.candidates import MemberOrder
from paig_gateway.routing.deadlines import Deadlines
from paig_gateway.routing.health import HealthTracker
from paig_gateway.routing.latency import Latencies
from paig_gateway.secrets import home as home_secrets
from paig_gateway.secrets.addresses import leads_to_metadata
from paig_gateway.secrets.attempts import Attempts
from paig_gateway.secrets.errors import SecretKeyError
from paig_gateway.secrets.references import References
from paig_gateway.secrets.vault import Vault
from paig_gateway.sso.provider import IdentityProvider, identity_provider
from paig_gateway.telemetry.logs import ProcessLog
from paig_gateway.telemetry.redaction import Redactor

log = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024
RECALL_SECONDS = 1.0
"""How long the search in the ledger for the account of a stored object may take."""


@dataclass(frozen=True, slots=True)
class OpenDatabase:
    """The opened and migrated database, with its catalogue."""

    home: Path
    engine: Engine
    vault: Vault
    catalog: Catalog
    admin_token: str = field(repr=False)
    secret_key: str = field(repr=False)

    @property
    def secrets(self) -> list[str]:
        """Values that must never be shown: the admin token, the secret key and the database's password."""
        password = self.engine.url.password
        return [self.admin_token, self.secret_key, *([str(password)] if password else [])]

    @staticmethod
    def open(home: Path | None = None, config: Config | None = None) -> OpenDatabase:
        """Open the store of the home folder, making its secrets at the first start.

        Args:
            home: The folder; by default the one that the environment names.
            config: The settings of the process, which decide what references may name.

        Raises:
            SecretsError: A secret cannot be read, or does not fit the database.
            DatabaseError: The database cannot be used.
        """
        home = home or home_secrets.home_folder()
        config = config or Config()
        engine = open_engine(home_secrets.database_url(home), config.ledger.connections)
        is_new = False
        try:
            is_new = not home_secrets.has_secret_key(home)
            migrate(engine)
            secret_key = home_secrets.secret_key(home)
            vault = Vault(secret_key, lambda: home_secrets.secret_key(home))
            hooks = LimitHooks(
                created=lambda connection, row: new_limits.bind(connection, row, utc_now()), removed=new_limits.drop
            )
            references = References(home=home, own=own_references(config), allowed=config.security)
            catalog = Catalog(engine, vault, references, hooks=hooks)
            catalog.seal()
            return OpenDatabase(home, engine, vault, catalog, home_secrets.admin_token(home), secret_key)
        except BaseException as error:
            engine.dispose()
            if is_new and isinstance(error, SecretKeyError):
                home_secrets.discard_secret_key(home)  # a start that fails leaves nothing behind
            raise


def own_references(config: Config) -> frozenset[str]:
    """The references in the settings of the process itself: no provider's credential may name the same secrets."""
    exports = [
        export
        for export in (config.telemetry.export, config.telemetry.export_metrics, config.telemetry.export_audit)
        if export is not None
    ]
    named = [config.sso.client_secret, config.alerts.webhook, config.telemetry.metrics_token]
    for export in exports:
        named += [export.token, *export.headers.values()]
    return frozenset(text for text in named if text is not None)


@dataclass(slots=True)
class Gateway:
    """A gateway node: starts and stops its parts, and serves as their ASGI app.

    Attributes:
        config: The settings of the process.
        redact: Blacks secrets out of what the process logs and exports.
        log: The process's log, where the gateway is all that the process does.
        shared: The folder in which worker processes share their metrics; None if there is one process.
    """

    store: OpenDatabase
    config: Config = field(default_factory=Config)
    redact: Redactor = field(default_factory=Redactor)
    log: ProcessLog | None = None
    shared: Path | None = None
    now: Callable[[], datetime] = utc_now
    clock: Callable[[], float] = time.monotonic
    connections: Connections = field(init=False)
    _parts: _Parts | None = None

    def __post_init__(self) -> None:
        self.connections = Connections(_listener_bounds(self.config.server.bounds))

    @property
    def lame_duck(self) -> float:
        """Seconds that new requests are still taken after the process was told to end."""
        return self.config.server.lame_duck

    @property
    def shutdown_seconds(self) -> float:
        """Seconds that requests are then given to end by themselves."""
        return self.config.server.shutdown_seconds

    async def start(self) -> None:
        """Open the upstream client, start the ledger's writer and load the directory.

        Raises:
            TelemetryError: A secret of telemetry cannot be read, or a package is missing.
            SsoError: The secret of single sign-on cannot be read.
        """
        started_at = self.now()
        config, store = self.config, self.store
        telemetry_secrets = secrets_of(config.telemetry, config.alerts)
        sso, client_secret = identity_provider(config.sso, self.now)
        # Known before anything starts that may log.
        self.redact.know(lambda: [*store.secrets, *telemetry_secrets, *([client_secret] if client_secret else [])])
        core = await self._start_core()
        self.redact.know(core.directory.credentials)
        telemetry = Telemetry(config, telemetry_secrets, core, self.redact, self.shared, self.log)
        telemetry.start()
        batches = Batches(store.engine, core.ledger, core.directory, core.prices, core.client, self.now, core.node_id)
        proxy = _proxy(core, config.server, telemetry.observer, batches)
        sockets = _sockets(core, config.server, telemetry.observer)
        admin = AdminOnDemand(partial(_admin, core, store, started_at, sso))
        health_sync = HealthSync(core.health, store.engine, core.node_id, core.directory.providers)
        health_sync.start()
        tasks = [
            asyncio.create_task(run, name=name)
            for name, run in {
                "directory": core.directory.run(),
                "key uses": core.key_uses.run(store.engine),
                "batches": batches.run(),
                "session loops": core.loop_log.run(),
            }.items()
        ]
        updater = None
        if config.server.refresh_prices:
            updater = UpdatePrices(url=config.server.prices_url or DEFAULT_UPDATE_URL)
            updater.start()
        dispatch = Dispatch(config, proxy, sockets, admin, Readiness(store.engine, core.ledger), telemetry.metrics)
        self._parts = _Parts(core, dispatch, tasks, health_sync, telemetry, updater)

    async def _start_core(self) -> Core:
        store, server = self.store, self.config.server
        # What the author of a reference may name was checked when the reference was written.
        references = replace(store.catalog.secrets.references, of_owner=True)
        directory = Directory(store.engine, store.vault, references, self.now)
        await asyncio.to_thread(directory.refresh)
        node_id = f"node_{secrets.token_hex(8)}"
        keep_days = self.config.ledger.keep_days
        ledger = Ledger(store.engine, node_id=node_id, home=store.home, clock=self.now, keep_days=keep_days)
        await ledger.start()
        upstream = upstream_of(server)
        await upstream.__aenter__()
        loops = Loops(_loop_rule(self.config.sessions))
        return Core(
            node_id=node_id,
            now=self.now,
            clock=self.clock,
            engine=store.engine,
            directory=directory,
            ledger=ledger,
            prices=PriceSources(PriceBook(), directory.own_prices),
            client=ProviderClient(upstream, _authenticator(server)),
            health=HealthTracker(self.clock, self.now, server.breaker, server.retries),
            deadlines=Deadlines(server.timeouts),
            affinity=Affinity(partial(_recall, store.engine, ledger)),
            member_order=MemberOrder(Latencies(self.clock)),
            admission=Admission(_admission_bounds(server.bounds)),
            stored=StoredObjects(
                partial(stored_objects.find, store.engine),
                lambda objects: stored_objects.save(store.engine, objects, self.now()),
                partial(stored_objects.forget, store.engine),
            ),
            attempts=Attempts(self.clock),
            loops=loops,
            loop_log=LoopLog(loops.take, store.engine, self.now),
            connections=self.connections,
        )

    def not_ready(self) -> None:
        """Answer 503 to `/readyz` from now on, so that load balancers send nothing more here."""
        if self._parts is not None:
            self._parts.dispatch.ready = False

    def ending(self) -> None:
        """End the streams of events, which would go on until their readers leave: the server begins to shut down."""
        if self._parts is not None:
            self._parts.dispatch.admin.close()

    async def stop(self) -> None:
        """Settle what is queued and close everything."""
        parts, self._parts = self._parts, None
        if parts is None:
            return
        core, proxy = parts.core, parts.dispatch.proxy
        for task in parts.tasks:
            task.cancel()
        await asyncio.wait(parts.tasks)
        await proxy.batches.close()
        await parts.health_sync.stop()
        if parts.updater:
            parts.updater.stop()
        await core.client.upstream.__aexit__(None, None, None)
        proxy.refused_rows.flush()
        await core.stored.close()
        await core.ledger.stop()
        await parts.telemetry.stop()
        await parts.dispatch.admin.stop()
        self.store.engine.dispose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self._parts is None:
            raise RuntimeError("the gateway has not been started")
        else:
            await self._parts.dispatch(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})


@dataclass(frozen=True, slots=True)
class _Parts:
    core: Core
    dispatch: Dispatch
    tasks: list[asyncio.Task[None]]
    health_sync: HealthSync
    telemetry: Telemetry
    updater: UpdatePrices | None


def _proxy(core: Core, server: ServerSpec, observer: Observer, batches: Batches) -> Proxy:
    return Proxy(
        directory=core.directory,
        ledger=core.ledger,
        prices=core.prices,
        failover=Failover(_access(core)),
        now=core.now,
        clock=core.clock,
        member_order=core.member_order,
        affinity=core.affinity,
        batches=batches,
        watch_upload=batches.watch,
        settings=server,
        cors=Cors.of(server.cors_origins),
        observer=observer,
        key_uses=core.key_uses,
        stored=core.stored,
        first_sessions=core.first_sessions,
        attempts=core.attempts,
        admission=core.admission,
        loops=core.loops,
    )


def _sockets(core: Core, server: ServerSpec, observer: Observer) -> Sockets:
    websockets = server.websockets
    books = Books(
        ledger=core.ledger,
        prices=core.prices,
        choice=core.member_order,
        holders=core.affinity,
        observer=observer,
        now=core.now,
        clock=core.clock,
        directory=core.directory,
        loops=core.loops,
        stored=core.stored,
        limit_wait=server.limit_wait,
        allow_unrecorded=server.on_ledger_down == "allow",
    )
    return Sockets(
        directory=core.directory,
        dialler=Dialler(_access(core)),
        books=books,
        admission=core.admission,
        attempts=core.attempts,
        key_uses=core.key_uses,
        first_sessions=core.first_sessions,
        timeouts=SessionTimeouts(websockets.idle_seconds, websockets.total_seconds, server.drain_seconds),
        max_message=websockets.message_mb * MEGABYTE,
        open=core.open_sockets,
        ended=core.ended_sockets,
    )


def _access(core: Core) -> ProviderAccess:
    return ProviderAccess(core.client, core.directory, core.health, core.deadlines, core.clock)


def _admin(core: Core, store: OpenDatabase, started_at: datetime, sso: IdentityProvider | None) -> tuple[App, Feed]:
    """The admin app, and its feed of events; see `AdminOnDemand` for why it is imported late."""
    from paig_gateway.admin.app import admin_app
    from paig_gateway.admin.services import AdminServices

    # The running ledger looks again at new limits, for requests that were on their way before it knew of them.
    hooks = LimitHooks(created=core.ledger.limit_created, removed=core.ledger.limit_removed)
    catalog = Catalog(store.engine, store.vault, store.catalog.secrets.references, hooks=hooks, clock=core.now)
    services = AdminServices(
        engine=store.engine,
        catalog=catalog,
        ledger=core.ledger,
        directory=core.directory,
        admin_token=store.admin_token,
        prices=core.prices,
        client=core.client,
        clock=core.now,
        node_id=core.node_id,
        started_at=started_at,
        version=__version__,
        sso=sso,
        key_uses=core.key_uses,
        attempts=core.attempts,
        note_loops=core.loop_log.note,
    )
    app = admin_app(services)
    return app, app.state.events


class UpstreamSettingsError(Exception):
    """The settings for connections to providers cannot be used."""


def upstream_of(server: ServerSpec) -> Upstream:
    """The HTTP client for providers, not yet opened.

    Raises:
        UpstreamSettingsError: A proxy or a file of authorities that is set cannot be used.
    """
    try:
        return Upstream(
            timeouts=server.timeouts,
            ca_file=server.upstream_ca,
            proxy=server.upstream_proxy,
            environment=os.environ if server.trust_env else None,
        )
    except ValueError as error:
        setting = "upstream_proxy" if server.upstream_proxy is not None else "trust_env"
        raise UpstreamSettingsError(f"[server] {setting}: {error}") from None
    except OSError as error:
        raise UpstreamSettingsError(
            f"[server] upstream_ca: cannot read certificates from '{server.upstream_ca}': {error.strerror or error}"
        ) from None


def _authenticator(server: ServerSpec) -> Authenticator:
    return Authenticator(
        proxy=server.upstream_proxy,
        ca_file=server.upstream_ca,
        trust_env=server.trust_env,
        forbids=leads_to_metadata,
    )


def _loop_rule(spec: SessionsSpec) -> LoopRule:
    most = spec.loop_usd_per_minute
    return LoopRule(
        spec.loop_requests, spec.loop_minutes * 60, None if most is None else parse_usd(str(most)), spec.stop_loops
    )


async def _recall(engine: Engine, ledger: Ledger, stored: str) -> Holder | None:
    """The account that has a stored object, from the ledger; None if unknown, or if the database is unavailable."""
    if not ledger.healthy:
        return None
    try:
        async with asyncio.timeout(RECALL_SECONDS):
            return await asyncio.to_thread(holder_of, engine, stored)
    except (SQLAlchemyError, TimeoutError) as error:
        log.warning("cannot look up the account of %s, so each is tried in turn: %s", stored, type(error).__name__)
        return None


def _listener_bounds(spec: BoundsSpec) -> ListenerBounds:
    """The listener's bounds; no more connections than half of the files that the process may open."""
    return ListenerBounds(
        header_bytes=spec.header_kb * 1024,
        header_fields=spec.header_fields,
        target_bytes=spec.target_kb * 1024,
        header_seconds=spec.header_seconds,
        idle_seconds=spec.idle_seconds,
        keep_alive_seconds=spec.keep_alive_seconds,
        body_seconds=spec.body_seconds,
        body_rate=spec.body_bytes_per_second,
        write_seconds=spec.write_seconds,
        max_connections=min(spec.connections, most_connections()),
    )


def _admission_bounds(spec: BoundsSpec) -> AdmissionBounds:
    return AdmissionBounds(
        max_requests=spec.requests,
        max_queued=spec.queued,
        queue_seconds=spec.queue_seconds,
        body_bytes=spec.bodies_mb * MEGABYTE,
        key_body_bytes=spec.bodies_per_key_mb * MEGABYTE,
    )
