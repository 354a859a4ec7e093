"""What people write: the specs of providers, routes, keys, limits and their owners."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of providers and routes: they stand in URLs."""


Window = Literal["daily", "weekly", "monthly", "total"]


OwnerKind = Literal["organisation", "project", "user", "key"]


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
    aliases: dict[str, str] = Field(default_factory=dict)
    """Names of models or deployments at the provider, and the models that they are priced and bounded as."""
    provider_cost: bool = True
    """Whether the charge that the provider states in its answers is the cost; otherwise it is the list price."""
    stream_usage: bool | None = None
    """Whether the gateway asks for usage in streams (`stream_options`); the kind decides unless given."""
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
