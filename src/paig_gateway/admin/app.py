"""The admin app: the API below `/admin/v1`, its documentation, and the probes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from paig_gateway.admin.access import token_authentication
from paig_gateway.admin.admins import ADMINS, access_routes
from paig_gateway.admin.claude_login import claude_routes
from paig_gateway.admin.configuration import configuration_routes, organisation_routes
from paig_gateway.admin.docs_page import SECURITY, docs_page
from paig_gateway.admin.edge import plain_path, sealed
from paig_gateway.admin.event_feed import EventFeed
from paig_gateway.admin.events import event_routes
from paig_gateway.admin.health import health_routes, provider_routes
from paig_gateway.admin.holder import holder_routes
from paig_gateway.admin.keys import KEYS, key_routes
from paig_gateway.admin.limits import limit_routes
from paig_gateway.admin.login import browser_routes, login_routes, session_routes
from paig_gateway.admin.me import me_routes
from paig_gateway.admin.objects import LISTED, list_route, object_routes
from paig_gateway.admin.openapi import PREFIX, RESPONSES, document
from paig_gateway.admin.probes import probe_routes
from paig_gateway.admin.problems import add_handlers
from paig_gateway.admin.refusals import RefusedRequests
from paig_gateway.admin.reports import report_routes
from paig_gateway.admin.services import AdminServices
from paig_gateway.admin.sessions import session_routes as agent_session_routes
from paig_gateway.admin.spent import spent_routes
from paig_gateway.admin.stored_objects import stored_object_routes

Routes = Callable[[AdminServices], APIRouter]
API_ROUTES: tuple[Routes, ...] = (
    provider_routes,
    health_routes,
    key_routes,
    spent_routes,
    access_routes,
    login_routes,
    session_routes,
    limit_routes,
    report_routes,
    agent_session_routes,
    stored_object_routes,
    me_routes,
    configuration_routes,
    organisation_routes,
)
"""The endpoints below `/admin/v1`, besides those of the catalogue's objects."""
OTHER_ROUTES: tuple[Routes, ...] = (probe_routes, browser_routes, holder_routes, claude_routes)
"""Pages and probes at addresses of their own."""


def admin_app(services: AdminServices) -> FastAPI:
    """The admin app over the services of a running gateway.

    Call `app.state.events.close()` when the server begins to shut down: it ends the streams of events, which would
    otherwise keep the server waiting.
    """
    app = FastAPI(
        title="paig admin API",
        version=services.version,
        openapi_url=None,
        redirect_slashes=False,
        responses=RESPONSES,
        middleware=[Middleware(Edge)],
    )
    add_handlers(app)
    refused = RefusedRequests(services.attempts, services.catalog)
    app.state.authenticate = token_authentication(
        services.admin_token,
        lambda: services.directory.snapshot,
        services.clock,
        services.site,
        refused.check_guess,
    )
    app.state.note_refusal = refused.note
    app.state.services = services
    app.state.vault = services.catalog.secrets.vault
    app.state.events = EventFeed(services.engine, services.catalog)
    api = APIRouter(prefix=PREFIX)
    for kind in (*LISTED, ADMINS):
        api.include_router(list_route(services, kind))
        api.include_router(object_routes(services, kind))
    api.include_router(object_routes(services, KEYS))
    for routes in API_ROUTES:
        api.include_router(routes(services))
    api.include_router(event_routes(app.state.events))
    app.include_router(api)
    for routes in OTHER_ROUTES:
        app.include_router(routes(services))

    @cache
    def described() -> dict[str, Any]:
        return document(app, services.version)

    @app.get("/admin/openapi.json", include_in_schema=False)
    def openapi_document() -> Response:
        return JSONResponse(described())

    @app.get("/admin/docs", include_in_schema=False)
    def docs() -> Response:
        return HTMLResponse(docs_page(described()), headers={"content-security-policy": SECURITY})

    return app


class Edge:
    """What holds for every request and every answer; see `edge`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            plain_path(scope)
            send = sealed(send)
        await self.app(scope, receive, send)
