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
from collections.abc import AsyncIterator, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import multiprocess

from paig_client.api.resources import NewKey
from paig_gateway import config as configuration
from paig_gateway.app import Gateway, Store, identity_provider
from paig_gateway.catalog import CatalogError
from paig_gateway.config import Config, ConfigError, Plan, ServerSpec
from paig_gateway.config.model import PROCESS
from paig_gateway.database.engine import DatabaseError, utc_now
from paig_gateway.secrets.errors import SecretsError
from paig_gateway.secrets.home import home_folder, weakness
from paig_gateway.secrets.local_ca import Certificate, local_certificate
from paig_gateway.sso.settings import SsoError
from paig_gateway.telemetry.logs import Log
from paig_gateway.telemetry.redaction import Redactor
from paig_gateway.telemetry.settings import LogLevel
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
    keep_drift: bool = False,
    log_level: LogLevel | None = None,
) -> int:
    """Bring the gateway to its configuration, then serve until told to stop.

    Nothing is changed before the address is bound and everything is checked: a start that fails applies nothing.

    Args:
        host: Where to listen; over the file's.
        port: The port; over the file's.
        tls: Serve HTTPS with a certificate of the gateway's own authority.
        config: A `paig.toml` to apply first.
        workers: Processes; over the file's.
        keep_drift: Leave alone what was changed by hand since the last apply.
        log_level: Log from this level on; over the file's.

    Returns:
        The exit code: 0 after an orderly stop, 2 where the configuration is wrong, 1 for any other failure.
    """
    with contextlib.ExitStack() as opened:
        try:
            wanted = configuration.load(config) if config else configuration.parse("")
            if log_level is not None:
                wanted = replace(wanted, telemetry=wanted.telemetry.model_copy(update={"log_level": log_level}))
            server = _settings(wanted.server, host=host, port=port, tls=tls, workers=workers)
            secrets_of(wanted.telemetry, wanted.alerts)
            identity_provider(wanted.sso, utc_now)
            listener = _bound(server)
            opened.callback(listener.close)
            server = server.model_copy(update={"port": listener.getsockname()[1]})
            store = Store.open(config=wanted)
            _check_strength(store)
            certificate = local_certificate(store.home, server.host) if server.tls else None
            plan = configuration.plan(wanted, store.catalog, keep_drift=keep_drift)
            made = configuration.apply(plan, store.catalog, actor="paig serve") if config else []
        except (ConfigError, TelemetryError, SsoError) as error:
            print(error, file=sys.stderr)
            return 2
        except (SecretsError, DatabaseError, CatalogError, _CannotListen) as error:
            print(f"paig: {error}", file=sys.stderr)
            return 1
        opened.pop_all()  # the listener stays open
    if config:
        _show(plan)
    _show_keys(store.home, made)
    print(_greeting(store, server, certificate), flush=True)
    with _announced(store.home, _origin(server, certificate)):
        return _run(store, replace(wanted, server=server), listener, certificate)


def _run(store: Store, wanted: Config, listener: socket.socket, certificate: Certificate | None) -> int:
    """Serve on a socket until told to stop; the exit code."""
    server = wanted.server
    if server.workers == 1:
        # Having shut down in order, uvicorn raises the signal once more; by then there is nothing left to end.
        signal.signal(signal.SIGTERM, lambda *_: None)
        gateway = _gateway(store, wanted)
        running = _Server(_uvicorn(gateway, server, certificate))
        with contextlib.suppress(KeyboardInterrupt):
            running.run(sockets=[listener])
        return 0 if running.started else 1
    store.engine.dispose()
    wanted_by_all = _uvicorn("paig_gateway.server:worker", server, certificate)
    with tempfile.TemporaryDirectory(prefix="paig-metrics-") as shared:
        settings = replace(wanted, server=server)
        plain = {name: getattr(settings, name).model_dump(mode="json") for name in PROCESS}
        os.environ[_SETTINGS] = json.dumps({**plain, "shared": shared})
        multiprocess.Process = _Worker  # type: ignore[misc]  # uvicorn asks for none, and makes its own
        multiprocess.Multiprocess(wanted_by_all, sockets=[listener]).run()
    return 0


class _CannotListen(Exception):
    """The address cannot be bound; the message says why and what to do."""


def _bound(server: ServerSpec) -> socket.socket:
    """A socket bound to the address that the settings name.

    Raises:
        _CannotListen: The address cannot be bound.
    """
    try:
        return listen(server.host, server.port)
    except OSError as error:
        reason = error.strerror or error
        raise _CannotListen(
            f"cannot listen at {server.host} port {server.port}: {reason}. See --host and --port."
        ) from None


def _check_strength(store: Store) -> None:
    """Refuse weak secrets that are set for the first time, and warn about those in use.

    Raises:
        SecretsError: One is too weak.
    """
    used = store.catalog.version() > 0
    for variable, secret in (("PAIG_SECRET_KEY", store.secret_key), ("PAIG_ADMIN_TOKEN", store.admin_token)):
        if (wrong := weakness(variable, secret)) is None:
            continue
        if not used:
            raise SecretsError(wrong)
        print(f"paig: warning: {wrong}", file=sys.stderr)


def _show(plan: Plan) -> None:
    """Print what the configuration has changed, and what became of changes by hand."""
    for change in plan.changes:
        by_hand = plan.reverts(change)
        print(f"{change}{f' (reverted: changed by hand by {by_hand.actor})' if by_hand else ''}")
        for name, (before, after) in change.changes.items() if by_hand else ():
            print(f"    {name}: {json.dumps(before, default=str)} → {json.dumps(after, default=str)}")
    changed = {(change.kind, change.name) for change in plan.changes}
    for entry in plan.drift:
        if (entry.kind, entry.name) not in changed:
            kept = "kept" if (entry.kind, entry.name) in plan.kept else "not named by the file"
            print(f"! {entry.kind} {entry.name} was changed by hand by {entry.actor} since the last apply: {kept}")


def _show_keys(home: Path, keys: Sequence[NewKey]) -> None:
    """Show the secrets of new keys once: on a terminal, or in a file that the output, which may be kept, only names."""
    if not keys:
        return
    if sys.stdout.isatty():
        for key in keys:
            print(f"Key '{key.name}', shown only now: {key.key}")
        return
    path = home / "new-keys.txt"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
        file.writelines(f"{key.name} {key.key}\n" for key in keys)
    names = ", ".join(f"'{key.name}'" for key in keys)
    print(f"New keys {names}: their secrets are in {path}. Hand them out, then delete the file.")


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
    specs: dict[str, Any] = {name: spec.model_validate(settings[name]) for name, spec in PROCESS.items()}
    wanted = Config(**specs)
    return _gateway(Store.open(config=wanted), wanted, Path(settings["shared"]))


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


def _origin(server: ServerSpec, certificate: Certificate | None) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{'https' if certificate else 'http'}://{host}:{server.port}"


@contextlib.contextmanager
def _announced(home: Path, origin: str) -> Generator[None, None, None]:
    """Say in the home folder where this gateway listens, in a file that it keeps locked as long as it runs.

    The command line sends the token in the home folder to these addresses alone (`paig_client.listener`).
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    folder = home / "listening"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{os.getpid()}.url"
    with open(os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(origin)
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _greeting(store: Store, server: ServerSpec, certificate: Certificate | None) -> str:
    origin = _origin(server, certificate)
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
