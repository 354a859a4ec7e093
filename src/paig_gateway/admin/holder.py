"""The page `/me`: shows the holder of a gateway key its limits, its spend and its requests.

The key itself is shown once, in a form; the browser keeps a sealed cookie that names its hash. The cookie ends with the
key, with its secret, and after half a day. A person who comes by single sign-on sees the keys of the person's own user,
one at a time, without any secret and without an administrator's role.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from paig_client.api.resources import SessionTree
from paig_client.api.specs import AskSpec
from paig_gateway.admin.holder_cookie import HOLDER_SECONDS, HolderCookie, keep_holder, read_holder
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
from paig_gateway.secrets.home import ENOUGH_BITS, bits

DAYS, SESSIONS = 14, 10
MOST_ASKED = 5
"""Requests for more that are shown."""
MOST_LOOKED_AT = 50
"""Requests of a person that are looked at for the key that was used last."""
MOST_FORM = 4096
"""Bytes of a form that are read."""
HEADERS = {"content-security-policy": SECURITY, "referrer-policy": "same-origin", "x-frame-options": "DENY"}


def holder_routes(services: AdminServices) -> APIRouter:
    """The pages `/me` and what its forms are sent to."""
    router = APIRouter(include_in_schema=False)
    site = services.site

    @router.get("/me")
    async def show(request: Request) -> Response:
        holder = await run_in_threadpool(_holder, services, request)
        if isinstance(holder, str):
            return _page(login_page(holder, sso=services.sso is not None))
        await services.ledger.flush()
        return await _shown(services, request, holder)

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
        keep_holder(services, request, response, services.clock() + timedelta(seconds=HOLDER_SECONDS), key=digest)
        return response

    @router.post("/me/ask")
    async def ask(request: Request) -> Response:
        holder = await run_in_threadpool(_holder, services, request)
        form = await _form(request)
        proof = form.get("proof", "")
        if (
            isinstance(holder, str)
            or not is_own_form(request, site.origin(request))
            or not holder.cookie.is_proof(proof)
        ):
            return RedirectResponse("/me", 303)
        caller = holder.caller
        given = {name: form.get(name, "").strip() for name in ("window", "to", "why")}
        try:
            spec = AskSpec.model_validate({name: value for name, value in given.items() if value})
            await run_in_threadpool(ask_of, services, caller, spec, services.clock())
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            what = {"to": "The amount", "why": "The reason"}.get(str(first["loc"][0]), "The limit")
            words = "is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
            return await _shown(services, request, holder, (f"{what} {words}.", True), 422)
        except ProblemError as error:
            return await _shown(services, request, holder, (f"Nothing was asked: {error.detail}", True), 422)
        except CatalogError as error:
            return await _shown(services, request, holder, (f"Nothing was asked: {error.message}", True), 409)
        which = f"?{urlencode({'key': caller.key})}" if holder.keys else ""
        return RedirectResponse(f"/me{which}#ask", 303)

    @router.post("/me/leave")
    async def leave(request: Request) -> Response:
        response = RedirectResponse("/me", 303)
        if is_own_form(request, site.origin(request)):
            site.forget_cookie(response, request, HOLDER)
        return response

    return router


@dataclass(frozen=True, slots=True)
class Holder:
    """The visitor of the page.

    Attributes:
        caller: The key that is shown.
        keys: The names of the person's keys after single sign-on; empty if the visitor showed a key.
        cookie: What the browser has shown.
    """

    caller: Caller
    keys: tuple[str, ...]
    cookie: HolderCookie


def _holder(services: AdminServices, request: Request) -> Holder | str:
    """The visitor of the page, or the message for the login page."""
    cookie = read_holder(services, request)
    if cookie is None:
        return ""
    if not cookie.user:
        caller = _caller(services, cookie.key)
        return "" if caller is None else Holder(caller, (), cookie)
    now = services.clock()
    found = {
        caller.key: caller
        for caller in services.directory.snapshot.callers.values()
        if caller.user_id == cookie.user and caller.state == "active" and not _is_over(caller, now)
    }
    if not found:
        return "You have no key that works: `paig login --sso` makes one."
    wanted = request.query_params.get("key", "")
    if wanted not in found:
        latest = reports.list_requests(services.engine, Filter(user=cookie.user), limit=MOST_LOOKED_AT).items
        wanted = next((row.key for row in latest if row.key in found), min(found))
    return Holder(found[wanted], tuple(sorted(found)), cookie)


async def _shown(
    services: AdminServices,
    request: Request,
    holder: Holder,
    note: tuple[str, bool] | None = None,
    status: int = 200,
) -> Response:
    """The page of a key."""
    origin, caller = services.site.origin(request), holder.caller

    def made() -> str:
        view = view_of(services, caller, origin, note, holder.keys, holder.cookie.proof)
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
    """The key whose secret has this SHA-256, if it can be used now."""
    caller = services.directory.caller_by_hash(digest)
    return None if caller is None or caller.state != "active" or _is_over(caller, services.clock()) else caller


def _is_over(caller: Caller, now: datetime) -> bool:
    return caller.expires_at is not None and caller.expires_at <= now


def view_of(
    services: AdminServices,
    caller: Caller,
    origin: str,
    note: tuple[str, bool] | None = None,
    keys: Sequence[str] = (),
    proof: str = "",
) -> HolderView:
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
        keys=keys,
        proof=proof,
    )
