"""All of telemetry for one process, put together from its settings."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from paig_client.api.specs import ExportSpec
from paig_gateway import __version__
from paig_gateway.alerts.alerts import Alerts
from paig_gateway.alerts.conditions import RefusalWatch
from paig_gateway.config import Config
from paig_gateway.core import Core
from paig_gateway.database.columns import milliseconds
from paig_gateway.database.engine import in_thread
from paig_gateway.domain.route import ActiveProvider
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.reports import finished_of_node
from paig_gateway.listener.connections import Connections
from paig_gateway.pricing.price import book_installed_at, book_refreshed_at
from paig_gateway.proxy.observer import Observer, Watcher
from paig_gateway.routing.health import HealthTracker
from paig_gateway.secrets.attempts import FREE
from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.secrets.references import resolve
from paig_gateway.telemetry.audit_stream import AuditDestination, AuditStream, ToFile, ToOtlp, ToSyslog
from paig_gateway.telemetry.logs import ProcessLog, RequestLog
from paig_gateway.telemetry.metrics.genai import GenAi
from paig_gateway.telemetry.metrics.prometheus import Exposition
from paig_gateway.telemetry.metrics.registry import Names, Numbers, Sample, Source
from paig_gateway.telemetry.metrics.requests import MOST_NAMES, Metrics
from paig_gateway.telemetry.observers import Observers
from paig_gateway.telemetry.otlp.exporter import BATCH, MOST_QUEUED, Destination, backend, missing_library
from paig_gateway.telemetry.otlp.metrics_push import Push
from paig_gateway.telemetry.otlp.transport import TRACES
from paig_gateway.telemetry.redaction import Redactor
from paig_gateway.telemetry.settings import AlertsSpec, TelemetrySpec
from paig_gateway.telemetry.traces.record import Record
from paig_gateway.telemetry.traces.recorder import Traces, TraceSettings

if TYPE_CHECKING:
    from paig_gateway.telemetry.traces.spans import Spans


RESTART_SECONDS = 5.0
RECOVER_SECONDS = 1.0
"""Seconds between two checks whether this node has charged the requests of a dead one."""
RECOVERED_MS = 600_000
"""Requests of a dead node are looked for as far back as this."""

log = logging.getLogger(__name__)


class TelemetryError(Exception):
    """Telemetry cannot start with its settings; the message names the setting and says what to do."""


@dataclass(frozen=True, slots=True)
class TelemetrySecrets:
    """The secrets that the settings refer to."""

    metrics_token: str | None = field(default=None, repr=False)
    webhook: str | None = field(default=None, repr=False)

    def __iter__(self) -> Iterator[str]:
        return filter(None, (self.metrics_token, self.webhook))


def secrets_of(spec: TelemetrySpec, alerts: AlertsSpec) -> TelemetrySecrets:
    """Look up the secrets that the settings refer to.

    Raises:
        TelemetryError: A secret cannot be read, or a package is missing.
    """
    for name, export in (
        ("export", spec.export),
        ("export_metrics", spec.export_metrics),
        ("export_audit", spec.export_audit),
    ):
        if export is None:
            continue
        if missing := missing_library(export):
            raise TelemetryError(f"[telemetry] {name} {missing}")
        try:
            backend(export)
        except SecretReferenceError as error:
            raise TelemetryError(f"[telemetry] {name}: {error}") from None
    found: dict[str, str] = {}
    for table, name, reference in (
        ("telemetry", "metrics_token", spec.metrics_token),
        ("alerts", "webhook", alerts.webhook),
    ):
        try:
            if reference is not None:
                found[name] = resolve(reference)
        except SecretReferenceError as error:
            raise TelemetryError(f"[{table}] {name}: {error}") from None
    if not found.get("webhook", "https://").startswith(("http://", "https://")):
        raise TelemetryError("[alerts] webhook: its value must be an http:// or https:// address")
    return TelemetrySecrets(**found)


class Telemetry:
    """The metrics, traces, logs and alerts of one process.

    Attributes:
        observer: Gets the events of the data plane.
        metrics: The app behind `/metrics`; None if it is switched off.
    """

    def __init__(
        self,
        config: Config,
        secrets: TelemetrySecrets,
        core: Core,
        redact: Redactor,
        folder: Path | None,
        process_log: ProcessLog | None,
    ) -> None:
        """Put it together.

        Args:
            core: The node that is watched.
            redact: Blacks out secrets.
            folder: Where workers share their numbers; None if there is one process.
            process_log: The process's log, where the gateway is all that the process does.
        """
        spec = config.telemetry
        self._core = core
        self.traces = _traces(config, core, redact)
        numbers, conventional = Numbers(), Numbers()
        counted = self._counted = Metrics(numbers) if spec.metrics or spec.export_metrics is not None else None
        sources = _sources(core, process_log) + ([counted.samples, self._samples] if counted else [])
        self.metrics = None
        if spec.metrics and counted is not None:
            self.metrics = Exposition(
                numbers,
                sources,
                name=core.node_id,
                folder=folder,
                token=secrets.metrics_token,
                recent=lambda: counted.recent,
            )
        self._push = _push(spec, numbers, conventional, sources, core.node_id, redact)
        refusals = RefusalWatch()
        self.alerts = None
        if secrets.webhook is not None:
            self.alerts = Alerts(
                *(config.alerts, secrets.webhook, core.engine, refusals, core.directory.providers, core.now),
                *(core.ledger, core.attempts, core.loop_log.take),
            )
        self._audit = audit_streams(spec, core.engine, core.now, __version__, core.node_id)
        watching: list[Watcher | None] = [
            self.traces,
            counted,
            GenAi(conventional) if self._push is not None else None,
            RequestLog() if spec.log_requests else None,
            refusals if self.alerts is not None else None,
        ]
        self.observer: Observer = Observers(list(filter(None, watching)), numbers, self.traces.trace)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        work: list[Callable[[], Coroutine[None, None, None]]] = []
        if self.metrics is not None:
            work.append(self.metrics.share)
        if self._counted is not None:
            work.append(self._recover)
        if self._push is not None:
            work.append(self._push.run)
        if self.alerts is not None:
            work.append(self.alerts.run)
        work += [stream.run for stream in self._audit]
        self._tasks = [asyncio.create_task(_on_and_on(run), name="telemetry") for run in work]

    async def stop(self) -> None:
        """Stop, and send what is left."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        # Both at once, so that the end of the process takes no longer for two dead backends than for one.
        await asyncio.gather(asyncio.to_thread(self.traces.close), *([self._push.stop()] if self._push else []))
        if self.metrics is not None:
            await self.metrics.share_once(ended=True)

    async def _recover(self) -> None:
        """Count the requests of nodes that died before they could count them, as the ledger has them."""
        while True:
            for node in self._core.ledger.take_buried():
                try:
                    for row in await in_thread(self._uncounted, node):
                        if self._counted is not None:
                            self._counted.recovered(row)
                except SQLAlchemyError as error:
                    log.warning("The requests of the dead node %s are missing in the metrics: %s", node, error)
            await asyncio.sleep(RECOVER_SECONDS)

    def _uncounted(self, node: str) -> list[Row[Any]]:
        """Rows of a dead node's requests that no process has counted."""
        last = self.metrics.last_words(node) if self.metrics is not None else None
        if last is None:  # its own numbers are lost
            return finished_of_node(self._core.engine, node, milliseconds(self._core.now()) - RECOVERED_MS, swept=True)
        until, counted = last
        return [row for row in finished_of_node(self._core.engine, node, until) if row.id not in counted]

    def _samples(self) -> Iterable[Sample]:
        """The numbers of records that were exported, were dropped and still wait."""
        yield from self.traces.samples()
        if self._push is not None:
            yield from self._push.destination.samples()
        if self.alerts is not None:
            yield from self.alerts.samples()
        for stream in self._audit:
            yield from stream.samples()


