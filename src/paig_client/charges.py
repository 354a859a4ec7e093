"""The cost of work, from the ledger: of an agent's run, or of all requests inside a `with`.

Each answer of the gateway names its request. These ids are noted when answers arrive; `spend_of` asks the gateway for
the cost of those requests, with the key that they were made with.

```python
with paig_client.spending() as work:
    client.chat.completions.create(…)
print(paig_client.spend_of(work).cost)
```
"""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from paig_client.addresses import root
from paig_client.attribution import HttpRequest, RequestHook
from paig_client.errors import TYPES, PaigError

if TYPE_CHECKING:
    from paig_client.api.resources import MyRequest
    from paig_client.api.vocabulary import Certainty

ID_HEADER = "x-paig-request-id"
MAX_RUNS = 1000
"""The most runs of agents whose requests are remembered."""
PAGE = 100
"""The most requests in one query."""
PAUSE = 0.05
"""Seconds between two queries about a request that is not settled yet."""
WAIT = 5.0

_CERTAINTIES: tuple[Certainty, ...] = ("exact", "estimated", "ceiling", "unknown")
"""From the best to the worst."""


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """Where to ask.

    Attributes:
        root: The gateway's root address.
        key: The gateway key.
    """

    root: str
    key: str = field(repr=False)

    @classmethod
    def of(cls, target: str, key: str) -> GatewayAccess:
        """The gateway of a route's address, `…/proxy/openai`."""
        return cls(root(target.rpartition("/")[0]), key)


@dataclass(frozen=True, slots=True)
class Noted:
    """A request that was answered: its id, and by which gateway."""

    id: str
    gateway: GatewayAccess


@dataclass(frozen=True, slots=True)
class Fitted:
    """An output maximum that the gateway set, so that the request fits what is left of a limit (`when_tight`).

    Attributes:
        field: The field of the request, such as `max_completion_tokens`.
        maximum: Its value, in tokens.
        cut: Whether the answer used all of it, so that it is probably not complete.
    """

    field: str
    maximum: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Charge:
    """One request and what it cost.

    Attributes:
        id: The request's id in the ledger.
        time: When it arrived.
        settled: Whether it is charged; until then its cost is shown as zero.
        model: The requested model.
        route: The gateway's route.
        provider: The provider that answered, or None.
        status: The HTTP status of the answer.
        cost: US dollars.
        certainty: How the cost is known; None until it is settled.
        certainty_reason: Why it is not exact.
        usage: The units that it used, such as `input_tokens`; each includes its cached, audio and reasoning parts.
        fitted: The output maximum that the gateway set, or None.
        refusal: Why the gateway refused it, or None.
    """

    id: str
    time: datetime
    settled: bool
    model: str
    route: str
    provider: str | None
    status: int | None
    cost: Decimal
    certainty: Certainty | None
    certainty_reason: str | None
    usage: Mapping[str, int | float]
    fitted: Fitted | None
    refusal: PaigError | None


@dataclass(frozen=True, slots=True)
class Spend:
    """What a piece of work cost.

    Attributes:
        charges: Its requests in order of time; each repetition by an SDK is a request of its own.
        missing: Ids that the gateway does not know, because their rows are pruned or many refusals share a row.
    """

    charges: tuple[Charge, ...]
    missing: tuple[str, ...] = ()

    @property
    def cost(self) -> Decimal:
        """US dollars."""
        return sum((charge.cost for charge in self.charges), Decimal(0))

    @property
    def input_tokens(self) -> int:
        """All input, cached parts included."""
        return self._count("input_tokens")

    @property
    def output_tokens(self) -> int:
        """All output, reasoning included."""
        return self._count("output_tokens")

    @property
    def certainty(self) -> Certainty:
        """How the cost is known: the certainty of the least certain request."""
        return max((charge.certainty or "exact" for charge in self.charges), key=_CERTAINTIES.index, default="exact")

    @property
    def settled(self) -> bool:
        """Whether every request is charged, so that the cost is final."""
        return all(charge.settled for charge in self.charges)

    @property
    def request_ids(self) -> tuple[str, ...]:
        """The requests' ids in the ledger."""
        return tuple(charge.id for charge in self.charges)

    @property
    def fitted(self) -> tuple[Fitted, ...]:
        """The output maxima that the gateway set."""
        return tuple(charge.fitted for charge in self.charges if charge.fitted is not None)

    @property
    def refusals(self) -> tuple[PaigError, ...]:
        """Why the gateway refused requests."""
        return tuple(charge.refusal for charge in self.charges if charge.refusal is not None)

    def _count(self, unit: str) -> int:
        return sum(int(charge.usage.get(unit, 0)) for charge in self.charges)


