"""Claude Code's login to a gateway: OAuth's device flow, whose tokens are personal keys, and managed settings.

A person types `/login`; Claude Code finds the endpoints by `/.well-known/oauth-authorization-server`, shows the code
and the page of the identity provider, and gets the key that the person's group gives (`[sso.keys.GROUP]`). Before the
key ends it is renewed with a refresh token: the login's state, sealed, so that any node can take the next step.

Sources: RFC 6749, 7009, 8414 and 8628; the protocol that `claude gateway` of Claude Code 2.1.332 serves at `/protocol`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from paig_gateway.admin.addresses import DEVICE, DISCOVERY, REVOKE, SETTINGS, TOKEN
from paig_gateway.admin.bodies import form_fields
from paig_gateway.admin.login import DEVICE_STARTS, bounded_key, login_of, opened, sealed
from paig_gateway.admin.me import caller_of
from paig_gateway.admin.problems import ProblemError
from paig_gateway.admin.refusals import address_of
from paig_gateway.admin.services import AdminServices
from paig_gateway.catalog.logins import Login
from paig_gateway.secrets.attempts import Bursts
from paig_gateway.sso.provider import DEVICE_GRANT, IdentityProvider, PendingLogin, Person
from paig_gateway.sso.settings import ProviderAwayError, SsoError

MOST_FORM = 65_536
"""Bytes of a form that are read."""
NO_STORE = {"cache-control": "no-store"}


class _OAuthError(Exception):
    """What an OAuth endpoint answers in place of a token (RFC 6749, 5.2)."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error


def claude_routes(services: AdminServices) -> APIRouter:
    """The endpoints that Claude Code's `/login` uses, and `/managed/settings`."""
    router = APIRouter(include_in_schema=False)
    _discovery_route(router, services)
    _device_route(router, services)
    _token_routes(router, services)
    _settings_route(router, services)
    return router


def _discovery_route(router: APIRouter, services: AdminServices) -> None:
    @router.get(DISCOVERY)
    async def discovery(request: Request) -> Response:
        if services.sso is None or not services.sso.spec.device_login or not services.sso.spec.keys:
            raise ProblemError("not-found", "No login gives a key here: `[sso.keys.GROUP]` of paig.toml sets that up.")
        origin = services.site.origin(request)
        return JSONResponse(
            {
                "issuer": origin,
                "device_authorization_endpoint": origin + DEVICE,
                "token_endpoint": origin + TOKEN,
                "revocation_endpoint": origin + REVOKE,
                "grant_types_supported": [DEVICE_GRANT, "refresh_token"],
                "token_endpoint_auth_methods_supported": ["none"],
            }
        )


def _device_route(router: APIRouter, services: AdminServices) -> None:
    starts = Bursts(time.monotonic)

    @router.post(DEVICE)
    async def begin(request: Request) -> Response:
        try:
            provider = _provider(services)
            if starts.add(("device", address_of(request) or "")).count > DEVICE_STARTS:
                raise _OAuthError(429, "slow_down", "Too many logins were begun from this address: wait a minute.")
            nonce = secrets.token_urlsafe(16)
            found = await provider.start_device(nonce)
        except (_OAuthError, SsoError) as error:
            return _refused(error)
        until = datetime.fromtimestamp(services.clock().timestamp() + found.expires_in, UTC)
        handle = sealed(services, "claude device", until, device_code=found.device_code, nonce=nonce)
        complete = found.verification_uri_complete
        return JSONResponse(
            {
                "device_code": handle,
                "user_code": found.user_code,
                "verification_uri": found.verification_uri,
                **({"verification_uri_complete": complete} if complete is not None else {}),
                "expires_in": found.expires_in,
                "interval": found.interval,
            },
            headers=NO_STORE,
        )


def _token_routes(router: APIRouter, services: AdminServices) -> None:
    @router.post(TOKEN)
    async def token(request: Request) -> Response:
        form = await _form(request)
        try:
            match form.get("grant_type"):
                case "refresh_token":
                    given = await _renewed(services, form.get("refresh_token", ""))
                case grant if grant == DEVICE_GRANT:
                    given = await _logged_in(services, form.get("device_code", ""))
                case _:
                    raise _OAuthError(400, "unsupported_grant_type", f"It is {DEVICE_GRANT} or refresh_token.")
        except (_OAuthError, SsoError) as error:
            return _refused(error)
        return JSONResponse(given, headers=NO_STORE)

    @router.post(REVOKE)
    async def revoke(request: Request) -> Response:
        """End the key that a refresh token renews; any other token is ignored (RFC 7009, 2.2)."""
        state = opened(services, "claude key", (await _form(request)).get("token", ""))
        if state is not None:
            await anyio.to_thread.run_sync(services.catalog.people.end_key, state["key"])
            services.changed()
        return Response(status_code=200)


