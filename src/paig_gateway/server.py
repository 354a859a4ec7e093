"""`paig serve`: settings in, a running gateway out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from pathlib import Path

import uvicorn
from uvicorn.supervisors import multiprocess

from paig_client.api.specs import Spec
from paig_gateway import config as configuration
from paig_gateway.app import Gateway, Store, identity_provider
from paig_gateway.catalog import CatalogError
from paig_gateway.config import Config, ConfigError, LedgerSpec, ServerSpec
from paig_gateway.database.engine import DatabaseError, utc_now
from paig_gateway.secrets.home import home_folder
from paig_gateway.secrets.local_ca import Certificate, local_certificate
from paig_gateway.secrets.vault import SecretsError
from paig_gateway.sso.settings import SsoError, SsoSpec
from paig_gateway.telemetry.logs import Log
from paig_gateway.telemetry.redaction import Redactor
from paig_gateway.telemetry.settings import AlertsSpec, TelemetrySpec
from paig_gateway.telemetry.setup import TelemetryError, secrets_of

_SETTINGS = "PAIG_SERVER_SETTINGS"
"""Hands the process's settings, as JSON, from `paig serve` to its worker processes. Secrets are references in them."""


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    tls: bool = False,
    config: Path | None = None,
    workers: int | None = None,
) -> int:
    """Bring the gateway to its configuration, then serve until told to stop.

    Args:
        host: Where to listen; over the file's.
        port: The port; over the file's.
        tls: Serve HTTPS with a certificate of the gateway's own authority.
        config: A `paig.toml` to apply first.
        workers: Processes; over the file's.

    Returns:
        The exit code: 0 after an orderly stop, 2 where the configuration is wrong, 1 for any other failure.
    """
    try:
        wanted = configuration.load(config) if config else configuration.parse("")
        server = _settings(wanted.server, host=host, port=port, tls=tls, workers=workers)
        secrets_of(wanted.telemetry, wanted.alerts)
        identity_provider(wanted.sso, utc_now)
        store = Store.open()
        plan = configuration.plan(wanted, store.catalog)
        drift = configuration.drift(store.catalog, wanted, plan.changes)
        made = configuration.apply(plan, store.catalog, actor="paig serve") if config else []
    except (ConfigError, TelemetryError, SsoError) as error:
        print(error, file=sys.stderr)
        return 2
    except (SecretsError, DatabaseError, CatalogError) as error:
        print(f"paig: {error}", file=sys.stderr)
        return 1
    certificate = local_certificate(store.home, server.host) if server.tls else None
    try:
        listener = listen(server.host, server.port)
    except OSError as error:
        reason = error.strerror or error
        print(
            f"paig: cannot listen at {server.host} port {server.port}: {reason}. See --host and --port.",
            file=sys.stderr,
        )
        return 1
    server = server.model_copy(update={"port": listener.getsockname()[1]})
    for change in plan.changes:
        print(change)
    for entry in drift if config else ():
        print(f"! {entry.kind} {entry.name} was changed by hand since the last apply, by {entry.actor}")
    for key in made:
        print(f"Key '{key.name}', shown only now: {key.key}")
    print(_greeting(store, server, certificate), flush=True)
    if server.workers == 1:
        # Having shut down in order, uvicorn raises the signal once more; by then there is nothing left to end.
        signal.signal(signal.SIGTERM, lambda *_: None)
        gateway = _gateway(store, replace(wanted, server=server))
        running = _Server(_uvicorn(gateway, server, certificate))
        with contextlib.suppress(KeyboardInterrupt):
            running.run(sockets=[listener])
        return 0 if running.started else 1
    store.engine.dispose()
    wanted_by_all = _uvicorn("paig_gateway.server:worker", server, certificate)
    with tempfile.TemporaryDirectory(prefix="paig-metrics-") as shared:
        specs: dict[str, Spec] = {"server": server, "ledger": wanted.ledger, "telemetry": wanted.telemetry}
        specs |= {"alerts": wanted.alerts, "sso": wanted.sso}
        plain = {name: spec.model_dump(mode="json") for name, spec in specs.items()}
        os.environ[_SETTINGS] = json.dumps({**plain, "shared": shared})
        multiprocess.Process = _Worker  # type: ignore[misc]  # uvicorn asks for none, and makes its own
        multiprocess.Multiprocess(wanted_by_all, sockets=[listener]).run()
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound to a port; 0 for one that is free.

    Raises:
        OSError: The host is none of this machine's, or the port is taken or not for us to have.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    # Named as TCP, so that event loops turn off the delay of small packets.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def worker() -> Gateway:
    """The ASGI app of one of several processes."""
    quiet_uvicorn()
    settings = json.loads(os.environ[_SETTINGS])
    wanted = Config(
        server=ServerSpec.model_validate(settings["server"]),
        ledger=LedgerSpec.model_validate(settings["ledger"]),
        telemetry=TelemetrySpec.model_validate(settings["telemetry"]),
        alerts=AlertsSpec.model_validate(settings["alerts"]),
        sso=SsoSpec.model_validate(settings["sso"]),
    )
    return _gateway(Store.open(), wanted, Path(settings["shared"]))


