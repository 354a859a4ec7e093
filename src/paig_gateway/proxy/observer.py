"""Events of the data plane, for `telemetry`; `app` connects both."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.trace_context import Trace, read_trace

present_request: ContextVar[str] = ContextVar("present_request", default="")
"""The id of the request that this task serves, for log lines."""


class Watcher(Protocol):
    """Gets the events of every request, on the event loop; it must not wait or raise.

    The outcome has the facts of each try, so there are no events while a request is being served.
    """

    def refused(self, request_id: str, error: GatewayError) -> None:
        """The gateway refused a request, perhaps before it knew the key."""

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        """A request was accepted and its worst case is held."""

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """A request finished, or was refused after its key was known; called once for each request."""


class Observer(Watcher, Protocol):
    """A watcher that also decides about traces."""

    def trace(self, caller: Caller, headers: Headers) -> Trace | None:
        """The trace of a request with these headers (lower-case names), or None."""


class Unobserved:
    """An observer that does nothing."""

    def trace(self, caller: Caller, headers: Headers) -> Trace | None:
        """Use the client's trace."""
        return read_trace(headers)

    def refused(self, request_id: str, error: GatewayError) -> None:
        """Do nothing."""

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        """Do nothing."""

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """Do nothing."""


UNOBSERVED: Observer = Unobserved()
