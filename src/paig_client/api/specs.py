"""What people write, in `paig.toml` or in a request body: every unknown field is an error."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from paig_client.api.fields import Network, Pattern, Seconds, SecretReference, Spec, TimeZone, Usd, amount
from paig_client.api.limits import Amounts, LimitsSpec, Unit, Window
from paig_client.api.vocabulary import Choice, OnDisconnect, Permission, Role, Stored, WhenTight

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


class ExportSpec(Spec):
    """Where spans or metrics are sent."""

    to: Literal["otlp-http", "otlp-grpc", "logfire"] = "otlp-http"
    endpoint: str | None = None
    """The backend's address; `/v1/traces` or `/v1/metrics` is added for HTTP. Logfire's is known from its token."""
    token: SecretReference | None = None
    """Sent as the bearer token; for Logfire, its write token."""
    headers: dict[str, SecretReference] = Field(default_factory=dict)
    """More headers, where the backend asks for them."""

    @model_validator(mode="after")
    def _complete(self) -> ExportSpec:
        if self.to == "logfire" and self.token is None:
            raise ValueError("Logfire needs its write token: add token = 'env:LOGFIRE_TOKEN'")
        if self.to != "logfire" and self.endpoint is None:
            raise ValueError("needs an endpoint, such as 'http://localhost:4318'")
        if self.endpoint is not None and not re.fullmatch(r"https?://[^\s@?#]+", self.endpoint):
            raise ValueError("the endpoint must be an http:// or https:// address without a password in it")
        return self


class ProjectTelemetry(Spec):
    """What is exported about a project's requests, in addition to what the gateway exports about all."""

    export: ExportSpec | None = None
    """The project's own backend."""
    content: bool = False
    """Whether prompts and answers are recorded."""
    redact: list[Pattern] = Field(default_factory=list)
    """Patterns that are blacked out in them."""


class TryTimeouts(Spec):
    """How long one try at a provider may take, in seconds. A field left out takes the value of the next level up."""

    connect: Seconds | None = None
    """Until the provider has accepted the connection."""
    first_byte: Seconds | None = None
    """Until its answer begins."""
    idle: Seconds | None = None
    """Between two pieces of its answer."""
    total: Seconds | None = None
    """For the whole answer."""


class RouteTimeouts(TryTimeouts):
    """How long a route's requests may take, in seconds; these take precedence over the providers' own."""

    deadline: Seconds | None = None
    """For all tries together, from the request to the end of its answer."""


PROXY = r"^(direct|https?://[^\s/@]+/?)$"
"""A proxy for one provider; one with a password is set for the whole server, where it is not shown by the API."""


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
    allow_unmetered: bool = False
    """Whether endpoints whose cost the gateway cannot see may be used, by keys under no spending limit."""
    price_provider: str | None = None
    price_factor: Annotated[Decimal, BeforeValidator(amount), Field(ge=0, le=1000)] | None = None
    """What the price book's prices are multiplied by: 0.8 for a discount of 20 %."""
    aliases: dict[str, str] = Field(default_factory=dict)
    """Names of models or deployments at the provider, and the models that they are priced and bounded as."""
    provider_cost: bool = True
    """Whether the charge that the provider states in its answers is the cost; otherwise it is the list price."""
    stream_usage: bool | None = None
    """Whether the gateway asks for usage in streams (`stream_options`); the kind decides if left out."""
    project: str | None = None
    location: str | None = None
    token_url: str | None = None
    storage_url: str | None = None
    """The address of the storage that has the buckets of batches; Google's or Amazon's own if left out."""
    region: str | None = None
    workspace: str | None = None
    api_version: str | None = None
    service_tier: str | None = None
    """The tier that the account uses if a request names none; it decides the price of the worst case."""
    on_disconnect: OnDisconnect = "drain"
    timeouts: TryTimeouts = TryTimeouts()
    """In place of the server's."""
    upstream_proxy: Annotated[str, Field(pattern=PROXY)] | None = None
    """URL of the HTTP proxy through which this provider is reached, or `direct`; the server's if left out."""
    upstream_ca: str | None = None
    """A PEM file of further certificate authorities to trust; the server's if left out."""


class MemberSpec(Spec):
    """A provider's place in a route."""

    provider: str
    priority: int = 0
    """Members of the highest priority are tried first."""
    weight: int = Field(default=1, ge=0)
    """Its share among members of the same priority."""
    active: bool = True
    models: dict[str, str] = Field(default_factory=dict)
    """The model's name at this member, for each name that clients use."""


