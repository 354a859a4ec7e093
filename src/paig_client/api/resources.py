"""What the admin API answers.

In Python an amount is a `Decimal` and a time a `datetime`; on the wire an amount is a plain decimal string and a time
ISO 8601 in UTC.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, Field

from paig_client.api.fields import Money
from paig_client.api.limits import Unit, Window
from paig_client.api.specs import (
    AdminSettings,
    KeySettings,
    NamedLimitSettings,
    OrganisationSpec,
    OwnerSettings,
    PriceSpec,
    ProjectSettings,
    RouteSettings,
)
from paig_client.api.vocabulary import BreakerState, Certainty, CostSource, KeyStatus, OwnerKind, Permission


class Resource(BaseModel):
    """What every stored object has."""

    id: str
    name: str
    version: int
    created_at: datetime
    updated_at: datetime


class ProviderCredential(BaseModel):
    """A credential as the gateway shows it: its reference, never its value."""

    id: str
    """What the ledger calls it; it changes when another secret is stored in its place."""
    reference: str


class Provider(Resource):
    """An upstream account as the gateway shows it: references to its credentials, never their values."""

    kind: str
    base_url: str
    credential: str | None
    """The reference, where there is only one."""
    credentials: list[ProviderCredential] = []
    """All its credentials, one or several."""
    options: dict[str, Any]

    @property
    def references(self) -> str:
        """The references of all its credentials, as a person reads them."""
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
    """The result of a small free request to a provider."""

    provider: str
    ok: bool
    outcome: ProviderOutcome
    message: str
    """What the result means, and what to do about it."""
    request: str
    """The request that was sent: method and address."""
    status: int | None = None
    models: int | None = None
    """How many models it listed."""
    ms: float = 0


class ToldWait(BaseModel):
    """A model that a credential is not used for at present, because the provider asked to wait."""

    model: str
    until: datetime
    reason: str
    """A status, or `used up` where the provider announced that its quota is used up."""


class NodeBreaker(BaseModel):
    """What one node knows of a credential."""

    node: str
    state: BreakerState
    since: datetime
    until: datetime | None
    reason: str | None
    own: bool
    """Whether the node saw the failures itself, or was told by another node."""


class TryFigures(BaseModel):
    """The tries of the last five minutes, on all nodes."""

    tries: int
    ok_share: float | None
    """The share of tries that were answered, leaving out failures by the client's fault; null without tries."""
    p95_ms: float | None
    """95 % of answers began within this many milliseconds."""
    throttled: int
    """Answered with 429."""
    failures: dict[str, int]
    """Counts of failures, by status or kind."""


class CredentialHealth(TryFigures):
    """The health of a provider's credential, on all nodes; the state is the worst that a node reports."""

    credential: str
    """Its id."""
    state: BreakerState
    since: datetime | None
    """When it entered that state; null where nothing was sent with it yet."""
    until: datetime | None
    """When it is tried again."""
    reason: str | None
    """The status or failure that caused the state."""
    waits: list[ToldWait]
    last_error: str | None
    last_error_at: datetime | None
    nodes: list[NodeBreaker]


class ProviderHealth(TryFigures):
    """The health of a provider; the state is that of its best credential."""

    provider: str
    state: BreakerState
    credentials: list[CredentialHealth]
    problem: str | None = None
    """Which of its credentials cannot be read, and what to do; null where all can."""


class BreakerChange(BaseModel):
    """A credential's state has changed, on one node."""

    time: datetime
    node: str
    provider: str
    credential: str
    before: BreakerState
    state: BreakerState
    until: datetime | None
    reason: str | None


class Route(Resource, RouteSettings):
    """A route as the gateway shows it."""


class OwnPrice(Resource):
    """A price that the operator set, as the gateway shows it."""

    spec: PriceSpec


class Capped(Resource):
    """What has caps."""

    warnings: list[str] = []
    """What a create and an update say of caps that are smaller than what one usual request holds; empty elsewhere."""


