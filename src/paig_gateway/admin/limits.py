"""Raising limits for a while, and answering requests for more."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from paig_client.api.limits import Window
from paig_client.api.resources import LimitRaise, LimitRequest
from paig_client.api.specs import AnswerSpec, AskSpec, RaiseSpec
from paig_gateway.admin.access import Guarded, Principal
from paig_gateway.admin.bodies import JsonObject, body_of, checked
from paig_gateway.admin.problems import FieldProblem, invalid
from paig_gateway.admin.services import AdminServices
from paig_gateway.catalog.raises import Place
from paig_gateway.ledger.balances import LimitBalance

Id = Annotated[str, Path(description="Its id.")]


class RaiseList(BaseModel):
    """The raises in force."""

    items: list[LimitRaise]


class LimitRequestList(BaseModel):
    """Requests for more, the oldest first."""

    items: list[LimitRequest]


def limit_routes(services: AdminServices) -> APIRouter:
    """The endpoints of raises and of requests for them."""
    router = APIRouter(prefix="/limits", tags=["limits"], route_class=Guarded)
    raises = services.catalog.raises

    @router.get("/raises", operation_id="list_raises", summary="List the limits that are raised for a while")
    def list_raises() -> RaiseList:
        return RaiseList(items=raises.in_force())

    @router.post(
        "/raises",
        operation_id="create_raise",
        summary="Raise a limit for a while",
        description="It ends by itself. Who raised it, and why, stays in the audit log.",
        status_code=201,
        openapi_extra=body_of("RaiseSpec"),
    )
    def create_raise(principal: Principal, body: JsonObject) -> LimitRaise:
        spec = checked(RaiseSpec, body)
        place = Place(spec.owner_kind, spec.owner, spec.window, spec.member, spec.unit)
        made = raises.create(place, spec.to, spec.until, spec.why, actor=principal.name)
        services.changed()
        return made

    @router.delete("/raises/{id}", operation_id="end_raise", summary="End a raise now", status_code=204)
    def end_raise(principal: Principal, id: Id) -> None:
        raises.end(id, actor=principal.name)
        services.changed()

    @router.get("/requests", operation_id="list_limit_requests", summary="List requests for more of a limit")
    def list_requests(
        state: Annotated[
            Literal["open", "approved", "declined"] | None, Query(description="Only those of this state.")
        ] = None,
    ) -> LimitRequestList:
        return LimitRequestList(items=raises.requests(state))

    @router.post(
        "/requests/{id}/approve",
        operation_id="approve_limit_request",
        summary="Raise a limit as asked for",
        description="Until the end of its window, or `until`.",
        openapi_extra=body_of("AnswerSpec"),
    )
    def approve(principal: Principal, id: Id, body: JsonObject) -> LimitRequest:
        spec = checked(AnswerSpec, body)
        found = raises.approve(id, spec.until, spec.answer, actor=principal.name)
        services.changed()
        return found

    @router.post(
        "/requests/{id}/decline",
        operation_id="decline_limit_request",
        summary="Decline a request for more",
        openapi_extra=body_of("AnswerSpec"),
    )
    def decline(principal: Principal, id: Id, body: JsonObject) -> LimitRequest:
        return raises.decline(id, checked(AnswerSpec, body).answer, actor=principal.name)

    return router


def asked_limit(found: list[LimitBalance], spec: AskSpec) -> LimitBalance:
    """The limit for which a key's holder asks more: the tightest one of the requested unit.

    Raises:
        ProblemError: `invalid`; no such limit binds the key.
    """
    window: Window | None = spec.window
    fitting = [one for one in found if one.unit == spec.unit and window in (None, one.window)]
    if not fitting:
        what = f"limit on {spec.unit} a minute" if spec.unit != "usd" else f"{window or 'spending'} limit"
        raise invalid([FieldProblem("window" if spec.unit == "usd" else "unit", f"no {what} binds this key")])
    return min(fitting, key=lambda one: (one.amount - one.spent - one.held, one.amount))
