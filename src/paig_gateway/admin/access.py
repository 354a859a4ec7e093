"""Who may do what: every operation and the permission it needs, in one table.

An operation without a row here cannot be served, because `Guarded` looks its permission up when the app is put
together. Who asks is settled before anything else of a request is read.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal, get_args

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from paig_gateway.admin.problems import ProblemError

Permission = Literal[
    "audit:read",
    "catalog:read",
    "config:read",
    "config:write",
    "gateway:read",
    "keys:write",
    "ledger:read",
    "ledger:write",
    "owners:write",
    "routing:write",
]
"""What one may be allowed. `owners`: projects, users and the organisation; `routing`: providers, routes and prices."""

OPERATIONS: Mapping[str, Permission] = {
    "list_providers": "catalog:read",
    "get_provider": "catalog:read",
    "create_provider": "routing:write",
    "update_provider": "routing:write",
    "delete_provider": "routing:write",
    "test_provider": "routing:write",
    "list_routes": "catalog:read",
    "get_route": "catalog:read",
    "create_route": "routing:write",
    "update_route": "routing:write",
    "delete_route": "routing:write",
    "list_prices": "catalog:read",
    "get_price": "catalog:read",
    "create_price": "routing:write",
    "update_price": "routing:write",
    "delete_price": "routing:write",
    "list_projects": "catalog:read",
    "get_project": "catalog:read",
    "create_project": "owners:write",
    "update_project": "owners:write",
    "delete_project": "owners:write",
    "list_users": "catalog:read",
    "get_user": "catalog:read",
    "create_user": "owners:write",
    "update_user": "owners:write",
    "delete_user": "owners:write",
    "list_keys": "catalog:read",
    "get_key": "catalog:read",
    "create_key": "keys:write",
    "update_key": "keys:write",
    "delete_key": "keys:write",
    "rotate_key": "keys:write",
    "disable_key": "keys:write",
    "enable_key": "keys:write",
    "get_organisation": "catalog:read",
    "put_organisation": "owners:write",
    "list_limits": "ledger:read",
    "list_requests": "ledger:read",
    "get_request": "ledger:read",
    "get_usage": "ledger:read",
    "get_repricing": "ledger:read",
    "prune_usage": "ledger:write",
    "stream_events": "ledger:read",
    "list_audit": "audit:read",
    "get_health": "gateway:read",
    "apply_config": "config:write",
    "export_config": "config:read",
}
"""Each operation of the admin API, by its id in the OpenAPI document: the permission that it needs."""

ROLES: Mapping[str, frozenset[Permission]] = {"owner": frozenset(get_args(Permission))}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        name: For the audit log.
        permissions: What they may do.
    """

    name: str
    permissions: frozenset[Permission]

    def may(self, permission: Permission) -> bool:
        """Whether they may do what needs that permission."""
        return permission in self.permissions


Authenticate = Callable[[Request], Identity]
"""Who sent the request; raises ProblemError `missing-token` or `unknown-token`."""


def token_authentication(admin_token: Callable[[], str] | str) -> Authenticate:
    """Authentication by the one admin token, whose bearer is the owner."""
    current = admin_token if callable(admin_token) else lambda: admin_token
    owner = Identity("token:admin", ROLES["owner"])

    def authenticate(request: Request) -> Identity:
        given = request.headers.getlist("authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorised("missing-token", "Send the admin token as `Authorization: Bearer TOKEN`.", "")
        # Digests are of one length, so the time taken says nothing about the token's.
        if not hmac.compare_digest(_digest(token.strip()), _digest(current())):
            raise _unauthorised(
                "unknown-token",
                "This is not the gateway's admin token: take PAIG_ADMIN_TOKEN, or the one made at its first start.",
                ', error="invalid_token"',
            )
        return owner

    return authenticate


class Guarded(APIRoute):
    """A route that serves only those who hold the permission of its operation."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler behind the guard."""
        handle = super().get_route_handler()
        permission = OPERATIONS[self.operation_id or self.name]

        async def guarded(request: Request) -> Response:
            authenticate: Authenticate = request.app.state.authenticate
            identity = authenticate(request)
            if not identity.may(permission):
                raise ProblemError("forbidden", f"This needs the permission {permission}, which you do not have.")
            request.state.identity = identity
            return await handle(request)

        return guarded


async def _identity(request: Request) -> Identity:
    identity: Identity = request.state.identity
    return identity


Asker = Annotated[Identity, Depends(_identity)]
"""A handler's parameter: who asks."""


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _unauthorised(code: str, detail: str, more: str) -> ProblemError:
    return ProblemError(code, detail, headers={"www-authenticate": f'Bearer realm="paig admin"{more}'})
