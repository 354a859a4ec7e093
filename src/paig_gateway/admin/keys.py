"""Keys: as other objects, and what only keys can do. Whether a cap is used up is the ledger's to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from paig_client.schema import Key, KeySpec, KeyStatus, NewKey
from paig_gateway.admin.access import Asker, Guarded
from paig_gateway.admin.objects import TAGGED, Cursor, Kind, Limit, Page, Reference, page, tagged
from paig_gateway.admin.services import AdminServices
from paig_gateway.store.catalog.repeats import Repeat
from paig_gateway.store.reports import limit_status

Owner = tuple[str, str]
"""An owner's kind and name."""


class Keys:
    """The catalogue's keys, with `limit-exceeded` as the status of those that a cap keeps from spending."""

    def __init__(self, services: AdminServices) -> None:
        """Stand before the catalogue's keys."""
        self._services = services
        self._keys = services.catalog.keys

    def list(self) -> Sequence[Key]:
        """Every key."""
        spent = self._spent()
        return [_judged(key, spent) for key in self._keys.list()]

    def get(self, reference: str) -> Key:
        """One key."""
        return _judged(self._keys.get(reference), self._spent())

    def create(self, name: str, spec: KeySpec, *, actor: str, repeat: Repeat[NewKey] | None = None) -> NewKey:
        """Make a key."""
        return self._keys.create(name, spec, actor=actor, repeat=repeat)

    def update(self, reference: str, changes: Mapping[str, Any], *, actor: str, version: int | None = None) -> Key:
        """Change a key."""
        return _judged(self._keys.update(reference, changes, actor=actor, version=version), self._spent())

    def delete(self, reference: str, *, actor: str, version: int | None = None) -> None:
        """Remove a key."""
        self._keys.delete(reference, actor=actor, version=version)

    def rotate(self, reference: str, *, actor: str) -> NewKey:
        """Give a key a new secret."""
        return self._keys.rotate(reference, actor=actor)

    def disable(self, reference: str, *, actor: str) -> Key:
        """Refuse a key."""
        return _judged(self._keys.set_state(reference, "disabled", actor=actor), self._spent())

    def enable(self, reference: str, *, actor: str) -> Key:
        """Take a key again."""
        return _judged(self._keys.set_state(reference, "active", actor=actor), self._spent())

    def _spent(self) -> set[Owner]:
        """The owners of caps on money that are used up for the present window."""
        limits = limit_status(self._services.engine, self._services.clock())
        return {
            (limit.owner_kind, limit.owner)
            for limit in limits
            if limit.unit == "usd" and Decimal(limit.spent) >= Decimal(limit.amount)
        }


class KeyPage(Page[Key]):
    """Some keys by name, and where the next page begins."""


KEYS: Kind[KeySpec, Key, NewKey] = Kind("key", "keys", KeySpec, Key, NewKey, KeyPage, Keys)


def key_routes(services: AdminServices) -> APIRouter:
    """The list of keys, and what can be done with keys alone."""
    router = APIRouter(prefix="/keys", tags=["keys"], route_class=Guarded)
    keys = Keys(services)

    @router.get("", operation_id="list_keys", summary="List keys", response_model=KeyPage)
    def list_keys(
        project: Annotated[str | None, Query(description="Only those of this project.")] = None,
        user: Annotated[str | None, Query(description="Only those of this user.")] = None,
        status: Annotated[KeyStatus | None, Query(description="Only those in this state.")] = None,
        limit: Limit = None,
        cursor: Cursor = None,
    ) -> KeyPage:
        wanted = {"project": project, "user": user, "status": status}
        found = [
            key for key in keys.list() if all(value in (None, getattr(key, name)) for name, value in wanted.items())
        ]
        return page(KeyPage, found, limit, cursor)

    @router.post(
        "/{name_or_id}/rotate",
        operation_id="rotate_key",
        summary="Give a key a new secret",
        description="The old one stops working at once. Id, limits and what is spent of them stay.",
        response_model=NewKey,
    )
    def rotate(asker: Asker, name_or_id: Reference) -> NewKey:
        made = keys.rotate(name_or_id, actor=asker.name)
        services.changed()
        return made

    @router.post(
        "/{name_or_id}/disable",
        operation_id="disable_key",
        summary="Refuse a key from now on",
        response_model=Key,
        responses=TAGGED,
    )
    def disable(response: Response, asker: Asker, name_or_id: Reference) -> Key:
        key = keys.disable(name_or_id, actor=asker.name)
        services.changed()
        return tagged(response, key)

    @router.post(
        "/{name_or_id}/enable",
        operation_id="enable_key",
        summary="Take a key again",
        response_model=Key,
        responses=TAGGED,
    )
    def enable(response: Response, asker: Asker, name_or_id: Reference) -> Key:
        key = keys.enable(name_or_id, actor=asker.name)
        services.changed()
        return tagged(response, key)

    return router


def _judged(key: Key, spent: set[Owner]) -> Key:
    owners = {("organisation", "organisation"), ("project", key.project), ("user", key.user), ("key", key.name)}
    if key.status != "active" or not spent & owners:
        return key
    return key.model_copy(update={"status": "limit-exceeded"})
