"""Events of the data plane, for `telemetry`; `app` connects both."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.proxy import trace_context
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.trace_context import Trace

present_request: ContextVar[str] = ContextVar("present_request", default="")
"""The id of the request that this task serves, for whatever is logged on its way."""


class Watcher(Protocol):
    """Told of every request, on the event loop; it neither waits nor raises.

    The outcome keeps what there is to know of each try, so nothing needs to be told while a request is on its way.
    """

    def refused(self, request_id: str, error: GatewayError) -> None:
        """The gateway answered with an error of its own, perhaps before it knew who was asking."""

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        """A request is let through, its worst case held."""

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """A request is finished, or was refused after its key was known; called once for each."""


class Observer(Watcher, Protocol):
    """What the data plane needs: an observer, and a decision about traces."""

    def trace(self, caller: Caller, headers: Headers) -> Trace | None:
        """The trace that a request with those headers (lower-case names) belongs to, or None."""


class Unobserved:
    """An observer that does nothing."""

    def trace(self, caller: Caller, headers: Headers) -> Trace | None:
        """Pass the client's on."""
        return trace_context.read(headers)

    def refused(self, request_id: str, error: GatewayError) -> None:
        """Pass over it."""

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        """Pass over it."""

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """Pass over it."""


UNOBSERVED: Observer = Unobserved()
