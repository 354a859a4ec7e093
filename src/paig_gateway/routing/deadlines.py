"""Deadlines of a request: for each try, and for all tries together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from paig_client.api.fields import Seconds, Spec
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.route import ActiveProvider, ActiveRoute

SPARE = 0.02
"""A connection must be open this many seconds before the deadline; a later one could not be used."""
TOLERANCE = 0.005
"""The tolerance of timers, in seconds."""


class TimedRequest(Protocol):
    """The parts of a request that the deadlines depend on."""

    @property
    def route(self) -> ActiveRoute: ...

    @property
    def started(self) -> float: ...


class Timeouts(Spec):
    """How long an upstream may take, in seconds."""

    connect: Seconds = 10.0
    """Until it has accepted the connection: a free place in the pool, name, TCP and TLS."""
    first_byte: Seconds = 600.0
    """Until its answer begins."""
    idle: Seconds = 300.0
    """Between two pieces of its answer."""
    total: Seconds = 3600.0
    """For the whole answer."""
    deadline: Seconds | None = None
    """For all tries together, from the arrival of the request to the end of its answer."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Deadlines from the settings of the route, the provider and the server, in this order.

    Attributes:
        timeouts: The server's.
    """

    timeouts: Timeouts

    def of(self, exchange: TimedRequest) -> float | None:
        """The request's deadline, in seconds after its arrival."""
        return self.timeouts.deadline if exchange.route.deadline is None else exchange.route.deadline

    def is_over(self, exchange: TimedRequest, now: float) -> bool:
        """Whether the deadline has passed, at that moment of the monotonic clock."""
        deadline = self.of(exchange)
        return deadline is not None and now - exchange.started >= deadline - TOLERANCE

    def of_try(self, exchange: TimedRequest, provider: ActiveProvider, now: float) -> Timeouts:
        """The timeouts of a try that begins now; none exceeds the deadline."""
        own = {**provider.timeouts, **exchange.route.timeouts}
        limits = self.timeouts.model_copy(update=own) if own else self.timeouts
        deadline = self.of(exchange)
        if deadline is None:
            return limits
        left = max(exchange.started + deadline - now, TOLERANCE)
        if limits.total < left:
            return limits
        within = {
            "connect": min(limits.connect, max(left - SPARE, left / 2)),
            "first_byte": min(limits.first_byte, left),
            "total": left,
        }
        return limits.model_copy(update=within)

    def ran_out(self, exchange: TimedRequest, tries: int, last: ActiveProvider | None) -> GatewayError:
        """The error for the client after the deadline."""
        where = f" after {tries} {'try' if tries == 1 else 'tries'}, the last at '{last.name}'" if last else ""
        return GatewayError(
            "upstream-timeout",
            f"The {self.of(exchange):g} s that a request of the route '{exchange.route.name}' may take ran out{where}. "
            "Ask for a shorter answer, or ask an administrator to raise the deadline.",
        )
