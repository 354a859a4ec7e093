"""Sending one export to a backend over HTTP or gRPC, and reading the answer as OTLP defines it."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit

import httpx2

from paig_gateway.routing.verdicts import retry_after

if TYPE_CHECKING:
    import grpc

SEND_SECONDS = 10.0
"""How long a backend may take to answer a try."""
MOST_ANSWERED = 64 * 1024
"""Bytes of an answer that are read."""

_TRY_AGAIN = frozenset({429, 502, 503, 504})
_COMPRESSION_LEVEL = 1
"""Spans are so similar that a higher level gains little."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One of the signals of OTLP.

    Attributes:
        name: Its name in the log.
        path: The path of the backend's HTTP endpoint.
        method: The gRPC method.
    """

    name: Literal["traces", "metrics", "logs"]
    path: str
    method: str


_SERVICE = "/opentelemetry.proto.collector"
TRACES = Signal("traces", "/v1/traces", f"{_SERVICE}.trace.v1.TraceService/Export")
LOGS = Signal("logs", "/v1/logs", f"{_SERVICE}.logs.v1.LogsService/Export")
METRICS = Signal("metrics", "/v1/metrics", f"{_SERVICE}.metrics.v1.MetricsService/Export")


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The result of an export.

    Attributes:
        taken: Whether the backend accepted it.
        why: Why not, or why parts of it were rejected.
        again: Seconds after which it may be sent again; None if that would not help.
        rejected: Spans or points that the backend rejected, of an export that it accepted.
    """

    taken: bool
    why: str = ""
    again: float | None = None
    rejected: int = 0


class Sender(Protocol):
    """A connection to a backend."""

    def send(self, export: bytes) -> ExportResult:
        """Send an export; blocks for about `SEND_SECONDS` at most, and raises nothing."""

    def close(self) -> None:
        """Close the connection; an export in progress fails."""


class OverHttp:
    """OTLP over HTTP, as protobuf."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = {
            **headers,
            "content-type": "application/x-protobuf",
            "content-encoding": "gzip",
            "user-agent": "paig",
        }
        self._client = httpx2.Client(timeout=SEND_SECONDS, follow_redirects=False)

    def send(self, export: bytes) -> ExportResult:
        content, until, answer = gzip.compress(export, _COMPRESSION_LEVEL), time.monotonic() + SEND_SECONDS, b""
        try:
            with self._client.stream("POST", self._url, content=content, headers=self._headers) as response:
                for chunk in response.iter_bytes():
                    answer += chunk
                    if len(answer) > MOST_ANSWERED or time.monotonic() > until:
                        break
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            # Only the kind of error, because its text may contain the address.
            return ExportResult(False, type(error).__name__, 0.0)
        except RuntimeError:  # closed meanwhile
            return ExportResult(False, "the gateway ends")
        if response.is_success:
            return _partly(answer)
        again = pause_of(response.headers) if response.status_code in _TRY_AGAIN else None
        return ExportResult(False, f"it answered {response.status_code}", again)

    def close(self) -> None:
        self._client.close()


class OverGrpc:
    """OTLP over gRPC."""

    def __init__(self, url: str, headers: Mapping[str, str], signal: Signal) -> None:
        """Send that signal to this address with those headers as metadata."""
        import grpc  # late: it is large, and few need it

        address = urlsplit(url)
        secure = address.scheme == "https"
        options = [("grpc.primary_user_agent", "paig")]
        self._channel = (
            grpc.secure_channel(address.netloc, grpc.ssl_channel_credentials(), options)
            if secure
            else grpc.insecure_channel(address.netloc, options)
        )
        self._export: Callable[..., bytes] = self._channel.unary_unary(signal.method)
        self._metadata = tuple(headers.items())
        self._compression = grpc.Compression.Gzip
        self._error = grpc.RpcError
        codes = grpc.StatusCode
        self._try_again = frozenset(
            {codes.CANCELLED, codes.DEADLINE_EXCEEDED, codes.ABORTED, codes.OUT_OF_RANGE, codes.UNAVAILABLE}
            | {codes.DATA_LOSS}
        )
        self._exhausted = codes.RESOURCE_EXHAUSTED

    def send(self, export: bytes) -> ExportResult:
        try:
            answer = self._export(export, timeout=SEND_SECONDS, metadata=self._metadata, compression=self._compression)
        except self._error as error:
            return self._failed(error)
        except ValueError:  # closed meanwhile
            return ExportResult(False, "the gateway ends")
        return _partly(answer)

    def _failed(self, error: grpc.RpcError) -> ExportResult:
        code, pause = error.code(), _pause(error)
        why = f"it answered {code.name}"
        if code in self._try_again or (code is self._exhausted and pause is not None):
            return ExportResult(False, why, pause or 0.0)
        return ExportResult(False, why)

    def close(self) -> None:
        self._channel.close()


def _partly(answer: bytes) -> ExportResult:
    """The rejected parts in the answer to an accepted export; the same for all signals."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:  # an answer that is not OTLP
        return ExportResult(True)
    return ExportResult(True, partial.error_message, rejected=max(0, partial.rejected_spans))


def _pause(error: grpc.RpcError) -> float | None:
    """The pause that a failed call requests (`RetryInfo`)."""
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    for entry in error.trailing_metadata() or ():
        if entry.key == "grpc-status-details-bin":
            try:
                details = Status.FromString(entry.value).details
            except DecodeError:
                return None
            for detail in details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return max(0.0, float(info.retry_delay.ToTimedelta().total_seconds()))
    return None


def pause_of(headers: Mapping[str, str]) -> float:
    """The seconds of an answer's `Retry-After`; 0 without one."""
    value = headers.get("retry-after", "").encode("latin-1", "replace")
    return retry_after([(b"retry-after", value)], datetime.now(UTC)) or 0.0
