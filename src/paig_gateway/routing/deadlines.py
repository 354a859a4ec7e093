"""How long a request may take: each try by itself, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.route import Provider, Route

SPARE = 0.02
"""Seconds before the deadline by which there must be a connection: one at the last moment would be in vain."""
TOLERANCE = 0.005
"""Seconds by which timers may differ."""


class Exchange(Protocol):
    """What the deadlines need to know of a request."""

    @property
    def route(self) -> Route: ...

    @property
    def started(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for a provider, in seconds."""

    connect: float = 10.0  # For a connection: a free place in the pool, name, TCP and TLS.
    first_byte: float = 600.0  # From the request's last byte to the answer's headers, and from these to the body's
    # first byte; see `send` on big bodies.
    idle: float = 600.0  # For the next chunk of the answer, while someone waits for it.
    total: float | None = None  # From `send()` to the last chunk.


@dataclass(frozen=True, slots=True)
class Deadlines:
    """What the server has, where neither the route nor the provider has anything else.

    Attributes:
        timeouts: Of a try.
        deadline: Of all tries together, in seconds after the request came; None for none.
    """

    timeouts: Timeouts
    deadline: float | None = None

    def of(self, exchange: Exchange) -> float | None:
        """The request's deadline, in seconds after it came."""
        return self.deadline if exchange.route.deadline is None else exchange.route.deadline

    def is_over(self, exchange: Exchange, now: float) -> bool:
        """Whether the deadline has passed, at that moment of the monotonic clock."""
        deadline = self.of(exchange)
        return deadline is not None and now - exchange.started >= deadline - TOLERANCE

    def of_try(self, exchange: Exchange, provider: Provider, now: float) -> Timeouts:
        """The timeouts of a try that begins now; none goes beyond the deadline."""
        own = {**provider.timeouts, **exchange.route.timeouts}
        limits = replace(self.timeouts, **own) if own else self.timeouts
        deadline = self.of(exchange)
        if deadline is None:
            return limits
        left = max(exchange.started + deadline - now, TOLERANCE)
        if limits.total is not None and limits.total < left:
            return limits
        return replace(
            limits,
            connect=min(limits.connect, max(left - SPARE, left / 2)),
            first_byte=min(limits.first_byte, left),
            total=left,
        )

    def ran_out(self, exchange: Exchange, tries: int, last: Provider | None) -> GatewayError:
        """What the client is told when the deadline has passed."""
        where = f" after {tries} {'try' if tries == 1 else 'tries'}, the last at '{last.name}'" if last else ""
        return GatewayError(
            "upstream-timeout",
            f"The {self.of(exchange):g} s that a request of the route '{exchange.route.name}' may take ran out{where}. "
            "Ask for a shorter answer, or have an administrator raise the deadline.",
        )