class Organisation(OrganisationSpec):
    """The settings of the whole gateway as a change answers them."""

    warnings: list[str] = Field(default=[])
    """Caps that are smaller than what one usual request holds, in words."""


class Owner(Capped, OwnerSettings):
    """A user as the gateway shows it."""


class Project(Owner, ProjectSettings):
    """A project as the gateway shows it."""


class Key(Capped, KeySettings):
    """A key as the gateway shows it: a hint of its secret, never the secret."""

    hint: str
    status: KeyStatus
    old_secret_until: datetime | None = None
    """Until when the secret before the last rotation is still accepted."""
    last_used_at: datetime | None = None
    last_used_from: str | None = None
    """The address that it was last used from."""


class NamedLimit(Resource, NamedLimitSettings):
    """A named limit as the gateway shows it."""


class NewKey(BaseModel):
    """A key just made or rotated: the only time that its secret is shown."""

    id: str
    name: str
    key: str
    warnings: list[str] = []
    """Caps that are smaller than what one usual request holds, in words."""


class Admin(Resource, AdminSettings):
    """An admin as the gateway shows it."""

    sso: bool
    """Whether it was made by single sign-on: its grants are then set again at each login."""


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
    """A login by single sign-on that was started."""

    handle: str
    """Identifies the login in later requests."""
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: int
    """Seconds in which the person must finish it."""
    interval: int
    """Seconds to wait between two polls."""


class DeviceState(BaseModel):
    """The state of a login; `admin` is null until the person has logged in."""

    admin: str | None
    """The person's name here."""
    token: str | None
    """An admin token; null for a person without a role."""
    expires_at: datetime | None
    """When the login ends."""
    slow_down: bool
    """Whether to wait five seconds longer between two polls from now on."""
    key: str | None = None
    """A personal key; null where no group gives one."""
    key_name: str | None = None
    key_expires_at: datetime | None = None
    """When the key ends unless it is renewed."""
    handle: str | None = None
    """What `sso/key` renews the key with; a secret."""


class PersonalKeyState(BaseModel):
    """A personal key that was renewed."""

    expires_at: datetime
    """When it ends unless it is renewed again."""
    handle: str
    """What it is renewed with from now on; a secret."""


class Identity(BaseModel):
    """The holder of an admin token, and what it may do."""

    name: str
    """As the audit log names it."""
    permissions: list[Permission]
    """In the whole gateway."""
    projects: dict[str, list[Permission]]
    """In single projects."""
    expires_at: datetime | None
    session: bool
    """Whether a login by single sign-on made their token."""
    csrf: str | None = None
    """What a page sends in `X-Paig-Csrf` to change something; for browsers' sessions alone."""


class LimitStatus(BaseModel):
    """A limit and its balance in the current window. Amounts are dollars, or counts for rates."""

    id: str = ""
    """Names the limit, or one member's counter of it, where it is to be raised."""
    owner_kind: OwnerKind
    owner: str
    member: str | None = None
    """Whose counter it is, where a named limit has one for each."""
    unit: Unit
    window: Window
    amount: Money
    spent: Money
    held: Money
    left: Money
    resets_at: datetime | None
    soft: bool
    raised_until: datetime | None = None
    """When it goes back to its own amount; null where it is not raised."""
    reached_at: datetime | None = None
    """When it is used up at today's pace; null where its window ends before, or nothing was spent today."""


class MyLimit(LimitStatus):
    """A limit that binds a key."""


class AboutLimit(BaseModel):
    """Which limit is meant."""

    owner_kind: OwnerKind
    owner: str
    unit: Unit
    window: Window
    member: str | None


class LimitRaise(AboutLimit):
    """A limit's larger amount for a while."""

    id: str
    amount: Money
    """What the limit is meanwhile: dollars, or a count."""
    actor: str
    why: str
    since: datetime
    until: datetime


