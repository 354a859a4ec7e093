"""Admins and their tokens. A principal cannot give, change or take away more than it has itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from paig_client.api.resources import Admin, NewToken, Token
from paig_client.api.resources import Identity as WireIdentity
from paig_client.api.specs import AdminSpec, GrantSpec, TokenSpec
from paig_gateway.admin.access import Guarded, Principal, csrf_proof
from paig_gateway.admin.bodies import JsonObject, body_of, checked, named
from paig_gateway.admin.objects import (
    LOCATION,
    Cursor,
    IdempotencyKey,
    Limit,
    ObjectApi,
    Page,
    Sort,
    absent,
    filtered,
    part,
)
from paig_gateway.admin.problems import FieldProblem, ProblemError, invalid
from paig_gateway.admin.roles import AdminIdentity, effective_permissions
from paig_gateway.admin.services import AdminServices
from paig_gateway.admin.site import is_own_page
from paig_gateway.catalog.idempotency import Repeat

TokenId = Annotated[str, Path(description="The token's id.")]


class Admins:
    """The catalogue's admins, as far as the principal may read or change them."""

    def __init__(self, services: AdminServices, principal: AdminIdentity) -> None:
        """Wrap the catalogue's admins."""
        self._admins = services.catalog.admins
        self._principal = principal

    def list(self) -> Sequence[Admin]:
        return self._admins.list()

    def get(self, reference: str) -> Admin:
        return self._admins.get(reference)

    def create(self, name: str, spec: AdminSpec, *, actor: str, repeat: Repeat[Admin] | None = None) -> Admin:
        self._check(spec.grants)
        return self._admins.create(name, spec, actor=actor, repeat=repeat)

    def update(self, reference: str, changes: Mapping[str, Any], *, actor: str, version: int | None = None) -> Admin:
        """Change an admin; the principal must be allowed to grant both the old and the new roles."""
        before = self._admins.get(reference)
        self._check(before.grants)
        if isinstance(grants := changes.get("grants"), list):
            self._check(checked(AdminSpec, {"grants": grants}).grants)
        return self._admins.update(before.id, changes, actor=actor, version=version or before.version)

    def delete(self, reference: str, *, actor: str, version: int | None = None) -> None:
        """Remove an admin, and all their tokens."""
        before = self._admins.get(reference)
        self._check(before.grants)
        self._admins.delete(before.id, actor=actor, version=version or before.version)

    def _check(self, grants: Sequence[GrantSpec]) -> None:
        if not _may_grant(self._principal, grants):
            raise ProblemError("forbidden", "These grants give more permissions than you have: ask an owner.")


class AdminPage(Page[Admin]):
    """Some admins by name, and where the next page begins."""


ADMINS: ObjectApi[AdminSpec, Admin, Admin] = ObjectApi("admin", "admins", AdminSpec, Admin, Admin, AdminPage, Admins)


class TokenList(BaseModel):
    """Tokens, the newest first, and where the next page begins."""

    items: list[Token]
    next_cursor: str | None = None


def access_routes(services: AdminServices) -> APIRouter:
    """The endpoints `tokens` and `whoami`."""
    router = APIRouter(tags=["access"], route_class=Guarded)
    _identity_routes(router, services)
    _token_routes(router, services)
    _token_change_routes(router, services)
    return router


def _identity_routes(router: APIRouter, services: AdminServices) -> None:
    vault = services.catalog.secrets.vault

    @router.get("/whoami", operation_id="whoami", summary="Show who you are and what you may do")
    def whoami(request: Request, principal: Principal) -> WireIdentity:
        inside = {principal.names[id]: sorted(allowed) for id, allowed in principal.projects.items()}
        return WireIdentity(
            name=principal.name,
            permissions=sorted(principal.everywhere),
            projects=inside,
            expires_at=principal.expires_at,
            session=principal.session,
            csrf=csrf_proof(vault, principal) if principal.browser and is_own_page(request) else None,
        )


