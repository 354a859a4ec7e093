"""One gateway node: everything it is made of, put together, as one ASGI callable."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from genai_prices.update_prices import DEFAULT_UPDATE_URL, UpdatePrices
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from paig_client.api.resources import ProviderCheck
from paig_gateway import __version__
from paig_gateway import config as configuration
from paig_gateway.admin import AdminServices, admin_app, claude_login
from paig_gateway.admin.account_objects import account_objects
from paig_gateway.admin.provider_check import check
from paig_gateway.admin.reprice import reprice
from paig_gateway.admin.services import ApplyResult, ConfigurationError
from paig_gateway.catalog import Catalog, LimitHooks
from paig_gateway.catalog.key_uses import KeyUses
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.cluster.health_sync import HealthSync
from paig_gateway.config import Config, ConfigError, LedgerSpec, ServerSpec
from paig_gateway.config.model import BoundsSpec, SessionsSpec
from paig_gateway.database.columns import moment
from paig_gateway.database.engine import migrate, open_engine, utc_now
from paig_gateway.domain.money import parse_usd
from paig_gateway.ledger import new_limits, stored_objects
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.reports import holder_of
from paig_gateway.ledger.session_loops import LoopLog
from paig_gateway.listener.bounds import ListenerBounds, most_connections
from paig_gateway.listener.connections import Connections
from paig_gateway.listener.upgrade import UPGRADE, Upgrade
from paig_gateway.observability import (
    Telemetry,
    attempt_samples,
    listener_samples,
    process_samples,
    provider_samples,
    secrets_of,
    websocket_samples,
)
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.pricing.price import PriceBook
from paig_gateway.providers.auth import Authenticator
from paig_gateway.proxy import one_address
from paig_gateway.proxy.admission import Admission, AdmissionBounds
from paig_gateway.proxy.batches import Batches
from paig_gateway.proxy.browsers import Cors
from paig_gateway.proxy.failover import Failover
from paig_gateway.proxy.forwarded import TrustedProxies, is_local
from paig_gateway.proxy.loops import LoopRule, Loops
from paig_gateway.proxy.provider_client import ProviderClient
from paig_gateway.proxy.proxy import Proxy
from paig_gateway.proxy.request import Receive, Scope, Send
from paig_gateway.proxy.sessions import FirstSessions
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
from paig_gateway.secrets.attempts import Attempts
from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.secrets.references import References, resolve
from paig_gateway.secrets.vault import Vault
from paig_gateway.sso.provider import IdentityProvider
from paig_gateway.sso.settings import SsoError, SsoSpec
from paig_gateway.telemetry.logs import ProcessLog
from paig_gateway.telemetry.redaction import Redactor
from paig_gateway.telemetry.settings import AlertsSpec, TelemetrySpec

log = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024
RECALL_SECONDS = 1.0
"""How long the search in the ledger for the account of a stored response may take."""


@dataclass(frozen=True, slots=True)
class OpenDatabase:
    """The opened and migrated database, and what reads and writes the catalogue in it."""

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
            home: The folder; by default what the environment says.
            config: The settings of the process: what references may name, and what is the gateway's own.

        Raises:
            SecretsError: A secret cannot be read, or does not fit the database.
            DatabaseError: The database cannot be used.
        """
        home = home or home_secrets.home_folder()
        config = config or Config()
        engine = open_engine(home_secrets.database_url(home), config.ledger.connections)
        try:
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
        except BaseException:
            engine.dispose()
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
    """A gateway node.

    Attributes:
        store: Its database.
        server: What the operator set of the process.
        telemetry: What it tells of its work.
        alerts: What it tells a webhook.
        redact: Blacks secrets out of what the process logs and exports.
        log: The process's log, where the gateway is all that the process does.
        shared: Where worker processes share their metrics; None where there is one.
        sso: Who vouches for administrators.
        ledger: What the operator set of the ledger.
        sessions: What counts as an agent's loop.
    """

    store: OpenDatabase
    server: ServerSpec = field(default_factory=ServerSpec)
    telemetry: TelemetrySpec = field(default_factory=TelemetrySpec)
    alerts: AlertsSpec = field(default_factory=AlertsSpec)
    redact: Redactor = field(default_factory=Redactor)
    log: ProcessLog | None = None
    shared: Path | None = None
    sso: SsoSpec = field(default_factory=SsoSpec)
    ledger: LedgerSpec = field(default_factory=LedgerSpec)
    sessions: SessionsSpec = field(default_factory=SessionsSpec)
    now: Callable[[], datetime] = utc_now
    clock: Callable[[], float] = time.monotonic
    connections: Connections = field(init=False)
    _proxies: TrustedProxies = field(init=False)
    _ready: bool = True
    _parts: _Parts | None = None

    def __post_init__(self) -> None:
        self._proxies = TrustedProxies(self.server.trusted_proxies)
        self.connections = Connections(_listener_bounds(self.server.bounds))

    @property
    def lame_duck(self) -> float:
        """Seconds that new requests are still taken after the process was told to end."""
        return self.server.lame_duck

    @property
    def shutdown_seconds(self) -> float:
        """Seconds that requests are then given to end by themselves."""
        return self.server.shutdown_seconds

    async def start(self) -> None:
        """Open the upstream client, start the ledger's writer and load the directory.

        Raises:
            TelemetryError: A secret of telemetry cannot be read, or a package is missing.
            SsoError: The secret of single sign-on cannot be read.
        """
        store, server = self.store, self.server
        secrets_of_telemetry = secrets_of(self.telemetry, self.alerts)
        sso, client_secret = identity_provider(self.sso, self.now)
        started_at = self.now()
        # What the author of a reference may name was checked when it was written.
        references = replace(store.catalog.secrets.references, of_owner=True)
        directory = Directory(store.engine, store.vault, references, self.now)
        self.redact.know(lambda: store.secrets)
        self.redact.know(directory.credentials)
        self.redact.know(lambda: secrets_of_telemetry)
        self.redact.know(lambda: [client_secret] if client_secret else [])
        await asyncio.to_thread(directory.refresh)
        node_id = f"node_{secrets.token_hex(8)}"
        ledger = Ledger(store.engine, node_id=node_id, home=store.home, clock=self.now, keep_days=self.ledger.keep_days)
        await ledger.start()
        # The running ledger looks again at new limits, for requests that were on their way before it knew of them.
        hooks = LimitHooks(created=ledger.limit_created, removed=ledger.limit_removed)
        catalog = Catalog(store.engine, store.vault, store.catalog.secrets.references, hooks=hooks, clock=self.now)
        timeouts = server.timeouts
        upstream = upstream_of(server)
        await upstream.__aenter__()
        health = HealthTracker(
            self.clock,
            self.now,
            server.breaker,
            server.retries,
        )
        loops = Loops(_loop_rule(self.sessions))
        loop_log = LoopLog(loops.take, store.engine, self.now)
        open_sessions: Counter[str] = Counter()
        ended_sessions: Counter[tuple[str, str]] = Counter()
        attempts, key_uses = Attempts(self.clock), KeyUses()
        telemetry = Telemetry(
            self.telemetry,
            self.alerts,
            secrets_of_telemetry,
            [
                process_samples(ledger, __version__),
                listener_samples(self.connections),
                provider_samples(health, directory.providers),
                attempt_samples(attempts),
                websocket_samples(open_sessions, ended_sessions),
                *([self.log.samples] if self.log else []),
            ],
            directory.telemetry,
            self.redact,
            store.engine,
            directory.providers,
            self.now,
            attempts,
            name=node_id,
            version=__version__,
            scheme="https" if server.tls else "http",
            folder=self.shared,
            ledger=ledger,
            loops=loop_log.take,
        )
        telemetry.start()
        prices = PriceSources(PriceBook(), directory.own_prices)
        authenticator = Authenticator()
        deadlines = Deadlines(timeouts)
        choice, holders = MemberOrder(Latencies(self.clock)), Affinity(partial(_recall, store.engine, ledger))
        admission = Admission(_admission_bounds(server.bounds))
        stored = StoredObjects(
            partial(stored_objects.find, store.engine),
            lambda objects: stored_objects.save(store.engine, objects, self.now()),
            partial(stored_objects.forget, store.engine),
        )
        first_sessions = FirstSessions()
        sockets = Sockets(
            directory,
            Dialler(upstream, authenticator, directory.problem, health, self.clock, deadlines),
            Books(
                ledger, prices, choice, holders, telemetry.observer, self.now, self.clock, directory, loops, stored,
                server.limit_wait, server.on_ledger_down == "allow",
            ),
            admission,
            attempts,
            key_uses,
            first_sessions,
            SessionTimeouts(server.websockets.idle_seconds, server.websockets.total_seconds, server.drain_seconds),
            server.websockets.message_mb * MEGABYTE,
            open_sessions,
            ended_sessions,
        )  # fmt: skip
        client = ProviderClient(upstream, authenticator)
        batches = Batches(store.engine, ledger, directory, prices, client, self.now, node_id)
        proxy = Proxy(
            directory=directory,
            ledger=ledger,
            prices=prices,
            failover=Failover(
                upstream,
                authenticator,
                directory.problem,
                health,
                self.clock,
                deadlines,
                directory.doubt,
                directory.renewed,
            ),
            now=self.now,
            clock=self.clock,
            member_order=choice,
            affinity=holders,
            batches=batches,
            watch_upload=batches.watch,
            settings=server,
            cors=Cors.of(server.cors_origins),
            observer=telemetry.observer,
            key_uses=key_uses,
            stored=stored,
            first_sessions=first_sessions,
            attempts=attempts,
            admission=admission,
            loops=loops,
        )
        admin = admin_app(
            AdminServices(
                engine=store.engine,
                catalog=catalog,
                ledger=ledger,
                directory=directory,
                admin_token=store.admin_token,
                apply_config=partial(_apply, catalog),
                export_config=lambda: configuration.export(catalog),
                reprice=lambda which: reprice(store.engine, prices, directory.providers(), which),
                test_provider=partial(_test_provider, directory, upstream, authenticator),
                account_objects=partial(account_objects, upstream=upstream, auth=authenticator),
                clock=self.now,
                node_id=node_id,
                started_at=started_at,
                version=__version__,
                sso=sso,
                key_uses=key_uses,
                attempts=attempts,
                note_loops=loop_log.note,
            )
        )
        health_sync = HealthSync(health, store.engine, node_id, directory.providers)
        health_sync.start()
        tasks = (
            asyncio.create_task(directory.run(), name="directory"),
            asyncio.create_task(key_uses.run(store.engine), name="key uses"),
            asyncio.create_task(batches.run(), name="batches"),
            asyncio.create_task(loop_log.run(), name="session loops"),
        )
        updater = UpdatePrices(url=server.prices_url or DEFAULT_UPDATE_URL) if server.refresh_prices else None
        if updater:
            updater.start()
        self._parts = _Parts(ledger, upstream, proxy, sockets, admin, tasks, health_sync, telemetry, updater)

    def not_ready(self) -> None:
        """Answer 503 to `/readyz` from now on, so that load balancers send nothing more here."""
        self._ready = False

    def ending(self) -> None:
        """End the streams of events, which would go on until their readers leave: the server begins to shut down."""
        if self._parts is not None:
            self._parts.admin.state.events.close()

    async def stop(self) -> None:
        """Settle what is queued and close everything."""
        parts, self._parts = self._parts, None
        if parts is None:
            return
        for task in parts.tasks:
            task.cancel()
        await asyncio.wait(parts.tasks)
        await parts.proxy.batches.close()
        await parts.health_sync.stop()
        if parts.updater:
            parts.updater.stop()
        await parts.upstream.__aexit__(None, None, None)
        parts.proxy.refused_rows.flush()
        await parts.proxy.stored.close()
        await parts.ledger.stop()
        await parts.telemetry.stop()
        await parts.admin.state.events.stop()
        self.store.engine.dispose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection: the data plane under `/proxy/` and at the APIs' own paths, the admin app elsewhere."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(receive, send)
            return
        parts = self._parts
        if parts is None:
            raise RuntimeError("the gateway has not been started")
        self._proxies.apply(scope)
        path: str = scope["path"]
        if kind == "websocket":
            await self._websocket(parts, path, scope)
        elif path == "/readyz" and not self._ready:
            await _problem(send, 503, "unavailable", "The gateway is shutting down.")
        elif self.server.apart and not self._is_here(scope):
            await _problem(send, 404, "not-found", "This is not served at this address: the gateway has two.")
        elif path == "/metrics" and kind == "http" and not self._shows_metrics(scope):
            await _problem(
                send,
                403,
                "forbidden",
                "Metrics are open on this machine alone: set metrics_token or metrics_open.",
            )
        elif path == "/metrics" and kind == "http" and parts.telemetry.metrics is not None:
            await parts.telemetry.metrics(scope, receive, send)
        elif _is_data_plane(path):
            await parts.proxy(scope, receive, send)
        elif kind == "http" and one_address.forgot_proxy(scope["method"], path):
            message = f"There is nothing at {path}. Was /proxy forgotten? Send it to /proxy{path}."
            await _problem(send, 404, "not-found", message)
        else:
            await parts.admin(scope, receive, send)

    async def _websocket(self, parts: _Parts, path: str, scope: Scope) -> None:
        """Serve a request to go over to WebSocket; only the data plane has such."""
        upgrade: Upgrade = scope["extensions"][UPGRADE]
        if not _is_data_plane(path) or (self.server.apart and not self._is_here(scope)):
            forgot = f" Was /proxy forgotten? Send it to /proxy{path}." if one_address.forgot_proxy("GET", path) else ""
            status, body = 404, _problem_body(404, "not-found", f"There is no WebSocket at this address.{forgot}")
        elif not self._ready:
            status, body = 503, _problem_body(503, "unavailable", "The gateway is shutting down.")
        else:
            await parts.sockets(scope, upgrade)
            return
        upgrade.refuse(status, [(b"content-type", b"application/problem+json")], body)

    def _shows_metrics(self, scope: Scope) -> bool:
        """Whether metrics are shown there at all; with a token, it decides."""
        passed_on = any(name in (b"x-forwarded-for", b"forwarded") for name, _ in scope["headers"])
        near = scope["client"] is not None and is_local(scope["client"][0]) and not passed_on
        return self.telemetry.metrics_token is not None or self.server.metrics_open or near

    def _is_here(self, scope: Scope) -> bool:
        """Whether a path is served at the address at which the request came, where there are two."""
        path: str = scope["path"]
        if path in _BOTH or path in claude_login.PATHS or path.startswith(("/admin/sso/", "/me/", "/admin/v1/me/")):
            return True
        host, port = scope["server"]
        server = self.server
        at_admin = port == server.admin_port and (port != server.port or host == server.admin_host)
        return bool(at_admin) != _is_data_plane(path)

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


