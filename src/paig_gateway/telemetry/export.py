"""Bringing spans to a backend: a bounded queue and a thread for each, so that none ever holds a request up."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from paig_client.schema import ExportSpec
from paig_gateway.store.credentials import CredentialError, resolve
from paig_gateway.telemetry.numbers import Sample
from paig_gateway.telemetry.record import Record

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from paig_gateway.telemetry.spans import Spans

MOST_QUEUED = 2048
"""Finished requests that wait for a backend; what comes on top is dropped and counted."""
BATCH = 256
"""Requests sent at once."""
PAUSE_SECONDS = 1.0
"""How long a batch is gathered."""
EXPORT_SECONDS = 10.0
"""How long a backend may take for a batch, all tries together."""
CLOSE_SECONDS = 5.0
"""How long the end of the process waits for what is still queued."""

_LIBRARIES = {
    "otlp-http": "opentelemetry.exporter.otlp.proto.http",
    "logfire": "opentelemetry.exporter.otlp.proto.http",
    "otlp-grpc": "opentelemetry.exporter.otlp.proto.grpc",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backend:
    """An export whose secrets are looked up."""

    spec: ExportSpec
    headers: dict[str, str] = field(repr=False)

    @property
    def secrets(self) -> list[str]:
        """What must not be told."""
        return list(self.headers.values())

    @property
    def url(self) -> str:
        """Where spans go."""
        spec = self.spec
        if spec.to == "logfire" and spec.endpoint is None:
            region = "eu" if "_eu_" in self.headers["authorization"] else "us"
            return f"https://logfire-{region}.pydantic.dev/v1/traces"
        endpoint = (spec.endpoint or "").rstrip("/")
        if spec.to == "otlp-grpc" or endpoint.endswith("/v1/traces"):
            return endpoint
        return f"{endpoint}/v1/traces"


def backend(spec: ExportSpec, environ: Mapping[str, str] = os.environ) -> Backend:
    """Look up what an export refers to.

    Raises:
        CredentialError: A secret cannot be had.
    """
    headers = {name.lower(): resolve(reference, environ) for name, reference in spec.headers.items()}
    if spec.token is not None:
        token = resolve(spec.token, environ)
        headers["authorization"] = token if spec.to == "logfire" else f"Bearer {token}"
    return Backend(spec, headers)


def missing_library(spec: ExportSpec) -> str | None:
    """What to install before anything can be exported so, or None."""
    try:
        found = importlib.util.find_spec(_LIBRARIES[spec.to]) is not None
    except ModuleNotFoundError:
        found = False
    return None if found else 'needs the OpenTelemetry SDK, which is not installed: pip install "paig[telemetry]"'


class Destination(threading.Thread):
    """One backend.

    Attributes:
        dropped: Records that found the queue full.
        failed: Records that the backend did not take.
        exported: Records that it took.
    """

    def __init__(self, label: str, spec: ExportSpec, spans: Callable[[], Spans]) -> None:
        """Export under that name.

        Args:
            label: What it is called in metrics and in the log.
            spec: Where to, and how.
            spans: Makes what makes spans; called in the thread, so that the SDK is imported there.
        """
        super().__init__(name=f"paig-export-{label}", daemon=True)
        self.label = label
        self.spec = spec
        self.dropped = self.failed = self.exported = 0
        self.secrets: list[str] = []
        self._spans = spans
        self._queue: queue.Queue[Record | None] = queue.Queue(MOST_QUEUED)
        self._closing = threading.Event()
        self._exporter: SpanExporter | None = None
        self._troubled = False

    @property
    def waiting(self) -> int:
        """How many records wait."""
        return self._queue.qsize()

    def put(self, record: Record) -> None:
        """Take a record, or drop it where too many wait; never blocks."""
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def samples(self) -> list[Sample]:
        """What became of the records."""
        return [
            ("paig_telemetry_queue_depth", (self.label,), self.waiting),
            ("paig_telemetry_exported_total", (self.label,), self.exported),
            ("paig_telemetry_dropped_total", (self.label, "queue"), self.dropped),
            ("paig_telemetry_dropped_total", (self.label, "export"), self.failed),
        ]

    def finish(self) -> None:
        """Let the thread end once it has sent what is queued."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)  # wakes it

    def close(self) -> None:
        """Send what is queued, for `CLOSE_SECONDS` at most, and end; blocks."""
        self.finish()
        self.join(CLOSE_SECONDS)
        if self.is_alive() and self._exporter is not None:
            self._exporter.shutdown()
            self.join(1.0)
        self.failed += self.waiting

    def run(self) -> None:
        """Send batches until closed."""
        try:
            spans, exporter = self._spans(), self._open()
        except Exception as error:
            # Whatever is wrong with it, requests go on; what comes is counted as lost.
            log.error("traces cannot be exported to '%s': %s", self.label, error)
            self._refuse()
            return
        self._exporter = exporter
        for batch in self._batches():
            made = [span for record in batch for span in spans.of(record)]
            try:
                taken = exporter.export(made).name == "SUCCESS"
            except Exception as error:  # an exporter's failure is its own
                log.debug("the exporter to '%s' failed: %s", self.label, error)
                taken = False
            if taken:
                self.exported += len(batch)
            else:
                self.failed += len(batch)
            if taken == self._troubled and not self._closing.is_set():
                self._troubled = not taken
                log.warning("traces %s to '%s'", "are delivered again" if taken else "cannot be delivered", self.label)
        exporter.shutdown()

    def _batches(self) -> Iterator[list[Record]]:
        """What came within a pause, until closed and all is sent."""
        while True:
            batch = [record for record in (self._queue.get(),) if record is not None]
            until = time.monotonic() + PAUSE_SECONDS
            with contextlib.suppress(queue.Empty):
                while len(batch) < BATCH:
                    left = 0.0 if self._closing.is_set() else until - time.monotonic()
                    record = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
                    if record is not None:
                        batch.append(record)
            if batch:
                yield batch
            if self._closing.is_set() and self._queue.empty():
                return

    def _refuse(self) -> None:
        while not self._closing.is_set():
            if self._queue.get() is not None:
                self.failed += 1

    def _open(self) -> SpanExporter:
        if missing := missing_library(self.spec):
            raise CredentialError("missing", missing)
        found = backend(self.spec)
        self.secrets = found.secrets
        # What its loggers say is said once here, where it begins and where it ends.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        if self.spec.to == "otlp-grpc":
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

            plain = urlsplit(found.url).scheme != "https"
            return OverGrpc(found.url, insecure=plain, headers=dict(found.headers), timeout=EXPORT_SECONDS)
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        return OverHttp(found.url, headers=found.headers, timeout=EXPORT_SECONDS, compression=Compression.Gzip)
