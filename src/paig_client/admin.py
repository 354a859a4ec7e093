"""The admin API's clients: `AdminClient`, and `AsyncAdminClient` with the same methods to await.

```python
with AdminClient(token=token) as admin:
    key = admin.keys.create("ci", KeySpec(limits=LimitsSpec(daily=1)))
    print(admin.usage(by=["model"]).total.cost)
```
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ssl import SSLContext
from types import TracebackType
from typing import Self, TypeVar

import httpx2
from pydantic import ValidationError

from paig_client.addresses import ADMIN, DEFAULT_ROOT, root, without_proxy
from paig_client.admin_errors import (
    REFUSALS,
    AdminError,
    Conflict,
    GatewayUnreachable,
    Invalid,
    NotAuthorised,
    NotFound,
    NotTheAdminApi,
    Refused,
    in_words,
)
from paig_client.api.resources import (
    Admin,
    AuditEntry,
    BreakerChange,
    Key,
    NamedLimit,
    NewKey,
    Owner,
    OwnPrice,
    Problem,
    Project,
    Provider,
    Request,
    Route,
)
from paig_client.api.resources import AppliedConfig as Plan
from paig_client.api.resources import PlannedChange as Change
from paig_client.api.specs import AdminSpec, KeySpec, NamedLimitSpec, OwnerSpec, PriceSpec, ProviderSpec, RouteSpec
from paig_client.endpoints import (
    ApiCall,
    AsyncSide,
    CollectionCalls,
    KeyCalls,
    MadeT,
    ModelT,
    ProviderCalls,
    QueryValue,
    ReportCalls,
    SpecT,
    SyncSide,
    TokenCalls,
)

__all__ = [
    "AdminClient",
    "AdminError",
    "AsyncAdminClient",
    "Change",
    "Conflict",
    "Event",
    "GatewayUnreachable",
    "Invalid",
    "NotAuthorised",
    "NotFound",
    "NotTheAdminApi",
    "Plan",
    "Refused",
]

T = TypeVar("T")

TIMEOUT = 30.0
QUIET = 45.0
"""A stream of events without a byte for this many seconds is dead; the gateway sends comments more often."""


@dataclass(frozen=True, slots=True)
class Event:
    """One of the gateway's events.

    Attributes:
        id: Where to continue, as `last_event_id`.
        name: `request` for a finished request, `change` for a change of the catalogue, `state` for one of a breaker,
            `dropped` before the gateway cuts off a reader that is too slow.
        request: The ledger's row, for `request`.
        change: The audit log's entry, for `change`.
        state: The breaker's change, for `state`.
        data: The event's data as received.
    """

    id: str
    name: str
    request: Request | None
    change: AuditEntry | None
    state: BreakerChange | None
    data: str


class Collection(CollectionCalls[SpecT, ModelT, MadeT]):
    """The objects of one kind: `list`, `get`, `create`, `update`, `delete`."""

    def __init__(self, side: SyncSide, path: str, model: type[ModelT], made: type[MadeT]) -> None:
        self._side, self.path, self.model, self.made = side, path, model, made

    def send(self, call: ApiCall[T], /) -> T:
        """The call's answer."""
        return self._side.send(call)


class AsyncCollection(CollectionCalls[SpecT, ModelT, MadeT]):
    """The objects of one kind: `list`, `get`, `create`, `update`, `delete`, each to be awaited."""

    def __init__(self, side: AsyncSide, path: str, model: type[ModelT], made: type[MadeT]) -> None:
        self._side, self.path, self.model, self.made = side, path, model, made

    async def send(self, call: ApiCall[T], /) -> T:
        """The call's answer."""
        return await self._side.send(call)


class Keys(KeyCalls, Collection[KeySpec, Key, NewKey]):
    """A collection that also has `rotate`, `disable`, `block` and `enable`."""


class AsyncKeys(KeyCalls, AsyncCollection[KeySpec, Key, NewKey]):
    """A collection that also has `rotate`, `disable`, `block` and `enable`, each to be awaited."""


class Providers(ProviderCalls, Collection[ProviderSpec, Provider, Provider]):
    """A collection that also has `test` and `health`."""


class AsyncProviders(ProviderCalls, AsyncCollection[ProviderSpec, Provider, Provider]):
    """A collection that also has `test` and `health`, to be awaited."""


