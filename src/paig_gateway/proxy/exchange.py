"""One request while it is served: `Exchange` is the request, `Outcome` its results so far."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote

from paig_client.api.vocabulary import Certainty
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.http import Headers
from paig_gateway.domain.limits import Limit
from paig_gateway.domain.money import format_usd
from paig_gateway.domain.route import ActiveRoute
from paig_gateway.formats.base import Call, Format, Json
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.pricing.answer import UsageReading
from paig_gateway.providers.endpoints import UNKNOWN, Endpoint, Operation
from paig_gateway.proxy.batch_lines import BatchLines
from paig_gateway.proxy.request import Attribution, Target, upload_session
from paig_gateway.proxy.trace_context import Trace
from paig_gateway.proxy.uploads import Upload
from paig_gateway.routing.candidates import Candidate, Session
from paig_gateway.routing.health import Try

# Ids must be unique, not secret; random bits from the system would cost a system call for each id.
_draw = random.Random(secrets.randbits(128))


def new_request_id(at: datetime) -> str:
    """An id that sorts by time."""
    return f"req_{int(at.timestamp() * 1000):011x}{_draw.getrandbits(64):016x}"


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class Exchange:
    """A request that was taken in.

    Attributes:
        id: `x-paig-request-id`.
        time: When it arrived.
        started: The same on the monotonic clock, in seconds.
        body: The body as it came.
        plain: The body without its content encoding.
        endpoint: The row of the table of endpoints.
        maximum: The output maximum that the gateway sets for each answer (`when_tight`), or None.
        lines: The lines of the batch that it creates, if they could be read.
        upload: The body, if it is streamed to the provider; `body` and `plain` are empty then.
        origin: The address at which the client reached the gateway, as `https://gateway.example`.
    """

    id: str
    time: datetime
    started: float
    caller: Caller
    route: ActiveRoute
    target: Target
    fmt: Format
    call: Call
    method: str
    headers: Headers
    body: bytes
    plain: bytes
    attribution: Attribution
    trace: Trace | None = None
    maximum: int | None = None
    endpoint: Endpoint = UNKNOWN
    lines: BatchLines | None = None
    upload: Upload | None = None
    origin: str = ""

    @property
    def operation(self) -> Operation | None:
        return self.endpoint.operation(self.method)

    @property
    def session(self) -> Session | None:
        """Its session: from its header, else from a field of its body."""
        named = self.attribution.session or self.call.session
        return (self.caller.key_id, named) if named else None

    def work_of(self, body: Json) -> str | None:
        """The provider's id of the work in an answer: from the path of a later look, else from the answer."""
        asked = self.fmt.stored(self.target.path) if self.fmt.later_look else None
        if asked is not None:
            return unquote(asked)
        return self.fmt.work_id(body) if self.fmt.work_id is not None else None

    @property
    def stored(self) -> str | None:
        """The stored object that it continues or asks for, which only one account at a provider has."""
        return self.call.stored or self.fmt.stored(self.target.path) or upload_session(self.target)

    def reservation(
        self,
        limits: tuple[Limit, ...],
        *,
        provider: str | None = None,
        model: str = "",
        ceiling: int = 0,
        tokens: int = 0,
    ) -> Reservation:
        """What the ledger holds for it.

        Args:
            provider: The first candidate's.
            model: The model, where the request itself does not name it.
            ceiling: Nanodollars.
        """
        said, ids = self.attribution, self.attribution.ids
        return Reservation(
            id=self.id,
            time=self.time,
            caller=self.caller,
            limits=limits,
            route=self.route.name,
            provider=provider,
            model=self.call.model or model,
            format=self.fmt.name,
            stream=self.call.stream,
            ceiling=ceiling,
            tokens=tokens,
            tags=said.tags,
            run=said.run,
            session=said.session,
            agent=ids.agent if ids else None,
            agent_parent=ids.parent if ids else None,
            agent_name=ids.name if ids else None,
            trace_id=self.trace.trace_id if self.trace else None,
        )


def new_attempt(candidate: Candidate, exchange: Exchange, clock: float) -> dict[str, object]:
    """A try that begins at a moment of the monotonic clock, as the wire model `Attempt` has it."""
    return {
        "provider": candidate.provider.name,
        "model": candidate.model,
        "credential": candidate.credential.id if candidate.credential.secret is not None else None,
        "cost": "0",
        "began_ms": round((clock - exchange.started) * 1000, 3),
    }


_ORDER: tuple[Certainty, ...] = ("exact", "estimated", "ceiling", "unknown")