class Run(Protocol):
    """An agent's run, or the result of one, as pydantic-ai has them."""

    @property
    def run_id(self) -> str:
        """The run's id."""


_open: ContextVar[tuple[list[Noted], ...]] = ContextVar("paig_spending", default=())
_runs: OrderedDict[str, list[Noted]] = OrderedDict()
_lock = threading.Lock()


class spending:
    """Collect the requests made inside by any of paig's clients; `spend_of` returns their cost.

    Like tags, it applies to the code inside the `with`, including threads and tasks started there.
    """

    def __init__(self) -> None:
        self.noted: list[Noted] = []
        self._tokens: list[Token[tuple[list[Noted], ...]]] = []

    def __enter__(self) -> Self:
        self._tokens.append(_open.set((*_open.get(), self.noted)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open.reset(self._tokens.pop())


class run_spending(spending):
    """Collect the requests inside as those of one agent's run, even if another agent makes them."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.noted = _of_run(run_id)


def spend_of(work: Run | spending, *, wait: float = WAIT) -> Spend:
    """The cost of a run of a pydantic-ai agent, or of everything inside a `with spending()`.

    This blocks; on an event loop, await `async_spend_of` instead.

    Args:
        work: The result of a run, the run itself, or the value of `spending()`.
        wait: Seconds to wait for requests that are not settled yet; `Spend.settled` is whether all are.

    Raises:
        LookupError: The run is unknown: it made no request through paig's models, or a thousand runs came after it.
        AdminError: The gateway does not answer, or the key is no longer valid.
    """
    from paig_client.admin import AdminClient
    from paig_client.tls import verification

    until, rows = time.monotonic() + wait, dict[str, "MyRequest"]()
    for gateway, ids in _by_gateway(work).items():
        with AdminClient(gateway.root, token=gateway.key, verify=verification(gateway.root)) as client:
            for page in _pages(ids):
                rows |= _by_id(client.my_requests(page))
                while not _are_settled(rows, page) and time.monotonic() < until:
                    time.sleep(PAUSE)
                    rows |= _by_id(client.my_requests(page))
    return _spend(work, rows)


async def async_spend_of(work: Run | spending, *, wait: float = WAIT) -> Spend:
    """The async version of `spend_of`."""
    import anyio

    from paig_client.admin import AsyncAdminClient
    from paig_client.tls import verification

    until, rows = time.monotonic() + wait, dict[str, "MyRequest"]()
    for gateway, ids in _by_gateway(work).items():
        async with AsyncAdminClient(gateway.root, token=gateway.key, verify=verification(gateway.root)) as client:
            for page in _pages(ids):
                rows |= _by_id(await client.my_requests(page))
                while not _are_settled(rows, page) and time.monotonic() < until:
                    await anyio.sleep(PAUSE)
                    rows |= _by_id(await client.my_requests(page))
    return _spend(work, rows)


def note(headers: object, gateway: GatewayAccess) -> None:
    """Note the request that an answer belongs to, by the answer's headers."""
    id = _id_of(headers)
    if id is None:
        return
    noted = Noted(id, gateway)
    for place in _open.get():
        place.append(noted)
    if (run := _present_run()) is not None:
        place = _of_run(run)
        if not any(place is other for other in _open.get()):
            place.append(noted)


def _id_of(headers: object) -> str | None:
    if not isinstance(headers, Mapping):
        return None
    id = headers.get(ID_HEADER)
    return id if isinstance(id, str) else None


def _present_run() -> str | None:
    """The pydantic-ai run that a request belongs to, or None."""
    current = getattr(sys.modules.get("pydantic_ai._run_context"), "get_current_run_context", None)
    run_id = getattr(current() if current is not None else None, "run_id", None)
    return run_id if isinstance(run_id, str) else None


def _of_run(run_id: str) -> list[Noted]:
    """The list for the requests of a run; if there are too many runs, the oldest is dropped."""
    with _lock:
        place = _runs.setdefault(run_id, [])
        _runs.move_to_end(run_id)
        while len(_runs) > MAX_RUNS:
            _runs.popitem(last=False)
        return place


def _noted(work: Run | spending) -> Sequence[Noted]:
    if isinstance(work, spending):
        return work.noted
    with _lock:
        found = _runs.get(work.run_id)
    if found is None:
        raise LookupError(
            f"no request of the run {work.run_id} is known: it made none through paig's models, or {MAX_RUNS} runs came"
            " after it"
        )
    return found


def _by_gateway(work: Run | spending) -> Mapping[GatewayAccess, list[str]]:
    """The ids of each gateway's requests, each once."""
    found: dict[GatewayAccess, dict[str, None]] = {}
    for noted in tuple(_noted(work)):
        found.setdefault(noted.gateway, {})[noted.id] = None
    return {gateway: list(ids) for gateway, ids in found.items()}


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))


