"""The tables: first the catalogue, which people edit, then the ledger, which has its own writer.

Times are whole milliseconds since the epoch, money is nanodollars, and JSON columns hold small structured values that
are never queried by their parts.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel


def _big(*, nullable: bool = False) -> Any:
    return Column(BigInteger, nullable=nullable)


def _index_where(name: str, *columns: str, condition: str) -> Index:
    """An index of some rows; `migrations/env.py` says it to PostgreSQL, whose dialect is slow to import."""
    return Index(name, *columns, sqlite_where=text(condition), info={"where": condition})


def _json(*, nullable: bool = True) -> Any:
    return Column(JSON, nullable=nullable)


class CatalogRow(SQLModel):
    """What every object of the catalogue has: what a person wrote of it, as JSON, beside its id, name and times.

    A literal secret is never part of `spec`, nor are limits, which are rows of their own. Subclasses add only columns
    that queries need, or that are not the person's to write.
    """

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    spec: dict[str, Any] = Field(default_factory=dict, sa_type=JSON, nullable=False)
    """The object's spec without the fields that have their default."""
    version: int = 1
    created_at: int = Field(sa_type=BigInteger)
    updated_at: int = Field(sa_type=BigInteger)


class ProviderRow(CatalogRow, table=True):
    """An upstream account: kind, base URL, credentials."""

    __tablename__ = "providers"
    sealed: dict[str, str] = Field(default_factory=dict, sa_type=JSON, nullable=False)
    """Its literal credentials as the vault seals them, by the id under which `spec` names them."""


class RouteRow(CatalogRow, table=True):
    """A named, ordered, weighted group of providers."""

    __tablename__ = "routes"


class PriceRow(CatalogRow, table=True):
    """A price that the operator set."""

    __tablename__ = "prices"


class ProjectRow(CatalogRow, table=True):
    """A project that keys belong to."""

    __tablename__ = "projects"


class UserRow(CatalogRow, table=True):
    """A user: a person or a program that owns keys."""

    __tablename__ = "users"
    subject: str | None = Field(default=None, unique=True)
    """Issuer and subject at the identity provider, of a person who got a key by single sign-on."""


class KeyRow(CatalogRow, table=True):
    """What a client holds; only the SHA-256 of its secret is kept."""

    __tablename__ = "keys"
    hash: str = Field(unique=True)
    """SHA-256 of the secret, in hex."""
    hint: str
    """The secret's first characters, enough to recognise it."""
    old_hash: str | None = None
    """SHA-256 of the secret before the last rotation."""
    old_until: int | None = Field(default=None, sa_type=BigInteger)
    """Until when that one is still accepted."""
    project_id: str | None = Field(default=None, index=True)
    user_id: str | None = Field(default=None, index=True)
    state: str = "active"
    """`active`, `disabled` or `blocked`."""
    login: bool = False
    """Whether a login by single sign-on made it."""


class KeyUseRow(SQLModel, table=True):
    """When a key was last used, and from where."""

    __tablename__ = "key_uses"
    key_id: str = Field(primary_key=True)
    time: int = Field(sa_column=_big())
    address: str | None = None


class AdminRow(CatalogRow, table=True):
    """A person or program that administers the gateway."""

    __tablename__ = "admins"
    subject: str | None = Field(default=None, unique=True)
    """Issuer and subject at the identity provider, for admins made by single sign-on."""


class NamedLimitRow(CatalogRow, table=True):
    """A named limit; its caps are rows of `limits`, whose owner it is."""

    __tablename__ = "named_limits"


class LimitRow(SQLModel, table=True):
    """A cap on an owner; its id names its counters."""

    __tablename__ = "limits"
    __table_args__ = (UniqueConstraint("owner_kind", "owner_id", "unit", "window"),)
    id: str = Field(primary_key=True)
    owner_kind: str
    """`organisation`, `project`, `user`, `key`, or `limit` for a named limit."""
    owner_id: str
    """The owner's id; empty for the organisation."""
    unit: str
    window: str
    amount: int = Field(sa_column=_big())
    soft: bool = False
    zone: str = "UTC"
    """The time zone that its windows begin in."""
    old_zone: str | None = None
    """The zone before, whose window is finished first."""
    zone_since: int = Field(default=0, sa_column=_big())
    """From when on `zone` counts, in seconds since the epoch."""


