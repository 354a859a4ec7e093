"""Several observers as one, whose failures are logged and counted and never reach a request."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from paig_gateway.domain.errors import GatewayError
from paig_gateway.plane.exchange import Exchange, Outcome
from paig_gateway.plane.observer import Observer
from paig_gateway.store.records import Reservation, Settlement
from paig_gateway.telemetry.numbers import Numbers

log = logging.getLogger(__name__)


class Observers:
    """Tells each of several observers in turn."""

    def __init__(self, observers: Iterable[Observer], numbers: Numbers) -> None:
        """Tell these; count their failures there."""
        self._observers = tuple(observers)
        self._numbers = numbers

    def refused(self, request_id: str, error: GatewayError) -> None:
        """Tell of an error of the gateway's own."""
        for observer in self._observers:
            try:
                observer.refused(request_id, error)
            except Exception:
                self._failed(request_id)

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        """Tell of a request that is let through."""
        for observer in self._observers:
            try:
                observer.started(exchange, reservation)
            except Exception:
                self._failed(exchange.id)

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """Tell of a request that is over."""
        for observer in self._observers:
            try:
                observer.finished(exchange, outcome, settlement)
            except Exception:
                self._failed(exchange.id)

    def _failed(self, request_id: str) -> None:
        self._numbers.add("paig_telemetry_errors_total")
        log.exception("telemetry failed to record request %s; the request itself is not touched", request_id)
