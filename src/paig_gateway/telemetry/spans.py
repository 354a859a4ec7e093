"""From a finished request to its spans, as the semantic conventions for HTTP and generative AI have them.

Imported only in a thread that exports, and with it the OpenTelemetry SDK. Usage and cost of a request stand on one span
alone, that of the try that answered, so that a backend that adds them up over a trace counts them once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from paig_gateway.domain.money import format_usd, parse_usd
from paig_gateway.telemetry import content
from paig_gateway.telemetry.record import Record

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

SCHEMA_URL = "https://opentelemetry.io/schemas/1.37.0"

OPERATIONS: Mapping[str, str] = {
    "gemini": "generate_content",
    "openai-completions": "text_completion",
    "openai-embeddings": "embeddings",
    "gemini-embed": "embeddings",
    "cohere-embed": "embeddings",
    **dict.fromkeys(
        ("openai-chat", "openai-responses", "anthropic", "bedrock-converse", "bedrock-invoke", "cohere-chat"), "chat"
    ),
}
"""`gen_ai.operation.name` by API format; another format is an operation of its own name."""

PROVIDERS: Mapping[str, str] = {
    "google": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "bedrock-mantle": "aws.bedrock",
    "azure": "azure.ai.openai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
"""`gen_ai.provider.name` by provider kind; another kind goes by its own name."""

_USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "output_reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}

Attributes = dict[str, "AttributeValue"]


class Spans:
    """Makes spans of records."""

    def __init__(self, version: str, node: str, redact: Callable[[str], str]) -> None:
        """Make them in the name of this process.

        Args:
            version: The gateway's version.
            node: The process's name among the nodes.
            redact: Blacks out secrets in captured content.
        """
        self._redact = redact
        own = {"service.name": "paig", "service.version": version, "service.instance.id": node}
        self._resource = Resource.create(own)
        self._scope = InstrumentationScope("paig", version, SCHEMA_URL)

    def of(self, record: Record) -> Iterator[ReadableSpan]:
        """The span of a request, then one of each try."""
        trace, settlement = record.trace, record.settlement
        server = self._context(record, trace.span_id)
        parent = None
        if trace.parent_id is not None:
            state = TraceState.from_header([trace.state.decode("latin-1")]) if trace.state else TraceState()
            parent = SpanContext(int(trace.trace_id, 16), int(trace.parent_id, 16), True, TraceFlags(1), state)
        failed = settlement.status is None or settlement.status >= 500
        yield self._span(
            f"{record.method} /proxy/{record.route}",
            server,
            parent,
            SpanKind.SERVER,
            _server(record),
            (record.started, record.started + _ns(record.duration)),
            Status(StatusCode.ERROR, settlement.error) if failed else Status(),
        )
        operation = OPERATIONS.get(record.format, record.format)
        last = len(settlement.attempts)
        for number, attempt in enumerate(settlement.attempts, 1):
            began = _seconds(attempt.get("began_ms"))
            ended = began + _seconds(attempt.get("ms"))
            if number == last:
                ended = max(ended, record.answered if record.answered is not None else record.duration)
            attributes = _attempt(record, operation, attempt, number)
            if number < last and (cost := parse_usd(str(attempt.get("cost", "0")))):
                attributes["operation.cost"] = cost / 1e9
            if number == last:
                attributes |= _answer(record)
                if record.content is not None:
                    attributes |= content.attributes(record.content, self._redact)
            wrong = attributes.get("error.type")
            yield self._span(
                f"{operation} {attempt['model']}".rstrip(),
                self._context(record, trace.attempt(number)),
                server,
                SpanKind.CLIENT,
                attributes,
                (record.started + _ns(began), record.started + _ns(ended)),
                Status(StatusCode.ERROR, str(wrong)) if wrong else Status(),
            )

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue | None],
        times: tuple[int, int],
        status: Status,
    ) -> ReadableSpan:
        return ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes={key: value for key, value in attributes.items() if value is not None},
            kind=kind,
            status=status,
            start_time=times[0],
            end_time=times[1],
            instrumentation_scope=self._scope,
        )

    @staticmethod
    def _context(record: Record, span_id: str) -> SpanContext:
        return SpanContext(int(record.trace.trace_id, 16), int(span_id, 16), False, TraceFlags(1))


def _server(record: Record) -> dict[str, AttributeValue | None]:
    settlement = record.settlement
    return {
        "http.request.method": record.method,
        "http.route": "/proxy/{route}/{path}",
        "url.path": record.path,
        "http.response.status_code": settlement.status,
        "error.type": settlement.error,
        "paig.request_id": record.request_id,
        "paig.route": record.route,
        "paig.format": record.format,
        "paig.key": record.key,
        "paig.project": record.project,
        "paig.user": record.user,
        "paig.run": record.run,
        **{f"paig.tag.{name}": value for name, value in record.tags.items()},
        "paig.cost": format_usd(settlement.cost),
        "paig.certainty": settlement.certainty,
        "paig.attempts": len(settlement.attempts),
        "paig.gateway_seconds": (settlement.ms_gateway or 0.0) / 1000,
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
    url = urlsplit(base_url)
    if url.hostname:
        found["server.address"] = url.hostname
        found["server.port"] = url.port or (443 if url.scheme == "https" else 80)
    if isinstance(status, int):
        found["http.response.status_code"] = status
    if error := attempt.get("error") or (str(status) if isinstance(status, int) and status >= 400 else None):
        found["error.type"] = str(error)
    return found


def _answer(record: Record) -> Attributes:
    """What the answer said of itself, and what it cost."""
    settlement, (response_id, model, reasons) = record.settlement, record.response
    found: Attributes = {}
    if response_id is not None:
        found["gen_ai.response.id"] = response_id
    if model is not None:
        found["gen_ai.response.model"] = model
    if reasons:
        found["gen_ai.response.finish_reasons"] = tuple(reasons)
    if record.call.stream and record.first_chunk is not None:
        found["gen_ai.response.time_to_first_chunk"] = round(record.first_chunk, 6)
    for name, count in (settlement.usage or {}).items():
        if (attribute := _USAGE.get(name)) and (count or name in ("input_tokens", "output_tokens")):
            found[attribute] = int(count)
    earlier = sum(parse_usd(str(attempt.get("cost", "0"))) for attempt in settlement.attempts[:-1])
    if settlement.usage is not None or settlement.cost:
        # As pydantic-ai and Logfire name it; the conventions have no cost yet.
        found["operation.cost"] = max(0, settlement.cost - earlier) / 1e9
    if settlement.error and "error.type" not in found and settlement.attempts[-1].get("error") is None:
        found["error.type"] = settlement.error
    return found


def _seconds(milliseconds: object) -> float:
    return float(milliseconds) / 1000 if isinstance(milliseconds, (int, float)) else 0.0


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
