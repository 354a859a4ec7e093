"""Exporting spans and metrics: each backend has a bounded queue and a thread, so that it never delays a request."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from paig_client.api.specs import ExportSpec
from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.secrets.references import resolve
from paig_gateway.telemetry.metrics.registry import Sample
from paig_gateway.telemetry.otlp.transport import ExportResult, OverGrpc, OverHttp, Sender, Signal

MOST_QUEUED = 2048
"""Finished requests that wait for a backend; further ones are dropped and counted."""
BATCH = 256
"""Requests in one export."""
PAUSE_SECONDS = 1.0
"""How long a batch is collected."""
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try at a batch, unless the backend asks for a longer pause. After the last try the batch
is dropped."""
LONGEST_PAUSE = 300.0
"""The longest pause that a backend can request."""
CLOSE_SECONDS = 5.0
"""How long the process waits at its end for queued records, for all backends together."""
TELL_SECONDS = 60.0
"""How often the log repeats that records are being lost."""

_LIBRARIES = {
    "otlp-http": ("opentelemetry.proto",),
    "logfire": ("opentelemetry.proto",),
    "otlp-grpc": ("opentelemetry.proto", "grpc", "google.rpc"),
}

T = TypeVar("T")
Encode = Callable[[Sequence[T]], bytes]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backend:
    """An export whose secrets are looked up."""

    spec: ExportSpec
    headers: dict[str, str] = field(repr=False)

    @property
    def secrets(self) -> list[str]:
        """Secrets that no log or error may contain."""
        return list(self.headers.values())

    def url(self, signal: Signal) -> str:
        spec = self.spec
        endpoint = (spec.endpoint or "").rstrip("/")
        if spec.to == "logfire" and not endpoint:
            region = "eu" if "_eu_" in self.headers["authorization"] else "us"
            endpoint = f"https://logfire-{region}.pydantic.dev"
        if spec.to == "otlp-grpc" or endpoint.endswith(signal.path):
            return endpoint
        return endpoint + signal.path

    def sender(self, signal: Signal) -> Sender:
        if self.spec.to == "otlp-grpc":
            return OverGrpc(self.url(signal), self.headers, signal)
        return OverHttp(self.url(signal), self.headers)


def backend(spec: ExportSpec) -> Backend:
    """Look up what an export refers to.

    Raises:
        SecretReferenceError: A secret cannot be read.
    """
    headers = {name.lower(): resolve(reference) for name, reference in spec.headers.items()}
    if spec.token is not None:
        token = resolve(spec.token)
        headers["authorization"] = token if spec.to == "logfire" else f"Bearer {token}"
    return Backend(spec, headers)


def missing_library(spec: ExportSpec) -> str | None:
    """What to install before this export can work, or None."""
    try:
        found = all(importlib.util.find_spec(library) is not None for library in _LIBRARIES[spec.to])
    except ModuleNotFoundError:
        found = False
    return None if found else 'needs OpenTelemetry\'s protocol, which is not installed: pip install "paig[telemetry]"'


