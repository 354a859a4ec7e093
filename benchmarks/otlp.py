"""What encoding a request's spans costs: paig's own encoder beside OpenTelemetry's SDK with its official exporter.

    uv pip install opentelemetry-exporter-otlp-proto-http    # beside the development environment
    python benchmarks/otlp.py [--requests 20000]

Both make the same two spans with the same attributes and the same bytes on the wire, in batches of 512, without a
backend. The figure is CPU time for each request; compare it with what a request costs (`benchmarks/telemetry.py`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from paig_gateway.formats.base import Call
from paig_gateway.ledger.records import Settlement
from paig_gateway.proxy.trace_context import begin
from paig_gateway.telemetry.otlp.conventions import operation_of
from paig_gateway.telemetry.traces import spans as ours
from paig_gateway.telemetry.traces.record import Record

BATCH = 512


def record(number: int) -> Record:
    """A finished request: one try, a streamed answer with usage and cost."""
    trace = begin(onward=True, sample=1.0)
    attempt = {
        "provider": "openai",
        "model": "gpt-5",
        "credential": "cred_1",
        "status": 200,
        "began_ms": 0.4,
        "ms": 812.0,
    }
    settlement = Settlement(
        id=f"req_{number:016x}", finished=datetime.now(UTC), cost=2_079_000, certainty="exact", status=200,
        provider="openai", model="gpt-5",
        usage={"input_tokens": 812, "output_tokens": 164, "cache_read_tokens": 512}, attempts=(attempt,),
        ms_total=1200.0, ms_first_byte=812.0, ms_gateway=0.6,
    )  # fmt: skip
    return Record(
        trace, settlement.id, time.time_ns(), 1.2, 1.19, 0.8, "POST", "/proxy/openai/chat/completions", "openai",
        "openai-chat", Call(model="gpt-5", stream=True), "ci", "research", None, {"run": "nightly"}, None,
        {"openai": ("openai", "https://api.openai.com/v1")}, settlement, ("chatcmpl-1", "gpt-5-2025-08-07", ["stop"]),
    )  # fmt: skip


def official(batch: Sequence[Record], resource: Resource, encode: Callable[[Sequence[Any]], Any]) -> bytes:
    """The same spans by OpenTelemetry's own classes."""
    made = []
    for one in batch:
        trace_id, flags = int(one.trace.trace_id, 16), TraceFlags(TraceFlags.SAMPLED)
        server = SpanContext(trace_id, int(one.trace.span_id, 16), False, flags)
        client = SpanContext(trace_id, int(one.trace.attempt(1), 16), False, flags)
        attempt = one.settlement.attempts[0]
        attributes = ours._attempt(one, operation_of(one.format, "gpt-5"), attempt, 1) | ours._answer(one)
        end = one.started + int(one.duration * 1e9)
        for context, parent, kind, name, found in (
            (server, None, SpanKind.SERVER, "POST /proxy/openai", ours._server(one, "http")),
            (client, server, SpanKind.CLIENT, "chat gpt-5", attributes),
        ):
            known = {key: value for key, value in found.items() if value is not None}
            made.append(
                ReadableSpan(name, context, parent, resource, known, kind=kind, start_time=one.started, end_time=end)
            )
    return bytes(encode(made).SerializeToString())


def each(make: Callable[[Sequence[Record]], bytes], batches: Sequence[Sequence[Record]]) -> tuple[float, float]:
    """CPU time for each request in microseconds, the least of five rounds; and bytes for each request."""
    best, size = float("inf"), 0
    for _ in range(5):
        began = time.process_time()
        size = sum(len(make(batch)) for batch in batches)
        best = min(best, time.process_time() - began)
    requests = sum(map(len, batches))
    return best / requests * 1e6, size / requests


def main() -> None:
    """Measure both and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    records = [record(number) for number in range(options.requests)]
    batches = [records[at : at + BATCH] for at in range(0, len(records), BATCH)]
    encode = import_module("opentelemetry.exporter.otlp.proto.common.trace_encoder").encode_spans
    resource = Resource.create({"service.name": "paig"})
    own = ours.Spans("0.1.0", "node_1", "http", lambda text: text)
    for name, make in (("own", own), ("official", lambda batch: official(batch, resource, encode))):
        cpu, size = each(make, batches)
        print(f"{name:10} {cpu:6.1f} µs, {size:5.0f} bytes")


if __name__ == "__main__":
    main()