class LimitRequest(AboutLimit):
    """A request of a key's holder for more of a limit."""

    id: str
    key: str
    amount: Money
    """What the limit is to be: dollars, or a count."""
    why: str
    time: datetime
    state: Literal["open", "approved", "declined"]
    actor: str | None
    """The admin that approved or declined it."""
    decided_at: datetime | None
    answer: str | None


class StoredObject(BaseModel):
    """An object that a provider stores, and its owner."""

    provider: str
    id: str
    """Its id at the provider."""
    kind: str
    """What it is: `file`, `batch`, `vector-store`."""
    key: str | None
    """The key that made it; None where it was given to a project."""
    project: str | None
    created_at: datetime
    """Since when the gateway knows of it."""


class StoredObjectPage(BaseModel):
    """Some stored objects by provider and id, and where the next page begins."""

    items: list[StoredObject]
    next_cursor: str | None


class Adopted(BaseModel):
    """What became of the objects in the account of a route's providers."""

    route: str
    project: str
    adopted: dict[str, int]
    """How many were given to the project, by kind."""
    owned: int
    """How many have an owner already, and keep it."""
    problems: list[str]
    """Lists that could not be read, or not to their end."""


class MyRequest(BaseModel):
    """A request, as the holder of its key sees it."""

    id: str
    time: datetime
    state: Literal["open", "settled"]
    status: int | None
    model: str
    route: str
    cost: Money | None
    error: str | None
    refusal: dict[str, Any] | None = None
    provider: str | None = None
    usage: dict[str, int | float] | None = None
    certainty: Certainty | None = None
    certainty_reason: str | None = None
    """Why the cost is not exact."""
    fitted: str | None = None
    """The output maximum that the gateway set (`when_tight`), as `x-paig-fitted` says it; null where it set none."""
    failover: str | None = None
    """Which providers were tried before another answered, in words; null where the first one answered."""


class MyRequestList(BaseModel):
    """Requests of a key, newest first."""

    items: list[MyRequest]


class Me(BaseModel):
    """What a gateway key may see of itself."""

    key: str
    project: str | None
    user: str | None
    expires_at: datetime | None
    routes: list[str]
    models: list[str] | None
    """Patterns of the models that it may ask for; null for all."""
    when_tight: Literal["refuse", "fit", "lower"]
    spent_today: Money
    """US dollars since midnight UTC."""
    requests_today: int
    limits: list[MyLimit]
    requests: list[MyRequest]
    """The latest ones, newest first."""


class Attempt(BaseModel):
    """One try at one provider."""

    provider: str
    model: str
    credential: str | None = None
    """The id of the provider's credential that was used; null where the provider has none."""
    status: int | None = None
    error: str | None = None
    cost: Money = Decimal(0)
    began_ms: float = 0
    """When it was sent, in milliseconds after the request came."""
    ms: float = 0
    """Milliseconds until the answer's headers came, or until it failed."""
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
    cost: Money
    reserved: Money
    certainty: Certainty | None
    certainty_reason: str | None = None
    """Why the cost is not exact: `unpriced: code_interpreter`."""
    cost_source: CostSource | None = None
    """Whose word the cost is: the price list's, or the provider's own charge."""
    list_price: Money | None = None
    """What the price list says, where the cost is the provider's own charge."""
    price: str | None
    attempts: list[Attempt]
    tags: dict[str, str]
    run: str | None
    session: str | None = None
    """What the client calls the session that it belongs to."""
    agent: str | None = None
    """What it calls the agent in the session; null for the main one."""
    agent_parent: str | None = None
    """The agent that started that agent; null for the main one."""
    agent_name: str | None = None
    """What kind of agent it is."""
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
    cost: Money
    list_cost: Money = Decimal(0)
    """What the price list says; another amount than `cost` where a provider states its own charge."""
    difference: Money = Decimal(0)
    """`cost` without `list_cost`: what the providers' own charges add to the list's prices; negative for a discount.
    Known as far back as rows are kept."""