class RaiseRow(SQLModel, table=True):
    """A limit's larger amount for a while."""

    __tablename__ = "raises"
    id: str = Field(primary_key=True)
    limit_id: str = Field(index=True)
    """A limit's id, or the name of one member's counter."""
    amount: int = Field(sa_column=_big())
    actor: str
    why: str
    since: int = Field(sa_column=_big())
    until: int = Field(sa_column=_big())


class LimitRequestRow(SQLModel, table=True):
    """A request of a key's holder for more of a limit."""

    __tablename__ = "limit_requests"
    id: str = Field(primary_key=True)
    limit_id: str = Field(index=True)
    key_id: str = Field(index=True)
    amount: int = Field(sa_column=_big())
    why: str
    time: int = Field(sa_column=_big())
    state: str = "open"
    """`open`, `approved` or `declined`."""
    actor: str | None = None
    """The admin that approved or declined it."""
    decided_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    answer: str | None = None


class MetaRow(SQLModel, table=True):
    """Single values: `directory_version` rises with every change that a running node must see."""

    __tablename__ = "meta"
    name: str = Field(primary_key=True)
    value: int = Field(sa_column=_big())
    text: str | None = None
    """For values that are not numbers: the audit log's head, sealed keys of earlier chains."""


class AuditRow(SQLModel, table=True):
    """One change: its actor, its object, and the object before and after, without secrets."""

    __tablename__ = "audit"
    id: str = Field(primary_key=True)
    time: int = Field(sa_column=_big())
    actor: str
    action: str
    kind: str
    name: str
    project_id: str | None = None
    """The project that the object is, or belongs to; None if it belongs to no project."""
    old_project_id: str | None = None
    """The project that the change took it out of."""
    before: dict[str, Any] | None = Field(default=None, sa_column=_json())
    after: dict[str, Any] | None = Field(default=None, sa_column=_json())
    mac: str | None = None
    """Authenticates the row and all rows before it; None for rows from before there was a chain."""


class TokenRow(SQLModel, table=True):
    """A token of the admin API; only the SHA-256 of it is kept."""

    __tablename__ = "admin_tokens"
    id: str = Field(primary_key=True)
    admin_id: str = Field(index=True)
    name: str
    hash: str = Field(unique=True)
    hint: str
    session: bool = False
    scopes: list[str] | None = Field(default=None, sa_column=_json())
    expires_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    created_at: int = Field(sa_column=_big())


class RepeatRow(SQLModel, table=True):
    """What a create answered to an `Idempotency-Key`, for when it is sent again."""

    __tablename__ = "repeats"
    id: str = Field(primary_key=True)
    request: str
    """A digest of the request."""
    answer: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """Encrypted, because it may hold a new key's secret."""
    created_at: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))


class NodeRow(SQLModel, table=True):
    """A running gateway process; its beat says that its open reservations are still its own."""

    __tablename__ = "nodes"
    id: str = Field(primary_key=True)
    host: str
    pid: int
    started_at: int = Field(sa_column=_big())
    beat_at: int = Field(sa_column=_big())


class RequestRow(SQLModel, table=True):
    """A finished request and what it cost."""

    __tablename__ = "requests"
    __table_args__ = (
        Index("ix_requests_time", "time", "id"),
        Index("ix_requests_finished", "finished_at", "id"),
        Index("ix_requests_key", "key_id", "time"),
        _index_where("ix_requests_work", "work_id", condition="work_id IS NOT NULL"),
        _index_where("ix_requests_charged", "time", condition="list_price IS NOT NULL"),
        _index_where("ix_requests_session", "session", "key_id", "time", condition="session IS NOT NULL"),
        _index_where("ix_requests_unsure", "state", condition="state IN ('swept', 'pending')"),
    )
    id: str = Field(primary_key=True)
    """Also `x-paig-request-id`; sorts by time."""
    node: str
    """The id of the node that served it."""
    state: str
    """`settled`; `swept`, charged at its ceiling because its node died; `pending`, charged by guess until its work's
    usage is known."""
    time: int = Field(sa_column=_big())
    finished_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    key_id: str
    key: str
    project_id: str = ""
    project: str | None = None
    user_id: str = ""
    user: str | None = None
    route: str
    provider: str | None = None
    model: str
    format: str
    stream: bool = False
    tags: dict[str, str] | None = Field(default=None, sa_column=_json())
    run: str | None = None
    session: str | None = None
    """What the client calls the session that the request belongs to."""
    agent: str | None = None
    """The agent's id in the session; NULL for the main agent."""
    agent_parent: str | None = None
    """The agent that started that agent; NULL for the main one."""
    agent_name: str | None = None
    """What kind of agent it is, for people."""
    trace_id: str | None = None
    """The trace that the request belongs to, 32 hex digits."""
    holds: list[Any] | None = Field(default=None, sa_column=_json())
    """`[limit id, window start, amount held, unit]` for each limit that a correction would move."""
    reserved: int = Field(default=0, sa_column=_big())
    cost: int | None = Field(default=None, sa_column=_big(nullable=True))
    certainty: str | None = None
    """`exact`, `estimated`, `ceiling` or `unknown`."""
    certainty_reason: str | None = None
    """Why the cost is not exact."""
    cost_source: str | None = None
    """`list` or `provider`: the source of the cost."""
    list_price: int | None = Field(default=None, sa_column=_big(nullable=True))
    """The cost by the price list, if the cost is the provider's own charge."""
    usage: dict[str, Any] | None = Field(default=None, sa_column=_json())
    raw_usage: dict[str, Any] | None = Field(default=None, sa_column=_json())
    price: str | None = None
    """The price's identity: genai-prices provider and model."""
    status: int | None = None
    error: str | None = None
    refusal: dict[str, Any] | None = Field(default=None, sa_column=_json())
    """A refused request's details, as its error had them."""
    attempts: list[Any] | None = Field(default=None, sa_column=_json())
    work_id: str | None = None
    ms_total: float | None = None
    ms_first_byte: float | None = None
    ms_gateway: float | None = None


