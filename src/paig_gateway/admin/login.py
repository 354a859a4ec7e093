"""Logging in by single sign-on: with a browser, which gets a cookie, or with a device code, for the command line.

The state between a login's steps is kept by the client, encrypted, so that any node can take the next step: in a cookie
for browsers, in the handle for the command line.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Annotated, TypeVar
from urllib.parse import unquote

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from starlette.responses import HTMLResponse, RedirectResponse

from paig_client.api.fields import Spec
from paig_client.api.resources import DeviceStart, DeviceState, PersonalKeyState
from paig_client.api.specs import KeySpec
from paig_gateway.admin.access import Guarded, Principal
from paig_gateway.admin.bodies import JsonObject, body_of, checked
from paig_gateway.admin.holder_cookie import keep_holder
from paig_gateway.admin.problems import FieldProblem, ProblemError, invalid, problem_response
from paig_gateway.admin.refusals import address_of
from paig_gateway.admin.services import AdminServices
from paig_gateway.admin.site import SESSION
from paig_gateway.catalog.idempotency import is_first_use
from paig_gateway.catalog.logins import Login, PersonalKey
from paig_gateway.catalog.people import LoggedIn
from paig_gateway.database.columns import milliseconds
from paig_gateway.secrets.attempts import Bursts
from paig_gateway.secrets.errors import SecretKeyError
from paig_gateway.sso.provider import IdentityProvider, PendingLogin, Person
from paig_gateway.sso.settings import ProviderAwayError, SsoError

T = TypeVar("T")

LOGIN_COOKIE = "paig_login"
LOGIN_SECONDS = 600
"""How long a browser may take to log in."""
MAX_COOKIE = 3800
"""The longest cookie: browsers drop those that have, with their name, more than 4096 bytes."""
DEVICE_STARTS = 20
"""Logins with a device code that one address may begin, until it was quiet for a minute."""
BROWSER = "/admin/sso"
CALLBACK = f"{BROWSER}/callback"
HOLDER_PAGE = "/me"


class FinishDeviceSpec(Spec):
    """A login to ask about."""

    handle: str
    """As `sso/device` gave it."""


class PersonalKeySpec(Spec):
    """A personal key of a login."""

    handle: str
    """As the login, or the last renewal, gave it."""


def login_routes(services: AdminServices) -> APIRouter:
    """The endpoints `sso/device`, `sso/device/token`, `sso/key` and `sso/key/end`."""
    router = APIRouter(tags=["sso"])
    _device_routes(router, services)
    _personal_key_routes(router, services)
    return router


def _device_routes(router: APIRouter, services: AdminServices) -> None:
    starts = Bursts(time.monotonic)

    @router.post(
        "/sso/device",
        operation_id="start_device_login",
        summary="Begin a login by single sign-on",
        description="Show the person `verification_uri` and `user_code`; then ask `sso/device/token` every `interval`"
        " seconds. Needs no token.",
    )
    async def start_device_login(request: Request) -> DeviceStart:
        if not _provider(services).spec.device_login:
            raise ProblemError("not-found", "Logins with a device code are switched off: `[sso] device_login`.")
        if starts.add(("device", address_of(request) or "")).count > DEVICE_STARTS:
            raise ProblemError(
                "rate-limited", "Too many logins were begun from this address: wait.", headers={"retry-after": "60"}
            )
        nonce = secrets.token_urlsafe(16)
        found = await _ask_provider(_provider(services).start_device(nonce))
        until = services.clock() + timedelta(seconds=found.expires_in)
        handle = sealed(services, "device", until, device_code=found.device_code, nonce=nonce)
        return DeviceStart(
            handle=handle,
            user_code=found.user_code,
            verification_uri=found.verification_uri,
            verification_uri_complete=found.verification_uri_complete,
            expires_in=found.expires_in,
            interval=found.interval,
        )

    @router.post(
        "/sso/device/token",
        operation_id="finish_device_login",
        summary="Ask whether a login by single sign-on is complete",
        description="Answers an admin token once it is; `token` is null before. Needs no token.",
        openapi_extra=body_of("FinishDeviceSpec"),
    )
    async def finish_device_login(body: JsonObject) -> DeviceState:
        noted = opened(services, "device", checked(FinishDeviceSpec, body).handle)
        if noted is None:
            raise invalid([FieldProblem("handle", "is of no login that is under way: begin again")])
        found = await _ask_provider(_provider(services).finish_device(noted["device_code"], noted["nonce"]))
        if isinstance(found, PendingLogin):
            return DeviceState(admin=None, token=None, expires_at=None, slow_down=found.slow_down)
        login, made = await _logged_in(services, found)
        key = made.key
        return DeviceState(
            admin=made.name,
            token=made.token.token if made.token is not None else None,
            expires_at=login.expires_at,
            slow_down=False,
            key=key.key if key is not None else None,
            key_name=key.name if key is not None else None,
            key_expires_at=login.key.expires_at if key is not None and login.key is not None else None,
            handle=_key_handle(services, key.id, login, found, noted["nonce"]) if key is not None else None,
        )


def _personal_key_routes(router: APIRouter, services: AdminServices) -> None:
    @router.post(
        "/sso/key",
        operation_id="renew_personal_key",
        summary="Let a personal key of a login last longer",
        description="With the `handle` that the login gave, instead of a token. Where the identity provider gives"
        " refresh tokens, it is asked whether the person is still in a group that has a key; if not, the key ends.",
        openapi_extra=body_of("PersonalKeySpec"),
    )
    async def renew_personal_key(body: JsonObject) -> PersonalKeyState:
        noted = _key_noted(services, checked(PersonalKeySpec, body).handle)
        provider = _provider(services)
        person = Person(noted["subject"], noted["name"], json.loads(noted["groups"]), noted["refresh_token"] or None)
        if person.refresh_token is not None:
            try:
                person = await provider.refresh(person.refresh_token, person.subject, noted["nonce"])
            except ProviderAwayError as error:
                raise ProblemError("unavailable", str(error), headers={"retry-after": "5"}) from None
            except SsoError as error:
                await anyio.to_thread.run_sync(services.catalog.people.end_key, noted["key"])
                services.changed()
                raise ProblemError("login-refused", f"{error} The personal key has ended.") from None
        login = replace(login_of(services, person), expires_at=datetime.fromtimestamp(float(noted["until"]), UTC))
        login = replace(login, key=bounded_key(login.key, login.expires_at))
        until = await anyio.to_thread.run_sync(services.catalog.people.renew_key, noted["key"], login)
        services.changed()
        if until is None:
            raise ProblemError("login-refused", "The personal key has ended: log in again with `paig login --sso`.")
        return PersonalKeyState(
            expires_at=until, handle=_key_handle(services, noted["key"], login, person, noted["nonce"])
        )

    @router.post(
        "/sso/key/end",
        operation_id="end_personal_key",
        summary="End a personal key of a login",
        description="With the `handle` that the login gave, instead of a token.",
        status_code=204,
        response_description="It is refused from now on.",
        openapi_extra=body_of("PersonalKeySpec"),
    )
    async def end_personal_key(body: JsonObject) -> Response:
        noted = _key_noted(services, checked(PersonalKeySpec, body).handle)
        await anyio.to_thread.run_sync(services.catalog.people.end_key, noted["key"])
        services.changed()
        return Response(status_code=204)


def session_routes(services: AdminServices) -> APIRouter:
    """The endpoint `logout`."""
    router = APIRouter(tags=["sso"], route_class=Guarded)

    @router.post(
        "/logout",
        operation_id="logout",
        summary="Revoke the token or session that one asks with",
        status_code=204,
        response_description="It is refused from now on.",
    )
    def logout(request: Request, principal: Principal) -> Response:
        if not principal.token_id:
            raise ProblemError("forbidden", "The gateway's own token cannot be revoked: change PAIG_ADMIN_TOKEN.")
        services.catalog.tokens.revoke(principal.token_id, actor=principal.name)
        services.changed()
        response = Response(status_code=204)
        services.site.forget_cookie(response, request, SESSION)
        return response

    return router


def browser_routes(services: AdminServices) -> APIRouter:
    """The pages `/admin/sso/login` and `/admin/sso/callback`: to the identity provider and back."""
    router = APIRouter(prefix=BROWSER, include_in_schema=False)
    site = services.site

    @router.get("/login")
    async def login(request: Request, next: Annotated[str, Query(max_length=2000)] = "/admin/docs") -> Response:
        if not is_console(next):
            raise invalid([FieldProblem("next", "must be a path of the console: /me, or one that begins with /admin/")])
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        callback = site.origin(request) + CALLBACK
        url = await _ask_provider(_provider(services).authorization_url(callback, state, nonce, verifier))
        until = services.clock() + timedelta(seconds=LOGIN_SECONDS)
        note = sealed(services, "browser", until, state=state, nonce=nonce, verifier=verifier, next=next)
        if len(note) > MAX_COOKIE:
            raise invalid([FieldProblem("next", "is too long")])
        response = RedirectResponse(url, 303)
        site.set_cookie(response, request, LOGIN_COOKIE, note, LOGIN_SECONDS)
        return response

    @router.get("/callback")
    async def callback(
        request: Request,
        state: Annotated[str, Query(max_length=1000)] = "",
        code: Annotated[str, Query(max_length=5000)] = "",
        error: Annotated[str, Query(max_length=1000)] = "",
    ) -> Response:
        try:
            response = await _come_back(services, request, state, code, error)
        except ProblemError as refused:
            response = problem_response(refused)
        site.forget_cookie(response, request, LOGIN_COOKIE)  # it can be used once, whatever the result
        return response

    return router


async def _come_back(services: AdminServices, request: Request, state: str, code: str, error: str) -> Response:
    """Finish a login in a browser, with what the identity provider sent along."""
    noted = opened(services, "browser", services.site.cookie(request, LOGIN_COOKIE))
    if noted is None or not hmac.compare_digest(noted["state"].encode(), state.encode()):
        raise ProblemError(
            "login-refused", "This browser has no such login under way, or it took too long: begin again."
        )
    now = milliseconds(services.clock())
    if not await anyio.to_thread.run_sync(is_first_use, services.engine, noted["state"], now):
        raise ProblemError("login-refused", "This login was used already: begin again.")
    if error or not code:
        raise ProblemError("login-refused", f"The identity provider refused the login: {error or 'no code came'}.")
    person = await _ask_provider(
        _provider(services).exchange(code, services.site.origin(request) + CALLBACK, noted["nonce"], noted["verifier"])
    )
    # Not a redirect: a browser sends no strict cookie along a chain of redirects that began at another site.
    response = HTMLResponse(_ON.format(next=escape(noted["next"])))
    if noted["next"].partition("?")[0] == HOLDER_PAGE:  # a person's own keys need no session of the console
        login = login_of(services, person)
        user = await anyio.to_thread.run_sync(services.catalog.people.user_of, login)
        if user is None:
            raise ProblemError(
                "login-refused", f"{person.name} has no key here. `paig login --sso` makes one if a group gives it."
            )
        keep_holder(services, request, response, login.expires_at, user=user)
        return response
    login, made = await _logged_in(services, person, browser=True)
    seconds = int((login.expires_at - services.clock()).total_seconds())
    if made.token is not None:
        services.site.set_cookie(response, request, SESSION, made.token.token, seconds)
    return response


def _provider(services: AdminServices) -> IdentityProvider:
    if services.sso is None:
        raise ProblemError("not-found", "Single sign-on is not set up: `[sso]` of paig.toml does.")
    return services.sso


async def _ask_provider(asking: Awaitable[T]) -> T:
    """What the identity provider answers.

    Raises:
        ProblemError: `login-refused`, or `unavailable`.
    """
    try:
        return await asking
    except ProviderAwayError as error:
        raise ProblemError("unavailable", str(error), headers={"retry-after": "5"}) from None
    except SsoError as error:
        raise ProblemError("login-refused", str(error)) from None


_ON = """\
<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Logged in</title>
<meta http-equiv="refresh" content="0; url={next}"></head><body><a href="{next}">Go on</a></body></html>
"""


def is_console(path: str) -> bool:
    """Whether a path, with or without a query, is one of the console's own pages, however a browser reads it."""
    place = path.partition("#")[0].partition("?")[0]
    if any(ord(letter) < 33 or letter == "\\" for letter in path) or not path.isascii():
        return False
    steps = [unquote(step) for step in place.split("/")]
    if any(step.partition(";")[0] in (".", "..") or "/" in step or "\\" in step for step in steps[1:]):
        return False
    return place == HOLDER_PAGE or (place.startswith("/admin/") and not place.startswith("/admin//"))


