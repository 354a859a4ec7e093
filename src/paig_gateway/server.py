"""`paig serve`: settings in, a running gateway out."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import ssl
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from paig_client.api.resources import NewKey
from paig_gateway import config as configuration
from paig_gateway.app import Gateway, OpenDatabase, UpstreamSettingsError, upstream_of
from paig_gateway.catalog import CatalogError
from paig_gateway.config import Config, ConfigError, Plan, ServerSpec
from paig_gateway.config.model import PROCESS
from paig_gateway.database.engine import DatabaseError, utc_now
from paig_gateway.listener.protocol import HttpProtocol
from paig_gateway.listener.server import EmbeddedServer, Server, Workers
from paig_gateway.observability import TelemetryError, secrets_of
from paig_gateway.proxy.forwarded import is_local
from paig_gateway.secrets.errors import SecretsError
from paig_gateway.secrets.home import home_folder, weakness
from paig_gateway.sso.provider import identity_provider
from paig_gateway.sso.settings import SsoError
from paig_gateway.telemetry.logs import ProcessLog
from paig_gateway.telemetry.redaction import Redactor
from paig_gateway.telemetry.settings import LogLevel

if TYPE_CHECKING:
    from paig_gateway.secrets.local_ca import Certificate

log = logging.getLogger(__name__)

DESCRIPTORS = 65_536
"""The number of open files that a process asks the system for."""

_SETTINGS = "PAIG_SERVER_SETTINGS"
"""The variable by which `paig serve` hands its settings to its worker processes, as JSON.