class HoldRow(SQLModel, table=True):
    """A request in flight and what it holds of its limits; its settlement deletes it and inserts a `RequestRow`."""

    __tablename__ = "holds"
    id: str = Field(primary_key=True)
    node_id: str
    time: int = Field(sa_column=_big())
    key_id: str
    project_id: str = ""
    user_id: str = ""
    reserved: int = Field(sa_column=_big())
    limits: list[Any] = Field(sa_column=_json(nullable=False))
    """`[limit id, window start, amount held, unit]` for each limit that binds it."""
    request: dict[str, Any] = Field(sa_column=_json(nullable=False))
    """Everything else of its finished row."""


class RefusalRow(SQLModel, table=True):
    """A request that was refused before it could be in the ledger; only the latest are kept."""

    __tablename__ = "refusals"
    __table_args__ = (Index("ix_refusals_time", "time", "id"),)
    id: str = Field(primary_key=True)
    """The `x-paig-request-id` that the client got."""
    time: int = Field(sa_column=_big())
    project_id: str = ""
    request: dict[str, Any] = Field(sa_column=_json(nullable=False))
    """Its facts: its key, its target, and why it was refused."""


class CounterRow(SQLModel, table=True):
    """What a limit's window has been charged and what requests in flight hold of it."""

    __tablename__ = "counters"
    __table_args__ = (Index("ix_counters_members", text("substr(limit_id, 1, 20)"), "window_start"),)
    limit_id: str = Field(primary_key=True)
    window_start: int = Field(sa_column=Column(BigInteger, primary_key=True))
    spent: int = Field(default=0, sa_column=_big())
    held: int = Field(default=0, sa_column=_big())


class RunRow(SQLModel, table=True):
    """A run's budget, fixed by its first request."""

    __tablename__ = "runs"
    id: str = Field(primary_key=True)
    """`run:<key id>:<run>`; also its counter's limit id."""
    amount: int = Field(sa_column=_big())
    created_at: int = Field(sa_column=_big())


class RollupRow(SQLModel, table=True):
    """Sums of the finished requests of a quarter of an hour; changes in the same transaction as their rows."""

    __tablename__ = "rollups"
    __table_args__ = (Index("ix_rollups_key", "key_id", "start"),)
    start: int = Field(sa_column=Column(BigInteger, primary_key=True))
    """The start of the quarter of an hour in milliseconds, by the requests' `time`, not their end."""
    key_id: str = Field(primary_key=True)
    project_id: str = Field(primary_key=True)
    user_id: str = Field(primary_key=True)
    route: str = Field(primary_key=True)
    provider: str = Field(primary_key=True)
    model: str = Field(primary_key=True)
    requests: int = Field(default=0, sa_column=_big())
    errors: int = Field(default=0, sa_column=_big())
    input_tokens: int = Field(default=0, sa_column=_big())
    output_tokens: int = Field(default=0, sa_column=_big())
    cache_read_tokens: int = Field(default=0, sa_column=_big())
    cache_write_tokens: int = Field(default=0, sa_column=_big())
    cost: int = Field(default=0, sa_column=_big())