def login_of(services: AdminServices, person: Person) -> Login:
    """What a person's groups give, from now on."""
    spec = _provider(services).spec
    ends = services.clock() + timedelta(hours=spec.session_hours)
    key = None
    if (given := spec.key(person.groups)) is not None:
        settings = KeySpec(project=given.project, routes=given.routes, models=given.models, when_tight=given.when_tight)
        key = PersonalKey(settings, given.limits, services.clock() + timedelta(hours=spec.key_hours))
    return Login(person.subject, person.name, spec.grants(person.groups), ends, bounded_key(key, ends))


def bounded_key(key: PersonalKey | None, ends: datetime) -> PersonalKey | None:
    """The key, which never lasts longer than the login."""
    return None if key is None else replace(key, expires_at=min(key.expires_at, ends))


async def _logged_in(services: AdminServices, person: Person, *, browser: bool = False) -> tuple[Login, LoggedIn]:
    """Issue a session, a personal key or both, after a login at the identity provider.

    Raises:
        ProblemError: `login-refused` where none of the person's groups gives either.
    """
    login = login_of(services, person)

    def record() -> LoggedIn | None:
        made = services.catalog.people.log_in(login, browser=browser)
        services.changed()
        return made

    made = await anyio.to_thread.run_sync(record)
    if made is None:
        named = ", ".join(group[:100] for group in person.groups[:10]) or "none"
        raise ProblemError(
            "login-refused",
            f"{person.name} has no role and no key here, or was made inactive. The provider stated these groups:"
            f" {named}.",
        )
    return login, made


