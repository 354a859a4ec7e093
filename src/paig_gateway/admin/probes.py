"""Probes for orchestrators: whether the process lives, and whether it can serve and record.

A whole gateway answers them before the admin app is asked (`dispatch`); here they are documented.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from paig_gateway.admin.problems import ProblemError
from paig_gateway.admin.readiness import Readiness
from paig_gateway.admin.services import AdminServices

WELL = {"status": "ok"}
_RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"example": WELL}}}}


def probe_routes(services: AdminServices) -> APIRouter:
    """The endpoints `/healthz` and `/readyz`, open to everybody."""
    router = APIRouter(tags=["probes"])
    readiness = Readiness(services.engine, services.ledger)

    @router.get(
        "/healthz",
        operation_id="healthz",
        summary="Whether the process lives",
        response_model=None,
        responses=_RESPONSES,
    )
    async def healthz() -> Response:
        return JSONResponse(WELL)

    @router.get(
        "/readyz",
        operation_id="readyz",
        summary="Whether the gateway can serve and record: 503 if it cannot",
        response_model=None,
        responses=_RESPONSES,
    )
    async def readyz() -> Response:
        if (problem := await readiness.problem()) is not None:
            raise ProblemError("unavailable", problem)
        return JSONResponse(WELL)

    return router