class Destination(threading.Thread, Generic[T]):
    """One backend, for one signal.

    Attributes:
        dropped: Records that found the queue full.
        content_stripped: Records exported without their content, because many were waiting.
        failed: Records that the backend did not take.
        exported: Records that it took.
    """

    def __init__(
        self,
        label: str,
        spec: ExportSpec,
        signal: Signal,
        encoder: Callable[[], Encode[T]],
        *,
        most_queued: int,
        batch: int,
    ) -> None:
        """Export under that name.

        Args:
            label: Its name in metrics and in the log.
            spec: Where to, and how.
            signal: What.
            encoder: Makes what turns records into an export; called in the thread, so that protobuf is imported there.
            most_queued: Records that wait at most.
            batch: Records sent at once.
        """
        super().__init__(name=f"paig-export-{label}", daemon=True)
        self.label = label
        self.spec = spec
        self.dropped = self.failed = self.exported = self.content_stripped = 0
        self.secrets: list[str] = []
        self._signal = signal
        self._encoder = encoder
        self._batch = batch
        self._queue: queue.Queue[T | None] = queue.Queue(most_queued)
        self._closing = threading.Event()
        self._sender: Sender | None = None
        self._troubled = False
        self._told = float("-inf")

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def put(self, record: T) -> None:
        """Queue a record, or drop it if the queue is full; never blocks."""
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1
            if self._may_tell():
                what, lost = self._signal.name, self.dropped
                log.warning("%s for '%s' are dropped, %d so far: it takes them too slowly", what, self.label, lost)

    def samples(self) -> list[Sample]:
        return [
            ("paig_telemetry_queue_depth", (self.label,), self.waiting),
            ("paig_telemetry_exported_total", (self.label,), self.exported),
            ("paig_telemetry_dropped_total", (self.label, "queue"), self.dropped),
            ("paig_telemetry_dropped_total", (self.label, "export"), self.failed),
            *(
                [("paig_telemetry_dropped_total", (self.label, "content"), self.content_stripped)]
                if self.content_stripped
                else []
            ),
        ]

    def finish(self) -> None:
        """Let the thread end after it has sent the queued records."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)  # wakes it

    def give_up(self) -> None:
        """Break off the export in progress, and count queued records as lost."""
        if self.is_alive() and self._sender is not None:
            self._sender.close()
        self.failed += self.waiting

    def run(self) -> None:
        """Send batches until closed."""
        try:
            encode, sender = self._encoder(), self._open()
        except Exception as error:
            # Requests must not fail because of it; records are counted as lost.
            log.error("%s cannot be exported to '%s': %s", self._signal.name, self.label, error)
            self._refuse()
            return
        self._sender = sender
        for batch in self._batches():
            try:
                verdict = self._deliver(sender, encode(batch))
            except Exception:
                # A record that cannot be encoded must not end the thread.
                log.exception("%s for '%s' are lost", self._signal.name, self.label)
                verdict = ExportResult(False)
            lost = min(verdict.rejected, len(batch)) if verdict.taken else len(batch)
            self.exported += len(batch) - lost
            self.failed += lost
        sender.close()

    def _deliver(self, sender: Sender, export: bytes) -> ExportResult:
        """Send an export, and repeat it if the backend may accept it later."""
        for pause in (*PAUSES, None):
            verdict = sender.send(export)
            self._tell(verdict)
            if verdict.taken or verdict.again is None or pause is None or self._closing.is_set():
                return verdict
            # A little apart from each other, so that workers don't all come back at once.
            self._closing.wait(min(max(verdict.again, pause * random.uniform(0.5, 1.0)), LONGEST_PAUSE))
        return verdict

    def _tell(self, verdict: ExportResult) -> None:
        """Log when delivery begins to fail, and when it works again."""
        what, troubled = self._signal.name, not verdict.taken
        if verdict.rejected and self._may_tell():
            log.warning("'%s' rejects %d parts of the %s: %s", self.label, verdict.rejected, what, verdict.why)
        if troubled == self._troubled or self._closing.is_set():
            return
        self._troubled = troubled
        if troubled:
            log.warning("%s cannot be delivered to '%s': %s", what, self.label, verdict.why)
        else:
            log.warning("%s are delivered again to '%s'", what, self.label)

    def _may_tell(self) -> bool:
        """Whether a continuing loss may be logged again."""
        if (now := time.monotonic()) - self._told < TELL_SECONDS:
            return False
        self._told = now
        return True

    def _batches(self) -> Iterator[list[T]]:
        """Batches of the records of one pause, until closed and all is sent."""
        while True:
            batch = [record for record in (self._queue.get(),) if record is not None]
            until = time.monotonic() + PAUSE_SECONDS
            with contextlib.suppress(queue.Empty):
                while len(batch) < self._batch:
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

    def _open(self) -> Sender:
        if missing := missing_library(self.spec):
            raise SecretReferenceError("missing", missing)
        found = backend(self.spec)
        self.secrets = found.secrets
        return found.sender(self._signal)


def close(destinations: Iterable[Destination[T]]) -> None:
    """Send queued records to all backends for at most `CLOSE_SECONDS`, then end; blocks."""
    ending = list(destinations)
    for destination in ending:
        destination.finish()
    until = time.monotonic() + CLOSE_SECONDS
    for destination in ending:
        destination.join(max(0.0, until - time.monotonic()))
        destination.give_up()
