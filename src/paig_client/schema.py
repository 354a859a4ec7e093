"""The wire models of the admin API, shared by the gateway, the command line and the terminal UI.

A `…Spec` is what a person writes (in `paig.toml` or in a request body): unknown fields are errors. The other models are
what the gateway answers. Money is a decimal string of US dollars, a time is ISO 8601 in UTC.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of providers and routes: they stand in URLs."""

Window = Literal["daily", "weekly", "monthly", "total"]
OwnerKind = Literal["organisation", "project", "user", "key"]
Certainty = Literal["exact", "estimated", "ceiling"]
KeyStatus = Literal["active", "disabled", "blocked", "expired", "limit-exceeded"]
OnDisconnect = Literal["drain", "cancel"]
Chooses = Literal["weighted", "latency"]
Role = Literal["owner", "admin", "editor", "viewer"]
Permission = Literal[
    "access:own",
    "access:owners",
    "access:read",
    "access:write",
    "audit:read",
    "catalog:read",
    "config:read",
    "config:write",
    "gateway:read",
    "keys:write",
    "ledger:read",
    "ledger:write",
    "organisation:write",
    "owners:write",
    "routing:write",
]
"""What one may be allowed, and what an admin token may be confined to. `owners:write` is projects and users, `routing`
providers, routes and prices, `access` admins and their tokens: one's own, those of owners, everybody's."""


def _amount(value: object) -> Decimal:
    if not isinstance(value, bool) and isinstance(value, (str, int, float, Decimal)):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            pass
    raise ValueError("an amount of US dollars, such as 5 or '0.05'")


def _is_amount(value: Decimal) -> Decimal:
    if not value.is_finite() or value < 0 or value > 1_000_000_000:
        raise ValueError("must be zero or more, and at most a billion dollars")
    if value != round(value, 9):
        raise ValueError("is finer than a nanodollar (nine decimal places)")
    return value


Usd = Annotated[Decimal, BeforeValidator(_amount), AfterValidator(_is_amount)]
"""US dollars: a decimal string on the wire, a number in a configuration file."""


