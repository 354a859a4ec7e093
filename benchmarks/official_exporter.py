"""A gateway whose traces are exported by OpenTelemetry's SDK and its official exporter, for `benchmarks/telemetry.py`.

The spans and their attributes are the same as paig's own; queue, threads and batches are paig's in both cases.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from paig_gateway.telemetry.otlp import exporter
from paig_gateway.telemetry.otlp.conventions import operation_of
from paig_gateway.telemetry.otlp.transport import TRACES, ExportResult, Signal
from paig_gateway.telemetry.traces import spans as ours
from paig_gateway.telemetry.traces.record import Record

RESOURCE = Resource.create({"service.name": "paig"})
SCOPE = InstrumentationScope("paig", "0")
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
WHY = "it did not take the export"


def spans_of(own: ours.Spans, records: Iterable[Record]) -> list[ReadableSpan]:
    """What `Spans.__call__` makes, as the SDK's spans."""
    return [span for record in records for span in _spans(own, record)]


def _spans(own: ours.Spans, record: Record) -> Iterable[ReadableSpan]:
    trace, settlement, trace_id = record.trace, record.settlement, int(record.trace.trace_id, 16)
    server = SpanContext(trace_id, int(trace.span_id, 16), False, SAMPLED)
    parent = SpanContext(trace_id, int(trace.parent_id, 16), True, SAMPLED) if trace.parent_id else None
    failed = settlement.error or "" if settlement.status is None or settlement.status >= 500 else None
    yield _span(
        f"{record.method} /proxy/{record.route}", server, parent, SpanKind.SERVER, ours._server(record, own._scheme),
        failed, (record.started, record.started + ours._ns(record.duration)),
    )  # fmt: skip
    for number, attempt in enumerate(settlement.attempts, 1):
        began = ours._seconds(attempt.get("began_ms"))
        ended = began + ours._seconds(attempt.get("ms"))
        operation = operation_of(record.format, str(attempt["model"]))
        attributes = ours._attempt(record, operation, attempt, number)
        if number == len(settlement.attempts):
            ended = max(ended, record.duration if record.answered is None else record.answered)
            attributes |= ours._answer(record)
        wrong = attributes.get("error.type")
        yield _span(
            f"{operation} {attempt['model']}", SpanContext(trace_id, int(trace.attempt(number), 16), False, SAMPLED),
            server, SpanKind.CLIENT, attributes, None if wrong is None else str(wrong),
            (record.started + ours._ns(began), record.started + ours._ns(ended)),
        )  # fmt: skip


def _span(
    name: str,
    context: SpanContext,
    parent: SpanContext | None,
    kind: SpanKind,
    attributes: ours.Attributes,
    failed: str | None,
    times: tuple[int, int],
) -> ReadableSpan:
    known = {key: value for key, value in attributes.items() if value is not None}
    status = Status() if failed is None else Status(StatusCode.ERROR, failed)
    return ReadableSpan(
        name, context, parent, RESOURCE, known, kind=kind, status=status, start_time=times[0], end_time=times[1],
        instrumentation_scope=SCOPE,
    )  # fmt: skip


class OfficialSender:
    """OpenTelemetry's OTLP exporter over HTTP, in place of paig's."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        """Export to this address."""
        library = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        gzip = import_module("opentelemetry.exporter.otlp.proto.http").Compression.Gzip
        self._exporter: Any = library.OTLPSpanExporter(endpoint=url, headers=headers, timeout=10, compression=gzip)

    def send(self, export: Any) -> ExportResult:
        """Export spans."""
        return ExportResult(self._exporter.export(export).name == "SUCCESS", WHY)

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


def install() -> None:
    """Let this process export its traces so."""
    own_sender: Any = exporter.Backend.sender

    def sender(backend: exporter.Backend, signal: Signal) -> Any:
        if signal is TRACES:
            return OfficialSender(backend.url(signal), backend.headers)
        return own_sender(backend, signal)

    for owner, name, value in ((ours.Spans, "__call__", spans_of), (exporter.Backend, "sender", sender)):
        setattr(owner, name, value)
