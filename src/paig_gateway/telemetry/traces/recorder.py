"""Traces: which requests are recorded, and where their spans are exported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from paig_client.api.specs import ExportSpec, ProjectTelemetry
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.trace_context import Trace, begin_trace, read_trace
from paig_gateway.telemetry.metrics.registry import Sample
from paig_gateway.telemetry.otlp.exporter import Destination, close
from paig_gateway.telemetry.traces.content import MOST_ASKED
from paig_gateway.telemetry.traces.record import Content, Record, record_of

MOST_CONTENTS = 100
"""Records with content that wait for a backend; further ones are exported without their content."""

NOTHING = ProjectTelemetry()


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """Settings of traces.

    Attributes:
        export: The backend of all spans; None if only projects export.
        sample: The share of traces recorded of those that begin at the gateway.
        propagate: Whether traces are passed to providers.
        content: Whether prompts and answers of every project are recorded.
        redact: Patterns whose matches are redacted in prompts and answers.
    """

    export: ExportSpec | None = None
    sample: float = 1.0
    propagate: bool = True
    content: bool = False
    redact: tuple[str, ...] = ()


class Traces:
    """Decides which requests have traces, and queues finished requests for export."""

    def __init__(
        self,
        settings: TraceSettings,
        project: Callable[[str], ProjectTelemetry | None],
        open_destination: Callable[[str, ExportSpec], Destination[Record]],
    ) -> None:
        """Export as the settings and the projects' own settings say.

        Args:
            settings: Settings of the whole gateway.
            project: Returns a project's own settings, by its id.
        """
        self._settings = settings
        self._project = project
        self._open = open_destination
        self._all = open_destination("all", settings.export) if settings.export is not None else None
        self._own: dict[str, Destination[Record]] = {}  # by the project's id

    def trace(self, caller: Caller, headers: Headers) -> Trace | None:
        settings = self._settings
        spans = self._all is not None or self._set_by(caller).export is not None
        found = read_trace(headers, onward=settings.propagate, spans=spans)
        if found is None and spans:
            return begin_trace(onward=settings.propagate, sample=settings.sample)
        return found

    def refused(self, request_id: str, error: GatewayError) -> None:
        """A request refused before its key was known has no span."""

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        """Spans are made at the end."""

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """Queue a request for its destinations."""
        if exchange.trace is None or not exchange.trace.spans:
            return
        settings, own = self._settings, self._set_by(exchange.caller)
        record = record_of(exchange, outcome, settlement, exchange.trace)
        wanted = (settings.content or own.content) and len(exchange.plain) <= MOST_ASKED
        redact = (*settings.redact, *own.redact)
        full = (
            replace(record, content=Content(exchange.plain, outcome.body, outcome.text, redact)) if wanted else record
        )
        if own.export is not None:
            _put(self._of_project(exchange.caller, own.export), full, record)
        if self._all is not None:
            # A project's content is sent to its own backend if it has one.
            _put(self._all, full if settings.content or own.export is None else record, record)

    def samples(self) -> Iterable[Sample]:
        return [sample for destination in self.destinations() for sample in destination.samples()]

    def secrets(self) -> list[str]:
        return [secret for destination in self.destinations() for secret in destination.secrets]

    def destinations(self) -> list[Destination[Record]]:
        return [*([self._all] if self._all else []), *self._own.values()]

    def close(self) -> None:
        """Send the queued spans; blocks for some seconds at most."""
        close(self.destinations())

    def _set_by(self, caller: Caller) -> ProjectTelemetry:
        return (self._project(caller.project_id) or NOTHING) if caller.project_id else NOTHING

    def _of_project(self, caller: Caller, spec: ExportSpec) -> Destination[Record]:
        project_id = caller.project_id or ""
        found = self._own.get(project_id)
        if found is None or found.spec != spec:
            if found is not None:
                found.finish()
            found = self._own[project_id] = self._open(f"project {caller.project}", spec)
        return found


def _put(destination: Destination[Record], record: Record, without_content: Record) -> None:
    if record.content is not None and destination.waiting >= MOST_CONTENTS:
        destination.content_stripped += 1
        record = without_content
    destination.put(record)