class SessionFigures(BaseModel):
    """What a session, or one of its agents, used."""

    began: datetime
    """Its first request."""
    ended: datetime
    """Its latest request."""
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost: Money
    ms_busy: float
    """Milliseconds that its requests took together."""


class SessionLoop(BaseModel):
    """What made a session look like one that goes round in circles, when it was seen last."""

    kind: Literal["repeated", "spending"]
    at: datetime
    requests: int = 0
    """How often the same request was sent, where that was it."""
    spent: Money = Decimal(0)
    """US dollars within a minute, where that was it."""


class Session(SessionFigures):
    """The requests that a client sent under one session id, with one key."""

    session: str
    """The client's own word."""
    key: str
    project: str | None
    user: str | None
    agents: int
    """How many agents it has besides the main one."""
    stopped_by: str | None = None
    """Who stopped it; null where it may go on."""
    loop: SessionLoop | None = None
    """Why it looked like a loop; null where it did not."""
    last_error: str | None = None
    """The gateway's error of its latest request; null where that was answered."""


class SessionAgent(SessionFigures):
    """One agent of a session."""

    id: str | None
    """The client's own word; null for the main agent."""
    name: str | None
    """What kind of agent it is, where the client says so."""
    depth: int
    """0 for the main agent, 1 for those that it started, and so on."""
    models: list[str]
    """The models that it used, the most expensive first."""
    total_cost: Money
    """With all agents below it."""


class SessionTree(Session):
    """A session with its agents."""

    tree: list[SessionAgent]
    """The main agent first, each agent directly before those that it started."""


class UsageReport(BaseModel):
    """Totals by group, the most expensive first (by time where grouped by time)."""

    items: list[UsageTotal]
    total: UsageTotal


class RepricedTotal(BaseModel):
    """What requests of one price cost, and what they would cost at the current prices, in US dollars."""

    provider: str
    model: str
    price: str
    new_price: str
    requests: int
    cost: Money
    repriced: Money
    difference: Money


class Repricing(BaseModel):
    """What a correction of prices would change: the largest differences first, and the sums over all requests.

    Requests whose cost would not change are only in the sums. `left` counts the requests that have no known price now,
    or whose usage the provider did not report.
    """

    items: list[RepricedTotal]
    requests: int
    cost: Money
    repriced: Money
    difference: Money
    left: int


class PlannedChange(BaseModel):
    """One step of a plan."""

    action: Literal["create", "change", "delete"]
    kind: str
    name: str
    changes: dict[str, tuple[Any, Any]]
    """Each field that changes: before and after, null where there is none. Never a secret."""


class AppliedConfig(BaseModel):
    """What a configuration changed, or would change."""

    items: list[PlannedChange]
    """The steps, in order."""
    keys: list[NewKey]
    """The keys that were made: the only time that their secrets are shown."""
    drift: list[AuditEntry] = []
    """What was changed by hand since a configuration was last applied, where this one says otherwise or does not name
    it; `before` is what it was then."""
    ignored: list[str] = []
    """The sections of the file that only a start of the gateway reads."""
    warnings: list[str] = []
    """Caps that are smaller than what one usual request holds, in words."""


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
    prices: str = ""
    """The price book: the package and its version."""
    prices_installed_at: datetime | None = None
    """When that package was installed here: its prices are at least that old."""
    prices_refreshed_at: datetime | None = None
    """When this process last fetched newer prices; null where it goes by those that came with the package."""


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


class AuditVerification(BaseModel):
    """The result of verifying the audit log."""

    rows: int
    head: str
    """Authenticates all entries so far; keep it elsewhere to notice a log whose newest entries were cut off."""
    problem: str | None
    """The first thing that is wrong, or null."""


class Problem(BaseModel):
    """An error of the admin API, in the form of RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
