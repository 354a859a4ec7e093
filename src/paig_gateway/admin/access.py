"""Permissions: every operation, the permission it needs, and whether a role in one project is enough.

An operation without a row here cannot be served, because `Guarded` looks it up when the app is built. The principal is
checked before anything else of a request is read. An operation that needs a role only `in_project` limits itself to the
projects of the principal; the others need a role in the whole gateway.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, get_origin

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from paig_client.api.vocabulary import Permission
from paig_gateway.admin.problems import FieldProblem, ProblemError, invalid
from paig_gateway.admin.roles import EVERYTHING, AdminIdentity, effective_permissions
from paig_gateway.admin.site import SESSION, Site, is_own_page
from paig_gateway.catalog.base import suggestion
from paig_gateway.catalog.snapshot import Snapshot, TokenGrant
from paig_gateway.catalog.tokens import BROWSER_PREFIX
from paig_gateway.secrets.home import ENOUGH_BITS, bits
from paig_gateway.secrets.vault import Vault


@dataclass(frozen=True, slots=True)
class Needs:
    """What an operation needs.

    Attributes:
        permission: None if any admin token will do.
        in_project: Whether it is enough to have the permission in some project.
        goes_on: Whether its answer is a stream that ends when the client disconnects.
    """

    permission: Permission | None
    in_project: bool = False
    goes_on: bool = False


OPERATIONS: Mapping[str, Needs] = {
    "list_providers": Needs("catalog:read"),
    "get_provider": Needs("catalog:read"),
    "create_provider": Needs("routing:write"),
    "update_provider": Needs("routing:write"),
    "delete_provider": Needs("routing:write"),
    "test_provider": Needs("routing:write"),
    "list_provider_health": Needs("catalog:read"),
    "list_routes": Needs("catalog:read", in_project=True),
    "get_route": Needs("catalog:read", in_project=True),
    "create_route": Needs("routing:write"),
    "update_route": Needs("routing:write"),
    "delete_route": Needs("routing:write"),
    "list_prices": Needs("catalog:read"),
    "get_price": Needs("catalog:read"),
    "create_price": Needs("routing:write"),
    "update_price": Needs("routing:write"),
    "delete_price": Needs("routing:write"),
    "list_projects": Needs("catalog:read", in_project=True),
    "get_project": Needs("catalog:read", in_project=True),
    "create_project": Needs("owners:write"),
    "update_project": Needs("owners:write"),
    "delete_project": Needs("owners:write"),
    "list_users": Needs("catalog:read"),
    "get_user": Needs("catalog:read"),
    "create_user": Needs("owners:write"),
    "update_user": Needs("owners:write"),
    "delete_user": Needs("owners:write"),
    "list_keys": Needs("catalog:read", in_project=True),
    "get_key": Needs("catalog:read", in_project=True),
    "create_key": Needs("keys:write", in_project=True),
    "update_key": Needs("keys:write", in_project=True),
    "delete_key": Needs("keys:write", in_project=True),
    "rotate_key": Needs("keys:write", in_project=True),
    "disable_key": Needs("keys:write", in_project=True),
    "block_key": Needs("keys:write"),
    "enable_key": Needs("keys:write", in_project=True),
    "record_spent": Needs("ledger:write"),
    "get_organisation": Needs("catalog:read"),
    "put_organisation": Needs("organisation:write"),
    "update_organisation": Needs("organisation:write"),
    "list_raises": Needs("ledger:read"),
    "create_raise": Needs("limits:write"),
    "end_raise": Needs("limits:write"),
    "list_limit_requests": Needs("ledger:read"),
    "approve_limit_request": Needs("limits:write"),
    "decline_limit_request": Needs("limits:write"),
    "list_named_limits": Needs("catalog:read"),
    "get_named_limit": Needs("catalog:read"),
    "create_named_limit": Needs("limits:write"),
    "update_named_limit": Needs("limits:write"),
    "delete_named_limit": Needs("limits:write"),
    "list_limits": Needs("ledger:read", in_project=True),
    "list_requests": Needs("ledger:read", in_project=True),
    "get_request": Needs("ledger:read", in_project=True),
    "get_usage": Needs("ledger:read", in_project=True),
    "get_repricing": Needs("ledger:read", in_project=True),
    "prune_usage": Needs("ledger:write"),
    "list_stored_objects": Needs("catalog:read", in_project=True),
    # It shows a project objects that may belong to others, as `stored = "shared"` does.
    "adopt_stored_objects": Needs("routing:write"),
    "list_sessions": Needs("ledger:read", in_project=True),
    "get_session": Needs("ledger:read", in_project=True),
    "stop_session": Needs("keys:write", in_project=True),
    "resume_session": Needs("keys:write", in_project=True),
    "stream_events": Needs("ledger:read", in_project=True, goes_on=True),
    "list_audit": Needs("audit:read", in_project=True),
    "verify_audit": Needs("audit:read"),
    "get_health": Needs("gateway:read", in_project=True),
    "apply_config": Needs("config:write"),
    "export_config": Needs("config:read"),
    "list_admins": Needs("access:read"),
    "get_admin": Needs("access:read"),
    "create_admin": Needs("access:write"),
    "update_admin": Needs("access:write"),
    "delete_admin": Needs("access:write"),
    "list_tokens": Needs("access:own", in_project=True),
    "get_token": Needs("access:own", in_project=True),
    "create_token": Needs("access:own", in_project=True),
    "revoke_token": Needs("access:own", in_project=True),
    "whoami": Needs(None),
    "logout": Needs(None),
}
"""The permission of each operation of the admin API, by its id in the OpenAPI document."""

Authenticate = Callable[[HTTPConnection], AdminIdentity]
"""Returns the identity that sent a request, or opens a WebSocket.

