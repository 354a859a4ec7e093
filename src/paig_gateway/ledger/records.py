"""What the ledger takes: a reservation before a request is dispatched, a settlement after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from paig_client.api.vocabulary import Certainty, CostSource
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import Limit
from paig_gateway.pricing.usage import Usage


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class Reservation:
    """A request that is about to be dispatched.

    Attributes:
        id: The request's id, `x-paig-request-id`; sorts by time.
        time: When it came; its windows and its prices are those of this moment.
        caller: The key that sent the request.
        limits: Every limit that binds it: the caller's, and the budget of its run.
        ceiling: The most it could cost, in nanodollars.
        tokens: The most tokens it could use, input and output together.
        session: What the client calls the session that it belongs to, or None.
        agent: The agent's id in the session; None for the main agent.
        agent_parent: The agent that started that agent; None for the main one.
        agent_name: What kind of agent it is.
        trace_id: The trace that it belongs to, 32 hex digits, or None.
    """

    id: str
    time: datetime
    caller: Caller
    limits: tuple[Limit, ...]
    route: str
    model: str
    format: str
    stream: bool
    ceiling: int
    tokens: int
    provider: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    run: str | None = None
    session: str | None = None
    agent: str | None = None
    agent_parent: str | None = None
    agent_name: str | None = None
    trace_id: str | None = None


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class Settlement:
    """How a request ended.

    Attributes:
        id: The reservation's id.
        finished: When it ended.
        cost: Its cost in nanodollars; never more than was held, unless the provider charged more.
        certainty: How the cost is known; None for a request that was never sent on.
        certainty_reason: Why the cost is not exact, or None.
        cost_source: Whether the cost is the provider's or by the price list; None if nothing was priced.
        list_price: The cost by the price list in nanodollars, if `cost` is the provider's own charge.
        usage: The counts, or None where the provider reported none.
        raw_usage: The provider's own usage object.
        price: The price's identity (`openai/gpt-5`), or None where nothing was priced.
        status: The HTTP status that the client was sent; None if it was sent none.
        error: The gateway's error code or the provider's error type, or None.
        refusal: The details of the gateway's own error, where it refused the request.
        attempts: Each try, as the wire model `Attempt` has it.
        work_id: The provider's name of the work, by which a later look at it is known.
        of_ceiling: For a correction, in place of `cost` and `usage`: the part that the work did cost of what was
            charged for it at its ceiling; None where these say it.
        ms_gateway: Milliseconds that the gateway itself took of `ms_total`.
    """

    id: str
    finished: datetime
    cost: int
    certainty: Certainty | None
    usage: Usage | None = None
    raw_usage: Mapping[str, object] | None = None
    price: str | None = None
    provider: str | None = None
    model: str | None = None
    status: int | None = None
    error: str | None = None
    refusal: Mapping[str, object] | None = None
    attempts: Sequence[Mapping[str, object]] = ()
    work_id: str | None = None
    ms_total: float | None = None
    ms_first_byte: float | None = None
    ms_gateway: float | None = None
    certainty_reason: str | None = None
    cost_source: CostSource | None = None
    list_price: int | None = None
    of_ceiling: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One line of a batch, which becomes a row of its own.

    Attributes:
        settlement: How it ended; its id is made of the batch's.
        model: The requested model.
        format: The API format of its request.
        reserved: What the batch held for it, in nanodollars.
        tags: The line's own tags, besides those of the batch.
    """

    settlement: Settlement
    model: str
    format: str
    reserved: int
    tags: Mapping[str, str]
