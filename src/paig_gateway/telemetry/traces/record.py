"""What is kept of a finished request until its spans are made: no bytes of it, unless its content is wished for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from paig_gateway.formats.base import Call, Json
from paig_gateway.ledger.records import Settlement
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.trace_context import Trace


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a request and its answer, until the exporting thread reads it."""

    asked: bytes
    body: Json | None
    text: Callable[[], str] | None
    redact: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A finished request.

    Attributes:
        started: Nanoseconds since the epoch.
        duration: Seconds.
        answered: Seconds from the start to the end of the provider's answer, or None.
        first_chunk: Seconds from the first try to the answer's first byte, or None.
        kinds: Kind and base URL of each provider that was tried, by name.
        response: The answer's id, model and finish reasons, as far as it names them.
    """

    trace: Trace
    request_id: str
    started: int
    duration: float
    answered: float | None
    first_chunk: float | None
    method: str
    path: str
    route: str
    format: str
    call: Call
    key: str
    project: str | None
    user: str | None
    tags: Mapping[str, str]
    run: str | None
    session: str | None
    kinds: Mapping[str, tuple[str, str]]
    settlement: Settlement
    response: tuple[str | None, str | None, Sequence[str]]
    content: Content | None = None


def record_of(exchange: Exchange, outcome: Outcome, settlement: Settlement, trace: Trace) -> Record:
    """The record of a request."""
    caller, reading, began = exchange.caller, outcome.reading, exchange.started
    members = {member.provider.name: member.provider for member in exchange.route.members}
    tried = {str(attempt["provider"]) for attempt in settlement.attempts}
    body = outcome.body or {}
    return Record(
        trace=trace,
        request_id=exchange.id,
        started=int(exchange.time.timestamp() * 1_000_000) * 1000,
        duration=(settlement.ms_total or 0.0) / 1000,
        answered=outcome.answered - began if outcome.answered is not None else None,
        first_chunk=(
            outcome.first_byte - outcome.dispatched
            if outcome.first_byte is not None and outcome.dispatched is not None
            else None
        ),
        method=exchange.method,
        path=f"/proxy/{exchange.target.route}{exchange.target.path}",
        route=exchange.route.name,
        format=exchange.fmt.name,
        call=exchange.call,
        key=caller.key,
        project=caller.project,
        user=caller.user,
        tags=exchange.attribution.tags,
        run=exchange.attribution.run,
        session=exchange.attribution.session,
        kinds={name: (members[name].kind, members[name].base_url) for name in tried if name in members},
        settlement=settlement,
        response=(
            _text(body.get("id")) or _text(body.get("responseId")),
            reading.extracted.model if reading and reading.extracted else None,
            finish_reasons(body),
        ),
    )


def finish_reasons(body: Json) -> list[str]:
    """Why each answer of a body ended, in the provider's own words."""
    found = [body.get("stop_reason"), body.get("stopReason")]
    for answers, reason in (("choices", "finish_reason"), ("candidates", "finishReason")):
        listed = body.get(answers)
        for answer in listed if isinstance(listed, list) else ():
            found.append(answer.get(reason) if isinstance(answer, dict) else None)
    return [reason for reason in found if isinstance(reason, str)]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
