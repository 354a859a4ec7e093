"""The endpoint `/me`: shows the holder of a gateway key its own limits, its spend and its latest requests.

The gateway key itself is the credential; no admin token is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request as HttpRequest

from paig_client.api.refusals import failover
from paig_client.api.resources import LimitRequest, Me, MyLimit, MyRequest, MyRequestList, Request
from paig_client.api.specs import AskSpec
from paig_gateway.admin.bodies import JsonObject, body_of, checked
from paig_gateway.admin.limits import asked_limit
from paig_gateway.admin.problems import ProblemError
from paig_gateway.admin.refusals import address_of
from paig_gateway.admin.services import AdminServices
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import Limit, window_start
from paig_gateway.domain.named_limits import MATCHES, Subject
from paig_gateway.ledger import reports
from paig_gateway.ledger.balances import balances_of, shown_balances
from paig_gateway.ledger.reports import Filter
from paig_gateway.ledger.sessions import list_sessions

LATEST = 20
"""Requests that are shown."""
MAX_IDS = 100
"""The most requests in one call."""
LATELY, MEMBERS = timedelta(days=7), 10
"""Limits by model, session or tag are shown for those used within this time, and at most this many for each limit."""


def me_routes(services: AdminServices) -> APIRouter:
    """The endpoint for holders of gateway keys."""
    router = APIRouter()

    @router.get(
        "/me",
        operation_id="get_me",
        summary="Show a gateway key its own limits and requests",
        description="Authenticate with the gateway key instead of an admin token: `Authorization: Bearer paig_…`.",
        tags=["ledger"],
    )
    def get_me(http: HttpRequest) -> Me:
        now = services.clock()
        return me_of(services, caller_of(services, http, now), now)

    @router.get(
        "/me/requests",
        operation_id="list_my_requests",
        summary="Show a gateway key its own requests, by id",
        description="The ids are those of `x-paig-request-id`. Other keys' requests are left out, as unknown ids are.",
        tags=["ledger"],
    )
    def list_my_requests(
        http: HttpRequest,
        id: Annotated[list[str], Query(min_length=1, max_length=MAX_IDS, description="The id of a request.")],
    ) -> MyRequestList:
        caller = caller_of(services, http, services.clock())
        found = reports.requests_of_key(services.engine, caller.key_id, caller.key, id)
        return MyRequestList(items=[_mine(row) for row in found])

    @router.post(
        "/me/limit-requests",
        operation_id="ask_for_more",
        summary="Ask for more of a limit, with a gateway key",
        description="An administrator approves or declines it; a raise lasts until the end of the limit's window.",
        tags=["ledger"],
        status_code=201,
        openapi_extra=body_of("AskSpec"),
    )
    def ask_for_more(http: HttpRequest, body: JsonObject) -> LimitRequest:
        now = services.clock()
        caller = caller_of(services, http, now)
        return ask_of(services, caller, checked(AskSpec, body), now)

    return router


def ask_of(services: AdminServices, caller: Caller, spec: AskSpec, now: datetime) -> LimitRequest:
    """Ask for a higher amount of a limit that binds a key.

    Raises:
        ProblemError: `invalid`; no such limit binds the key.
        CatalogError: `invalid`; `conflict` where too many requests of the key wait already.
    """
    limits = (*caller.limits, *_own_named(caller))
    limit = asked_limit(balances_of(services.engine, limits, now), spec)
    return services.catalog.raises.ask(caller.key_id, limit.limit_id, spec.to, spec.why)


def me_of(services: AdminServices, caller: Caller, now: datetime) -> Me:
    """What a key may see of itself."""
    latest = reports.list_requests(services.engine, Filter(key=caller.key_id), cursor=None, limit=LATEST).items
    without_session = any(row.session is None for row in latest)
    named = (*_own_named(caller), *_by_use(services, caller, now, without_session=without_session))
    balances = balances_of(services.engine, (*caller.limits, *named), now)
    midnight = datetime.fromtimestamp(window_start("daily", now), UTC)
    own = Filter(key=caller.key_id, since=midnight)
    today = reports.usage(services.engine, [], own).items
    return Me(
        key=caller.key,
        project=caller.project,
        user=caller.user,
        expires_at=caller.expires_at,
        routes=services.directory.routes_of(caller),
        models=list(caller.models) if caller.models is not None else None,
        when_tight=caller.when_tight,
        spent_today=today[0].cost if today else Decimal(0),
        requests_today=today[0].requests if today else 0,
        limits=shown_balances(services.engine, balances, now, MyLimit),
        requests=[_mine(row) for row in latest],
    )


def _mine(row: Request) -> MyRequest:
    """A row of the ledger as the holder of its key sees it."""
    fitted = next((attempt.fitted for attempt in reversed(row.attempts)), None)
    return MyRequest(
        id=row.id, time=row.time, state=row.state, status=row.status, model=row.model, route=row.route,
        cost=row.cost, error=row.error, refusal=row.refusal, provider=row.provider, usage=row.usage,
        certainty=row.certainty, certainty_reason=row.certainty_reason, fitted=fitted, failover=failover(row) or None,
    )  # fmt: skip


def _own_named(caller: Caller) -> Iterator[Limit]:
    """The named limits that bind all of a key's requests, or those to some model or provider."""
    subject = _subject(caller)
    for named in caller.named:
        if named.per in (None, "key", "user", "project") and "tag" not in named.match:
            yield from named.bind(subject)


