"""Attribution: tags, run budgets, sessions and agents of requests.

They apply to the code inside the `with`, including threads and tasks started there, and are sent as headers with every
request that the SDK clients and the registered pydantic-ai providers send to the gateway.

```python
with paig_client.tags(run="nightly", customer="acme"), paig_client.budget(usd=0.50) as run:
    agent.run_sync("…")
print(run)  # the run's id on its ledger rows
```
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

TAGS_HEADER, RUN_HEADER, BUDGET_HEADER = "x-paig-tags", "x-paig-run", "x-paig-run-budget"
SESSION_HEADER = "x-paig-session"
AGENT_HEADER, PARENT_HEADER, NAME_HEADER = "x-paig-agent", "x-paig-agent-parent", "x-paig-agent-name"
MAX_TAGS = 20
_PLAIN = re.compile(r"[\w.:/@ -]{1,128}")


@dataclass(frozen=True, slots=True)
class Frame:
    """An agent at work.

    Attributes:
        id: None for the session's main agent.
        parent: The agent that started it; None if that is the main one.
        name: What kind of agent it is, for people.
    """

    id: str | None
    parent: str | None
    name: str | None


_tags: ContextVar[Mapping[str, str]] = ContextVar("paig_tags", default={})  # noqa: B039  (never changed in place)
_run: ContextVar[tuple[str, str] | None] = ContextVar("paig_run", default=None)
_session: ContextVar[str | None] = ContextVar("paig_session", default=None)
_agent: ContextVar[Frame | None] = ContextVar("paig_agent", default=None)


class tags:
    """Tag the requests made inside; tags of an outer `with` stay unless they are set again.

    Args:
        named: Tags by name, for names that are not Python identifiers.
        more: Tags by name. Names and values are of letters, digits, spaces and `. : / @ _ -`, at most 128 of them.

    Raises:
        ValueError: A name or value is not valid, or there are more than 20.
    """

    def __init__(self, named: Mapping[str, object] | None = None, /, **more: object) -> None:
        self._added = {name: str(value) for name, value in {**(named or {}), **more}.items()}
        for name, value in self._added.items():
            _check(name, "a tag's name")
            _check(value, f"the tag {name}")
        self._tokens: list[Token[Mapping[str, str]]] = []

    def __enter__(self) -> None:
        merged = {**_tags.get(), **self._added}
        if len(merged) > MAX_TAGS:
            raise ValueError(f"there are more than {MAX_TAGS} tags")
        self._tokens.append(_tags.set(merged))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _tags.reset(self._tokens.pop())


class budget:
    """Bind the requests made inside to one budget: together they cannot cost more.

    The gateway reserves and enforces it; a request that has no room raises the SDK's own error for status 402, which
    `paig_client.from_exception` turns into `LimitExceeded` with `owner_kind == "run"`.

    Args:
        usd: US dollars, above zero, in whole nanodollars.
        run: The run's id, to continue one from elsewhere; the first request of a run fixes its budget.

    Raises:
        ValueError: The amount or the id is not valid.
    """

    def __init__(self, usd: Decimal | float | str, *, run: str | None = None) -> None:
        try:
            amount = Decimal(str(usd))
        except InvalidOperation:
            amount = Decimal("nan")
        if not amount.is_finite() or amount <= 0 or amount != round(amount, 9):
            raise ValueError(f"a budget is an amount of US dollars above zero, such as 0.50; not {usd!r}")
        if run is not None:
            _check(run, "a run's id")
        self.usd = amount
        self.run = run or uuid.uuid4().hex
        self._tokens: list[Token[tuple[str, str] | None]] = []

    def __enter__(self) -> str:
        self._tokens.append(_run.set((self.run, f"{self.usd:f}")))
        return self.run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run.reset(self._tokens.pop())


class session:
    """Make the requests inside one session: together in the ledger, and at one member of a route.

    Args:
        name: The name of the conversation, to continue one from elsewhere; generated unless given.

    Raises:
        ValueError: The name is not of letters, digits, spaces and `. : / @ _ -`, at most 128 of them.
    """

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            _check(name, "a session's name")
        self.name = name or uuid.uuid4().hex
        self._tokens: list[Token[str | None]] = []

    def __enter__(self) -> str:
        self._tokens.append(_session.set(self.name))
        return self.name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _session.reset(self._tokens.pop())


class agent:
    """Attribute the requests inside to an agent: a branch of the session's tree.

    The outermost agent of a session is its main one. Without a session around it, a new one begins.

    Args:
        name: What kind of agent it is, for people.
        id: Its id; generated unless given.
        session: The session that begins with it, unless there is one; generated unless given.

    Raises:
        ValueError: A name or an id is not of letters, digits, spaces and `. : / @ _ -`, at most 128 of them.
    """

    def __init__(self, name: str | None = None, *, id: str | None = None, session: str | None = None) -> None:
        for text, what in ((name, "an agent's name"), (id, "an agent's id"), (session, "a session's name")):
            if text is not None:
                _check(text, what)
        self.name, self.id, self.session = name, id or uuid.uuid4().hex, session or uuid.uuid4().hex
        self._tokens: list[tuple[Token[Frame | None], Token[str | None]]] = []

    def __enter__(self) -> None:
        around, present = _agent.get(), _session.get()
        frame = Frame(None, None, self.name) if around is None else Frame(self.id, around.id, self.name)
        self._tokens.append((_agent.set(frame), _session.set(present or self.session)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        of_agent, of_session = self._tokens.pop()
        _agent.reset(of_agent)
        _session.reset(of_session)


def headers() -> dict[str, str]:
    """The headers for requests that you send yourself; empty if there are no tags, budget, session or agent."""
    found: dict[str, str] = {}
    if named := _tags.get():
        found[TAGS_HEADER] = _Utf8(",".join(f"{name}={value}" for name, value in named.items()))
    if (run := _run.get()) is not None:
        found[RUN_HEADER], found[BUDGET_HEADER] = _Utf8(run[0]), run[1]
    if (named_session := _session.get()) is not None:
        found[SESSION_HEADER] = _Utf8(named_session)
        if (frame := _agent.get()) is not None:
            stated = {AGENT_HEADER: frame.id, PARENT_HEADER: frame.parent, NAME_HEADER: frame.name}
            found |= {name: _Utf8(value) for name, value in stated.items() if value is not None}
    return found


class _Utf8(str):
    """Header text that goes out as UTF-8 from HTTP libraries which would encode it as ASCII."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("utf-8", errors)