class Tokens(TokenCalls):
    """Tokens of the admin API: `list`, `get`, `create`, `revoke`."""

    def __init__(self, side: SyncSide) -> None:
        self._side = side

    def send(self, call: ApiCall[T], /) -> T:
        """The call's answer."""
        return self._side.send(call)


class AsyncTokens(TokenCalls):
    """Tokens of the admin API: `list`, `get`, `create`, `revoke`, each to be awaited."""

    def __init__(self, side: AsyncSide) -> None:
        self._side = side

    async def send(self, call: ApiCall[T], /) -> T:
        """The call's answer."""
        return await self._side.send(call)


class AdminClient(ReportCalls):
    """The admin API of the gateway at `url`, for synchronous code.

    Every method raises an `AdminError`: `GatewayUnreachable`, `NotAuthorised`, `NotFound`, `Conflict`, `Invalid`,
    another `Refused`, or `NotTheAdminApi`.

    Args:
        url: The gateway's root address, or its `…/proxy`.
        token: The admin token, or an admin's own; empty for a login by single sign-on.
        timeout: Seconds that each step of a request may take.
        verify: How to verify TLS, as for `httpx2.Client`.
    """

    def __init__(
        self, url: str = DEFAULT_ROOT, *, token: str, timeout: float = TIMEOUT, verify: SSLContext | bool = True
    ) -> None:
        self.url = root(url)
        self._http = httpx2.Client(
            base_url=self.url + ADMIN,
            headers=_headers(token),
            timeout=_timeout(timeout),
            verify=verify,
            mounts=without_proxy(self.url),
        )
        self.providers = Providers(self, "providers", Provider, Provider)
        self.routes: Collection[RouteSpec, Route, Route] = Collection(self, "routes", Route, Route)
        self.prices: Collection[PriceSpec, OwnPrice, OwnPrice] = Collection(self, "prices", OwnPrice, OwnPrice)
        self.projects: Collection[OwnerSpec, Project, Project] = Collection(self, "projects", Project, Project)
        self.users: Collection[OwnerSpec, Owner, Owner] = Collection(self, "users", Owner, Owner)
        self.keys = Keys(self, "keys", Key, NewKey)
        self.admins: Collection[AdminSpec, Admin, Admin] = Collection(self, "admins", Admin, Admin)
        self.named_limits: Collection[NamedLimitSpec, NamedLimit, NamedLimit] = Collection(
            self, "named-limits", NamedLimit, NamedLimit
        )
        self.tokens = Tokens(self)

    def send(self, call: ApiCall[T], /) -> T:
        """Send a described call and read its answer."""
        with _failures(self.url):
            answer = self._http.request(
                call.method, call.path, params=_query(call.query), json=call.body, headers=call.headers
            )
        return _read(call, answer)

    def events(
        self, *, last_event_id: str | None = None, on_open: Callable[[], None] | None = None
    ) -> Generator[Event]:
        """Events from now on, or since `last_event_id`, until the gateway ends the stream.

        `on_open` is called when the stream is open: what it reads and the events together miss nothing.

        Raises:
            GatewayUnreachable: The connection broke or fell silent; continue with the last event's id.
        """
        with _failures(self.url), self._http.sse("events", headers=_resume(last_event_id), timeout=_quiet()) as source:
            if not source.response.is_success:
                source.response.read()
                raise _refusal(source.response)
            if on_open is not None:
                on_open()
            for event in source:
                yield _event(event)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncAdminClient(ReportCalls):
    """The admin API of the gateway at `url`, for asynchronous code; otherwise like `AdminClient`."""

    def __init__(
        self, url: str = DEFAULT_ROOT, *, token: str, timeout: float = TIMEOUT, verify: SSLContext | bool = True
    ) -> None:
        self.url = root(url)
        self._http = httpx2.AsyncClient(
            base_url=self.url + ADMIN,
            headers=_headers(token),
            timeout=_timeout(timeout),
            verify=verify,
            mounts=without_proxy(self.url),
        )
        self.providers = AsyncProviders(self, "providers", Provider, Provider)
        self.routes: AsyncCollection[RouteSpec, Route, Route] = AsyncCollection(self, "routes", Route, Route)
        self.prices: AsyncCollection[PriceSpec, OwnPrice, OwnPrice] = AsyncCollection(
            self, "prices", OwnPrice, OwnPrice
        )
        self.projects: AsyncCollection[OwnerSpec, Project, Project] = AsyncCollection(
            self, "projects", Project, Project
        )
        self.users: AsyncCollection[OwnerSpec, Owner, Owner] = AsyncCollection(self, "users", Owner, Owner)
        self.keys = AsyncKeys(self, "keys", Key, NewKey)
        self.admins: AsyncCollection[AdminSpec, Admin, Admin] = AsyncCollection(self, "admins", Admin, Admin)
        self.named_limits: AsyncCollection[NamedLimitSpec, NamedLimit, NamedLimit] = AsyncCollection(
            self, "named-limits", NamedLimit, NamedLimit
        )
        self.tokens = AsyncTokens(self)

    async def send(self, call: ApiCall[T], /) -> T:
        """Send a described call and read its answer."""
        with _failures(self.url):
            answer = await self._http.request(
                call.method, call.path, params=_query(call.query), json=call.body, headers=call.headers
            )
        return _read(call, answer)

    async def events(self, *, last_event_id: str | None = None) -> AsyncGenerator[Event]:
        """What happens from now on, or since `last_event_id`; ends when the gateway ends it.

        Raises:
            GatewayUnreachable: The connection broke or fell silent; continue with the last event's id.
        """
        with _failures(self.url):
            async with self._http.sse("events", headers=_resume(last_event_id), timeout=_quiet()) as source:
                if not source.response.is_success:
                    await source.response.aread()
                    raise _refusal(source.response)
                async for event in source:
                    yield _event(event)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _headers(token: str) -> dict[str, str]:
    accept = {"Accept": "application/json, application/problem+json"}
    return {"Authorization": f"Bearer {token}", **accept} if token else accept


