"""A minimal OTLP receiver, over HTTP and gRPC, built on opentelemetry-proto."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Exported = trace_service_pb2.ExportTraceServiceRequest


@dataclass
class Receiver:
    """What has come in.

    Attributes:
        url: Where it listens.
        requests: Each export, as it came.
        headers: Each export's headers or metadata, by lower-case name.
    """

    url: str = ""
    requests: list[Exported] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def take(self, request: Exported, headers: dict[str, str]) -> None:
        """Keep an export."""
        self.headers.append(headers)
        self.requests.append(request)

    @property
    def spans(self) -> list[Span]:
        """Every span, in the order they came."""
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    async def wait(self, count: int) -> list[Span]:
        """So many spans, once they are there."""
        async with asyncio.timeout(30):
            spans = self.spans
            while len(spans) < count:
                await asyncio.sleep(0.02)
                spans = self.spans
        return spans


def value(any_value: AnyValue) -> Any:
    """An attribute's value."""
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(item) for item in any_value.array_value.values]
    return getattr(any_value, kind) if kind else None


def attributes(span: Span) -> dict[str, Any]:
    """A span's attributes."""
    return {attribute.key: value(attribute.value) for attribute in span.attributes}


@contextmanager
def over_http(status: int = 200, delay: float = 0.0) -> Iterator[Receiver]:
    """A receiver for OTLP over HTTP; it may refuse everything, or take its time."""
    receiver = Receiver()
    gone = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            gone.wait(delay)
            receiver.take(
                Exported.FromString(body), {k.lower(): v for k, v in self.headers.items()} | {"path": self.path}
            )
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
def over_grpc() -> Iterator[Receiver]:
    """A receiver for OTLP over gRPC."""
    receiver = Receiver()

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Exported, context: grpc.ServicerContext) -> object:
            receiver.take(request, {key: str(value) for key, value in context.invocation_metadata()})
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), server)
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