class _Url(Protocol):
    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int | None: ...


class _MutableHeaders(Protocol):
    encoding: str

    def __setitem__(self, name: str, value: str) -> None: ...
    def __contains__(self, name: object) -> bool: ...


class HttpRequest(Protocol):
    """A request of httpx or httpx2."""

    @property
    def url(self) -> _Url:
        """Where it goes."""

    @property
    def headers(self) -> _MutableHeaders:
        """What it carries."""


@dataclass(frozen=True, slots=True)
class RequestHook:
    """A request hook for httpx clients: adds the headers to requests that go to the gateway, and to no others."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def for_gateway(cls, base_url: str) -> RequestHook:
        """The hook for a gateway, by any address below its root."""
        parts = urlsplit(base_url)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        return cls(parts.scheme, parts.hostname or "", None if parts.port == default else parts.port)

    def __call__(self, request: HttpRequest) -> None:
        if self.applies(request):
            add(request, headers())

    def applies(self, request: HttpRequest) -> bool:
        """Whether a request goes to the gateway."""
        return (request.url.scheme, request.url.host, request.url.port) == (self.scheme, self.host, self.port)


def add(request: HttpRequest, more: Mapping[str, str]) -> None:
    """Add headers to a request."""
    for name, value in more.items():
        if not value.isascii():
            request.headers.encoding = "utf-8"  # else httpx stays with the one it guessed
        request.headers[name] = value


@dataclass(frozen=True, slots=True)
class AsyncRequestHook:
    """The same for async clients."""

    hook: RequestHook

    @classmethod
    def for_gateway(cls, base_url: str) -> AsyncRequestHook:
        """The hook for a gateway, by any address below its root."""
        return cls(RequestHook.for_gateway(base_url))

    async def __call__(self, request: HttpRequest) -> None:
        self.hook(request)


def _check(text: str, what: str) -> None:
    if not _PLAIN.fullmatch(text) or text != text.strip():
        raise ValueError(f"{what} may have only letters, digits, spaces and . : / @ _ - ; not {text!r}")