def _traces(config: Config, core: Core, redact: Redactor) -> Traces:
    spec = config.telemetry
    scheme = "https" if config.server.tls else "http"

    def spans() -> Spans:
        from paig_gateway.telemetry.traces.spans import Spans  # late, and with it protobuf

        return Spans(__version__, core.node_id, scheme, redact)

    def open_destination(label: str, export: ExportSpec) -> Destination[Record]:
        destination = Destination(label, export, TRACES, spans, most_queued=MOST_QUEUED, batch=BATCH)
        destination.start()
        return destination

    settings = TraceSettings(spec.export, spec.sample, spec.propagate, spec.content, tuple(spec.redact))
    traces = Traces(settings, core.directory.telemetry, open_destination)
    redact.know(traces.secrets)
    return traces


def _push(
    spec: TelemetrySpec, numbers: Numbers, conventional: Numbers, sources: list[Source], node_id: str, redact: Redactor
) -> Push | None:
    """What pushes the metrics; None if they are not to be pushed."""
    if spec.export_metrics is None:
        return None

    def read() -> Numbers:
        reading = numbers.present(sources)
        reading.merge(conventional.copy())
        return reading

    every = spec.export_metrics_seconds
    push = Push(spec.export_metrics, every, read, version=__version__, instance=node_id)
    redact.know(lambda: push.destination.secrets)
    return push


