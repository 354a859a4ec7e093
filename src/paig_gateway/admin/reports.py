"""Reports: the ledger, its sums, balances of limits, the audit log, and the gateway's health."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from fastapi import Request as HttpRequest
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import func, select
from sqlmodel import col
from starlette.concurrency import run_in_threadpool

from paig_client.api.fields import Spec
from paig_client.api.resources import (
    AuditEntry,
    AuditVerification,
    Health,
    LimitStatus,
    Pruned,
    Repricing,
    Request,
    RequestPage,
    UsageReport,
    UsageTotal,
)
from paig_gateway.admin.access import Guarded, Principal
from paig_gateway.admin.bodies import JsonObject, body_of, checked
from paig_gateway.admin.names import check_names
from paig_gateway.admin.objects import (
    Cursor,
    Limit,
    Sort,
    filterable,
    filtered,
    part,
    unknown_sort,
    with_fields,
)
from paig_gateway.admin.problems import FieldProblem, ProblemError, invalid
from paig_gateway.admin.reprice import reprice
from paig_gateway.admin.services import AdminServices
from paig_gateway.catalog import AuditFilter
from paig_gateway.catalog.audit import AUDIT_SORTED
from paig_gateway.catalog.base import suggestion
from paig_gateway.database.order import BadOrder
from paig_gateway.database.tables import NodeRow
from paig_gateway.ledger import nodes, reports
from paig_gateway.ledger.balances import limit_balances
from paig_gateway.ledger.pruning import Whose
from paig_gateway.ledger.reports import BadQuery, Filter
from paig_gateway.pricing.price import book_installed_at, book_refreshed_at, book_version


def in_utc(at: datetime) -> datetime:
    """A time in UTC; one without a zone is in UTC already.

    Raises:
        ValueError: UTC does not have it.
    """
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999 in UTC") from None


ByModel = Annotated[str | None, Query(max_length=300, description="By the model's name.")]
ByName = Annotated[str | None, Query(max_length=300, description="By name.")]
Named = Annotated[str | None, Query(max_length=300, description="By name or id.")]
Since = Annotated[
    datetime | None, Query(description="The earliest time."), AfterValidator(lambda at: at and in_utc(at))
]
Until = Annotated[
    datetime | None,
    Query(description="The first moment that is too late."),
    AfterValidator(lambda at: at and in_utc(at)),
]
PageLimit = Annotated[int, Query(ge=1, le=reports.MAX_PAGE, description="How many items to answer at most.")]


def _ledger_filter(
    http: HttpRequest,
    principal: Principal,
    key: Named = None,
    project: Named = None,
    user: Named = None,
    model: ByModel = None,
    provider: ByName = None,
    route: ByName = None,
    since: Since = None,
    until: Until = None,
) -> Filter:
    services: AdminServices = http.app.state.services
    check_names(services, principal, key=key, project=project, user=user, model=model, provider=provider, route=route)
    _check_span(since, until)
    return Filter(key, project, user, model, provider, route, None, since, until, principal.within("ledger:read"))


def _check_span(since: datetime | None, until: datetime | None) -> None:
    """Refuse a span that cannot have anything in it."""
    if since is not None and until is not None and since >= until:
        raise invalid([FieldProblem("until", "must be later than since")])


LedgerFilter = Annotated[Filter, Depends(_ledger_filter)]
"""A handler's parameter: the requests that the query names and the principal may read."""


class PruneSpec(Spec):
    """The requests to remove."""

    before: Annotated[datetime, AfterValidator(in_utc)]
    """Those that began before this moment."""
    key: str | None = Field(default=None, max_length=300)
    """Only those of this key, by name or id; it may be deleted already."""
    user: str | None = Field(default=None, max_length=300)
    """Only those of this user, by name or id; it may be deleted already."""


class LimitList(BaseModel):
    """Limits with their balances, and where the next page begins."""

    items: list[LimitStatus]
    next_cursor: str | None = None


class AuditPage(BaseModel):
    """Changes, newest first, and where the next page begins."""

    items: list[AuditEntry]
    next_cursor: str | None


def report_routes(services: AdminServices) -> APIRouter:
    """The endpoints of the ledger, its limits, the audit log and health."""
    router = APIRouter(route_class=Guarded, dependencies=[Depends(services.write_pending)])
    _request_routes(router, services)
    _usage_routes(router, services)
    _limit_routes(router, services)
    _audit_routes(router, services)
    _health_routes(router, services)
    return router


