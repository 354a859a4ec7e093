"""Metrics of requests: an observer that adds the data plane's events to the numbers."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from sqlalchemy import Row

from paig_gateway.domain.errors import GatewayError
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.telemetry.metrics.registry import Names, Numbers, Sample

RECENT = 5000
"""Ids of requests that are remembered after they were counted."""
MOST_MODELS = 100
MOST_NAMES = 200
"""Of routes, providers and projects, each."""
_TOKENS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
}


class Metrics:
    """Adds up requests; see `families` for what each number means."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._models = Names(MOST_MODELS)
        self._routes, self._providers, self._projects = Names(MOST_NAMES), Names(MOST_NAMES), Names(MOST_NAMES)
        self._held: dict[str, int] = {}  # what each request in flight holds, by its id
        self.recent: deque[tuple[int, str]] = deque(maxlen=RECENT)
        """When the latest requests were counted, in milliseconds since the epoch, and their ids."""

    def refused(self, request_id: str, error: GatewayError) -> None:
        self._numbers.add("paig_refusals_total", (error.code,))
        if error.code in ("limit-exceeded", "limit-too-small", "rate-limited"):
            details = error.details
            labels = tuple(str(details.get(name, "")) for name in ("owner_kind", "unit", "window"))
            self._numbers.add("paig_limit_refusals_total", labels)

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        self._held[exchange.id] = reservation.ceiling

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """Count a request's end."""
        numbers, candidate, status = self._numbers, outcome.candidate, settlement.status
        self._held.pop(exchange.id, None)
        self.recent.append((int(time.time() * 1000), exchange.id))
        route = self._routes.label(exchange.route.name)
        provider = self._providers.label(settlement.provider) if settlement.provider else ""
        answered = status is not None and status < 400
        known = candidate is not None and (candidate.price is not None or answered)
        model = self._models.label(exchange.call.model, trusted=known) if exchange.call.model else ""
        numbers.add(
            "paig_requests_total",
            (route, provider, model, exchange.fmt.name, "none" if status is None else str(status)),
        )
        if settlement.ms_gateway is not None:
            numbers.observe("paig_gateway_seconds", (), settlement.ms_gateway / 1000)
        if candidate is None:
            return
        served = (provider, model)
        if settlement.ms_total is not None:
            numbers.observe("paig_request_seconds", served, settlement.ms_total / 1000)
        if settlement.ms_first_byte is not None:
            numbers.observe("paig_first_byte_seconds", served, settlement.ms_first_byte / 1000)
        for name, count in (settlement.usage or {}).items():
            if count and (kind := _TOKENS.get(name)):
                numbers.add("paig_tokens_total", (*served, kind), count)
        if settlement.cost:
            numbers.add("paig_cost_dollars_total", (*served, settlement.certainty or "none"), settlement.cost)
            project = self._projects.label(exchange.caller.project) if exchange.caller.project else ""
            numbers.add("paig_project_cost_dollars_total", (project,), settlement.cost)
        if outcome.excess is not None and settlement.provider is not None:
            numbers.add("paig_cost_excess_total", (self._providers.label(settlement.provider),))
        last = len(settlement.attempts) - 1
        for position, attempt in enumerate(settlement.attempts):
            tried = self._providers.label(str(attempt["provider"]))
            numbers.add("paig_attempts_total", (tried, str(attempt.get("error") or attempt.get("status") or "none")))
            if position < last:
                numbers.add("paig_failovers_total", (route, tried))

    def recovered(self, row: Row[Any]) -> None:
        """Count a request from its row in the ledger, if its node died before it could count it."""
        numbers, status = self._numbers, row.status
        route = self._routes.label(row.route)
        provider = self._providers.label(row.provider) if row.provider else ""
        model = self._models.label(row.model, trusted=row.price is not None) if row.model else ""
        numbers.add("paig_requests_total", (route, provider, model, row.format, str(status or "none")))
        for name, count in (row.usage or {}).items():
            if count and (kind := _TOKENS.get(name)):
                numbers.add("paig_tokens_total", (provider, model, kind), count)
        if row.cost:
            numbers.add("paig_cost_dollars_total", (provider, model, row.certainty or "none"), row.cost)
            project = self._projects.label(row.project) if row.project else ""
            numbers.add("paig_project_cost_dollars_total", (project,), row.cost)

    def samples(self) -> list[Sample]:
        return [
            ("paig_requests_in_flight", (), len(self._held)),
            ("paig_reserved_dollars", (), sum(self._held.values())),
        ]