class StoppedSessionRow(SQLModel, table=True):
    """A session whose requests are refused."""

    __tablename__ = "stopped_sessions"
    key_id: str = Field(primary_key=True)
    session: str = Field(primary_key=True)
    stopped_by: str
    stopped_at: int = Field(sa_column=_big())


class SessionLoopRow(SQLModel, table=True):
    """A session that looked like one that goes round in circles; see `ledger.session_loops`."""

    __tablename__ = "session_loops"
    key_id: str = Field(primary_key=True)
    session: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    found: int = Field(sa_column=_big())
    seen_at: int = Field(sa_column=_big())


class StoredObjectRow(SQLModel, table=True):
    """The owner of an object that a provider stores; see `ledger.stored_objects`."""

    __tablename__ = "stored_objects"
    provider: str = Field(primary_key=True)
    """The provider's name in the gateway."""
    id: str = Field(primary_key=True, index=True)
    """The object's id at the provider."""
    kind: str
    key_id: str = ""
    """The key that made it; empty where it was given to a project."""
    project_id: str = ""
    created_at: int = Field(sa_column=_big())


class BatchRow(SQLModel, table=True):
    """A batch that a provider works on, and what its hold is for; see `ledger.batches`. Gone once it is charged."""

    __tablename__ = "batches"
    __table_args__ = (Index("ix_batches_work", "provider", "work_id"), Index("ix_batches_look", "look_at"))
    id: str = Field(primary_key=True)
    """The id of the request that made it, and of its hold."""
    provider: str
    work_id: str
    """The batch's id at the provider."""
    format: str
    """The API format of the request that made it: it tells how the provider is asked."""
    path: str
    """The path of that request, which the batch's own begins with."""
    credential: str
    """The id of the credential that it was made with."""
    key_id: str
    project_id: str = ""
    created_at: int = Field(sa_column=_big())
    deadline: int = Field(sa_column=_big())
    """When what has no result by then is charged at its ceiling."""
    look_at: int = Field(sa_column=_big())
    """When the provider is polled next, unless a client's request causes a poll before."""
    looks: int = 0
    """How often it was polled."""
    node: str = ""
    """The node that polls at present."""
    until: int = Field(default=0, sa_column=_big())
    """Until when no other node polls, unless that one dies."""
    lines: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    """What its lines ask, compressed; NULL where the gateway could not read them."""


class BatchInputRow(SQLModel, table=True):
    """What the lines of a file ask that was uploaded for a batch."""

    __tablename__ = "batch_inputs"
    provider: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    """The file's id at the provider."""
    created_at: int = Field(sa_column=_big())
    lines: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class AlertRow(SQLModel, table=True):
    """An alert that was raised: sent once, although several nodes may have seen its cause."""

    __tablename__ = "alerts"
    id: str = Field(primary_key=True)
    """The limit, its window and the threshold; or the provider and the hour."""
    payload: dict[str, Any] = Field(sa_column=_json(nullable=False))
    created_at: int = Field(sa_column=_big())
    next_try_at: int = Field(sa_column=_big())
    tries: int = 0
    delivered_at: int | None = Field(default=None, sa_column=_big(nullable=True))


class BreakerRow(SQLModel, table=True):
    """One node's report of one credential of a provider; deleted with the node."""

    __tablename__ = "breakers"
    node_id: str = Field(primary_key=True)
    provider: str = Field(primary_key=True)
    """Its name."""
    credential: str = Field(primary_key=True)
    """Its id."""
    state: str
    """`closed`, `cooling`, `half-open` or `open`."""
    own: bool = True
    """Whether the node found it out; else it goes by another's word."""
    since: int = Field(sa_column=_big())
    until: int | None = Field(default=None, sa_column=_big(nullable=True))
    reason: str | None = None
    waits: list[Any] = Field(default_factory=list, sa_column=_json(nullable=False))
    """`[model, since, until, reason, own]` for each model that it was told to wait for."""
    sums: dict[str, Any] = Field(default_factory=dict, sa_column=_json(nullable=False))
    """What came of the tries of five minutes, and when the last good one was."""
    last_error: str | None = None
    last_error_at: int | None = Field(default=None, sa_column=_big(nullable=True))


class BreakerChangeRow(SQLModel, table=True):
    """A change of a breaker's state, on one node; the last thousand are kept."""

    __tablename__ = "breaker_changes"
    id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    """In the order of commits."""
    time: int = Field(sa_column=_big())
    node_id: str
    provider: str
    credential: str
    before: str
    state: str
    until: int | None = Field(default=None, sa_column=_big(nullable=True))
    reason: str | None = None