def _request_routes(router: APIRouter, services: AdminServices) -> None:
    engine = services.engine

    def list_requests(
        which: LedgerFilter,
        status: Annotated[int | None, Query(ge=100, le=599, description="The status that the client was sent.")] = None,
        state: Annotated[Literal["open", "settled"] | None, Query(description="In flight, or finished.")] = None,
        stream: Annotated[bool | None, Query(description="Whether it is streamed.")] = None,
        tag: Annotated[list[str], Query(max_length=8, description="`NAME=VALUE`, or `NAME` for any value.")] = [],  # noqa: B006
        limit: PageLimit = 100,
        cursor: Cursor = None,
        sort: Sort = None,
        **equal: Any,
    ) -> RequestPage:
        given = {name: value for name, value in equal.items() if value is not None}
        which = replace(which, status=status, state=state, stream=stream, equal=given, tags=_tags(tag))
        try:
            return reports.list_requests(engine, which, cursor=cursor, limit=limit, sort=sort)
        except BadOrder as error:
            raise _bad_order(error, reports.SORTED) from None

    with_fields(list_requests, dict.fromkeys(reports.EQUAL, str))
    router.get(
        "/requests",
        operation_id="list_requests",
        summary="List requests, newest first",
        tags=["ledger"],
        response_model=RequestPage,
    )(list_requests)

    @router.get(
        "/requests/{request_id}",
        operation_id="get_request",
        summary="Show a request, by the `x-paig-request-id` that the client got",
        tags=["ledger"],
    )
    def get_request(principal: Principal, request_id: Annotated[str, Path(description="The request's id.")]) -> Request:
        found = reports.get_request(engine, request_id, principal.within("ledger:read"))
        if found is None:
            message = f"The ledger has no request '{request_id}': `paig requests list` shows the newest."
            raise ProblemError("not-found", message)
        return found


def _usage_routes(router: APIRouter, services: AdminServices) -> None:
    @router.get(
        "/usage",
        operation_id="get_usage",
        summary="Add requests up",
        description="Totals by group: in order of time where grouped by time, otherwise the dearest first.",
        tags=["ledger"],
    )
    def get_usage(
        which: LedgerFilter,
        by: Annotated[
            list[str], Query(max_length=8, description=f"Any of {', '.join(reports.GROUPS)}, or `tag:NAME`.")
        ] = [],  # noqa: B006
        sort: Sort = None,
        limit: Annotated[int | None, Query(ge=1, le=reports.MAX_PAGE, description="How many groups at most.")] = None,
    ) -> UsageReport:
        try:
            return reports.usage(services.engine, by, which, sort, limit)
        except BadQuery as error:
            close = next(
                (near for name in by if name not in reports.GROUPS and (near := suggestion(name, reports.GROUPS))), ""
            )
            raise invalid([FieldProblem("by", f"{str(error).rstrip('.')}{close or '.'}")]) from None
        except BadOrder as error:
            raise _bad_order(error, [*by, *(name for name in UsageTotal.model_fields if name != "group")]) from None

    @router.get(
        "/usage/reprice",
        operation_id="get_repricing",
        summary="Show what a correction of prices would change",
        description="Every request whose usage the provider reported, at the prices known now for its own time. "
        "Changes nothing: what was charged stays charged.",
        tags=["ledger"],
    )
    def get_repricing(which: LedgerFilter) -> Repricing:
        return reprice(services.engine, services.prices, services.directory.providers(), which)

    @router.post(
        "/usage/prune",
        operation_id="prune_usage",
        summary="Remove old requests from the ledger",
        description="Totals, limits and what is spent of them stay.",
        tags=["ledger"],
        openapi_extra=body_of("PruneSpec"),
    )
    async def prune_usage(principal: Principal, body: JsonObject) -> Pruned:
        spec = checked(PruneSpec, body)
        before = spec.before
        if before > services.clock() - timedelta(hours=1):
            raise invalid([FieldProblem("before", "must be an hour ago at least")])
        count = await services.ledger.prune(before, Whose(spec.key, spec.user))
        await run_in_threadpool(_record_pruning, services, principal.name, spec, count)
        return Pruned(requests=count)