@dataclass(slots=True)
class Outcome:
    """The results of a request so far.

    Attributes:
        attempts: Each try, as the wire model `Attempt` has it.
        candidate: The candidate that was tried last.
        at_work: Whether that candidate may be processing the request, and may bill for it.
        reading: The usage and cost of the answer.
        certainty: How the cost is known, over all tries.
        reasons: Why it is not exact.
        status: The status the client was sent.
        error: The gateway's code, or the provider's error type.
        dispatched: When the first try was sent, on the monotonic clock.
        first_byte: When the answer's first byte arrived, on the monotonic clock.
        body: The answer's body; a streamed answer is folded into one.
        text: Returns the text of a streamed answer, as far as it was kept.
        not_tried: Why members of the route were not tried, by provider.
        tried: Receives the result of the present try for its provider.
        reasons: Why the cost is not exact.
        excess: The stated cost as a multiple of the hold, where it is implausibly high.
        deferred: Whether its hold stays open: it created a batch, which is charged when its results arrive.
    """

    attempts: list[dict[str, object]] = field(default_factory=list)
    candidate: Candidate | None = None
    reading: UsageReading | None = None
    cost: int = 0
    certainty: Certainty = "exact"
    status: int | None = None
    error: str | None = None
    work_id: str | None = None
    dispatched: float | None = None
    first_byte: float | None = None
    answered: float | None = None
    body: Json | None = None
    text: Callable[[], str] | None = None
    not_tried: dict[str, str] = field(default_factory=dict)
    at_work: bool = False
    tried: Try | None = None
    reasons: tuple[str, ...] = ()
    excess: int | None = None
    deferred: bool = False
    _before: tuple[int, Certainty, tuple[str, ...]] = (0, "exact", ())

    def begin(self, candidate: Candidate, exchange: Exchange, clock: float) -> dict[str, object]:
        """Begin a try, at a moment of the monotonic clock; later charges belong to it."""
        self.candidate, self.at_work = candidate, True
        self._before = self.cost, self.certainty, self.reasons
        if self.dispatched is None:
            self.dispatched = clock
        attempt = new_attempt(candidate, exchange, clock)
        self.attempts.append(attempt)
        return attempt

    def charge(self, cost: int, certainty: Certainty, reason: str | None = None) -> None:
        """Add to the cost of the present try and of the request; the request is as certain as its least certain part.

        Args:
            cost: Nanodollars.
            certainty: How that part of the cost is known.
            reason: Why it is not exact; None if it is.
        """
        self.cost += cost
        self.certainty = max(self.certainty, certainty, key=_ORDER.index)
        if reason:
            self.reasons = tuple(dict.fromkeys((*self.reasons, reason)))
        if self.attempts:
            self.attempts[-1]["cost"] = format_usd(self.cost - self._before[0])

    def leave_out(self, candidates: Iterable[Candidate], why: str) -> None:
        """Note why members are not tried, except those that were tried with another credential."""
        tried = {attempt["provider"] for attempt in self.attempts}
        for candidate in candidates:
            if candidate.provider.name not in tried:
                self.not_tried.setdefault(candidate.provider.name, why)

    def undo(self) -> None:
        """Take back the present try's charge: its answer is relayed after all, and will be charged as an answer."""
        self.cost, self.certainty, self.reasons = self._before
        self.at_work = True
        self.attempts[-1]["cost"] = "0"

    def settlement(self, exchange: Exchange, now: datetime, clock: float) -> Settlement:
        """The ledger's row for this outcome.

        Args:
            clock: The same on the monotonic clock.
        """
        reading = self.reading
        extracted = reading.extracted if reading else None
        price = reading.price if reading else None
        total = clock - exchange.started
        upstream = (self.answered or clock) - self.dispatched if self.dispatched is not None else 0.0
        return Settlement(
            id=exchange.id,
            finished=now,
            cost=self.cost,
            certainty=self.certainty if self.attempts else None,
            usage=extracted.usage if extracted else None,
            raw_usage=kept_usage(extracted.raw) if extracted else None,
            price=price.identity(reading.modifiers) if reading and price else None,
            certainty_reason="; ".join(self.reasons)[:LONGEST_REASON] or None if self.attempts else None,
            cost_source=("provider" if reading.from_provider else "list") if reading and reading.extracted else None,
            list_price=reading.list_price if reading and reading.from_provider else None,
            provider=self.candidate.provider.name if self.candidate else None,
            status=self.status,
            error=self.error,
            refusal={"not_tried": dict(self.not_tried)} if self.not_tried else None,
            attempts=self.attempts,
            work_id=self.work_id,
            ms_total=round(total * 1000, 3),
            ms_first_byte=round((self.first_byte - exchange.started) * 1000, 3) if self.first_byte else None,
            ms_gateway=round((total - upstream) * 1000, 3),
            of_ceiling=reading.of_ceiling if reading and exchange.fmt.later_look else None,
        )


LONGEST_REASON = 500
"""Characters of the reason why a cost is not exact."""

DEEPEST_USAGE = 20
"""The deepest level of a provider's usage object that is kept."""


def kept_usage(raw: Mapping[str, object]) -> Mapping[str, object] | None:
    """A provider's usage object; None if it is too deep to be stored."""
    return raw if raw and _is_within(raw, DEEPEST_USAGE) else None


def _is_within(value: object, levels: int) -> bool:
    if levels <= 0:
        return False
    inner = value.values() if isinstance(value, (dict, Mapping)) else value if isinstance(value, list) else ()
    for part in inner:
        if type(part) is not int and not _is_within(part, levels - 1):
            return False
    return levels > 1 or not inner
