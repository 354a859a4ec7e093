"""What a key spent at another gateway before it came here: a finished row that counts against its limits."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import AfterValidator, Field
from starlette.concurrency import run_in_threadpool

from paig_client.api.fields import Spec, Usd
from paig_client.api.resources import Request
from paig_gateway.admin.access import Guarded, Principal
from paig_gateway.admin.bodies import JsonObject, body_of, checked
from paig_gateway.admin.keys import PermittedKeys
from paig_gateway.admin.objects import Reference
from paig_gateway.admin.problems import FieldProblem, ProblemError, invalid
from paig_gateway.admin.reports import in_utc
from paig_gateway.admin.services import AdminServices
from paig_gateway.domain.money import nanodollars
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.ledger.reports import get_request
from paig_gateway.proxy.exchange import new_request_id

IMPORTED = "imported"
"""The route, model and format of such a row."""


class SpentSpec(Spec):
    """What a key spent elsewhere."""

    amount: Usd
    """US dollars."""
    time: Annotated[datetime, AfterValidator(in_utc)] | None = None
    """When it counts as spent, which decides in which windows; now if left out."""
    source: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
    """The source of the spend; each source is counted once for a key."""


def spent_routes(services: AdminServices) -> APIRouter:
    """The endpoint `keys/{name}/spent`."""
    router = APIRouter(prefix="/keys", tags=["keys"], route_class=Guarded)

    @router.post(
        "/{name_or_id}/spent",
        operation_id="record_spent",
        summary="Count what a key spent elsewhere",
        description="For a move from another gateway. It counts against all limits of the key, its user, its project"
        " and the organisation, in the windows of `time`, whether or not they have room.",
        openapi_extra=body_of("SpentSpec"),
    )
    async def record_spent(principal: Principal, name_or_id: Reference, body: JsonObject) -> Request:
        spec = checked(SpentSpec, body)
        now = services.clock()
        time = spec.time or now
        if time > now:
            raise invalid([FieldProblem("time", "is in the future")])
        key = await run_in_threadpool(PermittedKeys(services, principal).get, name_or_id)
        callers = services.directory.snapshot.callers.values()
        caller = next((caller for caller in callers if caller.key_id == key.id), None)
        if caller is None:
            raise ProblemError(
                "unavailable", "The key was just made: try again in a second.", headers={"retry-after": "1"}
            )
        reservation = Reservation(
            id=new_request_id(time), time=time, caller=caller, limits=caller.limits, route=IMPORTED, model=IMPORTED,
            format=IMPORTED, stream=False, ceiling=0, tokens=0, tags={"source": spec.source},
        )  # fmt: skip
        settlement = Settlement(
            id=reservation.id, finished=now, cost=nanodollars(spec.amount), certainty="exact", status=200,
            work_id=f"{IMPORTED} {key.id} {spec.source}",
        )  # fmt: skip
        await services.ledger.charge(reservation, settlement)
        found = await run_in_threadpool(get_request, services.engine, reservation.id)
        if found is None:
            raise ProblemError("unavailable", "The ledger did not record it: try again.", headers={"retry-after": "5"})
        return found

    return router
