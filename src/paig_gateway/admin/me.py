"""What the holder of a gateway key may see: the key's own limits, what it spends, and its latest requests.

It is asked for with the gateway key itself, and needs no admin token.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from fastapi import APIRouter
from starlette.requests import Request as HttpRequest

from paig_client.api.resources import Me, MyLimit, MyRequest
from paig_gateway.admin.problems import ProblemError
from paig_gateway.admin.services import AdminServices
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import Limit, window_start
from paig_gateway.domain.money import parse_usd
from paig_gateway.ledger import reports
from paig_gateway.ledger.balances import LimitBalance, balances_of
from paig_gateway.ledger.reports import Filter

LATEST = 20
"""Requests that are shown."""


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
        return me_of(services, _caller(services, http, now), now)

    return router


def me_of(services: AdminServices, caller: Caller, now: datetime) -> Me:
    """What a key may see of itself."""
    balances = balances_of(services.engine, caller.limits, now)
    midnight = datetime.fromtimestamp(window_start("daily", now), UTC)
    own = Filter(key=caller.key_id, since=midnight)
    today = reports.usage(services.engine, [], own).items
    latest = reports.list_requests(services.engine, Filter(key=caller.key_id), cursor=None, limit=LATEST).items
    return Me(
        key=caller.key,
        project=caller.project,
        user=caller.user,
        expires_at=caller.expires_at,
        routes=services.directory.routes_of(caller),
        models=list(caller.models) if caller.models is not None else None,
        when_tight=caller.when_tight,
        spent_today=today[0].cost if today else "0",
        requests_today=today[0].requests if today else 0,
        limits=[
            _limit(limit, found, services, caller, now)
            for limit, found in zip(caller.limits, balances, strict=True)
        ],
        requests=[
            MyRequest(
                id=row.id, time=row.time, state=row.state, status=row.status, model=row.model, route=row.route,
                cost=row.cost, error=row.error, refusal=row.refusal,
            )
            for row in latest
        ],
    )  # fmt: skip


def _caller(services: AdminServices, http: HttpRequest, now: datetime) -> Caller:
    """The key that asks.

    Raises:
        ProblemError: `missing-token`, `unknown-token` or `expired-token`.
    """
    scheme, _, secret = http.headers.get("authorization", "").partition(" ")
    secret = secret.strip() if scheme.lower() == "bearer" else http.headers.get("x-api-key", "")
    if not secret:
        raise ProblemError("missing-token", "Send the gateway key: Authorization: Bearer paig_…")
    caller = services.directory.caller_by_hash(sha256(secret.encode("utf-8", "surrogateescape")).hexdigest())
    if caller is None or caller.state != "active":
        raise ProblemError("unknown-token", "The gateway knows no such key, or it is disabled.")
    if caller.expires_at is not None and caller.expires_at <= now:
        raise ProblemError("expired-token", "The key has expired; ask an administrator for another.")
    return caller


def _limit(limit: Limit, found: LimitBalance, services: AdminServices, caller: Caller, now: datetime) -> MyLimit:
    return MyLimit(
        owner_kind=limit.owner_kind if limit.owner_kind != "run" else "key",
        owner=limit.owner,
        unit=limit.unit,
        window=limit.window,
        amount=found.show(found.amount),
        spent=found.show(found.spent),
        held=found.show(found.held),
        left=found.show(max(0, found.amount - found.spent - found.held)),
        resets_at=found.resets_at,
        soft=found.soft,
        reached_at=reached_at(found, _spent_today(limit, services, caller, now), now),
    )


def _spent_today(limit: Limit, services: AdminServices, caller: Caller, now: datetime) -> int:
    """What the limit's owner has spent since midnight, in nanodollars."""
    since = datetime.fromtimestamp(window_start("daily", now), UTC)
    which = Filter(
        key=caller.key_id if limit.owner_kind == "key" else None,
        project=caller.project_id if limit.owner_kind == "project" else None,
        user=caller.user_id if limit.owner_kind == "user" else None,
        since=since,
    )
    found = reports.usage(services.engine, [], which).items if limit.unit == "usd" else []
    return parse_usd(found[0].cost) if found else 0


def reached_at(found: LimitBalance, spent_today: int, now: datetime) -> datetime | None:
    """When the limit is used up at today's pace; None where its window ends before, or nothing was spent today.

    Args:
        found: Where the limit stands.
        spent_today: What its owner has spent since midnight UTC, in nanodollars.
        now: The present.
    """
    seconds = (now - datetime.fromtimestamp(window_start("daily", now), UTC)).total_seconds()
    if found.unit != "usd" or spent_today <= 0 or seconds <= 0:
        return None
    left = max(0, found.amount - found.spent)
    needed = left * seconds / spent_today
    if needed > MAX_FORECAST.total_seconds():
        return None
    at = now + timedelta(seconds=needed)
    return None if found.resets_at is not None and at >= found.resets_at else at


MAX_FORECAST = timedelta(days=366)
"""A limit that is reached later than that is not forecast."""