class RouteSettings(BaseModel):
    """What can be set of a route."""

    members: list[MemberSpec] = Field(min_length=1)
    choice: Choice = "weighted"
    affinity: bool = True
    """Whether requests of the same conversation go to the same member."""
    timeouts: RouteTimeouts = RouteTimeouts()
    """In place of the providers' and the server's."""


class RouteSpec(RouteSettings, Spec):
    """A named, ordered, weighted group of providers."""


class PriceSpec(Spec):
    """The price of a model that the price book lacks, or a price that replaces the book's.

    Every other field is a rate in US dollars by genai-prices' units, such as `input_mtok` and `output_mtok`: for a
    million tokens.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Usd] = Field(init=False)

    model: str | None = Field(default=None, min_length=1, max_length=200)
    """The model's name at the provider, or a pattern such as `my-*`; the price's own name if left out."""
    provider: str | None = None
    """The provider that the price is for; all providers if left out."""
    since: date | None = None
    """The first day, in UTC, on which it applies."""
    context_window: int | None = Field(default=None, ge=1, le=10**9)
    """The most tokens that the model reads."""
    max_output: int | None = Field(default=None, ge=1, le=10**9)
    """The most tokens that it writes."""

    @property
    def rates(self) -> dict[str, Decimal]:
        """US dollars by unit."""
        return dict(self.__pydantic_extra__)


class OwnerSettings(BaseModel):
    """What can be set of a user, a project and the organisation."""

    limits: LimitsSpec = LimitsSpec()


class OwnerSpec(OwnerSettings, Spec):
    """A user."""


class OrganisationSpec(OwnerSettings, Spec):
    """The whole gateway."""

    timezone: TimeZone = "UTC"
    """The time zone of days, weeks and months of limits, such as `Europe/Berlin`; a change counts from the next
    window."""
    when_tight: WhenTight | None = None
    """What happens if a request's worst case is more than a limit has left, unless its key or project decides:
    `refuse`, `fit` (default) or `lower`."""
    stored: Stored | None = None
    """The most objects stored at providers that any key may use: `own`, `project`, `shared` or `off`."""
    models: dict[Annotated[str, Field(min_length=1, max_length=200)], str] = Field(
        default_factory=dict, max_length=1000
    )
    """For the one address: the route that serves a model, by the model's name or a pattern such as `gpt-5*`; in
    `paig.toml`, the table `[models]`."""


class ProjectSettings(OwnerSettings):
    """What can be set of a project."""

    telemetry: ProjectTelemetry = ProjectTelemetry()
    when_tight: WhenTight | None = None
    """What happens if a request's worst case is more than a limit has left: `refuse`, `fit` or `lower`; the
    organisation's setting if left out."""
    timezone: TimeZone | None = None
    """The time zone of days, weeks and months of its limits and its keys' limits, such as `Europe/Berlin`; the
    organisation's if left out. A change counts from the next window."""
    formats: list[str] | None = None
    """The API formats that its keys may use, such as `openai-chat`; all if left out."""
    methods: list[Method] | None = None
    """The HTTP methods that its keys may use; all if left out."""
    networks: list[Network] | None = None
    """The networks that its keys may be used from, such as `10.0.0.0/8`; all if left out."""
    stored: Stored | None = None
    """The most objects stored at providers that its keys may use: `own`, `project`, `shared` or `off`."""


class ProjectSpec(ProjectSettings, OwnerSpec):
    """A project."""


class KeySettings(BaseModel):
    """What can be set of a key; the gateway shows the same fields. To add a setting, add it here."""

    project: str | None = None
    user: str | None = None
    routes: list[str] | None = None
    """The routes that it may use; all if left out."""
    models: list[str] | None = None
    """Patterns of the models that it may use, such as `gpt-5*`; all if left out."""
    formats: list[str] | None = None
    """The API formats that it may use, such as `openai-chat`; all if left out."""
    methods: list[Method] | None = None
    """The HTTP methods that it may use; all if left out."""
    networks: list[Network] | None = None
    """The networks that it may be used from, such as `10.0.0.0/8`; all if left out."""
    limits: LimitsSpec = LimitsSpec()
    when_tight: WhenTight | None = None
    """What happens if a request's worst case is more than a limit has left: `refuse`, `fit` or `lower`; its project's
    setting if left out."""
    stored: Stored | None = None
    """The objects stored at providers that it may use: `own`, `project` (default), `shared` or `off`; its project
    and the organisation can only narrow it."""
    allow_unmetered: bool = False
    """Whether it may use endpoints whose cost the gateway cannot see, even if it has spending limits."""
    expires_at: datetime | None = None


