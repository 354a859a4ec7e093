"""Keys: the endpoints of all objects, and those of keys alone. The ledger tells whether a cap is used up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from paig_client.api.resources import Key, NewKey
from paig_client.api.specs import KeySpec
from paig_client.api.vocabulary import KeyState, KeyStatus
from paig_gateway.admin.access import Guarded, Principal
from paig_gateway.admin.names import check_names
from paig_gateway.admin.objects import (
    TAGGED,
    Cursor,
    Limit,
    ObjectApi,
    Page,
    Reference,
    Sort,
    absent,
    filterable,
    filtered,
    page,
    tagged,
    with_fields,
)
from paig_gateway.admin.problems import FieldProblem, ProblemError, invalid
from paig_gateway.admin.roles import AdminIdentity
from paig_gateway.admin.services import AdminServices
from paig_gateway.catalog import CatalogError
from paig_gateway.catalog.idempotency import Repeat
from paig_gateway.catalog.keys import MAX_OVERLAP
from paig_gateway.ledger.balances import limit_balances

Overlap = Annotated[
    int,
    Query(
        ge=0,
        le=MAX_OVERLAP // timedelta(seconds=1),
        description="How many seconds the old secret is still accepted.",
    ),
]
OwnerRef = tuple[str, str]
"""An owner's kind and name."""


class PermittedKeys:
    """The catalogue's keys, as far as the principal may read or change them.

    Keys that a cap keeps from spending have the status `limit-exceeded`.
    """

    def __init__(self, services: AdminServices, principal: AdminIdentity) -> None:
        """Wrap the catalogue's keys."""
        self._services = services
        self._keys = services.catalog.keys
        self._asker = principal
        self._seen = principal.project_names("catalog:read") if principal.may_somewhere("catalog:read") else None
        self._theirs = principal.project_names("keys:write")

    def list(self) -> Sequence[Key]:
        """Every key that the principal may see."""
        judged = self._judged()
        return [judged(key) for key in self._keys.list() if self._seen is None or key.project in self._seen]

    def get(self, reference: str) -> Key:
        return self._judged()(self._get(reference))

    def create(self, name: str, spec: KeySpec, *, actor: str, repeat: Repeat[NewKey] | None = None) -> NewKey:
        self._check(spec.model_dump(exclude_defaults=True))
        if self._theirs is not None and spec.project not in self._theirs:
            raise self._elsewhere()
        self._check_name(name, spec.project)
        try:
            return self._keys.create(name, spec, actor=actor, repeat=repeat)
        except CatalogError as error:
            if error.code != "conflict" or error.field or self._sees(name):
                raise
            # Names are unique in the whole gateway; the answer says nothing else of another project's key.
            field = FieldProblem("name", "this name is not free: choose another")
            raise ProblemError("conflict", str(field), fields=[field]) from None

    def update(self, reference: str, changes: Mapping[str, Any], *, actor: str, version: int | None = None) -> Key:
        self._check(changes)
        if self._theirs is not None and "project" in changes and changes["project"] not in self._theirs:
            raise self._elsewhere()
        id, version = self._mine(reference, version)
        return self._judged()(self._keys.update(id, changes, actor=actor, version=version))

    def delete(self, reference: str, *, actor: str, version: int | None = None) -> None:
        id, version = self._mine(reference, version)
        self._keys.delete(id, actor=actor, version=version)

    def rotate(self, reference: str, *, actor: str, overlap: timedelta = timedelta()) -> NewKey:
        """Give a key a new secret."""
        id, version = self._mine(reference)
        return self._keys.rotate(id, actor=actor, version=version, overlap=overlap)

    def set_state(self, reference: str, state: KeyState, *, actor: str) -> Key:
        """Disable or enable a key."""
        id, version = self._mine(reference)
        if self._theirs is not None and self._get(id).status == "blocked":
            raise ProblemError("forbidden", "The key is blocked: enabling it needs keys:write in the whole gateway.")
        return self._judged()(self._keys.set_state(id, state, actor=actor, version=version))

    def _judged(self) -> Callable[[Key], Key]:
        """Add what the catalogue does not have: whether a cap is used up, and the key's last use."""
        spent, uses = self._spent(), self._services.key_uses.latest(self._services.engine)

        def judged(key: Key) -> Key:
            if (use := uses.get(key.id)) is not None:
                key = key.model_copy(update={"last_used_at": use.at, "last_used_from": use.address})
            return _with_status(key, spent)

        return judged

    def _sees(self, name: str) -> bool:
        return any(key.name == name for key in self.list())

    def _get(self, reference: str) -> Key:
        key = self._keys.get(reference)
        if self._seen is not None and key.project not in self._seen:
            raise absent("key", reference)
        return key

    def _mine(self, reference: str, version: int | None = None) -> tuple[str, int | None]:
        """The key to change and the version that it must have: the one at which it was theirs."""
        if self._theirs is None:
            return reference, version
        key = self._get(reference)
        if key.project not in self._theirs:
            raise ProblemError("forbidden", f"This needs keys:write in the project '{key.project}'.")
        return key.id, key.version if version is None else version

    def _check(self, fields: Mapping[str, Any]) -> None:
        """Refuse what concerns more than the keys of a project."""
        if self._theirs is not None and fields.get("user") is not None:
            raise ProblemError("forbidden", "user: naming a user needs keys:write in the whole gateway.")
        if fields.get("allow_unmetered") and not self._asker.may("routing:write"):
            raise ProblemError(
                "forbidden",
                "allow_unmetered: this needs routing:write, because the key can then spend unseen.",
            )
        if fields.get("stored") == "shared" and not self._asker.may("routing:write"):
            raise ProblemError("forbidden", "stored: giving a key all objects of an account needs routing:write.")
        secret = fields.get("secret")
        if isinstance(secret, str) and not secret.startswith("value:") and not self._asker.may("routing:write"):
            raise ProblemError(
                "forbidden", "secret: a reference is read on the gateway's machine, which needs routing:write."
            )

    def _check_name(self, name: str, project: str | None) -> None:
        """Keep the names of a project's keys apart from all others, where the owner wants that.

        Raises:
            ProblemError: `invalid`.
        """
        if self._theirs is None or not self._services.catalog.secrets.references.allowed.names_by_project:
            return
        if ":" in name.removeprefix(f"{project}:") or not name.startswith(f"{project}:"):
            wrong = f"must be '{project}:' and a name without ':', because the owner keeps projects' names apart"
            raise invalid([FieldProblem("name", wrong)])

    def _elsewhere(self) -> ProblemError:
        names = ", ".join(f"'{name}'" for name in sorted(self._theirs or ()))
        return ProblemError("forbidden", f"project: you may make and change keys in {names} alone.")

    def _spent(self) -> set[OwnerRef]:
        """The owners of caps on money that are used up for the present window."""
        limits = limit_balances(self._services.engine, self._services.clock())
        return {
            (limit.owner_kind, limit.owner) for limit in limits if limit.unit == "usd" and limit.spent >= limit.amount
        }


