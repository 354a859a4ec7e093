"""The admin API's endpoints, each described once for the client that waits and for the one that is awaited.

A description is a method that returns a `Call`; nothing here does any I/O. The descriptor `endpoint` turns it into a
method that sends the call, at once or as a coroutine, by the side that it is looked up on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, Self, TypeVar, overload
from urllib.parse import quote

from pydantic import BaseModel

from paig_client.schema import (
    AuditEntry,
    Health,
    Key,
    KeySpec,
    LimitStatus,
    NewKey,
    Request,
    RequestPage,
    Spec,
    UsageReport,
)

P = ParamSpec("P")
T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)
SpecT = TypeVar("SpecT", bound=Spec)
MadeT = TypeVar("MadeT", bound=BaseModel)

GroupBy = Literal["day", "hour", "key", "project", "user", "model", "provider", "route"]
QueryValue = str | int | datetime | Iterable[str] | None
Reader = Callable[[bytes], T]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request to the admin API, and how its answer's body is read."""

    method: str
    path: str
    read: Reader[T]
    query: Mapping[str, QueryValue] | None = None
    body: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a plan: what `apply` did, or would do."""

    action: str
    kind: str
    name: str
    changes: Mapping[str, object]


class SyncSide(Protocol):
    """Sends a call and waits."""

    def send(self, call: Call[T], /) -> T:
        """The call's answer."""
        ...


class AsyncSide(Protocol):
    """Sends a call and is awaited."""

    async def send(self, call: Call[T], /) -> T:
        """The call's answer."""
        ...


class endpoint(Generic[P, T]):
    """A method that describes a call, made into one that sends it."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[T]]) -> None:
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


def _one(model: type[ModelT]) -> Reader[ModelT]:
    return model.model_validate_json


def _items(model: type[ModelT]) -> Reader[list[ModelT]]:
    return lambda content: [model.model_validate(item) for item in json.loads(content)["items"]]


def _plan(content: bytes) -> list[Change]:
    answer = json.loads(content)
    steps = answer["items"] if isinstance(answer, dict) else answer
    return [Change(step["action"], step["kind"], step["name"], step.get("changes") or {}) for step in steps]


def _at(path: str, name: str, *more: str) -> str:
    return "/".join((path, quote(name, safe=""), *more))


class CollectionCalls(Generic[SpecT, ModelT, MadeT]):
    """The objects of one kind, by name or id."""

    path: str
    model: type[ModelT]
    made: type[MadeT]

    @endpoint
    def list(self) -> Call[list[ModelT]]:
        """All of them."""
        return Call("GET", self.path, _items(self.model))

    @endpoint
    def get(self, name: str) -> Call[ModelT]:
        """One of them."""
        return Call("GET", _at(self.path, name), _one(self.model))

    @endpoint
    def create(self, name: str, spec: SpecT) -> Call[MadeT]:
        """Make one."""
        body = {"name": name, **spec.model_dump(mode="json", exclude_unset=True)}
        return Call("POST", self.path, _one(self.made), body=body)

    @endpoint
    def update(self, name: str, changes: SpecT | Mapping[str, object]) -> Call[ModelT]:
        """Change the fields that are given; a field given as None loses its value."""
        body = changes.model_dump(mode="json", exclude_unset=True) if isinstance(changes, BaseModel) else changes
        return Call("PATCH", _at(self.path, name), _one(self.model), body=body)

    @endpoint
    def delete(self, name: str) -> Call[None]:
        """Remove it; its rows in the ledger stay."""
        return Call("DELETE", _at(self.path, name), lambda _: None)


class KeyCalls(CollectionCalls[KeySpec, Key, NewKey]):
    """What only keys can do."""

    @endpoint
    def rotate(self, name: str) -> Call[NewKey]:
        """Give the key a new secret; the old one stops working. Limits and what is spent stay."""
        return Call("POST", _at(self.path, name, "rotate"), _one(NewKey))

    @endpoint
    def disable(self, name: str) -> Call[Key]:
        """Refuse the key from now on."""
        return Call("POST", _at(self.path, name, "disable"), _one(Key))

    @endpoint
    def enable(self, name: str) -> Call[Key]:
        """Take the key again."""
        return Call("POST", _at(self.path, name, "enable"), _one(Key))


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
        status: str | int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Call[RequestPage]:
        """Rows of the ledger, newest first; `cursor` is the previous page's `next_cursor`."""
        query: dict[str, QueryValue] = {
            **{"key": key, "project": project, "user": user, "model": model, "provider": provider},
            **{"status": status, "since": since, "until": until, "limit": limit, "cursor": cursor},
        }
        return Call("GET", "requests", _one(RequestPage), query)

    @endpoint
    def request(self, id: str) -> Call[Request]:
        """One row of the ledger, by the `x-paig-request-id` that the client got."""
        return Call("GET", _at("requests", id), _one(Request))

    @endpoint
    def usage(
        self, *, by: Iterable[GroupBy | str] = (), since: datetime | None = None, until: datetime | None = None
    ) -> Call[UsageReport]:
        """Totals by group; times are inclusive of `since`, exclusive of `until`."""
        return Call("GET", "usage", _one(UsageReport), {"by": list(by), "since": since, "until": until})

    @endpoint
    def limits(self) -> Call[list[LimitStatus]]:
        """Every limit, and where it stands."""
        return Call("GET", "limits", _items(LimitStatus))

    @endpoint
    def audit(self) -> Call[list[AuditEntry]]:
        """What was changed, by whom, newest first."""
        return Call("GET", "audit", _items(AuditEntry))

    @endpoint
    def health(self) -> Call[Health]:
        """The gateway's own state."""
        return Call("GET", "health", _one(Health))

    @endpoint
    def apply(self, config: str, *, dry_run: bool = False) -> Call[list[Change]]:
        """Bring the gateway to what the TOML text says, or with `dry_run` only say what would change."""
        return Call("POST", "apply", _plan, body={"config": config, "dry_run": dry_run})

    @endpoint
    def export(self) -> Call[str]:
        """The gateway's configuration as TOML text, secrets as references."""
        return Call("GET", "export", bytes.decode)