class UpstreamSettingsError(Exception):
    """What is set of the way to the providers cannot be used."""


@dataclass(frozen=True, slots=True)
class _Parts:
    ledger: Ledger
    upstream: Upstream
    proxy: Proxy
    sockets: Sockets
    admin: FastAPI
    tasks: tuple[asyncio.Task[None], ...]
    health_sync: HealthSync
    telemetry: Telemetry
    updater: UpdatePrices | None


def upstream_of(server: ServerSpec) -> Upstream:
    """The way to the providers, not yet opened.

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


def _loop_rule(spec: SessionsSpec) -> LoopRule:
    most = spec.loop_usd_per_minute
    return LoopRule(
        spec.loop_requests, spec.loop_minutes * 60, None if most is None else parse_usd(str(most)), spec.stop_loops
    )


def identity_provider(spec: SsoSpec, now: Callable[[], datetime]) -> tuple[IdentityProvider | None, str | None]:
    """The identity provider, and the client secret for it; None and None if single sign-on is not set up.

    Raises:
        SsoError: The secret cannot be read.
    """
    if spec.issuer is None:
        return None, None
    try:
        secret = resolve(spec.client_secret) if spec.client_secret is not None else None
    except SecretReferenceError as error:
        raise SsoError(f"[sso] client_secret: {error}") from None
    return IdentityProvider(spec, secret, now=now), secret


def _apply(catalog: Catalog, config: str, *, dry_run: bool, prune: bool, actor: str) -> ApplyResult:
    try:
        plan = configuration.plan(configuration.parse(config), catalog, actor=actor, prune=prune)
        keys = [] if dry_run else configuration.apply(plan, catalog, actor=actor)
    except ConfigError as error:
        raise ConfigurationError(error.issues) from error
    warnings = plan.warnings(moment(catalog.now()))
    return ApplyResult(plan.items(), keys, plan.drift, plan.config.process, warnings)


async def _recall(engine: Engine, ledger: Ledger, stored: str) -> Holder | None:
    """The account that has a stored object, by the ledger; None if it is not known, or the database is unavailable."""
    if not ledger.healthy:
        return None
    try:
        async with asyncio.timeout(RECALL_SECONDS):
            return await asyncio.to_thread(holder_of, engine, stored)
    except (SQLAlchemyError, TimeoutError) as error:
        log.warning("cannot look up the account of %s, so each is tried in turn: %s", stored, type(error).__name__)
        return None


async def _test_provider(directory: Directory, upstream: Upstream, auth: Authenticator, name: str) -> ProviderCheck:
    if (problem := directory.problem(name)) is not None:
        return ProviderCheck(provider=name, ok=False, outcome="credential", message=problem, request="none was sent")
    found = await check(directory.snapshot.providers[name], upstream, auth)
    if lacking := directory.lacking(name):
        outcome = found.outcome if not found.ok else "credential"
        return found.model_copy(
            update={"ok": False, "outcome": outcome, "message": " ".join((*lacking, found.message))}
        )
    return found


_BOTH = frozenset({"/healthz", "/readyz", "/me", "/admin/v1/me"})
"""What both listeners answer where the admin API has one of its own, besides single sign-on's login."""


def _is_data_plane(path: str) -> bool:
    return path.startswith("/proxy/") or one_address.is_native(path)


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


def _problem_body(status: int, kind: str, detail: str) -> bytes:
    return json.dumps({"type": kind, "title": kind, "status": status, "detail": detail}).encode()


async def _problem(send: Send, status: int, kind: str, detail: str) -> None:
    body = _problem_body(status, kind, detail)
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
