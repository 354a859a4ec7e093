"""The wire models of the admin API, shared by the gateway, the command line and the terminal UI.

A `…Spec` is what a person writes (in `paig.toml` or in a request body): unknown fields are errors. The other models are
what the gateway answers. Money is a decimal string of US dollars, a time is ISO 8601 in UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from paig_client.api.specs import (
    Chooses,
    GrantSpec,
    LimitsSpec,
    MemberSpec,
    OwnerKind,
    Permission,
    PriceSpec,
    ProjectTelemetry,
    RouteTimeouts,
)

Certainty = Literal["exact", "estimated", "ceiling", "unknown"]
CostSource = Literal["list", "provider"]
KeyStatus = Literal["active", "disabled", "blocked", "expired", "limit-exceeded"]


class Resource(BaseModel):
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


class Provider(Resource):
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


class Route(Resource):
    """A route as the gateway shows it."""

    members: list[MemberSpec]
    choice: Chooses = "weighted"
    affinity: bool = True
    timeouts: RouteTimeouts = RouteTimeouts()


class OwnPrice(Resource):
    """A price that the operator set, as the gateway shows it."""

    spec: PriceSpec


class Owner(Resource):
    """A project or a user as the gateway shows it."""

    limits: LimitsSpec


class Project(Owner):
    """A project as the gateway shows it."""

    telemetry: ProjectTelemetry = ProjectTelemetry()


class Key(Resource):
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


class Admin(Resource):
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
    fitted: str | None = None
    """The output maximum that the gateway set (`when_tight`), as `x-paig-fitted` says it; null where it set none."""


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
    certainty_reason: str | None = None
    """Why the cost is not exact: `unpriced: code_interpreter`."""
    cost_source: CostSource | None = None
    """Whose word the cost is: the price list's, or the provider's own charge."""
    list_price: str | None = None
    """What the price list says, where the cost is the provider's own charge."""
    price: str | None
    attempts: list[Attempt]
    tags: dict[str, str]
    run: str | None
    session: str | None = None
    """What the client calls the session that it belongs to."""
    trace_id: str | None = None
    """The OpenTelemetry trace that it belongs to, 32 hex digits."""
    error: str | None
    refusal: dict[str, Any] | None = None
    """A refused request's details, as its error had them."""
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
