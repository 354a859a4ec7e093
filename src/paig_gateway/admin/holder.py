"""The page `/me`: the holder of a gateway key sees what the key may spend, what it has spent, and on what.

The key itself is shown once, in a form; the browser keeps a sealed cookie that names its hash. The cookie ends with the
key, with its secret, and after half a day.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from paig_client.api.resources import SessionTree
from paig_client.api.specs import AskSpec
from paig_gateway.admin.holder_html import SECURITY, HolderView, ask_section, holder_page, login_page
from paig_gateway.admin.me import ask_of, me_of
from paig_gateway.admin.problems import ProblemError
from paig_gateway.admin.refusals import address_of
from paig_gateway.admin.services import AdminServices
from paig_gateway.admin.site import HOLDER, is_own_form
from paig_gateway.catalog import CatalogError
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import window_start
from paig_gateway.ledger import reports
from paig_gateway.ledger.reports import Filter
from paig_gateway.ledger.sessions import list_sessions, session_tree
from paig_gateway.secrets.errors import SecretKeyError
from paig_gateway.secrets.home import ENOUGH_BITS, bits

HOLDER_SECONDS = 12 * 3600
"""How long a browser may look at a key's page."""
DAYS, SESSIONS = 14, 10
MOST_ASKED = 5
"""Requests for more that are shown."""
MOST_FORM = 4096
"""Bytes of a form that are read."""
PURPOSE = "holder"
HEADERS = {"content-security-policy": SECURITY, "referrer-policy": "same-origin", "x-frame-options": "DENY"}


def holder_routes(services: AdminServices) -> APIRouter:
    """The pages `/me` and what its forms are sent to."""
    router = APIRouter(include_in_schema=False)
    site = services.site

    @router.get("/me")
    async def show(request: Request) -> Response:
        caller = _holder(services, request)
        if caller is None:
            return _page(login_page())
        await services.ledger.flush()
        return await _shown(services, request, caller)

    @router.post("/me")
    async def enter(request: Request) -> Response:
        if not is_own_form(request, site.origin(request)):
            return _page(login_page("Open this page at the gateway itself, and try again."), 403)
        secret = (await _form(request)).get("key", "").strip()
        address = address_of(request)
        wait = services.attempts.wait("key", address)
        if wait and bits(secret) < ENOUGH_BITS:
            return _page(login_page(f"There were too many wrong keys. Wait {int(wait) + 1} seconds."), 429)
        digest = sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
        if _caller(services, digest) is None:
            services.attempts.refused("key", address)
            return _page(login_page("The gateway does not know this key, or the key is disabled or expired."), 403)
        response = RedirectResponse("/me", 303)
        site.set_cookie(response, request, HOLDER, _sealed(services, digest), HOLDER_SECONDS)
        return response

    @router.post("/me/ask")
    async def ask(request: Request) -> Response:
        caller = _holder(services, request)
        if caller is None or not is_own_form(request, site.origin(request)):
            return RedirectResponse("/me", 303)
        form = await _form(request)
        given = {name: form.get(name, "").strip() for name in ("window", "to", "why")}
        try:
            spec = AskSpec.model_validate({name: value for name, value in given.items() if value})
            await run_in_threadpool(ask_of, services, caller, spec, services.clock())
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            what = {"to": "The amount", "why": "The reason"}.get(str(first["loc"][0]), "The limit")
            words = "is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
            return await _shown(services, request, caller, (f"{what} {words}.", True), 422)
        except ProblemError as error:
            return await _shown(services, request, caller, (f"Nothing was asked: {error.detail}", True), 422)
        except CatalogError as error:
            return await _shown(services, request, caller, (f"Nothing was asked: {error.message}", True), 409)
        return RedirectResponse("/me#ask", 303)

    @router.post("/me/leave")
    async def leave(request: Request) -> Response:
        response = RedirectResponse("/me", 303)
        if is_own_form(request, site.origin(request)):
            site.forget_cookie(response, request, HOLDER)
        return response

    return router


async def _shown(
    services: AdminServices,
    request: Request,
    caller: Caller,
    note: tuple[str, bool] | None = None,
    status: int = 200,
) -> Response:
    """The page of a key."""
    origin = services.site.origin(request)

    def made() -> str:
        view = view_of(services, caller, origin, note)
        mine = [one for one in services.catalog.raises.requests(None) if one.key == caller.key]
        return holder_page(view, ask_section(view, mine[-MOST_ASKED:][::-1]))

    return _page(await run_in_threadpool(made), status)


def _page(html: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(html, status, HEADERS)


async def _form(request: Request) -> dict[str, str]:
    """A form's fields; none of one that is larger than it can be."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=10))


def _caller(services: AdminServices, digest: str) -> Caller | None:
    """The key whose secret has that SHA-256, if it may be used now."""
    caller = services.directory.caller_by_hash(digest)
    if caller is None or caller.state != "active":
        return None
    return None if caller.expires_at is not None and caller.expires_at <= services.clock() else caller


def _sealed(services: AdminServices, digest: str) -> str:
    until = services.clock() + timedelta(seconds=HOLDER_SECONDS)
    note = json.dumps({"key": digest, "until": until.timestamp()})
    return services.catalog.secrets.vault.seal(note.encode(), PURPOSE).decode()


def _holder(services: AdminServices, request: Request) -> Caller | None:
    """The key that a browser has shown; None if it has shown none, or that one is of no use any more."""
    try:
        cookie = services.site.cookie(request, HOLDER)
        note = json.loads(services.catalog.secrets.vault.open(cookie.encode(), PURPOSE)) if cookie else None
    except (SecretKeyError, SQLAlchemyError, ValueError):
        return None
    if not isinstance(note, dict) or note["until"] <= services.clock().timestamp():
        return None
    return _caller(services, note["key"])


def view_of(services: AdminServices, caller: Caller, origin: str, note: tuple[str, bool] | None = None) -> HolderView:
    """All that a key's page shows."""
    now, engine = services.clock(), services.engine
    today = datetime.fromtimestamp(window_start("daily", now), UTC)
    since = today - timedelta(days=DAYS - 1)
    own = Filter(key=caller.key_id, since=since)
    by_day = {item.group["day"]: item for item in reports.usage(engine, ["day"], own).items}
    days = [since + timedelta(days=number) for number in range(DAYS)]
    stopped = services.directory.snapshot.stopped
    sessions: list[SessionTree] = []
    for one in list_sessions(engine, own, stopped, limit=SESSIONS):
        tree = session_tree(engine, caller.key_id, one.session, stopped)
        sessions += [tree] if tree is not None else []
    return HolderView(
        me=me_of(services, caller, now),
        days=[(day, by_day.get(f"{day:%Y-%m-%d}")) for day in days],
        models=reports.usage(engine, ["model"], own).items,
        sessions=sessions,
        origin=origin,
        now=now,
        note=note,
    )
