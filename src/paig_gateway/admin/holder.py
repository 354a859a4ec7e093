"""The page `/me`: shows the holder of a gateway key its limits, its spend and its requests.

The key itself is shown once, in a form; the browser keeps a sealed cookie that names its hash. The cookie ends with the
key, with its secret, and after half a day. Further keys can be shown, and are then seen one at a time or together. A
person who comes by single sign-on sees the keys of the person's own user in the same way, without any secret and
without an administrator's role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from paig_client.api.resources import Me, SessionTree, UsageTotal
from paig_client.api.specs import AskSpec
from paig_gateway.admin.bodies import form_fields
from paig_gateway.admin.holder_cookie import HOLDER_SECONDS, HolderCookie, keep_holder, read_holder
from paig_gateway.admin.holder_html import ALL, SECURITY, HolderView, ask_section, holder_page, login_page
from paig_gateway.admin.me import LATEST, ask_of, me_of
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
MOST_TOGETHER = 20
"""Keys that are shown together; a person may have more."""
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
        await services.write_pending()
        return await _shown(services, request, holder)

    @router.post("/me")
    async def enter(request: Request) -> Response:
        return await _enter(services, request)

    @router.post("/me/ask")
    async def ask(request: Request) -> Response:
        return await _ask(services, request)

    @router.post("/me/leave")
    async def leave(request: Request) -> Response:
        response = RedirectResponse("/me", 303)
        cookie, form = read_holder(services, request), await _form(request)
        if is_own_form(request, site.origin(request)) and (cookie is None or cookie.is_proof(form.get("proof", ""))):
            site.forget_cookie(response, request, HOLDER)
        return response

    return router


async def _enter(services: AdminServices, request: Request) -> Response:
    """Take a key from the form, and remember it in the browser."""
    if not is_own_form(request, services.site.origin(request)):
        return _page(login_page("Open this page at the gateway itself, and try again."), 403)
    form = await _form(request)
    secret = form.get("key", "").strip()
    address = address_of(request)
    wait = services.attempts.wait("key", address)
    if wait and bits(secret) < ENOUGH_BITS:
        return _page(login_page(f"There were too many wrong keys. Wait {int(wait) + 1} seconds."), 429)
    digest = sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
    if _caller(services, digest, address) is None:
        services.attempts.refused("key", address)
        return _page(
            login_page("The gateway does not know this key, or the key is disabled, expired, or not for this network."),
            403,
        )
    response = RedirectResponse("/me", 303)
    known = read_holder(services, request)
    shown = known.keys if known is not None and known.is_proof(form.get("proof", "")) else ()
    keys = [*(one for one in shown if one != digest), digest]
    keep_holder(services, request, response, services.clock() + timedelta(seconds=HOLDER_SECONDS), keys=keys)
    return response


async def _ask(services: AdminServices, request: Request) -> Response:
    """Ask for more of a limit."""
    holder = await run_in_threadpool(_holder, services, request)
    form = await _form(request)
    proof = form.get("proof", "")
    if (
        isinstance(holder, str)
        or not is_own_form(request, services.site.origin(request))
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
        return await _shown(services, request, holder, (f"The request was not sent: {error.detail}", True), 422)
    except CatalogError as error:
        return await _shown(services, request, holder, (f"The request was not sent: {error.message}", True), 409)
    return RedirectResponse(f"/me?{urlencode({'key': caller.key})}#ask", 303)


@dataclass(frozen=True, slots=True)
class Holder:
    """The visitor of the page.

    Attributes:
        caller: The key that is shown.
        keys: All keys that may be looked at, by name.
        cookie: What the browser has shown.
        every: Whether all of them are shown together.
    """

    caller: Caller
    keys: Mapping[str, Caller]
    cookie: HolderCookie
    every: bool


def _holder(services: AdminServices, request: Request) -> Holder | str:
    """The visitor of the page, or the message for the login page."""
    cookie = read_holder(services, request)
    if cookie is None:
        return ""
    now = services.clock()
    if cookie.user:
        callers = services.directory.snapshot.callers.values()
        mine = (one for one in callers if one.user_id == cookie.user and one.state == "active")
        found = {one.key: one for one in mine if not _is_over(one, now)}
        if not found:
            return "You have no key that works: `paig login --sso` makes one."
    else:
        address = address_of(request)
        known = [one for digest in cookie.keys if (one := _caller(services, digest, address)) is not None]
        found = {one.key: one for one in known}
        if not found:
            return ""
    keys = dict(sorted(found.items()))
    wanted = request.query_params.get("key", "")
    if wanted not in keys:
        wanted = next(reversed(found)) if not cookie.user else _used_last(services, cookie.user, keys)
    return Holder(keys[wanted], keys, cookie, len(keys) > 1 and request.query_params.get("show") == ALL)


def _used_last(services: AdminServices, user: str, keys: Mapping[str, Caller]) -> str:
    """The name of the key that a person used last; the first by name if that is not known."""
    latest = reports.list_requests(services.engine, Filter(user=user), limit=MOST_LOOKED_AT).items
    return next((row.key for row in latest if row.key in keys), min(keys))


async def _shown(
    services: AdminServices,
    request: Request,
    holder: Holder,
    note: tuple[str, bool] | None = None,
    status: int = 200,
) -> Response:
    """The page of a key, or of all keys together."""
    origin, caller = services.site.origin(request), holder.caller

    def made() -> str:
        chosen = list(holder.keys.values())[:MOST_TOGETHER] if holder.every else [caller]
        view = view_of(services, chosen, origin)
        view = replace(
            view, note=note, keys=tuple(holder.keys), proof=holder.cookie.proof, every=holder.every,
            may_add=not holder.cookie.user,
        )  # fmt: skip
        mine = [one for one in services.catalog.raises.requests(None) if one.key == caller.key]
        return holder_page(view, ask_section(view, mine[-MOST_ASKED:][::-1]))

    return _page(await run_in_threadpool(made), status)


def _page(html: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(html, status, HEADERS)


async def _form(request: Request) -> dict[str, str]:
    return await form_fields(request, most_bytes=MOST_FORM, most_fields=10)


def _caller(services: AdminServices, digest: str, address: str | None) -> Caller | None:
    """The key whose secret has this SHA-256, if it can be used now from this address."""
    caller = services.directory.caller_by_hash(digest)
    if caller is None or caller.state != "active" or _is_over(caller, services.clock()):
        return None
    return caller if caller.may_come_from(address) else None


def _is_over(caller: Caller, now: datetime) -> bool:
    return caller.expires_at is not None and caller.expires_at <= now


def view_of(services: AdminServices, callers: Sequence[Caller], origin: str) -> HolderView:
    """What the page shows of a key, or of several together.

    Args:
        origin: Scheme and host of the gateway.
    """
    now, engine = services.clock(), services.engine
    today = datetime.fromtimestamp(window_start("daily", now), UTC)
    since = today - timedelta(days=DAYS - 1)
    stopped = services.directory.snapshot.stopped
    days: list[UsageTotal] = []
    models: list[UsageTotal] = []
    by_key: list[tuple[str, Decimal, int]] = []
    sessions: list[SessionTree] = []
    for caller in callers:
        own = Filter(key=caller.key_id, since=since)
        whole = reports.usage(engine, ["day"], own)
        days += whole.items
        by_key.append((caller.key, whole.total.cost, whole.total.requests))
        models += reports.usage(engine, ["model"], own).items
        for one in list_sessions(engine, own, stopped, limit=SESSIONS):
            tree = session_tree(engine, caller.key_id, one.session, stopped)
            sessions += [tree] if tree is not None else []
    by_day = _summed(days, "day")
    times = [since + timedelta(days=number) for number in range(DAYS)]
    return HolderView(
        me=_together([me_of(services, caller, now) for caller in callers]),
        days=[(day, by_day.get(f"{day:%Y-%m-%d}")) for day in times],
        models=sorted(_summed(models, "model").values(), key=lambda one: one.cost, reverse=True),
        sessions=sorted(sessions, key=lambda one: one.ended, reverse=True)[:SESSIONS],
        by_key=sorted(by_key, key=lambda one: one[1], reverse=True),
        origin=origin,
        now=now,
    )


def _summed(items: Sequence[UsageTotal], group: str) -> dict[str | None, UsageTotal]:
    """Totals of several keys, by their group."""
    found: dict[str | None, UsageTotal] = {}
    for item in items:
        known = found.get(item.group[group])
        if known is not None:
            sums = {"cost": known.cost + item.cost, "requests": known.requests + item.requests}
            item = item.model_copy(update=sums)
        found[item.group[group]] = item
    return found


def _together(every: Sequence[Me]) -> Me:
    """What several keys may see: each limit once, the latest requests of all of them."""
    first = every[0]
    if len(every) == 1:
        return first
    limits = {(one.owner_kind, one.owner, one.unit, one.window, one.member): one for me in every for one in me.limits}
    requests = sorted((row for me in every for row in me.requests), key=lambda row: row.time, reverse=True)
    return first.model_copy(
        update={
            "project": None,
            "user": first.user if len({me.user for me in every}) == 1 else None,
            "expires_at": None,
            "spent_today": sum((me.spent_today for me in every), Decimal(0)),
            "requests_today": sum(me.requests_today for me in every),
            "limits": list(limits.values()),
            "requests": requests[:LATEST],
        }
    )