def _sources(core: Core, process_log: ProcessLog | None) -> list[Source]:
    """Where the metrics' present values come from."""
    return [
        lambda: _process_samples(core.ledger),
        lambda: _listener_samples(core.connections),
        _provider_samples(core.health, core.directory.providers),
        lambda: [("paig_security_refusals_total", (kind,), core.attempts.totals[kind]) for kind in FREE],
        lambda: _websocket_samples(core.open_sockets, core.ended_sockets),
        *([process_log.samples] if process_log else []),
    ]


async def _on_and_on(run: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a background task; restart it after an unexpected error."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("telemetry task failed; restarting")
            await asyncio.sleep(RESTART_SECONDS)
        else:
            return


def _process_samples(ledger: Ledger) -> list[Sample]:
    return [
        ("paig_info", (__version__,), 1),
        ("paig_workers", (), 1),
        ("paig_ledger_up", (), float(ledger.healthy)),
        ("paig_ledger_queue_depth", (), ledger.queued),
        ("paig_ledger_waiting", (), ledger.waiting),
        ("paig_ledger_lag_seconds", (), ledger.lag),
        *(("paig_price_book_age_seconds", (), age) for age in _book_age()),
        ("paig_ledger_dropped_total", (), ledger.dropped),
        ("paig_ledger_set_aside_total", (), ledger.set_aside),
    ]


def _book_age() -> list[float]:
    """The least age of the prices in seconds; empty if it is not known."""
    at = book_refreshed_at() or book_installed_at()
    return [max(0.0, time.time() - at.timestamp())] if at else []


def audit_streams(
    spec: TelemetrySpec, engine: Engine, now: Callable[[], datetime], version: str, instance: str
) -> list[AuditStream]:
    """The streams of the audit log."""
    found: dict[str, AuditDestination] = {}
    if spec.audit_file is not None:
        found["file"] = ToFile(Path(spec.audit_file))
    if spec.audit_syslog is not None:
        found["syslog"] = ToSyslog(spec.audit_syslog)
    if spec.export_audit is not None:
        found["otlp"] = ToOtlp(spec.export_audit, version, instance)
    return [AuditStream(name, destination, engine, now) for name, destination in found.items()]


def _websocket_samples(opened: Mapping[str, int], ended: Mapping[tuple[str, str], int]) -> list[Sample]:
    return [
        *(("paig_websocket_sessions", (name,), count) for name, count in opened.items()),
        *(("paig_websockets_ended_total", names, count) for names, count in ended.items()),
    ]


def _listener_samples(connections: Connections) -> list[Sample]:
    refused = [("paig_listener_refusals_total", (str(code),), n) for code, n in connections.refused.items()]
    return [*refused, ("paig_listener_dropped_total", (), connections.dropped)]


def _provider_samples(health: HealthTracker, providers: Callable[[], Mapping[str, ActiveProvider]]) -> Source:
    """The present values about providers, as this process knows them."""
    names, routes = Names(MOST_NAMES), Names(MOST_NAMES)

    def samples() -> list[Sample]:
        now = health.clock()
        for _, breaker in health.breakers():
            breaker.look(now)
        shut = {name for name, breaker in health.breakers() if breaker.state != "closed"}
        opened: dict[str, float] = {}
        for name, provider in providers().items():
            label = names.label(name)
            alone = all((name, credential.id) in shut for credential in provider.credentials)
            opened[label] = max(opened.get(label, 0.0), float(alone))
        refused: dict[str, float] = {}
        for route, count in health.refused_retries().items():
            label = routes.label(route)
            refused[label] = refused.get(label, 0) + count
        return [
            *(("paig_breaker_open", (label,), value) for label, value in opened.items()),
            *(("paig_retries_refused_total", (label,), count) for label, count in refused.items()),
        ]

    return samples
