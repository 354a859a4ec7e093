"""The content of a configuration file, and the errors in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from paig_client.api import toml
from paig_client.api.fields import Network, Seconds, Spec, Usd
from paig_client.api.specs import (
    KeySpec,
    NamedLimitSpec,
    OrganisationSpec,
    OwnerSpec,
    PriceSpec,
    ProjectSpec,
    ProviderSpec,
    RouteSpec,
)
from paig_gateway.config.lines import SpecPath
from paig_gateway.database.engine import CONNECTIONS
from paig_gateway.listener.connections import ListenerBounds
from paig_gateway.proxy.admission import MEGABYTE, AdmissionBounds
from paig_gateway.proxy.egress import parse_proxy
from paig_gateway.proxy.settings import ProxySpec, UpToAnHour, WebSocketsSpec
from paig_gateway.routing.breaker import BreakerSpec
from paig_gateway.routing.deadlines import Timeouts
from paig_gateway.routing.retry_budget import RetriesSpec
from paig_gateway.secrets.references import SecuritySpec
from paig_gateway.sso.settings import SsoSpec
from paig_gateway.telemetry.settings import AlertsSpec, TelemetrySpec

_LISTENER, _ADMISSION = ListenerBounds(), AdmissionBounds()


class BoundsSpec(Spec):
    """What clients may send, and how much a process serves at once."""

    header_kb: int = Field(default=_LISTENER.header_bytes // 1024, ge=1, le=1024)
    """Kilobytes of one request's header fields."""
    header_fields: int = Field(default=_LISTENER.header_fields, ge=10, le=10_000)
    """Header fields of one request."""
    target_kb: int = Field(default=_LISTENER.target_bytes // 1024, ge=1, le=256)
    """Kilobytes of its path and query."""
    header_seconds: Seconds = _LISTENER.header_seconds
    """From the first byte of a request to the end of its head; also for a TLS handshake."""
    idle_seconds: Seconds = _LISTENER.idle_seconds
    """From the start of a connection to its first byte."""
    keep_alive_seconds: Seconds = _LISTENER.keep_alive_seconds
    """From the end of an answer to the first byte of the next request."""
    body_seconds: Seconds = _LISTENER.body_seconds
    """How long a body may be on its way before its rate counts."""
    body_bytes_per_second: int = Field(default=_LISTENER.body_rate, ge=0, le=1_000_000_000)
    """The rate that it must keep from then on."""
    write_seconds: Seconds = _LISTENER.write_seconds
    """How long a client may read nothing of its answer."""
    connections: int = Field(default=_LISTENER.max_connections, ge=1, le=1_000_000)
    """Connections at once."""
    requests: int = Field(default=_ADMISSION.max_requests, ge=1, le=1_000_000)
    """Requests to providers that are served at once."""
    queued: int = Field(default=_ADMISSION.max_queued, ge=0, le=1_000_000)
    """Requests that wait for a place among them."""
    queue_seconds: Seconds = _ADMISSION.queue_seconds
    """The longest wait of each."""
    bodies_mb: int = Field(default=_ADMISSION.body_bytes // MEGABYTE, ge=1, le=1_000_000)
    """Megabytes of request bodies in memory at once."""
    bodies_per_key_mb: int = Field(default=_ADMISSION.key_body_bytes // MEGABYTE, ge=1, le=1_000_000)
    """The most of them that may belong to one key."""


def _proxy(url: str) -> str:
    parse_proxy(url)
    return url


class ServerSpec(ProxySpec):
    """The process itself; a change needs a restart."""

    host: str = "127.0.0.1"
    port: int = Field(default=8787, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1, le=256)
    timeouts: Timeouts = Timeouts()
    websockets: WebSocketsSpec = WebSocketsSpec()
    breaker: BreakerSpec = BreakerSpec()
    retries: RetriesSpec = RetriesSpec()
    tls: bool = False
    """Serve HTTPS with a certificate of the gateway's own local authority."""
    tls_cert: str | None = None
    """Serve HTTPS with the certificate chain in this file; it is read again when it changes."""
    tls_key: str | None = None
    """The file of its private key."""
    admin_host: str | None = None
    """Where the admin API and the console listen, if not where the data plane does."""
    admin_port: int | None = Field(default=None, ge=0, le=65_535)
    """Their port."""
    cors_origins: list[Annotated[str, Field(pattern=r"^https?://[^\s/*]+$")]] = Field(default_factory=list)
    """Origins whose pages may call the data plane from a browser."""
    trusted_proxies: list[Network] = Field(default_factory=list)
    """Networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are accepted."""
    metrics_open: bool = False
    """Whether `/metrics` answers other machines without a token."""
    bounds: BoundsSpec = BoundsSpec()
    lame_duck: UpToAnHour = 0.0
    """Seconds that new requests are still accepted after the signal to end; `/readyz` answers 503 meanwhile."""
    shutdown_seconds: UpToAnHour = 30.0
    """Seconds that requests are then given to end before they are broken off."""
    refresh_prices: bool = False
    """Fetch genai-prices' newest prices every hour, from the internet."""
    prices_url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] | None = None
    """Where to fetch them, instead of genai-prices' own address."""
    upstream_proxy: Annotated[str, AfterValidator(_proxy)] | None = None
    """URL of the HTTP proxy through which providers are reached; a password in it is never shown."""
    upstream_ca: str | None = None
    """A PEM file of further certificate authorities to trust."""
    trust_env: bool = False
    """Read `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` where `upstream_proxy` is not set."""

    @model_validator(mode="after")
    def _whole_certificate(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: give both or neither")
        return self

    @property
    def apart(self) -> bool:
        """Whether the admin API and the console have their own address."""
        return self.admin_host is not None or self.admin_port is not None


class SessionsSpec(Spec):
    """When an agent's session counts as a loop; a change needs a restart."""

    loop_requests: int = Field(default=20, ge=0, le=10_000)
    """This many equal requests of a session are a loop; 0 turns the rule off."""
    loop_minutes: int = Field(default=10, ge=1, le=1440)
    """Within this time."""
    loop_usd_per_minute: Usd | None = Decimal(5)
    """A session that spends more than this within a minute is a loop."""
    stop_loops: bool = False
    """Whether a loop's requests are refused (`loop-stopped`); otherwise it is only reported."""


class LedgerSpec(Spec):
    """The ledger; a change needs a restart."""

    connections: int = Field(default=CONNECTIONS, ge=2, le=1000)
    """The most connections to PostgreSQL that a worker opens, not counting the ledger writer's."""
    keep_days: int | None = Field(default=None, ge=1, le=36_500)
    """The number of whole days that finished requests are kept; unlimited if left out."""


PROCESS: Mapping[str, type[Spec]] = {
    "server": ServerSpec,
    "security": SecuritySpec,
    "ledger": LedgerSpec,
    "sessions": SessionsSpec,
    "telemetry": TelemetrySpec,
    "alerts": AlertsSpec,
    "sso": SsoSpec,
}
"""The sections that only a start of the process reads; applying a file to a running gateway does not change them."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with a file."""

    source: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        """As an editor can jump to: `paig.toml:12: providers.openai.bas_url: unknown field`."""
        return f"{self.source}:{self.line}: {self.path}: {self.message}".replace(": : ", ": ")


class ConfigError(Exception):
    """All that is wrong with a configuration file.

    Attributes:
        issues: In the order of their lines.
    """

    def __init__(self, issues: Iterable[Issue]) -> None:
        self.issues = tuple(sorted(issues, key=lambda issue: (issue.line, issue.path)))
        super().__init__("\n".join(map(str, self.issues)))


@dataclass(frozen=True)
class Config:
    """A valid configuration file: every name that it uses is defined in it.

    Attributes:
        organisation: None if the file has no such section; its `models` are separate.
        models: For the one address: routes by patterns of models; None if the file has no such section.
        process: The sections in the file that only a start of the process reads.
        source: The file's name, for messages.
        lines: The line of each value.
    """

    server: ServerSpec = field(default_factory=ServerSpec)
    security: SecuritySpec = field(default_factory=SecuritySpec)
    ledger: LedgerSpec = field(default_factory=LedgerSpec)
    sessions: SessionsSpec = field(default_factory=SessionsSpec)
    telemetry: TelemetrySpec = field(default_factory=TelemetrySpec)
    alerts: AlertsSpec = field(default_factory=AlertsSpec)
    sso: SsoSpec = field(default_factory=SsoSpec)
    organisation: OrganisationSpec | None = None
    models: Mapping[str, str] | None = None
    providers: Mapping[str, ProviderSpec] = field(default_factory=dict, repr=False)  # a literal may be a secret
    routes: Mapping[str, RouteSpec] = field(default_factory=dict)
    prices: Mapping[str, PriceSpec] = field(default_factory=dict)
    projects: Mapping[str, ProjectSpec] = field(default_factory=dict)
    users: Mapping[str, OwnerSpec] = field(default_factory=dict)
    limits: Mapping[str, NamedLimitSpec] = field(default_factory=dict)
    keys: Mapping[str, KeySpec] = field(default_factory=dict, repr=False)
    process: tuple[str, ...] = ()
    source: str = field(default="paig.toml", compare=False)
    lines: Mapping[SpecPath, int] = field(default_factory=dict, compare=False, repr=False)

    def issue(self, path: SpecPath, message: str) -> Issue:
        """Something wrong with the value at `path`."""
        return Issue(self.source, line_of(self.lines, path), show_path(path), message)


def show_path(path: SpecPath) -> str:
    """A path as it is written in TOML: `keys."Ada's laptop".limits.daily`, `routes.fast.members[0]`."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += ("." if shown else "") + toml.key(part)
    return shown


def line_of(lines: Mapping[SpecPath, int], path: SpecPath) -> int:
    """The line of `path`, or of the nearest table around it."""
    while path not in lines and path:
        path = path[:-1]
    return lines.get(path, 1)
