"""The admin API's endpoints, each described once for the synchronous and the asynchronous client.

A description is a method that returns a `ApiCall`; nothing here does any I/O. The descriptor `endpoint` turns it into a
method that sends the call: directly on the synchronous client, as a coroutine on the asynchronous one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload
from urllib.parse import quote

from pydantic import BaseModel

from paig_client.api.fields import Spec
from paig_client.api.resources import (
    Adopted,
    AuditEntry,
    AuditVerification,
    DeviceStart,
    DeviceState,
    Health,
    Identity,
    Key,
    LimitRaise,
    LimitRequest,
    LimitStatus,
    Me,
    MyRequest,
    MyRequestList,
    NewKey,
    NewToken,
    Organisation,
    PersonalKeyState,
    Provider,
    ProviderCheck,
    ProviderHealth,
    Pruned,
    Repricing,
    Request,
    RequestPage,
    Resource,
    Session,
    SessionTree,
    StoredObjectPage,
    Token,
    UsageReport,
)
from paig_client.api.resources import AppliedConfig as Plan
from paig_client.api.specs import (
    AdoptSpec,
    AnswerSpec,
    AskSpec,
    KeySpec,
    OrganisationSpec,
    ProviderSpec,
    RaiseSpec,
    TokenSpec,
)
from paig_client.api.vocabulary import GroupBy

P = ParamSpec("P")
T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=Resource)
WireT = TypeVar("WireT", bound=BaseModel)
SpecT = TypeVar("SpecT", bound=Spec)
MadeT = TypeVar("MadeT", bound=BaseModel)

QueryValue = str | int | datetime | Iterable[str] | None
Reader = Callable[[bytes], T]


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[T]):
    """One request to the admin API, and how its answer's body is read."""

    method: str
    path: str
    read: Reader[T]
    query: Mapping[str, QueryValue] | None = None
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] | None = None


class SyncSide(Protocol):
    """Sends a call and waits."""

    def send(self, call: ApiCall[T], /) -> T:
        """The call's answer."""


class AsyncSide(Protocol):
    """Sends a call and is awaited."""

    async def send(self, call: ApiCall[T], /) -> T:
        """The call's answer."""


class endpoint(Generic[P, T]):
    """Turns a method that describes a call into one that sends it."""

    def __init__(self, describe: Callable[Concatenate[Any, P], ApiCall[T]]) -> None:
        self.describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, side: None, owner: type) -> Self: ...
    @overload
    def __get__(self, side: SyncSide, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, side: AsyncSide, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, side: SyncSide | AsyncSide | None, owner: type) -> Any:
        if side is None:
            return self
        sender = side

        def send(*args: P.args, **kwargs: P.kwargs) -> T | Coroutine[Any, Any, T]:
            return sender.send(self.describe(sender, *args, **kwargs))

        return send


def _one(model: type[WireT]) -> Reader[WireT]:
    return model.model_validate_json


def _items(model: type[WireT]) -> Reader[list[WireT]]:
    return lambda content: [model.model_validate(item) for item in json.loads(content)["items"]]


def _unless_changed(seen: Resource | None) -> dict[str, str] | None:
    return {"If-Match": f'"{seen.id}.{seen.version}"'} if seen is not None else None


def _at(path: str, name: str, *more: str) -> str:
    return "/".join((path, quote(name, safe=""), *more))