Raises ProblemError `missing-token`, `unknown-token` or `expired-token`; `forbidden` if a browser's session would open a
WebSocket.
"""


def token_authentication(
    admin_token: Callable[[], str] | str,
    snapshot: Callable[[], Snapshot],
    clock: Callable[[], datetime],
    site: Site | None = None,
    check_guess: Callable[[HTTPConnection], None] = lambda connection: None,
) -> Authenticate:
    """Authentication by the gateway's own admin token (the owner), or by a token of an admin.

    Only a browser sends the token of its session, in a cookie: such a token is not accepted as a bearer token.
    Everything is looked up in memory, in the directory's
    snapshot: a token that is revoked on any node is unknown here as soon as the directory has noticed, well within a
    second.

    Args:
        admin_token: The gateway's own token, or what answers it.
        snapshot: Returns the present directory.
        site: Where browsers find the gateway.
        check_guess: Refuses a token that could be guessed while its address is guessing.
    """
    current = admin_token if callable(admin_token) else lambda: admin_token
    owner = AdminIdentity("", "token:admin", EVERYTHING)
    browsers = site or Site()

    def authenticate(connection: HTTPConnection) -> AdminIdentity:
        given = connection.headers.getlist("authorization")
        session = "" if given else browsers.cookie(connection, SESSION)
        if session and "method" not in connection.scope:  # any page may open a WebSocket, and cannot send the proof
            raise ProblemError("forbidden", "A browser's session cannot open a WebSocket.")
        token = session or _bearer_token(given)
        digest = _digest(token)
        # Digests have one length, so the time taken does not depend on the token's length.
        if not session and hmac.compare_digest(digest, _digest(current())):
            if bits(token) < ENOUGH_BITS:
                check_guess(connection)
            return owner
        known = snapshot()
        bearer = known.bearers.get(digest)
        if bearer is None or bool(session) != (bearer.session and token.startswith(BROWSER_PREFIX)):
            raise _unauthorised(
                "unknown-token",
                "The gateway knows no such admin token: take PAIG_ADMIN_TOKEN, the one made at its first start, or one"
                " of `paig tokens create`; it may have been revoked.",
                ', error="invalid_token"',
            )
        if bearer.expires_at is not None and bearer.expires_at <= clock():
            raise _unauthorised(
                "expired-token",
                "This admin token has expired: log in again, or make another.",
                ', error="invalid_token"',
            )
        return identity_of(bearer, known.projects, browser=bool(session))

    return authenticate


def _bearer_token(given: Sequence[str]) -> str:
    """The token of the header `Authorization`.

    Raises:
        ProblemError: `missing-token`.
    """
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorised("missing-token", "Send an admin token as `Authorization: Bearer TOKEN`.", "")
    return token.strip()


CSRF_HEADER = "x-paig-csrf"
"""With it one of our pages proves that it could read an answer of ours."""


def csrf_proof(vault: Vault, identity: AdminIdentity) -> str:
    """What a page must send in `X-Paig-Csrf` to change something with a browser's session."""
    return vault.proof(f"csrf {identity.token_id}")


