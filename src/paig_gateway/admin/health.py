"""The health of providers: the breakers of all nodes, combined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query
from pydantic import BaseModel

from paig_client.api.resources import CredentialHealth, NodeBreaker, ProviderCheck, ProviderHealth, ToldWait
from paig_client.api.vocabulary import BreakerState
from paig_gateway.admin.access import Guarded
from paig_gateway.admin.objects import Cursor, Limit, Reference, Sort, filtered, part
from paig_gateway.admin.problems import FieldProblem, invalid
from paig_gateway.admin.provider_check import check
from paig_gateway.admin.services import AdminServices
from paig_gateway.catalog.base import suggestion
from paig_gateway.cluster import health_rows
from paig_gateway.cluster.health_rows import WORSE, Report
from paig_gateway.routing.outcomes import Sums


class ProviderHealthList(BaseModel):
    """The health of each provider, by name, and where the next page begins."""

    items: list[ProviderHealth]
    next_cursor: str | None = None


def health_routes(services: AdminServices) -> APIRouter:
    """The endpoint `health/providers`."""
    router = APIRouter(tags=["providers"], route_class=Guarded)

    @router.get(
        "/health/providers",
        operation_id="list_provider_health",
        summary="The health of each provider",
        description="The breakers of all nodes, as of a second ago, and what came of the tries of the last five "
        "minutes, as of five seconds ago.",
    )
    def list_provider_health(
        provider: Annotated[str | None, Query(max_length=300, description="Only this provider.")] = None,
        state: Annotated[BreakerState | None, Query(description="Only those in this state.")] = None,
        limit: Limit = None,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> ProviderHealthList:
        reports: dict[tuple[str, str], list[tuple[str, Report]]] = {}
        for node, report in health_rows.read(services.engine):
            reports.setdefault((report.provider, report.credential), []).append((node, report))
        found = services.directory.providers()
        if provider is not None and provider not in found:
            close = suggestion(provider, found)
            raise invalid([FieldProblem("provider", f"there is no provider '{provider}'{close}")])
        healths = [
            provider_health(
                name,
                {one.id: reports.get((name, one.id), []) for one in found[name].credentials},
                services.clock(),
                services.directory.problem(name) or " ".join(services.directory.lacking(name)) or None,
            )
            for name in sorted(found)
        ]
        healths = filtered(healths, {"provider": provider, "state": state})
        items, following = part(healths, lambda one: one.provider, limit, cursor, sort, by_name=True)
        return ProviderHealthList(items=items, next_cursor=following)

    return router


def provider_health(
    provider: str, by_credential: Mapping[str, Sequence[tuple[str, Report]]], now: datetime, problem: str | None = None
) -> ProviderHealth:
    """The health of a provider.

    Args:
        by_credential: The reports of all nodes, by the credential's id.
        problem: Which of its credentials cannot be read.
    """
    credentials = [_credential_health(id, reports, now) for id, reports in by_credential.items()]
    return ProviderHealth(
        provider=provider,
        state=min((one.state for one in credentials), key=WORSE.index, default="closed"),
        credentials=credentials,
        problem=problem,
        **_figures(report for reports in by_credential.values() for _, report in reports),
    )


def _credential_health(id: str, reports: Sequence[tuple[str, Report]], now: datetime) -> CredentialHealth:
    waits: dict[str, ToldWait] = {}
    for _, report in reports:
        for wait in report.waits:
            known = waits.get(wait.model)
            if wait.until > now and (known is None or known.until < wait.until):
                waits[wait.model] = ToldWait(model=wait.model, until=wait.until, reason=wait.reason)
    nodes = [_node(node, report, now) for node, report in reports]
    worst = max(nodes, key=lambda node: WORSE.index(node.state), default=None)
    last = max((report for _, report in reports if report.last_error_at), key=_error_time, default=None)
    return CredentialHealth(
        credential=id,
        state=worst.state if worst else "closed",
        since=worst.since if worst else None,
        until=worst.until if worst else None,
        reason=worst.reason if worst else None,
        waits=sorted(waits.values(), key=lambda wait: wait.model),
        last_error=last.last_error if last else None,
        last_error_at=last.last_error_at if last else None,
        nodes=nodes,
        **_figures(report for _, report in reports),
    )


def _node(node: str, report: Report, now: datetime) -> NodeBreaker:
    """What a node reported, updated to now: a wait may have ended since."""
    state, until, reason = report.state, report.until, report.reason
    if state == "cooling" and until is None:
        waits = [wait for wait in report.waits if wait.until > now]
        state = "cooling" if waits else "closed"
        until = max((wait.until for wait in waits), default=None)
        reason = waits[0].reason if waits else None
    return NodeBreaker(node=node, state=state, since=report.since, until=until, reason=reason, own=report.own)


def _figures(reports: Iterable[Report]) -> Mapping[str, Any]:
    sums = Sums.of(report.sums for report in reports)
    p95 = sums.quantile(0.95)
    return {
        "tries": sums.tries,
        "ok_share": sums.ok_share,
        "p95_ms": None if p95 is None else round(p95 * 1000, 1),
        "throttled": sums.rate_limited,
        "failures": dict(sums.failures),
    }


def _error_time(report: Report) -> datetime:
    assert report.last_error_at is not None
    return report.last_error_at


def provider_routes(services: AdminServices) -> APIRouter:
    """The endpoint `providers/{name}/test`."""
    router = APIRouter(prefix="/providers", tags=["providers"], route_class=Guarded)

    @router.post(
        "/{reference}/test",
        operation_id="test_provider",
        summary="Try a provider out",
        description="Sends it one small free request from the gateway, and explains what comes of it.",
        response_model=ProviderCheck,
    )
    async def test(reference: Reference) -> ProviderCheck:
        provider = await anyio.to_thread.run_sync(services.catalog.providers.get, reference)
        await anyio.to_thread.run_sync(services.changed)  # it may have been made on another node a moment ago
        return await _try(services, provider.name)

    return router


async def _try(services: AdminServices, name: str) -> ProviderCheck:
    directory = services.directory
    if (problem := directory.problem(name)) is not None:
        return ProviderCheck(provider=name, ok=False, outcome="credential", message=problem, request="none was sent")
    found = await check(directory.snapshot.providers[name], services.client)
    if lacking := directory.lacking(name):
        outcome = found.outcome if not found.ok else "credential"
        return found.model_copy(
            update={"ok": False, "outcome": outcome, "message": " ".join((*lacking, found.message))}
        )
    return found