class CollectionCalls(Generic[SpecT, ModelT, MadeT]):
    """The objects of one kind, by name or id."""

    path: str
    model: type[ModelT]
    made: type[MadeT]

    @endpoint
    def list(self) -> ApiCall[list[ModelT]]:
        """All of them."""
        return ApiCall("GET", self.path, _items(self.model))

    @endpoint
    def get(self, name: str) -> ApiCall[ModelT]:
        """One of them."""
        return ApiCall("GET", _at(self.path, name), _one(self.model))

    @endpoint
    def create(self, name: str, spec: SpecT) -> ApiCall[MadeT]:
        """Create one."""
        body = {"name": name, **spec.model_dump(mode="json", exclude_unset=True)}
        return ApiCall("POST", self.path, _one(self.made), body=body)

    @endpoint
    def update(
        self, name: str, changes: SpecT | Mapping[str, object], *, seen: ModelT | None = None
    ) -> ApiCall[ModelT]:
        """Change the fields that are given, limits one by one; a field given as None goes back to its default.

        With `seen`, the object as it was read: raises `Conflict` if it was changed since.
        """
        body = changes.model_dump(mode="json", exclude_unset=True) if isinstance(changes, BaseModel) else changes
        where = _at(self.path, name)
        return ApiCall("PATCH", where, _one(self.model), body=body, headers=_unless_changed(seen))

    @endpoint
    def delete(self, name: str, *, seen: ModelT | None = None) -> ApiCall[None]:
        """Remove it; its rows in the ledger stay. `seen` as for `update`."""
        return ApiCall("DELETE", _at(self.path, name), lambda _: None, headers=_unless_changed(seen))


class ProviderCalls(CollectionCalls[ProviderSpec, Provider, Provider]):
    """What only providers can do."""

    @endpoint
    def test(self, name: str) -> ApiCall[ProviderCheck]:
        """Have the gateway send the provider a small free request, and explain the result."""
        return ApiCall("POST", _at(self.path, name, "test"), _one(ProviderCheck))

    @endpoint
    def health(self) -> ApiCall[list[ProviderHealth]]:
        """The health of each provider: its breakers, and the results of the last five minutes."""
        return ApiCall("GET", "health/providers", _items(ProviderHealth))


class KeyCalls(CollectionCalls[KeySpec, Key, NewKey]):
    """What only keys can do."""

    @endpoint
    def rotate(self, name: str, *, overlap: timedelta | None = None) -> ApiCall[NewKey]:
        """Give the key a new secret. Limits and what is spent stay.

        Args:
            name: The key's name or id.
            overlap: How long the old secret is still accepted; not at all if left out.
        """
        query = {"overlap": int(overlap.total_seconds())} if overlap else None
        return ApiCall("POST", _at(self.path, name, "rotate"), _one(NewKey), query)

    @endpoint
    def disable(self, name: str) -> ApiCall[Key]:
        """Refuse the key until it is enabled again."""
        return ApiCall("POST", _at(self.path, name, "disable"), _one(Key))

    @endpoint
    def block(self, name: str) -> ApiCall[Key]:
        """Refuse the key until an administrator of all projects enables it."""
        return ApiCall("POST", _at(self.path, name, "block"), _one(Key))

    @endpoint
    def enable(self, name: str) -> ApiCall[Key]:
        """Accept the key again."""
        return ApiCall("POST", _at(self.path, name, "enable"), _one(Key))


class TokenCalls:
    """Tokens of the admin API."""

    @endpoint
    def list(self) -> ApiCall[list[Token]]:
        """Your own, or all if you may read them; the newest first."""
        return ApiCall("GET", "tokens", _items(Token))

    @endpoint
    def get(self, id: str) -> ApiCall[Token]:
        """One of them, by its id."""
        return ApiCall("GET", _at("tokens", id), _one(Token))

    @endpoint
    def create(self, name: str, spec: TokenSpec) -> ApiCall[NewToken]:
        """Create one; this is the only time that it is shown."""
        body = {"name": name, **spec.model_dump(mode="json", exclude_unset=True)}
        return ApiCall("POST", "tokens", _one(NewToken), body=body)

    @endpoint
    def revoke(self, id: str) -> ApiCall[None]:
        """Refuse it from now on."""
        return ApiCall("DELETE", _at("tokens", id), lambda _: None)


