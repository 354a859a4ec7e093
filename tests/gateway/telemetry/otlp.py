"""A minimal OTLP receiver, over HTTP and gRPC, built on opentelemetry-proto."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, Metric, NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Traces = trace_service_pb2.ExportTraceServiceRequest
Metrics = metrics_service_pb2.ExportMetricsServiceRequest
_SIGNALS = {"/v1/traces": Traces, "/v1/metrics": Metrics}


@dataclass(frozen=True)
class Answer:
    """How an export is answered: an HTTP status or a gRPC code, and how long the sender is to wait."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    code: grpc.StatusCode = grpc.StatusCode.OK
    pause: float | None = None


@dataclass
class Receiver:
    """What has come in.

    Attributes:
        url: Where it listens.
        answers: How the next exports are answered; all others are taken.
        traces: Each export of spans that was taken, as it came.
        metrics: Each export of metrics, likewise.
        headers: Every export's headers or metadata, by lower-case name.
        refused: Exports that were not taken.
        times: When each export came, in monotonic seconds.
    """

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    traces: list[Traces] = field(default_factory=list)
    metrics: list[Metrics] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    refused: int = 0
    times: list[float] = field(default_factory=list)

    def take(self, export: Traces | Metrics, headers: dict[str, str]) -> Answer:
        """Keep an export, unless it is to be refused."""
        answer = self.answers.pop(0) if self.answers else Answer()
        self.headers.append(headers)
        self.times.append(time.monotonic())
        if answer.status >= 300 or answer.code is not grpc.StatusCode.OK:
            self.refused += 1
        elif isinstance(export, Traces):
            self.traces.append(export)
        else:
            self.metrics.append(export)
        return answer

    @property
    def spans(self) -> list[Span]:
        """Every span, in the order they came."""
        return [
            span
            for export in list(self.traces)
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def latest(self) -> dict[str, Metric]:
        """The metrics of the last export, by name."""
        resources = self.metrics[-1].resource_metrics if self.metrics else ()
        return {metric.name: metric for one in resources for scope in one.scope_metrics for metric in scope.metrics}

    async def wait(self, count: int) -> list[Span]:
        """So many spans, once they are there."""
        await until(lambda: len(self.spans) >= count)
        return self.spans


async def until(holds: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(30):
        held = holds()
        while not held:
            await asyncio.sleep(0.02)
            held = holds()


def value(any_value: AnyValue) -> Any:
    """An attribute's value."""
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(item) for item in any_value.array_value.values]
    return getattr(any_value, kind) if kind else None


def attributes(of: Span | NumberDataPoint | HistogramDataPoint) -> dict[str, Any]:
    """The attributes of a span or a point."""
    return {attribute.key: value(attribute.value) for attribute in of.attributes}


@contextmanager
def over_http(*answers: Answer, delay: float = 0.0) -> Iterator[Receiver]:
    """A receiver for OTLP over HTTP, which answers the first exports so, and may take its time."""
    receiver = Receiver(answers=list(answers))
    gone = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            gone.wait(delay)
            headers = {name.lower(): text for name, text in self.headers.items()} | {"path": self.path}
            signal = _SIGNALS.get(self.path)
            answer = receiver.take(signal.FromString(body), headers) if signal else Answer(404)
            self.send_response(answer.status)
            for name, text in answer.headers.items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        gone.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def over_grpc(*answers: Answer) -> Iterator[Receiver]:
    """A receiver for OTLP over gRPC, which answers the first exports so."""
    receiver = Receiver(answers=list(answers))

    def take(export: Traces | Metrics, context: grpc.ServicerContext) -> None:
        answer = receiver.take(export, {key: str(text) for key, text in context.invocation_metadata()})
        if answer.pause is not None:
            status = Status(code=answer.code.value[0])
            seconds = Duration(nanos=int(answer.pause * 1e9))
            status.details.add().Pack(RetryInfo(retry_delay=seconds))
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        if answer.code is not grpc.StatusCode.OK:
            context.abort(answer.code, "as told")

    class TraceService(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Traces, context: grpc.ServicerContext) -> object:
            take(request, context)
            return trace_service_pb2.ExportTraceServiceResponse()

    class MetricsService(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request: Metrics, context: grpc.ServicerContext) -> object:
            take(request, context)
            return metrics_service_pb2.ExportMetricsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(TraceService(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(MetricsService(), server)
    receiver.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait()


@asynccontextmanager
async def no_backend() -> AsyncIterator[str]:
    """An address where connections are taken and never answered."""
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: taken.append(writer), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in taken:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in taken), return_exceptions=True)