def _by_use(services: AdminServices, caller: Caller, now: datetime, *, without_session: bool) -> Iterator[Limit]:
    """The counters of named limits that the key's own requests of late count in: by model, provider, session or tag.

    Only values that the key itself has used are looked up, so that it learns of no other key's. Requests without a
    session or a tag share one counter.

    Args:
        without_session: Whether some of the key's latest requests belong to no session.
    """
    of_key = Filter(key=caller.key_id, since=now - LATELY)
    for named in caller.named:
        per = named.per
        if per in (None, "key", "user", "project"):
            if "tag" in named.match:
                yield from named.bind(_subject(caller))
            continue
        if per == "session":
            found = [one.session for one in list_sessions(services.engine, of_key, {}, limit=MEMBERS)]
            found += [""] if without_session else []
        else:
            totals = reports.usage(services.engine, [per], of_key, limit=MEMBERS).items
            shared = "" if per.startswith("tag:") else None
            found = [value for one in totals if (value := one.group[per] or shared) is not None]
        for value in found:
            subject = _subject(caller, per, value)
            if _may_match(named.match, per, subject):
                yield from named.bind(subject)


def _may_match(match: Mapping[str, str], per: str, subject: Subject) -> bool:
    """Whether requests of this member may match.

    Only conditions on the member itself can be checked, because nothing else is known of the requests.
    """
    return all(
        MATCHES[name](subject, wanted)
        for name, wanted in match.items()
        if per in (name, f"{name}:{wanted.partition('=')[0]}")
    )


def _subject(caller: Caller, per: str = "", value: str = "") -> Subject:
    """What named limits look at of a request of the key, of which one thing is known."""
    return Subject(
        (caller.key_id, caller.key),
        (caller.user_id, caller.user or "") if caller.user_id is not None else None,
        (caller.project_id, caller.project or "") if caller.project_id is not None else None,
        "",
        value if per == "provider" else None,
        (value if per == "model" else "",),
        {per.removeprefix("tag:"): value} if per.startswith("tag:") and value else {},
        (value or None) if per == "session" else None,
    )


def caller_of(services: AdminServices, http: HttpRequest, now: datetime) -> Caller:
    """The key of the request.

    Raises:
        ProblemError: `missing-token`, `unknown-token` or `expired-token`; `forbidden` outside the key's networks.
    """
    scheme, _, secret = http.headers.get("authorization", "").partition(" ")
    secret = secret.strip() if scheme.lower() == "bearer" else http.headers.get("x-api-key", "")
    if not secret:
        raise ProblemError("missing-token", "Send the gateway key: Authorization: Bearer paig_…")
    caller = services.directory.caller_by_hash(sha256(secret.encode("utf-8", "surrogateescape")).hexdigest())
    if caller is None or caller.state != "active":
        raise ProblemError("unknown-token", "The gateway does not know this key, or the key is disabled.")
    if caller.expires_at is not None and caller.expires_at <= now:
        raise ProblemError("expired-token", "The key has expired; ask an administrator for another.")
    if not caller.may_come_from(address_of(http)):
        raise ProblemError("forbidden", "This key may not be used from this address: ask an administrator.")
    return caller