Secrets are references in them.
"""


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    tls: bool = False,
    config: Path | None = None,
    workers: int | None = None,
    keep_drift: bool = False,
    log_level: LogLevel | None = None,
    verbose: bool = False,
) -> int:
    """Apply the configuration, then serve until stopped.

    Nothing is changed before the address is bound and everything is checked: a failed start applies nothing.

    Args:
        host: Where to listen, in place of the file's setting.
        port: The port, in place of the file's setting.
        tls: Serve HTTPS with a certificate of the gateway's own authority.
        config: A `paig.toml` to apply first.
        workers: The number of processes, in place of the file's setting.
        keep_drift: Keep changes made by hand since the last apply.
        log_level: Log from this level on, in place of the file's setting.
        verbose: If it cannot start, print the whole error before the line with the reason.

    Returns:
        The exit code: 0 after an orderly stop, 2 where the configuration is wrong, 1 for any other failure.
    """
    with contextlib.ExitStack() as opened:
        try:
            wanted = configuration.load(config) if config else configuration.parse("")
            if log_level is not None:
                wanted = replace(wanted, telemetry=wanted.telemetry.model_copy(update={"log_level": log_level}))
            server = _settings(wanted.server, host=host, port=port, tls=tls, workers=workers)
            _prepare(wanted, server)
            server, listeners = _bound(server)
            for listener in listeners:
                opened.callback(listener.close)
            store = OpenDatabase.open(config=wanted)
            _check_strength(store)
            certificate = _local_certificate(store.home, server) if server.tls and server.tls_cert is None else None
            plan = configuration.plan(wanted, store.catalog, actor="paig serve", keep_drift=keep_drift)
            made = configuration.apply(plan, store.catalog, actor="paig serve") if config else []
        except Exception as error:  # any error: one line, and nothing has changed
            if verbose:
                traceback.print_exc()
            wrong = isinstance(error, (ConfigError, TelemetryError, SsoError))
            print(error if wrong else f"paig: {_why(error, verbose)}", file=sys.stderr)
            return 2 if wrong else 1
        opened.pop_all()  # the listeners stay open
    if config:
        _show(plan)
    _show_keys(store.home, made)
    print(_greeting(store, server, certificate), flush=True)
    if (warning := exposed(server)) is not None:
        print(f"paig: warning: {warning}", file=sys.stderr)
    wanted = replace(wanted, server=server)
    on_hangup = partial(_reload, config, store, wanted, keep_drift) if config else None
    with _announced(store.home, _admin_origin(server, certificate)):
        return _run(store, wanted, listeners, certificate, on_hangup)


def _prepare(wanted: Config, server: ServerSpec) -> None:
    """Refuse settings with which the gateway could not start, and set the limits of the process."""
    secrets_of(wanted.telemetry, wanted.alerts)
    identity_provider(wanted.sso, utc_now)
    upstream_of(server)
    check_certificate(server)
    raise_descriptors()
    forbid_core_dumps()


def _run(
    store: OpenDatabase,
    wanted: Config,
    listeners: list[socket.socket],
    certificate: Certificate | None,
    on_hangup: Callable[[], None] | None,
) -> int:
    """Serve on sockets until stopped; returns the exit code."""
    server = wanted.server
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if server.workers == 1:
        # After an orderly shutdown, uvicorn raises the signal once more; there is nothing left to end then.
        signal.signal(signal.SIGTERM, lambda *_: None)
        gateway = _gateway(store, wanted)
        running = Server(_uvicorn(gateway, server, certificate), _in_a_thread(on_hangup) if on_hangup else None)
        if hasattr(signal, "SIGHUP") and on_hangup:
            signal.signal(signal.SIGHUP, lambda *_: running.hangup())
        with contextlib.suppress(KeyboardInterrupt):
            running.run(sockets=listeners)
        return 0 if running.started else 1
    store.engine.dispose()
    wanted_by_all = _uvicorn("paig_gateway.server:worker", server, certificate)
    with tempfile.TemporaryDirectory(prefix="paig-metrics-") as shared:
        plain = {name: getattr(wanted, name).model_dump(mode="json") for name in PROCESS}
        os.environ[_SETTINGS] = json.dumps({**plain, "shared": shared})
        Workers(wanted_by_all, listeners, on_hangup).run()
    return 0


def _why(error: Exception, verbose: bool) -> str:
    """Why the gateway cannot start, in one line."""
    if isinstance(error, (SecretsError, DatabaseError, CatalogError, UpstreamSettingsError, UnusableError)):
        return str(error)
    reason = " ".join(str(error).split())
    more = "" if verbose else " `paig serve --verbose` shows the whole error."
    return f"Cannot start: {type(error).__name__}{f': {reason}' if reason else ''}.{more}"


class UnusableError(Exception):
    """The address or the certificate in the settings cannot be used; the message says why and what to do."""


def _bound(server: ServerSpec) -> tuple[ServerSpec, list[socket.socket]]:
    """Sockets bound to the addresses that the settings name, and the settings with the ports that were found.

    Raises:
        UnusableError: An address cannot be bound.
    """
    found: list[socket.socket] = []
    update: dict[str, object] = {}
    places = [("host", "port", server.host, server.port)]
    if server.apart:
        port = server.port if server.admin_port is None else server.admin_port
        places.append(("admin_host", "admin_port", server.admin_host or server.host, port))
    for host_name, port_name, host, port in places:
        try:
            found.append(listen(host, port))
        except OSError as error:
            for other in found:
                other.close()
            reason = error.strerror or error
            raise UnusableError(f"cannot listen at {host} port {port}: {reason}. See --host and --port.") from None
        update |= {host_name: host, port_name: found[-1].getsockname()[1]}
    return server.model_copy(update=update), found


def exposed(server: ServerSpec) -> str | None:
    """A warning about an unencrypted address that other machines reach; None if there is none."""
    hosts = [host for host in (server.host, server.admin_host) if host is not None]
    beyond = [host for host in hosts if host != "localhost" and not is_local(host)]
    if not beyond or server.tls or server.tls_cert or server.trusted_proxies:
        return None
    return (
        f"{beyond[0]} is reached from other machines, and keys and tokens cross the network unencrypted. Set tls ="
        " true, or tls_cert and tls_key; or name the proxies that end TLS in trusted_proxies."
    )


def _local_certificate(home: Path, server: ServerSpec) -> Certificate:
    from paig_gateway.secrets.local_ca import local_certificate  # late: it brings X.509

    return local_certificate(home, server.host)


def check_certificate(server: ServerSpec) -> None:
    """Check that the certificate that the settings name, if any, can be served.

    Raises:
        UnusableError: It cannot be read, or the key is not its own.
    """
    if server.tls_cert is None or server.tls_key is None:
        return
    for setting, path in (("tls_cert", server.tls_cert), ("tls_key", server.tls_key)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise UnusableError(f"[server] {setting}: cannot read {path}: {error.strerror}") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(server.tls_cert, server.tls_key)
    except ssl.SSLError as error:
        raise UnusableError(
            f"[server] tls_cert, tls_key: {server.tls_cert} and {server.tls_key} are not a certificate and its key in"
            f" PEM ({error.reason or error})"
        ) from None


def forbid_core_dumps() -> None:
    """Forbid core dumps: this process's memory holds secrets."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def raise_descriptors() -> None:
    """Raise the limit of open files to `DESCRIPTORS`, or as far as the system allows."""
    try:
        import resource
    except ImportError:  # not a Unix
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _in_a_thread(work: Callable[[], None]) -> Callable[[], None]:
    """Runs work in a thread, so that it does not block the event loop."""
    running: set[asyncio.Task[None]] = set()

    def start() -> None:
        task = asyncio.create_task(asyncio.to_thread(work), name="reload")
        running.add(task)
        task.add_done_callback(running.discard)

    return start


def _reload(path: Path, store: OpenDatabase, running: Config, keep_drift: bool) -> None:
    """Apply the configuration file again, as `paig apply` does; log the settings that only a restart changes."""
    try:
        wanted = configuration.load(path)
        plan = configuration.plan(wanted, store.catalog, actor="SIGHUP", keep_drift=keep_drift)
        made = configuration.apply(plan, store.catalog, actor="SIGHUP")
    except ConfigError as error:
        log.error("%s was not reloaded, and nothing changed: %s", path, error)
        return
    except (CatalogError, SQLAlchemyError) as error:
        log.error("%s was not reloaded: %s", path, error)
        return
    log.warning("Reloaded %s: %s", path, "; ".join(map(str, plan.changes)) or "nothing changed")
    _show_keys(store.home, made)
    for field in _needs_restart(running, wanted):
        log.warning("%s changed: restart the gateway for it to take effect", field)


