"""Spans of finished requests, by the semantic conventions for HTTP and generative AI.

Imported only in a thread that exports, because it loads protobuf. Usage and cost of a request are only on the span of
the try that answered, so that a backend that sums over a trace counts them once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status

from paig_gateway.domain.money import format_usd, parse_usd
from paig_gateway.telemetry.otlp import common
from paig_gateway.telemetry.otlp.common import Value
from paig_gateway.telemetry.otlp.conventions import PROVIDERS, SCHEMA_URL, USAGE, address_of, operation_of
from paig_gateway.telemetry.traces import content
from paig_gateway.telemetry.traces.record import Record

Attributes = dict[str, Value | None]

_KNOWN_WHERE = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_FROM_AFAR = SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_RECORDED = 1


class Spans:
    """Makes spans of records."""

    def __init__(self, version: str, instance: str, scheme: str, redact: Callable[[str], str]) -> None:
        """Set the process that they come from.

        Args:
            instance: The process's unique id.
            scheme: How the gateway is reached: `http` or `https`.
            redact: Blacks out secrets in captured content.
        """
        self._scheme = scheme
        self._redact = redact
        self._resource = common.resource(version, instance)
        self._scope = common.scope(version)

    def __call__(self, records: Iterable[Record]) -> bytes:
        export = ExportTraceServiceRequest()
        ours = export.resource_spans.add(resource=self._resource, schema_url=SCHEMA_URL)
        spans = ours.scope_spans.add(scope=self._scope, schema_url=SCHEMA_URL).spans
        for record in records:
            self._add(spans, record)
        return export.SerializeToString()

    def _add(self, spans: RepeatedCompositeFieldContainer[Span], record: Record) -> None:
        """The span of a request, then one of each try."""
        trace, settlement = record.trace, record.settlement
        trace_id, span_id = bytes.fromhex(trace.trace_id), bytes.fromhex(trace.span_id)
        state = trace.state.decode("latin-1")
        server = spans.add(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=bytes.fromhex(trace.parent_id) if trace.parent_id else b"",
            trace_state=state,
            flags=_RECORDED | _KNOWN_WHERE | (_FROM_AFAR if trace.parent_id else 0),
            name=f"{record.method} /proxy/{record.route}",
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=record.started,
            end_time_unix_nano=record.started + _ns(record.duration),
        )
        common.put(server.attributes, _server(record, self._scheme))
        if settlement.status is None or settlement.status >= 500:
            server.status.code, server.status.message = Status.STATUS_CODE_ERROR, settlement.error or ""
        last = len(settlement.attempts)
        for number, attempt in enumerate(settlement.attempts, 1):
            began = _seconds(attempt.get("began_ms"))
            ended = began + _seconds(attempt.get("ms"))
            operation = operation_of(record.format, str(attempt["model"]))
            attributes = _attempt(record, operation, attempt, number)
            if number < last and (cost := parse_usd(str(attempt.get("cost", "0")))):
                attributes["operation.cost"] = cost / 1e9
            if number == last:
                ended = max(ended, record.answered if record.answered is not None else record.duration)
                attributes |= _answer(record)
                if record.content is not None:
                    attributes |= content.attributes(record.content, self._redact)
            client = spans.add(
                trace_id=trace_id,
                span_id=bytes.fromhex(trace.attempt(number)),
                parent_span_id=span_id,
                trace_state=state,
                flags=_RECORDED | _KNOWN_WHERE,
                name=f"{operation} {attempt['model']}".rstrip(),
                kind=Span.SPAN_KIND_CLIENT,
                start_time_unix_nano=record.started + _ns(began),
                end_time_unix_nano=record.started + _ns(ended),
            )
            common.put(client.attributes, attributes)
            if wrong := attributes.get("error.type"):
                client.status.code, client.status.message = Status.STATUS_CODE_ERROR, str(wrong)


def _server(record: Record, scheme: str) -> Attributes:
    settlement = record.settlement
    return {
        "http.request.method": record.method,
        "http.route": "/proxy/{route}/{path}",
        "url.scheme": scheme,
        "url.path": record.path,
        "http.response.status_code": settlement.status,
        "error.type": settlement.error,
        "gen_ai.request.model": record.call.model or None,
        "paig.request_id": record.request_id,
        "paig.route": record.route,
        "paig.format": record.format,
        "paig.key": record.key,
        "paig.project": record.project,
        "paig.user": record.user,
        "paig.run": record.run,
        "paig.session": record.session,
        **{f"paig.tag.{name}": value for name, value in record.tags.items()},
        "paig.cost": format_usd(settlement.cost),
        "paig.certainty": settlement.certainty,
        "paig.attempts": len(settlement.attempts),
        "paig.gateway_seconds": round((settlement.ms_gateway or 0.0) / 1000, 6),
    }


def _attempt(record: Record, operation: str, attempt: Mapping[str, object], number: int) -> Attributes:
    provider, status = str(attempt["provider"]), attempt.get("status")
    kind, base_url = record.kinds.get(provider, (provider, ""))
    found: Attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDERS.get(kind, kind),
        "paig.provider": provider,
        "paig.attempt": number,
    }
    if credential := attempt.get("credential"):
        found["paig.credential"] = str(credential)
    if model := attempt.get("model"):
        found["gen_ai.request.model"] = str(model)
    if record.call.output_tokens is not None:
        found["gen_ai.request.max_tokens"] = record.call.output_tokens
    if record.call.answers > 1:
        found["gen_ai.request.choice.count"] = record.call.answers
    if record.call.stream:
        found["gen_ai.request.stream"] = True
    address, port = address_of(base_url)
    if address:
        found["server.address"], found["server.port"] = address, port
    if isinstance(status, int):
        found["http.response.status_code"] = status
    if error := attempt.get("error") or (str(status) if isinstance(status, int) and status >= 400 else None):
        found["error.type"] = str(error)
    return found


def _answer(record: Record) -> Attributes:
    settlement, (response_id, model, reasons) = record.settlement, record.response
    found: Attributes = {}
    if response_id is not None:
        found["gen_ai.response.id"] = response_id
    if model is not None:
        found["gen_ai.response.model"] = model
    if reasons:
        found["gen_ai.response.finish_reasons"] = reasons
    if record.call.stream and record.first_chunk is not None:
        found["gen_ai.response.time_to_first_chunk"] = round(record.first_chunk, 6)
    for name, count in (settlement.usage or {}).items():
        if count or name in ("input_tokens", "output_tokens"):
            found |= dict.fromkeys(USAGE.get(name, ()), int(count))
    earlier = sum(parse_usd(str(attempt.get("cost", "0"))) for attempt in settlement.attempts[:-1])
    if settlement.usage is not None or settlement.cost:
        # The name that pydantic-ai and Logfire use; the conventions have no name for the cost.
        found["operation.cost"] = max(0, settlement.cost - earlier) / 1e9
    if settlement.error and "error.type" not in found and settlement.attempts[-1].get("error") is None:
        found["error.type"] = settlement.error
    return found


def _seconds(milliseconds: object) -> float:
    return float(milliseconds) / 1000 if isinstance(milliseconds, (int, float)) else 0.0


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