def _settings_route(router: APIRouter, services: AdminServices) -> None:
    @router.get(SETTINGS)
    async def settings(request: Request) -> Response:
        try:
            caller_of(services, request, services.clock())
        except ProblemError as problem:
            error = {"type": "authentication_error", "message": problem.detail}
            return JSONResponse({"type": "error", "error": error}, 401, headers={"x-should-retry": "false"})
        given = services.sso.spec.claude_settings if services.sso is not None else {}
        if not given:
            error = {"type": "not_found_error", "message": "There are no managed settings."}
            return JSONResponse({"type": "error", "error": error}, 404)
        checksum = checksum_of(given)
        headers = {"etag": f'"{checksum}"'}
        if request.headers.get("if-none-match") in (f'"{checksum}"', "*"):
            return Response(status_code=304, headers=headers)
        return JSONResponse({"uuid": checksum, "checksum": checksum, "settings": given}, headers=headers)


def checksum_of(settings: Mapping[str, Any]) -> str:
    """The checksum that Claude Code computes: over the JSON with sorted keys and no white space."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{sha256(text.encode()).hexdigest()}"


async def _logged_in(services: AdminServices, device_code: str) -> dict[str, str | int]:
    """Issue a personal key to the person who completed the login.

    Raises:
        _OAuthError: No login has come, or none of the person's groups gives a key.
        SsoError: The identity provider refused, or is away.
    """
    provider = _provider(services)
    state = opened(services, "claude device", device_code)
    if state is None:
        raise _OAuthError(400, "expired_token", "This login is not under way any more: begin again.")
    person = await provider.finish_device(state["device_code"], state["nonce"])
    if isinstance(person, PendingLogin):
        raise _OAuthError(
            400, "slow_down" if person.slow_down else "authorization_pending", "The login has not been confirmed yet."
        )
    login = login_of(services, person)
    made = await anyio.to_thread.run_sync(lambda: services.catalog.people.log_in(login, token=False))
    services.changed()
    if made is None or made.key is None:
        named = ", ".join(group[:100] for group in person.groups[:10]) or "none"
        raise _OAuthError(
            400, "access_denied", f"{person.name} has no key here. The provider stated these groups: {named}."
        )
    given = _tokens(services, made.key.id, made.key.key, login, person, state["nonce"])
    return {**given, "email": made.name}


async def _renewed(services: AdminServices, refresh_token: str) -> dict[str, str | int]:
    """The same key, which lasts longer.

    Raises:
        _OAuthError: `invalid_grant`: the login has ended, or the person's groups give no key any more.
        ProviderAwayError: The identity provider is away.
    """
    provider = _provider(services)
    state = opened(services, "claude key", refresh_token)
    if state is None:
        raise _OAuthError(401, "invalid_grant", "This login has ended: log in again.")
    person = Person(state["subject"], state["name"], json.loads(state["groups"]), state["refresh_token"] or None)
    if person.refresh_token is not None:
        try:
            person = await provider.refresh(person.refresh_token, person.subject, state["nonce"])
        except ProviderAwayError:
            raise
        except SsoError as error:
            await anyio.to_thread.run_sync(services.catalog.people.end_key, state["key"])
            services.changed()
            raise _OAuthError(401, "invalid_grant", str(error)) from error
    login = replace(login_of(services, person), expires_at=datetime.fromtimestamp(float(state["until"]), UTC))
    login = replace(login, key=bounded_key(login.key, login.expires_at))
    until = await anyio.to_thread.run_sync(services.catalog.people.renew_key, state["key"], login)
    services.changed()
    if until is None:
        raise _OAuthError(401, "invalid_grant", "The personal key has ended: log in again.")
    return _tokens(services, state["key"], state["secret"], login, person, state["nonce"])


def _tokens(
    services: AdminServices, key_id: str, secret: str, login: Login, person: Person, nonce: str
) -> dict[str, str | int]:
    """The answer with a key. The refresh token contains the key, because the gateway stores no keys."""
    refresh = sealed(
        services,
        "claude key",
        login.expires_at,
        **{"key": key_id, "secret": secret, "subject": person.subject, "name": person.name, "nonce": nonce},
        **{"groups": json.dumps(person.groups), "refresh_token": person.refresh_token or ""},
    )
    ends = login.key.expires_at if login.key is not None else login.expires_at
    seconds = max(1, int((ends - services.clock()).total_seconds()))
    return {"access_token": secret, "token_type": "Bearer", "expires_in": seconds, "refresh_token": refresh}


def _provider(services: AdminServices) -> IdentityProvider:
    if services.sso is None or not services.sso.spec.device_login:
        raise _OAuthError(400, "access_denied", "This gateway takes no logins with a device code.")
    return services.sso


def _refused(error: _OAuthError | SsoError) -> Response:
    if isinstance(error, ProviderAwayError):
        body = {"error": "temporarily_unavailable", "error_description": str(error)}
        return JSONResponse(body, 503, headers={**NO_STORE, "retry-after": "5"})
    status, kind = (error.status, error.error) if isinstance(error, _OAuthError) else (400, "access_denied")
    return JSONResponse({"error": kind, "error_description": str(error)}, status, headers=NO_STORE)


async def _form(request: Request) -> dict[str, str]:
    return await form_fields(request, most_bytes=MOST_FORM, most_fields=50)