def _needs_restart(running: Config, wanted: Config) -> list[str]:
    """The settings that a process reads only at its start, and that have another value in the file."""
    # Values from the command line or the system stay.
    chosen = {"host", "port", "workers", "tls", "admin_host", "admin_port"} - wanted.server.model_fields_set
    found = []
    for table in PROCESS:
        old, new = getattr(running, table), getattr(wanted, table)
        for name in type(new).model_fields:
            if getattr(old, name) != getattr(new, name) and not (table == "server" and name in chosen):
                found.append(f"[{table}] {name}")
    return found


def _check_strength(store: OpenDatabase) -> None:
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
    """Print the changes of the configuration, and what happened to changes by hand."""
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
        OSError: The host is not one of this machine's, or the port is taken or not permitted.
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
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent reads the configuration again
    forbid_core_dumps()
    settings = json.loads(os.environ[_SETTINGS])
    specs: dict[str, Any] = {name: spec.model_validate(settings[name]) for name, spec in PROCESS.items()}
    wanted = Config(**specs)
    return _gateway(OpenDatabase.open(config=wanted), wanted, Path(settings["shared"]))


def _gateway(store: OpenDatabase, wanted: Config, shared: Path | None = None) -> Gateway:
    """A gateway that is all its process does, so that the process's log is the gateway's."""
    redact = Redactor()
    return Gateway(store, wanted, redact, ProcessLog(wanted.telemetry, redact), shared)


@contextlib.asynccontextmanager
async def running_gateway(gateway: Gateway, *, port: int = 0) -> AsyncIterator[str]:
    """Serve a gateway in this event loop for as long as the context lasts.

    Yields:
        Its origin, such as `http://127.0.0.1:40123`.
    """
    host = "127.0.0.1"
    listener = listen(host, port)
    spec = ServerSpec(
        host=host, port=port, tls_cert=gateway.config.server.tls_cert, tls_key=gateway.config.server.tls_key
    )
    server = EmbeddedServer(_uvicorn(gateway, spec))
    running = asyncio.create_task(server.serve(sockets=[listener]), name="gateway")
    try:
        while not server.started:
            await asyncio.wait((running,), timeout=0.005)
            if running.done():
                await running
                raise RuntimeError("the gateway ended before it had started")
        yield f"{'https' if spec.tls_cert else 'http'}://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()


def _settings(server: ServerSpec, *, host: str | None, port: int | None, tls: bool, workers: int | None) -> ServerSpec:
    given = {"host": host, "port": port, "tls": tls or None, "workers": workers}
    return server.model_copy(update={name: value for name, value in given.items() if value is not None})


def _uvicorn(app: Gateway | str, server: ServerSpec, certificate: Certificate | None = None) -> uvicorn.Config:
    files, context = (server.tls_cert, server.tls_key), None
    if certificate:
        from paig_gateway.secrets.local_ca import choose_by_name  # late: it brings X.509

        files = str(certificate.certificate), str(certificate.key)
        context = partial(choose_by_name, certificate.by_name)
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=server.workers,
        host=server.host,
        port=server.port,
        http=HttpProtocol,
        ws="websockets-sansio",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        ssl_certfile=files[0],
        ssl_keyfile=files[1],
        ssl_context_factory=context,
    )


def _origin(server: ServerSpec, certificate: Certificate | None) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{'https' if certificate or server.tls_cert else 'http'}://{host}:{server.port}"


def _admin_origin(server: ServerSpec, certificate: Certificate | None) -> str:
    if not server.apart:
        return _origin(server, certificate)
    return _origin(server.model_copy(update={"host": server.admin_host, "port": server.admin_port}), certificate)


@contextlib.contextmanager
def _announced(home: Path, origin: str) -> Generator[None, None, None]:
    """Write the address of this gateway into the home folder, in a file that stays locked as long as it runs.

    The command line sends the token in the home folder only to these addresses (`paig_client.own_gateway`).
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    folder = home / "listening"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in itertools.count():
        # Process ids are not unique where containers share the folder: in each of them the gateway is process 1.
        path = folder / f"{os.getpid()}-{number}.url"
        with open(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            file.truncate()
            file.write(origin)
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _greeting(store: OpenDatabase, server: ServerSpec, certificate: Certificate | None) -> str:
    origin = _origin(server, certificate)
    providers = [provider.name for provider in store.catalog.providers.list()]
    keys = store.catalog.keys.list()
    lines = [f"paig serves at {origin} (home: {home_folder()})"]
    if server.apart:
        lines.append(f"The admin API and the console listen at {_admin_origin(server, certificate)}")
    if not providers:
        lines.append("Next: name a provider in paig.toml and start with --config, or: paig providers create")
    elif not keys:
        lines.append("Next: paig keys create NAME --daily 5")
    else:
        lines.append(f"Providers: {', '.join(providers)}. Clients use {origin}/proxy with a key of 'paig keys create'.")
    if certificate:
        lines.append(f"Clients need our certificate authority: SSL_CERT_FILE={certificate.bundle}")
    return "\n".join(lines)
