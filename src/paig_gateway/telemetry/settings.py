"""What an operator may set of telemetry: the tables `[telemetry]` and `[alerts]` of `paig.toml`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from paig_client.api.fields import Pattern, SecretReference, Spec
from paig_client.api.specs import ExportSpec


def _share(value: object) -> object:
    return float(value) if isinstance(value, (Decimal, int)) and not isinstance(value, bool) else value


LogLevel = Literal["debug", "info", "warning", "error"]


class TelemetrySpec(Spec):
    """Logs, metrics, traces and the audit stream; a change needs a restart."""

    log: Literal["text", "json"] = "text"
    """The form of the log on standard error."""
    log_level: LogLevel = "warning"
    """The least that is logged."""
    log_requests: bool = False
    """Whether each request is logged, in a line without its content."""
    metrics: bool = True
    """Whether `/metrics` answers."""
    metrics_token: SecretReference | None = None
    """The bearer token that a scraper must show."""
    export: ExportSpec | None = None
    """Where the spans of all requests go."""
    export_metrics: ExportSpec | None = None
    """Where metrics are pushed to; `/metrics` has them too."""
    export_metrics_seconds: int = Field(default=60, ge=1, le=3600)
    """How often they go there."""
    audit_file: str | None = None
    """A file that each entry of the audit log is appended to, as a line of JSON."""
    audit_syslog: Annotated[str, Field(pattern=r"^(unix:/|(udp|tcp)://[^\s/]+:\d+$)")] | None = None
    """Where syslog takes it: `unix:/dev/log`, `udp://HOST:PORT` or `tcp://HOST:PORT`."""
    export_audit: ExportSpec | None = None
    """Where it goes as OTLP log records."""
    sample: Annotated[float, BeforeValidator(_share), Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    """The share of traces recorded, of those that begin at the gateway."""
    propagate: bool = True
    """Whether the trace is passed to providers (`traceparent`, `tracestate`)."""
    content: bool = False
    """Whether spans carry what was asked and answered, of every project."""
    redact: list[Pattern] = Field(default_factory=list)
    """Patterns that are blacked out in it."""


class AlertsSpec(Spec):
    """What is sent to a webhook; needs a restart to change."""

    webhook: SecretReference | None = None
    """Where alerts go: a Slack-compatible webhook's URL. No alerts without it."""
    thresholds: list[Annotated[int, Field(ge=1, le=100)]] = Field(default=[50, 80, 100], min_length=1)
    """Percentages of a limit; an alert is sent when one is spent."""
    rates: bool = False
    """Whether limits per minute count too."""
    providers: bool = True
    """Whether an alert is sent when a provider fails half of its tries."""