class KeySpec(KeySettings, Spec):
    """What a client holds."""

    secret: str | None = None
    """A reference to your own value, or `sha256:` and the SHA-256 of a value that only its holder knows; by default a
    value is created and shown once."""


class MatchSpec(Spec):
    """The requests that a named limit applies to: all given fields must match."""

    key: str | None = None
    user: str | None = None
    project: str | None = None
    route: str | None = None
    provider: str | None = None
    model: str | None = Field(default=None, min_length=1, max_length=200)
    """A model's name or a pattern, such as `gpt-5*`."""
    tag: Annotated[str | None, Field(pattern=r"^[^=,\s]{1,100}(=[^=,]{1,200})?$")] = None
    """`customer`: requests with that tag; `customer=acme`: requests with that value of the tag."""


class NamedLimitSettings(Amounts):
    """What can be set of a named limit."""

    match: MatchSpec = MatchSpec()
    per: Annotated[str | None, Field(pattern=r"^(key|user|project|model|provider|session|tag:[^=,\s]{1,100})$")] = None
    """What gets its own counter: `key`, `user`, `project`, `model`, `provider`, `session` or `tag:NAME`; a single
    counter if left out."""
    max_members: int = Field(default=10_000, ge=1, le=1_000_000)
    """The most counters; further ones are refused."""

    @property
    def limits(self) -> LimitsSpec:
        """Its amounts alone."""
        return LimitsSpec.model_validate({name: getattr(self, name) for name in LimitsSpec.model_fields})


class NamedLimitSpec(NamedLimitSettings, Spec):
    """A named limit: what it matches, what gets its own counter, and its amounts."""


Why = Annotated[str, Field(min_length=1, max_length=500)]


class RaiseSpec(Spec):
    """A temporary raise of a limit."""

    owner_kind: Literal["organisation", "project", "user", "key", "limit"]
    owner: str = "organisation"
    """The owner's name, or that of a named limit."""
    window: Window = "daily"
    """Which of its limits; `minute` is a rate."""
    unit: Unit | None = None
    """What the limit counts: `usd`, `requests` or `tokens`; if left out, requests a minute and US dollars otherwise."""
    member: str | None = Field(default=None, max_length=300)
    """The member of a named limit whose counter is raised; all members if left out."""
    to: Usd
    """The amount until the raise ends."""
    until: datetime
    why: Why


class AskSpec(Spec):
    """What the holder of a key asks for."""

    to: Usd
    """The amount that the limit is to have."""
    window: Window | None = None
    """Which limit; the tightest one if left out."""
    unit: Unit = "usd"
    """What the limit counts: `requests` and `tokens` mean those a minute."""
    why: Why


class AnswerSpec(Spec):
    """The answer to a request for more."""

    until: datetime | None = None
    """When the raise ends; at the end of the limit's window if left out."""
    answer: str | None = Field(default=None, max_length=500)
    """The answer to the person who asked."""


class AdoptSpec(Spec):
    """Objects in a provider's account that nothing owns yet, and the project that they are given to."""

    route: str
    """The route whose providers have them."""
    project: str
    ids: list[Annotated[str, Field(min_length=1, max_length=512)]] = Field(default=[], max_length=1000)
    """The objects, by their ids at the one provider of the route; what its lists show if left out."""


class GrantSpec(Spec):
    """A role, in the whole gateway or in one project."""

    role: Role
    project: str | None = None
    """Where the role applies; everywhere if left out."""


class AdminSettings(BaseModel):
    """What can be set of an admin."""

    grants: list[GrantSpec] = []
    active: bool = True
    """Whether the admin's tokens are accepted."""


class AdminSpec(AdminSettings, Spec):
    """A person or program that administers the gateway."""


class TokenSpec(Spec):
    """A token of the admin API."""

    admin: str | None = None
    """The admin that it belongs to; the one that makes it if left out."""
    scopes: list[Permission] | None = Field(default=None, min_length=1)
    """The permissions that it is confined to; all of its admin's if left out."""
    expires_at: datetime | None = None