class KeyPage(Page[Key]):
    """Some keys by name, and where the next page begins."""


KEYS: ObjectApi[KeySpec, Key, NewKey] = ObjectApi("key", "keys", KeySpec, Key, NewKey, KeyPage, PermittedKeys)


def key_routes(services: AdminServices) -> APIRouter:
    """The list of keys, and operations that only keys have."""
    router = APIRouter(prefix="/keys", tags=["keys"], route_class=Guarded)

    def list_keys(
        principal: Principal,
        project: Annotated[str | None, Query(description="Only those of this project.")] = None,
        user: Annotated[str | None, Query(description="Only those of this user.")] = None,
        status: Annotated[KeyStatus | None, Query(description="Only those in this state.")] = None,
        limit: Limit = None,
        cursor: Cursor = None,
        sort: Sort = None,
        **wanted: Any,
    ) -> KeyPage:
        check_names(services, principal, project=project, user=user)
        wanted |= {"project": project, "user": user, "status": status}
        return page(KeyPage, filtered(PermittedKeys(services, principal).list(), wanted), limit, cursor, sort)

    with_fields(list_keys, filterable(Key))
    router.get("", operation_id="list_keys", summary="List keys", response_model=KeyPage)(list_keys)

    @router.post(
        "/{name_or_id}/rotate",
        operation_id="rotate_key",
        summary="Give a key a new secret",
        description="The old one stops working at once, or after `overlap` seconds. Id, limits and spending stay.",
        response_model=NewKey,
    )
    def rotate(principal: Principal, name_or_id: Reference, overlap: Overlap = 0) -> NewKey:
        made = PermittedKeys(services, principal).rotate(
            name_or_id, actor=principal.name, overlap=timedelta(seconds=overlap)
        )
        services.changed()
        return made

    _add_switch(router, services, "disable", "disabled", "Refuse a key from now on")
    _add_switch(router, services, "block", "blocked", "Refuse a key until an administrator of all projects enables it")
    _add_switch(router, services, "enable", "active", "Accept a key again")
    return router


def _add_switch(router: APIRouter, services: AdminServices, verb: str, state: KeyState, summary: str) -> None:
    @router.post(
        f"/{{name_or_id}}/{verb}",
        operation_id=f"{verb}_key",
        summary=summary,
        response_model=Key,
        responses=TAGGED,
    )
    def switch(response: Response, principal: Principal, name_or_id: Reference) -> Key:
        key = PermittedKeys(services, principal).set_state(name_or_id, state, actor=principal.name)
        services.changed()
        return tagged(response, key)


def _with_status(key: Key, spent: set[OwnerRef]) -> Key:
    owners = {("organisation", "organisation"), ("project", key.project), ("user", key.user), ("key", key.name)}
    if key.status != "active" or not spent & owners:
        return key
    return key.model_copy(update={"status": "limit-exceeded"})