def check_page(connection: HTTPConnection, identity: AdminIdentity, vault: Vault) -> None:
    """Refuse a change by a browser's session unless one of the gateway's own pages makes it.

    The cookie alone proves little: browsers send it to every port of the host, and with requests of other pages too.

    Raises:
        ProblemError: `forbidden`.
    """
    if not is_own_page(connection):
        raise ProblemError("forbidden", "A browser's session can make changes only from the gateway's own pages.")
    if not vault.proves(f"csrf {identity.token_id}", connection.headers.get(CSRF_HEADER, "")):
        raise ProblemError("forbidden", "Send the header X-Paig-Csrf with the `csrf` that /admin/v1/whoami answers.")


def identity_of(bearer: TokenGrant, projects: Mapping[str, str], *, browser: bool = False) -> AdminIdentity:
    """The holder of a token; grants in deleted projects are ignored."""
    everywhere, inside = effective_permissions(bearer.grants, bearer.scopes)
    return AdminIdentity(
        id=bearer.admin_id,
        name=f"admin:{bearer.admin}" if bearer.session else f"admin:{bearer.admin}/{bearer.token}",
        everywhere=everywhere,
        projects={project: allowed for project, allowed in inside.items() if project in projects},
        names=projects,
        scopes=bearer.scopes,
        expires_at=bearer.expires_at,
        token_id=bearer.token_id,
        session=bearer.session,
        browser=browser,
    )


def check(identity: AdminIdentity, needs: Needs) -> None:
    """Refuse an operation without its permission.

    Raises:
        ProblemError: `forbidden`.
    """
    permission = needs.permission
    if permission is None or identity.may(permission) or (needs.in_project and identity.may_somewhere(permission)):
        return
    if identity.may_somewhere(permission):
        raise ProblemError("forbidden", f"This needs {permission} in the whole gateway; you have it only in projects.")
    raise ProblemError("forbidden", f"This needs the permission {permission}, which you do not have.")


def check_query(given: QueryParams, known: Mapping[str, bool]) -> None:
    """Refuse a query parameter that the operation does not take, and one given twice that takes one value.

    Args:
        given: The request's query.
        known: Each parameter that the operation takes, and whether it takes several values.

    Raises:
        ProblemError: `invalid`, naming each wrong parameter.
    """
    wrong = []
    for name in dict.fromkeys(given):
        if name not in known:
            takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none; other fields go into the body"
            close = suggestion(name, known)
            wrong.append(FieldProblem(name, f"is not a query parameter of this request{close or ': ' + takes}"))
        elif not known[name] and len(given.getlist(name)) > 1:
            wrong.append(FieldProblem(name, "is given more than once: give one value"))
    if wrong:
        raise invalid(wrong)


def _query_parameters(dependant: Dependant) -> Iterator[Any]:
    yield from dependant.query_params
    for inner in dependant.dependencies:
        yield from _query_parameters(inner)


class Guarded(APIRoute):
    """A route that checks the permission of its operation, and refuses unknown query parameters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler behind the guard."""
        handle = super().get_route_handler()
        needs = OPERATIONS[self.operation_id or self.name]
        known = {
            parameter.alias: get_origin(parameter.field_info.annotation) is list
            for parameter in _query_parameters(self.dependant)
        }

        async def guarded(request: Request) -> Response:
            authenticate: Authenticate = request.app.state.authenticate
            request.state.operation = self.operation_id or self.name
            identity = authenticate(request)
            request.state.identity = identity
            if identity.browser and (needs.goes_on or request.method not in ("GET", "HEAD")):
                check_page(request, identity, request.app.state.vault)
            check(identity, needs)
            check_query(request.query_params, known)
            return await handle(request)

        return guarded


async def _identity(request: Request) -> AdminIdentity:
    identity: AdminIdentity = request.state.identity
    return identity


Principal = Annotated[AdminIdentity, Depends(_identity)]
"""A handler's parameter: the principal of the request."""


def _digest(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _unauthorised(code: str, detail: str, more: str) -> ProblemError:
    return ProblemError(code, detail, headers={"www-authenticate": f'Bearer realm="paig admin"{more}'})