def _key_handle(services: AdminServices, key: str, login: Login, person: Person, nonce: str) -> str:
    """The sealed data for renewing a personal key."""
    return sealed(
        services,
        "key",
        login.expires_at,
        **{"key": key, "subject": person.subject, "name": person.name, "nonce": nonce},
        **{"groups": json.dumps(person.groups), "refresh_token": person.refresh_token or ""},
    )


def _key_noted(services: AdminServices, handle: str) -> dict[str, str]:
    noted = opened(services, "key", handle)
    if noted is None:
        raise ProblemError("login-refused", "This login has ended: log in again with `paig login --sso`.")
    return noted


def sealed(services: AdminServices, purpose: str, until: datetime, **values: str) -> str:
    """A login's state for the client to keep, which only `opened` with the same purpose reads."""
    note = json.dumps({**values, "for": f"{purpose} login", "until": until.timestamp()})
    return services.catalog.secrets.vault.seal(note.encode(), "login").decode()


def opened(services: AdminServices, purpose: str, text: str) -> dict[str, str] | None:
    """A login's state, unless it is forged, for another purpose, or too old."""
    try:
        noted = json.loads(services.catalog.secrets.vault.open(text.encode(), "login"))
    except (SecretKeyError, ValueError):
        return None
    if not isinstance(noted, dict) or noted.get("for") != f"{purpose} login":
        return None
    return noted if noted["until"] > services.clock().timestamp() else None
