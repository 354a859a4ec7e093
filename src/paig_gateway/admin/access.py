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


_OPERATIONS: Sequence[tuple[Permission | None, str, str]] = (
    (
        "catalog:read",
        "list_providers get_provider list_provider_health list_prices get_price list_users get_user "
        "get_organisation list_named_limits get_named_limit",
        "list_routes get_route list_projects get_project list_keys get_key list_stored_objects",
    ),
    (
        "routing:write",
        "create_provider update_provider delete_provider test_provider create_route update_route delete_route "
        "create_price update_price delete_price adopt_stored_objects",
        "",
    ),
    ("owners:write", "create_project update_project delete_project create_user update_user delete_user", ""),
    (
        "keys:write",
        "block_key",
        "create_key update_key delete_key rotate_key disable_key enable_key stop_session resume_session",
    ),
    ("ledger:write", "record_spent prune_usage", ""),
    ("organisation:write", "put_organisation update_organisation", ""),
    (
        "ledger:read",
        "list_raises list_limit_requests",
        "list_limits list_requests get_request get_usage get_repricing list_sessions get_session stream_events",
    ),
    (
        "limits:write",
        "create_raise end_raise approve_limit_request decline_limit_request create_named_limit update_named_limit "
        "delete_named_limit",
        "",
    ),
    ("audit:read", "verify_audit", "list_audit"),
    ("gateway:read", "", "get_health"),
    ("config:write", "apply_config", ""),
    ("config:read", "export_config", ""),
    ("access:read", "list_admins get_admin", ""),
    ("access:write", "create_admin update_admin delete_admin", ""),
    ("access:own", "", "list_tokens get_token create_token revoke_token"),
    (None, "whoami logout", ""),
)
"""Each permission, the operations that need it in the whole gateway, and those that need it in some project.

`adopt_stored_objects` is not for a project alone: it can give a project objects of others, as `stored = "shared"` does.
"""

OPERATIONS: Mapping[str, Needs] = {
    operation: Needs(permission, in_project, goes_on=operation == "stream_events")
    for permission, *columns in _OPERATIONS
    for in_project, operations in zip((False, True), columns, strict=True)
    for operation in operations.split()
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