def _limit_routes(router: APIRouter, services: AdminServices) -> None:
    def list_limits(
        principal: Principal, limit: Limit = None, cursor: Cursor = None, sort: Sort = None, **wanted: Any
    ) -> LimitList:
        found = filtered(limit_balances(services.engine, services.clock(), principal.within("ledger:read")), wanted)
        items, following = part(found, _limit_identity, limit, cursor, sort)
        return LimitList(items=items, next_cursor=following)

    with_fields(list_limits, filterable(LimitStatus))
    router.get(
        "/limits",
        operation_id="list_limits",
        summary="List limits, and where each stands",
        tags=["ledger"],
        response_model=LimitList,
    )(list_limits)


def _audit_routes(router: APIRouter, services: AdminServices) -> None:
    @router.get("/audit", operation_id="list_audit", summary="List changes, newest first", tags=["audit"])
    def list_audit(
        principal: Principal,
        actor: Annotated[
            str | None, Query(max_length=300, description="`admin:NAME` also means each of their tokens.")
        ] = None,
        action: Annotated[str | None, Query(max_length=300, description="`create`, `update`, `delete`, …")] = None,
        kind: Annotated[str | None, Query(max_length=300, description="`key`, `project`, `provider`, …")] = None,
        name: Annotated[str | None, Query(max_length=300, description="The object's name.")] = None,
        project: Annotated[
            str | None, Query(max_length=300, description="Changes of this project and of its keys, by name or id.")
        ] = None,
        since: Since = None,
        until: Until = None,
        limit: PageLimit = 100,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> AuditPage:
        check_names(services, principal, project=project)
        _check_span(since, until)
        which = AuditFilter(actor, action, kind, name, project, since, until, principal.within("audit:read"))
        try:
            items, following = services.catalog.audit_page(which, limit=limit, cursor=cursor, sort=sort)
        except BadOrder as error:
            raise _bad_order(error, AUDIT_SORTED) from None
        if not items and cursor is None and (wrong := services.catalog.audit_unknown(which)):
            raise invalid([FieldProblem(field, message) for field, message in wrong])
        return AuditPage(items=items, next_cursor=following)

    @router.get(
        "/audit/verify",
        operation_id="verify_audit",
        summary="Look for altered, missing and reordered changes",
        description="Each entry authenticates all entries before it. Only against a head that was kept elsewhere can it"
        " be seen that the newest entries were cut off.",
        tags=["audit"],
    )
    def verify_audit(
        expect: Annotated[
            str | None, Query(max_length=200, description="The `head` of an earlier verification.")
        ] = None,
    ) -> AuditVerification:
        found = services.catalog.verify_audit(expect)
        return AuditVerification(rows=found.rows, head=found.head, problem=found.problem)


def _health_routes(router: APIRouter, services: AdminServices) -> None:
    engine = services.engine

    @router.get("/health", operation_id="get_health", summary="Show the gateway's own state", tags=["health"])
    def get_health() -> Health:
        with engine.connect() as connection:
            known = connection.execute(select(func.count(col(NodeRow.id)))).scalar_one()
            dead = len(nodes.silent(connection, services.node_id, nodes.now_ms(connection, services.clock)))
        return Health(
            status="ok" if services.ledger.healthy else "degraded",
            version=services.version,
            database="postgresql" if engine.dialect.name == "postgresql" else "sqlite",
            node=services.node_id,
            nodes=known - dead,
            started_at=services.started_at,
            prices=book_version(),
            prices_installed_at=book_installed_at(),
            prices_refreshed_at=book_refreshed_at(),
        )


def _limit_identity(limit: LimitStatus) -> str:
    return f"{limit.owner_kind}:{limit.unit}:{limit.window}:{limit.owner}"


def _bad_order(error: BadOrder, known: Iterable[str]) -> ProblemError:
    return unknown_sort(str(error), known) if error.field == "sort" else invalid([FieldProblem("cursor", str(error))])


def _tags(texts: list[str]) -> dict[str, str | None]:
    parts = [text.partition("=") for text in texts]
    return {name: value if equals else None for name, equals, value in parts}


def _record_pruning(services: AdminServices, actor: str, which: PruneSpec, count: int) -> None:
    whose = which.model_dump(include={"key", "user"}, exclude_none=True)
    with services.catalog.edit(actor) as edit:
        edit.record("prune", "ledger", f"before {which.before:%Y-%m-%dT%H:%M:%SZ}", None, {"requests": count, **whose})