def _gateway(store: Store, wanted: Config, shared: Path | None = None) -> Gateway:
    """A gateway that is all its process does, so that the process's log is the gateway's."""
    redact = Redactor()
    log = Log(wanted.telemetry, redact)
    return Gateway(
        store, wanted.server, wanted.telemetry, wanted.alerts, redact, log, shared, wanted.sso, wanted.ledger
    )


@contextlib.asynccontextmanager
async def running_gateway(gateway: Gateway, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve a gateway in this event loop for as long as the context lasts.

    Yields:
        Its origin, such as `http://127.0.0.1:40123`.
    """
    listener = listen(host, port)
    server = _EmbeddedServer(_uvicorn(gateway, ServerSpec(host=host, port=port)))
    running = asyncio.create_task(server.serve(sockets=[listener]), name="gateway")
    try:
        while not server.started:
            await asyncio.wait((running,), timeout=0.005)
            if running.done():
                await running
                raise RuntimeError("the gateway ended before it had started")
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()


class _Server(uvicorn.Server):
    """A server that waits for requests to end, but not for those who read events."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what runs end, then the gateway."""
        if isinstance(gateway := self.config.loaded_app, Gateway):
            gateway.ending()
        await super().shutdown(sockets)


class _Worker(multiprocess.Process):
    """One of several processes with such a server."""

    @property
    def server(self) -> uvicorn.Server:
        """Its server."""
        if self._server is None:
            self._server = _Server(config=self.config)
        return self._server


class _EmbeddedServer(_Server):
    """A server inside a program whose signals are its own business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def quiet_uvicorn() -> None:
    """Keep from the log what uvicorn takes for an error: a stream broken off because its upstream broke off."""

    def expected(record: logging.LogRecord) -> bool:
        return "returned without completing response" not in record.getMessage()

    logging.getLogger("uvicorn.error").addFilter(expected)


def _settings(server: ServerSpec, *, host: str | None, port: int | None, tls: bool, workers: int | None) -> ServerSpec:
    given = {"host": host, "port": port, "tls": tls or None, "workers": workers}
    return server.model_copy(update={name: value for name, value in given.items() if value is not None})


def _uvicorn(app: Gateway | str, server: ServerSpec, certificate: Certificate | None = None) -> uvicorn.Config:
    quiet_uvicorn()
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=server.workers,
        host=server.host,
        port=server.port,
        http="httptools",
        ws="websockets-sansio",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=30,
        ssl_certfile=certificate.certificate if certificate else None,
        ssl_keyfile=str(certificate.key) if certificate else None,
    )


def _greeting(store: Store, server: ServerSpec, certificate: Certificate | None) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    origin = f"{'https' if certificate else 'http'}://{host}:{server.port}"
    providers = [provider.name for provider in store.catalog.providers.list()]
    keys = store.catalog.keys.list()
    lines = [f"paig serves at {origin} (home: {home_folder()})"]
    if not providers:
        lines.append("Next: name a provider in paig.toml and start with --config, or: paig providers create")
    elif not keys:
        lines.append("Next: paig keys create NAME --daily 5")
    else:
        lines.append(f"Providers: {', '.join(providers)}. Clients use {origin}/proxy with a key of 'paig keys create'.")
    if certificate:
        lines.append(f"Clients need our certificate authority: SSL_CERT_FILE={certificate.bundle}")
    return "\n".join(lines)