def _token_routes(router: APIRouter, services: AdminServices) -> None:
    @router.get(
        "/tokens",
        operation_id="list_tokens",
        summary="List admin tokens",
        description="One's own; all of them, for those who have `access:read`.",
    )
    def list_tokens(
        principal: Principal,
        admin: Annotated[str | None, Query(max_length=300, description="Only this admin's.")] = None,
        name: Annotated[str | None, Query(max_length=300, description="Only those with this name.")] = None,
        session: Annotated[bool | None, Query(description="Only those that a login made, or did not make.")] = None,
        limit: Limit = None,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> TokenList:
        found = services.catalog.tokens.list(None if principal.may("access:read") else principal.id)
        found = filtered(found, {"admin": admin, "name": name, "session": session})
        items, following = part(found, lambda token: token.id, limit, cursor, sort)
        return TokenList(items=items, next_cursor=following)

    @router.get("/tokens/{token_id}", operation_id="get_token", summary="Show an admin token")
    def get_token(principal: Principal, token_id: TokenId) -> Token:
        return _visible(services, principal, token_id)[0]


def _token_change_routes(router: APIRouter, services: AdminServices) -> None:
    tokens = services.catalog.tokens

    @router.post(
        "/tokens",
        operation_id="create_token",
        summary="Make an admin token",
        description="For oneself, or with `access:write` for another admin who may do no more than oneself. A token"
        " made with a token is confined to the same scopes, and without `access:write` ends no later.",
        status_code=201,
        response_description="It is made: the only time that it is shown.",
        responses={201: {"headers": {"Location": LOCATION}}},
        openapi_extra=body_of("CreateToken"),
    )
    def create_token(
        request: Request,
        response: Response,
        principal: Principal,
        body: JsonObject,
        idempotency_key: IdempotencyKey = None,
    ) -> NewToken:
        name, spec = named(TokenSpec, body)
        owner = _owner(services, principal, spec)
        _check_new_token(principal, owner, spec)
        repeat = None
        if idempotency_key is not None:
            repeat = Repeat.of(principal.id, idempotency_key, f"token {name!r} {spec.model_dump_json()}", NewToken)
        made = tokens.create(name, owner.id, spec, actor=principal.name, repeat=repeat)
        services.changed()
        response.headers["location"] = f"{request.url.path}/{made.id}"
        return made

    @router.delete(
        "/tokens/{token_id}",
        operation_id="revoke_token",
        summary="Revoke an admin token",
        description="It is refused from now on, on every node within a second.",
        status_code=204,
        response_description="It is gone.",
    )
    def revoke_token(principal: Principal, token_id: TokenId) -> None:
        _, admin_id = _visible(services, principal, token_id)
        if admin_id != principal.id:
            if not principal.may("access:write"):
                raise ProblemError("forbidden", "Revoking others' tokens needs access:write.")
            if not _may_grant(principal, services.catalog.admins.get(admin_id).grants):
                raise ProblemError("forbidden", "This token's admin has more permissions than you: ask an owner.")
        tokens.revoke(token_id, actor=principal.name)
        services.changed()


def _visible(services: AdminServices, principal: AdminIdentity, id: str) -> tuple[Token, str]:
    """A token, and the id of its admin, if the principal may see it.

    Raises:
        CatalogError: `not-found`, also where the token belongs to another admin and may not be seen.
    """
    token, admin_id = services.catalog.tokens.get(id)
    if admin_id != principal.id and not principal.may("access:read"):
        raise absent("token", id)
    return token, admin_id


def _owner(services: AdminServices, principal: AdminIdentity, spec: TokenSpec) -> Admin:
    if spec.admin is None and not principal.id:
        raise invalid([FieldProblem("admin", "is needed: the gateway's own token belongs to no admin")])
    own = services.catalog.admins.get(principal.id) if principal.id else None
    if own is not None and spec.admin in (None, own.id, own.name):
        return own
    if not principal.may("access:write"):
        raise ProblemError("forbidden", "admin: creating tokens for others needs access:write.")
    assert spec.admin is not None
    return services.catalog.admins.get(spec.admin)


def _check_new_token(principal: AdminIdentity, owner: Admin, spec: TokenSpec) -> None:
    scopes = None if spec.scopes is None else frozenset(spec.scopes)
    if principal.scopes is not None and (scopes is None or not scopes <= principal.scopes):
        raise ProblemError("forbidden", f"scopes: your own token is limited to {', '.join(sorted(principal.scopes))}.")
    if not _may_grant(principal, owner.grants, scopes):
        raise ProblemError("forbidden", "This token would have more permissions than you: ask an owner.")
    if principal.expires_at is None or principal.may("access:write"):
        return
    if spec.expires_at is None or _utc(spec.expires_at) > principal.expires_at:
        raise ProblemError(
            "forbidden", f"expires_at: no later than your own token or session, {principal.expires_at.isoformat()}."
        )


def _may_grant(principal: AdminIdentity, grants: Sequence[GrantSpec], scopes: frozenset[str] | None = None) -> bool:
    """Whether the principal itself has every permission that the grants give within the scopes."""
    ids = {name: id for id, name in principal.names.items()}
    by_id = [(grant.role, ids.get(grant.project, grant.project) if grant.project else None) for grant in grants]
    return principal.may_all_of(AdminIdentity("", "", *effective_permissions(by_id, scopes)))


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