def _timeout(seconds: float) -> httpx2.Timeout:
    return httpx2.Timeout(seconds, connect=min(seconds, 5))


def _quiet() -> httpx2.Timeout:
    return httpx2.Timeout(TIMEOUT, connect=5, read=QUIET)


def _resume(last_event_id: str | None) -> dict[str, str]:
    return {"Last-Event-ID": last_event_id} if last_event_id else {}


def _query(query: Mapping[str, QueryValue] | None) -> dict[str, list[str]]:
    return {name: _values(value) for name, value in (query or {}).items()}


def _values(value: QueryValue) -> list[str]:
    if isinstance(value, datetime):
        return [value.astimezone(UTC).isoformat().replace("+00:00", "Z")]
    return [str(value)] if isinstance(value, (str, int)) else list(value or ())


@contextmanager
def _failures(url: str) -> Iterator[None]:
    """The HTTP client's failures as `GatewayUnreachable`."""
    try:
        yield
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        silent = "it took too long" if isinstance(error, httpx2.TimeoutException) else type(error).__name__
        raise GatewayUnreachable(url, in_words(error) or silent) from error


def _read(call: ApiCall[T], answer: httpx2.Response) -> T:
    if not answer.is_success:
        raise _refusal(answer)
    try:
        return call.read(answer.content)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        where = f"{call.method} {answer.request.url.path}"
        raise NotTheAdminApi(f"What answers at {_address(answer)} is not this version's admin API ({where})") from error


def _address(answer: httpx2.Response) -> str:
    return answer.request.url.netloc.decode("ascii")


def _refusal(answer: httpx2.Response) -> AdminError:
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        title = f"HTTP {answer.status_code} {answer.reason_phrase}"
        if answer.status_code < 500:  # a proxy in front of a stopped gateway also answers with these
            return NotTheAdminApi(f"What answers at {_address(answer)} is not a paig gateway: it says {title}")
        problem = Problem(
            type="about:blank", title=title, status=answer.status_code, detail=answer.text[:200], code="http"
        )
    return REFUSALS.get(answer.status_code, Refused)(problem, _fields(answer))


def _fields(answer: httpx2.Response) -> list[tuple[str, str]]:
    """The errors of single fields in a problem: an extension member, as RFC 9457 allows."""
    try:
        return [(error["field"], error["message"]) for error in answer.json()["errors"]]
    except (ValueError, KeyError, TypeError):
        return []


def _event(event: httpx2.ServerSentEvent) -> Event:
    try:
        row = Request.model_validate_json(event.data) if event.event == "request" else None
        change = AuditEntry.model_validate_json(event.data) if event.event == "change" else None
        state = BreakerChange.model_validate_json(event.data) if event.event == "state" else None
    except ValidationError as error:
        raise NotTheAdminApi("an event is not what this version's admin API sends") from error
    return Event(event.id, event.event, row, change, state, event.data)
