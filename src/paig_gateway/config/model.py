"""What a configuration file holds once it is read, and how errors in it are told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from paig_client.api.specs import KeySpec, OwnerSpec, PriceSpec, ProjectSpec, ProviderSpec, RouteSpec, Seconds, Spec
from paig_gateway.config.lines import Path
from paig_gateway.sso.settings import SsoSpec
from paig_gateway.telemetry.settings import AlertsSpec, TelemetrySpec


def _seconds(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


class Timeouts(Spec):
    """How long an upstream may take, in seconds."""

    connect: Seconds = 10.0
    """Until it has accepted the connection."""
    first_byte: Seconds = 600.0
    """Until its answer begins."""
    idle: Seconds = 300.0
    """Between two pieces of its answer."""
    total: Seconds = 3600.0
    """For all of it."""
    deadline: Seconds | None = None
    """For all tries at all members together, from the request to the end of its answer."""


Share = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=1, allow_inf_nan=False)]


class BreakerSpec(Spec):
    """When a provider's credential is left alone for its failures."""

    enabled: bool = True
    """False never leaves one alone."""
    failures: int = Field(default=5, ge=1, le=10_000)
    """So many in a row are too many."""
    share: Share = 0.25
    """Or so large a share of the tries of half a minute."""
    tries: int = Field(default=20, ge=1, le=1_000_000)
    """Of at least so many."""
    rest: Seconds = 5.0
    """Seconds that it is left alone at first; doubled each time it was for nothing."""
    longest: Seconds = 300.0
    """Seconds at most, also where the provider itself asks for more."""


class RetriesSpec(Spec):
    """How many tries beyond each request's first there may be, for each route in each process."""

    share: Share = 0.25
    """Of the route's requests."""
    per_second: Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=1e6, allow_inf_nan=False)] = 10.0
    """Besides."""
    burst: Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=1e6, allow_inf_nan=False)] = 1000.0
    """At once."""


class ServerSpec(Spec):
    """The process itself; needs a restart to change."""

    host: str = "127.0.0.1"
    port: int = Field(default=8787, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1, le=256)
    max_body_mb: int = Field(default=64, ge=1, le=4096)
    """Larger requests are refused (`body-too-large`)."""
    timeouts: Timeouts = Timeouts()
    breaker: BreakerSpec = BreakerSpec()
    retries: RetriesSpec = RetriesSpec()
    tls: bool = False
    """Serve HTTPS with a certificate of the gateway's own local authority."""
    limit_wait: Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=3600, allow_inf_nan=False)] = 5.0
    """Seconds that a request may wait for money that others hold, before it is refused."""
    drain_seconds: Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=3600, allow_inf_nan=False)] = 300.0
    """How long an answer is read on for its usage after its client has left."""
    drain_mb: int = Field(default=64, ge=1, le=4096)
    """How much of it is."""
    refresh_prices: bool = False
    """Fetch genai-prices' newest prices every hour, from the internet."""
    prices_url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] | None = None
    """Where from, if not from genai-prices' own address."""
    on_ledger_down: Literal["refuse", "allow"] = "refuse"
    """What becomes of requests while the ledger cannot record."""


class LedgerSpec(Spec):
    """The ledger; needs a restart to change."""

    keep_days: int | None = Field(default=None, ge=1, le=36_500)
    """For how many whole days finished requests are kept; for ever without it."""


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
    """A configuration file that is right by itself: whatever is named in it is defined in it.

    Attributes:
        organisation: None where the file does not speak of it.
        source: The file's name, for messages.
        lines: Where everything stands in it.
    """

    server: ServerSpec = field(default_factory=ServerSpec)
    ledger: LedgerSpec = field(default_factory=LedgerSpec)
    telemetry: TelemetrySpec = field(default_factory=TelemetrySpec)
    alerts: AlertsSpec = field(default_factory=AlertsSpec)
    sso: SsoSpec = field(default_factory=SsoSpec)
    organisation: OwnerSpec | None = None
    providers: Mapping[str, ProviderSpec] = field(default_factory=dict, repr=False)  # a literal may be a secret
    routes: Mapping[str, RouteSpec] = field(default_factory=dict)
    prices: Mapping[str, PriceSpec] = field(default_factory=dict)
    projects: Mapping[str, ProjectSpec] = field(default_factory=dict)
    users: Mapping[str, OwnerSpec] = field(default_factory=dict)
    keys: Mapping[str, KeySpec] = field(default_factory=dict, repr=False)
    source: str = field(default="paig.toml", compare=False)
    lines: Mapping[Path, int] = field(default_factory=dict, compare=False, repr=False)

    def issue(self, path: Path, message: str) -> Issue:
        """Something wrong with the value at `path`."""
        return Issue(self.source, line_of(self.lines, path), show_path(path), message)


def show_path(path: Path) -> str:
    """A path as one would write it in TOML: `keys."Ada's laptop".limits.daily`, `routes.fast.members[0]`."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += ("." if shown else "") + bare_or_quoted(part)
    return shown


def bare_or_quoted(key: str) -> str:
    """A key as TOML writes it."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quoted(key)


def quoted(text: str) -> str:
    """A TOML string on one line."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return (
        '"' + re.sub(r'["\\\x00-\x1f\x7f]', lambda found: escapes.get(found[0], f"\\u{ord(found[0]):04x}"), text) + '"'
    )


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of `path`, or of the nearest table around it."""
    while path not in lines and path:
        path = path[:-1]
    return lines.get(path, 1)
