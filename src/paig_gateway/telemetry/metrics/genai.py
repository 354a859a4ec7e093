"""Metrics of requests by the names that the semantic conventions for generative AI have for them."""

from __future__ import annotations

from collections.abc import Mapping

from paig_gateway.domain.errors import GatewayError
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.telemetry.metrics.registry import Names, Numbers
from paig_gateway.telemetry.metrics.requests import MOST_MODELS, MOST_NAMES
from paig_gateway.telemetry.otlp.conventions import INFERENCE, MODALITIES, PROVIDERS, address_of, operation_of

CallLabels = tuple[str, str, str, str]
"""Operation, provider, requested model, model of the answer."""

_CLIENT = "gen_ai.client"
_USAGE = f"{_CLIENT}.inference.usage"
_PARTS = {
    "cache_read_tokens": f"{_USAGE}.cache_read.input_tokens",
    "cache_write_tokens": f"{_USAGE}.cache_write.input_tokens",
    "output_reasoning_tokens": f"{_USAGE}.reasoning.output_tokens",
}


class GenAi:
    """Adds up requests as a client of providers and as a server of its clients; see `families`."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._models, self._answering = Names(MOST_MODELS), Names(MOST_MODELS)
        self._errors, self._addresses = Names(MOST_NAMES), Names(MOST_NAMES)

    def refused(self, request_id: str, error: GatewayError) -> None:
        """A request refused before its key was known is not an operation."""

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        """Do nothing: only finished requests are counted."""

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """Count a request's end."""
        candidate, status = outcome.candidate, settlement.status
        if candidate is None:
            return
        answered = status is not None and status < 400
        known = candidate.price is not None or answered
        extracted = outcome.reading.extracted if outcome.reading else None
        model = (extracted.model if extracted else None) or ""
        answering = self._answering.label(model, trusted=answered) if model else ""
        members = {member.provider.name: member.provider for member in exchange.route.members}
        last = len(settlement.attempts) - 1
        for position, attempt in enumerate(settlement.attempts):
            provider = members.get(str(attempt["provider"]))
            kind, url = (provider.kind, provider.base_url) if provider else (str(attempt["provider"]), "")
            asked = str(attempt["model"])
            call = (
                operation_of(exchange.fmt.name, asked),
                PROVIDERS.get(kind, kind),
                self._models.label(asked, trusted=known) if asked else "",
                answering if position == last else "",
            )
            where = self._where(url)
            took = attempt.get("ms")
            if position == last:
                end = outcome.answered - exchange.started if outcome.answered is not None else None
                whole = end * 1000 if end is not None else settlement.ms_total or 0.0
                took = whole - float(str(attempt.get("began_ms", 0)))
            if isinstance(took, (int, float)):
                self._tried(call, where, attempt, took / 1000)
            if position == last:
                self._answered(call, where, exchange, outcome, settlement)
                self._served(call, exchange, settlement, ok=answered)

    def _tried(self, call: CallLabels, where: tuple[str, str], attempt: Mapping[str, object], seconds: float) -> None:
        status = attempt.get("status")
        failed = isinstance(status, int) and status >= 400
        wrong = str(attempt.get("error") or (status if failed else ""))
        labels = (*call, *where, self._errors.label(wrong) if wrong else "")
        self._numbers.observe(f"{_CLIENT}.operation.duration", labels, seconds)
        if kind := _kind(call[0]):
            self._numbers.observe(f"{_CLIENT}.{kind}.duration", labels, seconds)

    def _answered(
        self, call: CallLabels, where: tuple[str, str], exchange: Exchange, outcome: Outcome, settlement: Settlement
    ) -> None:
        numbers, usage, labels, kind = self._numbers, settlement.usage or {}, (*call, *where), _kind(call[0])
        if exchange.call.stream and outcome.first_byte is not None and outcome.dispatched is not None:
            waited = outcome.first_byte - outcome.dispatched
            numbers.observe(f"{_CLIENT}.operation.time_to_first_chunk", labels, waited)
            if kind == "inference":
                numbers.observe(f"{_CLIENT}.inference.time_to_first_chunk", labels, waited)
        for way in ("input", "output"):
            if (count := usage.get(f"{way}_tokens")) is None or kind is None or (kind, way) == ("embeddings", "output"):
                continue
            numbers.observe(f"{_CLIENT}.token.usage", (*labels, way), count)
            if kind == "inference":
                numbers.observe(f"{_CLIENT}.inference.operation.{way}_tokens", labels, count)
                rest = count
                for modality in MODALITIES:
                    if part := usage.get(f"{way}_{modality}_tokens"):
                        numbers.add(f"{_USAGE}.{way}_tokens", (*labels, modality), part)
                        rest -= part
                numbers.add(f"{_USAGE}.{way}_tokens", (*labels, "unknown"), max(0, rest))
            else:
                numbers.observe(f"{_CLIENT}.embeddings.operation.input_tokens", labels, count)
        if kind == "inference":
            for name, metric in _PARTS.items():
                if part := usage.get(name):
                    numbers.add(metric, (*labels, "unknown"), part)

    def _served(self, call: CallLabels, exchange: Exchange, settlement: Settlement, *, ok: bool) -> None:
        numbers, total, first = self._numbers, settlement.ms_total, settlement.ms_first_byte
        wrong = settlement.error or ("" if ok else str(settlement.status or "gone"))
        if total is not None:
            labels = (*call, self._errors.label(wrong) if wrong else "")
            numbers.observe("gen_ai.server.request.duration", labels, total / 1000)
        if not ok or not exchange.call.stream or first is None or total is None:
            return
        numbers.observe("gen_ai.server.time_to_first_token", call, first / 1000)
        tokens = (settlement.usage or {}).get("output_tokens", 0)
        if tokens > 1:
            numbers.observe("gen_ai.server.time_per_output_token", call, (total - first) / 1000 / (tokens - 1))

    def _where(self, url: str) -> tuple[str, str]:
        host, port = address_of(url)
        shown = self._addresses.label(host) if host else ""
        return shown, str(port) if host and shown == host else ""


def _kind(operation: str) -> str | None:
    return "inference" if operation in INFERENCE else operation if operation == "embeddings" else None