def _by_id(rows: Iterable[MyRequest]) -> dict[str, MyRequest]:
    return {row.id: row for row in rows}


def _are_settled(rows: Mapping[str, MyRequest], ids: Iterable[str]) -> bool:
    return all(rows[id].state == "settled" for id in ids if id in rows)


def _spend(work: Run | spending, rows: Mapping[str, MyRequest]) -> Spend:
    charges = sorted(map(_charge, rows.values()), key=lambda charge: (charge.time, charge.id))
    missing = dict.fromkeys(noted.id for noted in _noted(work) if noted.id not in rows)
    return Spend(tuple(charges), tuple(missing))


def _charge(row: MyRequest) -> Charge:
    usage = row.usage or {}
    return Charge(
        id=row.id,
        time=row.time,
        settled=row.state == "settled",
        model=row.model,
        route=row.route,
        provider=row.provider,
        status=row.status,
        cost=row.cost or Decimal(0),
        certainty=row.certainty,
        certainty_reason=row.certainty_reason,
        usage=usage,
        fitted=next(_fitted(row.fitted, usage), None),
        refusal=_refusal(row),
    )


def _fitted(text: str | None, usage: Mapping[str, int | float]) -> Iterator[Fitted]:
    """Parse `x-paig-fitted`: `max_completion_tokens=4096`."""
    name, _, value = (text or "").partition("=")
    if value.isdecimal():
        yield Fitted(name, int(value), usage.get("output_tokens", 0) >= int(value))


def _refusal(row: MyRequest) -> PaigError | None:
    if row.refusal is None or row.error is None:
        return None
    message = str(row.refusal.get("message") or f"the gateway refused the request: {row.error}")
    kind = TYPES.get(row.error, PaigError)
    return kind(row.error, message, status=row.status, details=row.refusal, request_id=row.id)


class HttpResponse(Protocol):
    """An answer of httpx or httpx2."""

    @property
    def request(self) -> HttpRequest:
        """What it answers."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What it carries."""


@dataclass(frozen=True, slots=True)
class ResponseHook:
    """A response hook for httpx clients: notes the answers of the gateway, and no others."""

    gateway: GatewayAccess

    def __call__(self, response: HttpResponse) -> None:
        if RequestHook.for_gateway(self.gateway.root).applies(response.request):
            note(response.headers, self.gateway)


@dataclass(frozen=True, slots=True)
class AsyncResponseHook:
    """The same for async clients."""

    hook: ResponseHook

    async def __call__(self, response: HttpResponse) -> None:
        self.hook(response)
