"""Combines observers into one; their failures are logged and counted, and never reach a request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.observer import Watcher
from paig_gateway.proxy.trace_context import Trace
from paig_gateway.telemetry.metrics.registry import Numbers

log = logging.getLogger(__name__)


class Observers:
    """Passes events to several observers in turn."""

    def __init__(
        self,
        observers: Iterable[Watcher],
        numbers: Numbers,
        trace: Callable[[Caller, Headers], Trace | None],
    ) -> None:
        """Pass events to these observers, and count their failures.

        Args:
            numbers: Where failures are counted.
            trace: Decides about traces.
        """
        self._observers = tuple(observers)
        self._numbers = numbers
        self._trace = trace

    def trace(self, caller: Caller, headers: Headers) -> Trace | None:
        return self._trace(caller, headers)

    def refused(self, request_id: str, error: GatewayError) -> None:
        for observer in self._observers:
            try:
                observer.refused(request_id, error)
            except Exception:
                self._failed(request_id)

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        for observer in self._observers:
            try:
                observer.started(exchange, reservation)
            except Exception:
                self._failed(exchange.id)

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        for observer in self._observers:
            try:
                observer.finished(exchange, outcome, settlement)
            except Exception:
                self._failed(exchange.id)

    def _failed(self, request_id: str) -> None:
        self._numbers.add("paig_telemetry_errors_total")
        log.exception("telemetry failed to record request %s; the request itself is not touched", request_id)