def _plain_seconds(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


Seconds = Annotated[float, BeforeValidator(_plain_seconds), Field(gt=0, le=86_400, allow_inf_nan=False)]
"""A span of time, a day at most."""


class Spec(BaseModel):
    """Something a person writes: every field is checked, an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _is_reference(value: str) -> str:
    if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|keyring:.+/.+|file:.+", value):
        raise ValueError("must say where the secret is: write env:NAME, keyring:SERVICE/USER or file:PATH")
    return value


SecretReference = Annotated[str, AfterValidator(_is_reference)]
"""Where a secret is to be found; never the secret itself."""


def _is_pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return value


Pattern = Annotated[str, AfterValidator(_is_pattern)]
"""A regular expression."""


class ExportSpec(Spec):
    """Where spans or metrics are sent."""

    to: Literal["otlp-http", "otlp-grpc", "logfire"] = "otlp-http"
    endpoint: str | None = None
    """The backend's address; `/v1/traces` or `/v1/metrics` is added for HTTP. Logfire's own is known by its token."""
    token: SecretReference | None = None
    """Sent as the bearer token; for Logfire, its write token."""
    headers: dict[str, SecretReference] = Field(default_factory=dict)
    """Further headers, as backends ask for."""

    @model_validator(mode="after")
    def _whole(self) -> ExportSpec:
        if self.to == "logfire" and self.token is None:
            raise ValueError("Logfire needs its write token: add token = 'env:LOGFIRE_TOKEN'")
        if self.to != "logfire" and self.endpoint is None:
            raise ValueError("needs an endpoint, such as 'http://localhost:4318'")
        if self.endpoint is not None and not re.fullmatch(r"https?://[^\s@?#]+", self.endpoint):
            raise ValueError("the endpoint must be an http:// or https:// address without a password in it")
        return self


class ProjectTelemetry(Spec):
    """What is told of a project's requests, besides what the gateway tells of all."""

    export: ExportSpec | None = None
    """The project's own backend."""
    content: bool = False
    """Whether what was asked and answered is recorded."""
    redact: list[Pattern] = Field(default_factory=list)
    """Patterns that are blacked out in it."""


class LimitsSpec(Spec):
    """Caps of one owner. A field left out is no cap."""

    daily: Usd | None = None
    weekly: Usd | None = None
    monthly: Usd | None = None
    total: Usd | None = None
    requests_per_minute: int | None = Field(default=None, ge=0)
    tokens_per_minute: int | None = Field(default=None, ge=0)
    soft: bool = False
    """Refuse once spent reaches the cap, and reserve nothing: availability over exactness."""


class TryTimeouts(Spec):
    """How long one try at a provider may take, in seconds. A field left out is as it is elsewhere."""

    connect: Seconds | None = None
    """Until it has accepted the connection."""
    first_byte: Seconds | None = None
    """Until its answer begins."""
    idle: Seconds | None = None
    """Between two pieces of its answer."""
    total: Seconds | None = None
    """For all of it."""


class RouteTimeouts(TryTimeouts):
    """How long a route's requests may take, in seconds; these come before the providers' own."""

    deadline: Seconds | None = None
    """For all tries together, from the request to the end of its answer."""


class ProviderSpec(Spec):
    """An upstream account."""

    kind: str
    base_url: str | None = None
    credential: str | None = None
    """`env:NAME`, `keyring:SERVICE/USER`, `file:PATH` or `value:LITERAL`."""
    credentials: list[str] | None = Field(default=None, min_length=1, max_length=100)
    """Several of them, in place of `credential`: requests are spread over all."""
    inject_cost: bool = True
    require_price: bool | None = None
    price_provider: str | None = None
    price_factor: Annotated[Decimal, BeforeValidator(_amount), Field(ge=0, le=1000)] | None = None
    """What the price book's prices are multiplied by: 0.8 for a discount of a fifth."""
    project: str | None = None
    location: str | None = None
    token_url: str | None = None
    region: str | None = None
    api_version: str | None = None
    service_tier: str | None = None
    """The tier that the upstream account uses where a request names none; decides the worst case's price."""
    on_disconnect: OnDisconnect = "drain"
    timeouts: TryTimeouts = TryTimeouts()
    """In place of the server's."""


class MemberSpec(Spec):
    """A provider's place in a route."""

    provider: str
    priority: int = 0
    """The highest is tried first."""
    weight: int = Field(default=1, ge=0)
    """Its share among members of the same priority."""
    active: bool = True
    models: dict[str, str] = Field(default_factory=dict)
    """The model's name at this member, by the name the client uses."""


class RouteSpec(Spec):
    """A named, ordered, weighted group of providers."""

    members: list[MemberSpec] = Field(min_length=1)
    choice: Chooses = "weighted"
    """How one of several members of the same priority is chosen: by weight alone, or the fastest of late."""
    affinity: bool = True
    """Whether requests of the same conversation go to the same member."""
    timeouts: RouteTimeouts = RouteTimeouts()
    """In place of the providers' and the server's."""


class PriceSpec(Spec):
    """What a model costs, in place of the price book's price or where it has none.

    Every other field is a rate in US dollars by genai-prices' units, such as `input_mtok` and `output_mtok`: for a
    million tokens.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Usd] = Field(init=False)

    model: str | None = Field(default=None, min_length=1, max_length=200)
    """The model's name at the provider, or a pattern such as `my-*`; the price's own name unless given."""
    provider: str | None = None
    """The provider that it is for; every one unless given."""
    since: date | None = None
    """The first day, UTC, that it holds."""
    context_window: int | None = Field(default=None, ge=1, le=10**9)
    """Tokens that the model reads at most."""
    max_output: int | None = Field(default=None, ge=1, le=10**9)
    """Tokens that it writes at most."""

    @property
    def rates(self) -> dict[str, Decimal]:
        """US dollars by unit."""
        return dict(self.__pydantic_extra__)


class OwnerSpec(Spec):
    """A project or a user."""

    limits: LimitsSpec = LimitsSpec()


class ProjectSpec(OwnerSpec):
    """A project."""

    telemetry: ProjectTelemetry = ProjectTelemetry()


class KeySpec(Spec):
    """What a client holds."""

    project: str | None = None
    user: str | None = None
    routes: list[str] | None = None
    models: list[str] | None = None
    limits: LimitsSpec = LimitsSpec()
    expires_at: datetime | None = None
    secret: str | None = None
    """A reference to a value chosen elsewhere; otherwise one is made and shown once."""


class GrantSpec(Spec):
    """A role, in the whole gateway or in one project."""

    role: Role
    project: str | None = None
    """Where the role holds; everywhere, if it is left out."""


class AdminSpec(Spec):
    """Somebody, or something, that administers the gateway."""

    grants: list[GrantSpec] = []
    active: bool = True
    """Whether their tokens are taken."""


class TokenSpec(Spec):
    """A token of the admin API."""

    admin: str | None = None
    """Whose it is; one's own, if it is left out."""
    scopes: list[Permission] | None = Field(default=None, min_length=1)
    """What it is confined to; all that its admin may, if it is left out."""
    expires_at: datetime | None = None


class Stamped(BaseModel):
    """What every stored object carries."""

    id: str
    name: str
    version: int
    created_at: datetime
    updated_at: datetime


class ProviderCredential(BaseModel):
    """A credential as the gateway shows it: its reference, never its value."""

    id: str
    """What the ledger calls it; another one once another secret is stored in its place."""
    reference: str


class Provider(Stamped):
    """An upstream account as the gateway shows it: references to its credentials, never their values."""

    kind: str
    base_url: str
    credential: str | None
    """The reference, where it has a single one."""
    credentials: list[ProviderCredential] = []
    """All that it has, be it one or several."""
    options: dict[str, Any]

    @property
    def references(self) -> str:
        """All its credentials' references, as a person reads them."""
        return ", ".join(credential.reference for credential in self.credentials) or "none"


ProviderOutcome = Literal[
    "ok",
    "credential",
    "dns",
    "tls",
    "unreachable",
    "timeout",
    "unauthorised",
    "forbidden",
    "no-means",
    "not-found",
    "not-the-api",
    "failed",
]


class ProviderCheck(BaseModel):
    """What came of a small free request to a provider."""

    provider: str
    ok: bool
    outcome: ProviderOutcome
    message: str
    """What it means, and what to do about it."""
    request: str
    """What was asked: method and address."""
    status: int | None = None
    models: int | None = None
    """How many models it listed."""
    ms: float = 0


BreakerState = Literal["closed", "cooling", "half-open", "open"]
"""`open`: it fails, and is left alone. `cooling`: the provider refuses the credential, or told it to wait. `half-open`:
it has rested, and a few requests try it. `closed`: all is well."""


class ToldWait(BaseModel):
    """A model that a credential is not used for, because its provider said so."""

    model: str
    until: datetime
    reason: str
    """A status, or `used up` where the provider said beforehand that nothing is left."""


class NodeBreaker(BaseModel):
    """What one node knows of a credential."""

    node: str
    state: BreakerState
    since: datetime
    until: datetime | None
    reason: str | None
    own: bool
    """Whether the node found it out itself; else it goes by another's word."""


class TryFigures(BaseModel):
    """What came of the tries of the last five minutes, on all nodes."""

    tries: int
    ok_share: float | None
    """The share of those that were answered, of all but those whose own fault it was; null where there were none."""
    p95_ms: float | None
    """Within how many milliseconds nineteen of twenty answers began."""
    throttled: int
    """Answered with 429."""
    failures: dict[str, int]
    """What went wrong, by status or failure."""


class CredentialHealth(TryFigures):
    """How a credential of a provider fares, on all nodes; the state is that of the node that thinks worst of it."""

    credential: str
    """Its id."""
    state: BreakerState
    since: datetime | None
    """Since when it is in that state; null where nothing was sent with it yet."""
    until: datetime | None
    """When it is tried again."""
    reason: str | None
    """The status or failure that brought it there."""
    waits: list[ToldWait]
    last_error: str | None
    last_error_at: datetime | None
    nodes: list[NodeBreaker]


class ProviderHealth(TryFigures):
    """How a provider fares; the state is that of its best credential."""

    provider: str
    state: BreakerState
    credentials: list[CredentialHealth]


class BreakerChange(BaseModel):
    """A credential is in another state now, on one node."""

    time: datetime
    node: str
    provider: str
    credential: str
    before: BreakerState
    state: BreakerState
    until: datetime | None
    reason: str | None


class Route(Stamped):
    """A route as the gateway shows it."""

    members: list[MemberSpec]
    choice: Chooses = "weighted"
    affinity: bool = True
    timeouts: RouteTimeouts = RouteTimeouts()


class OwnPrice(Stamped):
    """A price that the operator set, as the gateway shows it."""

    spec: PriceSpec


class Owner(Stamped):
    """A project or a user as the gateway shows it."""

    limits: LimitsSpec


class Project(Owner):
    """A project as the gateway shows it."""

    telemetry: ProjectTelemetry = ProjectTelemetry()


class Key(Stamped):
    """A key as the gateway shows it: a hint of its secret, never the secret."""

    hint: str
    status: KeyStatus
    project: str | None
    user: str | None
    routes: list[str] | None
    models: list[str] | None
    limits: LimitsSpec
    expires_at: datetime | None


class NewKey(BaseModel):
    """A key just made or rotated: the only time that its secret is shown."""

    id: str
    name: str
    key: str


class Admin(Stamped):
    """An admin as the gateway shows it."""

    grants: list[GrantSpec]
    active: bool
    sso: bool
    """Whether it came by single sign-on: its grants are then set anew at each login."""


class Token(BaseModel):
    """A token of the admin API as the gateway shows it: a hint of it, never the token."""

    id: str
    name: str
    admin: str
    hint: str
    session: bool
    """Whether a login made it."""
    scopes: list[Permission] | None
    expires_at: datetime | None
    created_at: datetime


class NewToken(BaseModel):
    """An admin token just made: the only time that it is shown."""

    id: str
    name: str
    token: str


class DeviceStart(BaseModel):
    """A login by single sign-on that has begun."""

    handle: str
    """What to ask about it with."""
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: int
    """Seconds that the person has."""
    interval: int
    """Seconds between two questions."""


class DeviceState(BaseModel):
    """How a login stands; who logged in is null while nobody has."""

    admin: str | None
    token: str | None
    expires_at: datetime | None
    slow_down: bool
    """Whether to wait five seconds longer between two questions from now on."""


class Identity(BaseModel):
    """Who asks, and what they may do."""

    name: str
    """As the audit log names them."""
    permissions: list[Permission]
    """In the whole gateway."""
    projects: dict[str, list[Permission]]
    """In single projects."""
    expires_at: datetime | None
    session: bool
    """Whether a login by single sign-on made their token."""


class LimitStatus(BaseModel):
    """A limit and where it stands in its present window. Amounts are dollars, or counts for rates."""

    owner_kind: OwnerKind
    owner: str
    unit: Literal["usd", "requests", "tokens"]
    window: Literal["minute", "daily", "weekly", "monthly", "total"]
    amount: str
    spent: str
    held: str
    left: str
    resets_at: datetime | None
    soft: bool


class Attempt(BaseModel):
    """One try at one provider."""

    provider: str
    model: str
    credential: str | None = None
    """The id of the provider's credential that it was made with; null where it has none."""
    status: int | None = None
    error: str | None = None
    cost: str = "0"
    began_ms: float = 0
    """When it was sent, in milliseconds after the request came."""
    ms: float = 0
    """How long it took to its answer's headers, or to its failure, in milliseconds."""


class Request(BaseModel):
    """A row of the ledger."""

    id: str
    time: datetime
    state: Literal["open", "settled"]
    status: int | None
    key: str
    project: str | None
    user: str | None
    route: str
    provider: str | None
    model: str
    format: str
    stream: bool
    usage: dict[str, int | float] | None
    raw_usage: dict[str, Any] | None
    cost: str
    reserved: str
    certainty: Certainty | None
    price: str | None
    attempts: list[Attempt]
    tags: dict[str, str]
    run: str | None
    trace_id: str | None = None
    """The OpenTelemetry trace that it belongs to, 32 hex digits."""
    error: str | None
    ms_total: float | None
    ms_first_byte: float | None
    ms_gateway: float | None


class RequestPage(BaseModel):
    """Rows of the ledger, newest first, and where the next page begins."""

    items: list[Request]
    next_cursor: str | None


class UsageTotal(BaseModel):
    """Totals of one group."""

    group: dict[str, str | None]
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost: str


class UsageReport(BaseModel):
    """Totals by group, the dearest first (by time where grouped by time)."""

    items: list[UsageTotal]
    total: UsageTotal


class RepricedTotal(BaseModel):
    """What requests of one price cost, and would cost at the prices known now. Decimal strings of US dollars."""

    provider: str
    model: str
    price: str
    new_price: str
    requests: int
    cost: str
    repriced: str
    difference: str


class Repricing(BaseModel):
    """What a correction of prices would change: the largest differences first, and the sums over all requests.

    Requests whose cost would stay are only in the sums; `left` counts those that no price is known for now, or whose
    usage the provider did not report.
    """

    items: list[RepricedTotal]
    requests: int
    cost: str
    repriced: str
    difference: str
    left: int


class Pruned(BaseModel):
    """How many requests were removed from the ledger."""

    requests: int


class Health(BaseModel):
    """The gateway's own state."""

    status: Literal["ok", "degraded"]
    version: str
    database: Literal["sqlite", "postgresql"]
    node: str
    nodes: int
    started_at: datetime


class AuditEntry(BaseModel):
    """One change."""

    id: str
    time: datetime
    actor: str
    action: str
    kind: str
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Problem(BaseModel):
    """An error of the admin API, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