class ReportCalls:
    """What is not an object: the ledger, its sums, and the gateway itself."""

    @endpoint
    def requests(
        self,
        *,
        key: str | None = None,
        project: str | None = None,
        user: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        route: str | None = None,
        status: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        sort: str | None = None,
        tag: Iterable[str] = (),
        where: Mapping[str, str | None] | None = None,
    ) -> ApiCall[RequestPage]:
        """Rows of the ledger, newest first; `cursor` is the previous page's `next_cursor`.

        `sort` names a field to sort by, `-` in front for the largest first; `tag` is NAME=VALUE, or NAME for any value.
        `where` has values of further fields: `format`, `certainty`, `error`, `run`, `session`, `state` and so on.
        """
        query: dict[str, QueryValue] = {
            **{"key": key, "project": project, "user": user, "model": model, "provider": provider},
            **{"route": route, "status": status, "since": since, "until": until, "limit": limit, "cursor": cursor},
            **{"sort": sort, "tag": list(tag), **(where or {})},
        }
        return ApiCall("GET", "requests", _one(RequestPage), query)

    @endpoint
    def request(self, id: str) -> ApiCall[Request]:
        """One row of the ledger, by the `x-paig-request-id` that the client got."""
        return ApiCall("GET", _at("requests", id), _one(Request))

    @endpoint
    def usage(
        self,
        *,
        by: Iterable[GroupBy | str] = (),
        key: str | None = None,
        project: str | None = None,
        user: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        route: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        sort: str | None = None,
        limit: int | None = None,
    ) -> ApiCall[UsageReport]:
        """Totals by group, or by a tag's value as `tag:NAME`; from `since` on, and before `until`.

        `sort` names a group or a sum, `-` in front for the largest first; `limit` is how many groups at most.
        """
        query: dict[str, QueryValue] = {
            **{"by": list(by), "key": key, "project": project, "user": user, "model": model},
            **{"provider": provider, "route": route, "since": since, "until": until, "sort": sort, "limit": limit},
        }
        return ApiCall("GET", "usage", _one(UsageReport), query)

    @endpoint
    def sessions(
        self,
        *,
        key: str | None = None,
        project: str | None = None,
        user: str | None = None,
        model: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> ApiCall[list[Session]]:
        """Sessions of coding agents, the one with the latest request first."""
        query: dict[str, QueryValue] = {
            **{"key": key, "project": project, "user": user, "model": model},
            **{"since": since, "until": until, "limit": limit},
        }
        return ApiCall("GET", "sessions", _items(Session), query)

    @endpoint
    def session(self, id: str, *, key: str | None = None) -> ApiCall[SessionTree]:
        """One session as the tree of its agents; `key` where several keys have one of that id."""
        return ApiCall("GET", _at("sessions", id), _one(SessionTree), {"key": key})

    @endpoint
    def stop_session(self, id: str, *, key: str | None = None) -> ApiCall[SessionTree]:
        """Refuse a session's requests from now on."""
        return ApiCall("POST", _at("sessions", id, "stop"), _one(SessionTree), {"key": key})

    @endpoint
    def resume_session(self, id: str, *, key: str | None = None) -> ApiCall[SessionTree]:
        """Let a stopped session go on."""
        return ApiCall("POST", _at("sessions", id, "resume"), _one(SessionTree), {"key": key})

    @endpoint
    def stored_objects(
        self,
        *,
        provider: str | None = None,
        kind: str | None = None,
        key: str | None = None,
        project: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ApiCall[StoredObjectPage]:
        """Objects that providers store, with their owners; `cursor` is the previous page's `next_cursor`."""
        query: dict[str, QueryValue] = {
            **{"provider": provider, "kind": kind, "key": key, "project": project},
            **{"limit": limit, "cursor": cursor},
        }
        return ApiCall("GET", "objects", _one(StoredObjectPage), query)

    @endpoint
    def adopt_objects(self, spec: AdoptSpec) -> ApiCall[Adopted]:
        """Give a project the objects in an account that nothing owns."""
        body = spec.model_dump(mode="json", exclude_unset=True)
        return ApiCall("POST", "objects/adopt", _one(Adopted), body=body)

    @endpoint
    def reprice(
        self, *, model: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> ApiCall[Repricing]:
        """What finished requests would cost at the prices known now; changes nothing."""
        query: dict[str, QueryValue] = {"model": model, "since": since, "until": until}
        return ApiCall("GET", "usage/reprice", _one(Repricing), query)

    @endpoint
    def prune(self, before: datetime, *, key: str | None = None, user: str | None = None) -> ApiCall[Pruned]:
        """Remove the requests that began before a moment, of all or of one key or user; totals and limits stay."""
        given = {"before": before.isoformat(), "key": key, "user": user}
        body = {name: value for name, value in given.items() if value is not None}
        return ApiCall("POST", "usage/prune", _one(Pruned), body=body)

    @endpoint
    def record_spent(
        self, key: str, amount: Decimal | str, *, source: str, time: datetime | None = None
    ) -> ApiCall[Request]:
        """Count what a key spent at another gateway, in dollars; the same source is counted once."""
        body: dict[str, object] = {"amount": str(amount), "source": source}
        if time is not None:
            body["time"] = time.isoformat()
        return ApiCall("POST", _at("keys", key, "spent"), _one(Request), body=body)

    @endpoint
    def limits(self) -> ApiCall[list[LimitStatus]]:
        """Every limit with its balance."""
        return ApiCall("GET", "limits", _items(LimitStatus))

    @endpoint
    def raises(self) -> ApiCall[list[LimitRaise]]:
        """The limits that are raised for a while."""
        return ApiCall("GET", "limits/raises", _items(LimitRaise))

    @endpoint
    def raise_limit(self, spec: RaiseSpec) -> ApiCall[LimitRaise]:
        """Raise a limit for a while; it ends by itself."""
        body = spec.model_dump(mode="json", exclude_unset=True)
        return ApiCall("POST", "limits/raises", _one(LimitRaise), body=body)

    @endpoint
    def end_raise(self, id: str) -> ApiCall[None]:
        """End a raise now."""
        return ApiCall("DELETE", _at("limits/raises", id), lambda _: None)

    @endpoint
    def limit_requests(self, *, state: str | None = "open") -> ApiCall[list[LimitRequest]]:
        """Requests for more of a limit, the oldest first."""
        return ApiCall("GET", "limits/requests", _items(LimitRequest), {"state": state})

    @endpoint
    def approve_limit_request(self, id: str, spec: AnswerSpec) -> ApiCall[LimitRequest]:
        """Raise the limit as asked for."""
        body = spec.model_dump(mode="json", exclude_unset=True)
        return ApiCall("POST", _at("limits/requests", id, "approve"), _one(LimitRequest), body=body)

    @endpoint
    def decline_limit_request(self, id: str, spec: AnswerSpec) -> ApiCall[LimitRequest]:
        """Leave the limit as it is."""
        body = spec.model_dump(mode="json", exclude_unset=True)
        return ApiCall("POST", _at("limits/requests", id, "decline"), _one(LimitRequest), body=body)

    @endpoint
    def me(self) -> ApiCall[Me]:
        """The limits, spend and requests of the gateway key that this client uses as its token."""
        return ApiCall("GET", "me", _one(Me))

    @endpoint
    def my_requests(self, ids: Iterable[str]) -> ApiCall[list[MyRequest]]:
        """Requests of the gateway key that this client uses as its token, by id, at most a hundred."""
        read = _one(MyRequestList)
        return ApiCall("GET", "me/requests", lambda content: read(content).items, query={"id": list(ids)})

    @endpoint
    def ask_for_more(self, spec: AskSpec) -> ApiCall[LimitRequest]:
        """Ask for more of a limit, with a gateway key as the client's token."""
        body = spec.model_dump(mode="json", exclude_unset=True)
        return ApiCall("POST", "me/limit-requests", _one(LimitRequest), body=body)

    @endpoint
    def audit(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        kind: str | None = None,
        name: str | None = None,
        project: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        sort: str | None = None,
    ) -> ApiCall[list[AuditEntry]]:
        """The changes and their authors, newest first; `cursor` is the id of the last entry that was read."""
        query: dict[str, QueryValue] = {
            **{"actor": actor, "action": action, "kind": kind, "name": name, "project": project},
            **{"since": since, "until": until, "limit": limit, "cursor": cursor, "sort": sort},
        }
        return ApiCall("GET", "audit", _items(AuditEntry), query)

    @endpoint
    def verify_audit(self, *, expect: str | None = None) -> ApiCall[AuditVerification]:
        """Whether entries of the audit log were altered, removed or reordered; `expect` is a head kept elsewhere."""
        return ApiCall("GET", "audit/verify", _one(AuditVerification), {"expect": expect})

    @endpoint
    def start_login(self) -> ApiCall[DeviceStart]:
        """Begin a login by single sign-on; needs no token."""
        return ApiCall("POST", "sso/device", _one(DeviceStart))

    @endpoint
    def finish_login(self, handle: str) -> ApiCall[DeviceState]:
        """Ask how that login stands; its `token` is None until it is completed."""
        return ApiCall("POST", "sso/device/token", _one(DeviceState), body={"handle": handle})

    @endpoint
    def renew_key(self, handle: str) -> ApiCall[PersonalKeyState]:
        """Renew the personal key of a login; needs no token."""
        return ApiCall("POST", "sso/key", _one(PersonalKeyState), body={"handle": handle})

    @endpoint
    def end_key(self, handle: str) -> ApiCall[None]:
        """End the personal key of a login; needs no token."""
        return ApiCall("POST", "sso/key/end", lambda _: None, body={"handle": handle})

    @endpoint
    def logout(self) -> ApiCall[None]:
        """Revoke this client's token."""
        return ApiCall("POST", "logout", lambda _: None)

    @endpoint
    def whoami(self) -> ApiCall[Identity]:
        """Who the token's holder is, and what they may do."""
        return ApiCall("GET", "whoami", _one(Identity))

    @endpoint
    def health(self) -> ApiCall[Health]:
        """The gateway's own state."""
        return ApiCall("GET", "health", _one(Health))

    @endpoint
    def apply(self, config: str, *, dry_run: bool = False, prune: bool = False) -> ApiCall[Plan]:
        """Apply a configuration as TOML text, in one transaction.

        With `dry_run` only show the changes; with `prune` also delete what the text does not name.
        """
        return ApiCall("POST", "apply", _one(Plan), body={"config": config, "dry_run": dry_run, "prune": prune})

    @endpoint
    def organisation(self) -> ApiCall[OrganisationSpec]:
        """The settings and limits of the whole gateway."""
        return ApiCall("GET", "organisation", _one(OrganisationSpec))

    @endpoint
    def set_organisation(self, spec: OrganisationSpec) -> ApiCall[Organisation]:
        """Set the settings and limits of the whole gateway; fields left out are unset."""
        body = spec.model_dump(mode="json", exclude_unset=True, exclude={"warnings"})
        return ApiCall("PUT", "organisation", _one(Organisation), body=body)

    @endpoint
    def update_organisation(self, changes: Mapping[str, Any]) -> ApiCall[Organisation]:
        """Change settings and limits of the whole gateway; None unsets one, and fields left out stay."""
        return ApiCall("PATCH", "organisation", _one(Organisation), body=dict(changes))

    @endpoint
    def export(self) -> ApiCall[str]:
        """The gateway's configuration as TOML text, secrets as references."""
        return ApiCall("GET", "export", bytes.decode)
