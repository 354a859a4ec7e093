"""Charges answers: by the usage that they state, else by an estimate, else at the ceiling.

- An answer is charged by the usage that it states; a charge that the provider states itself goes before our list price.
- A body that is not an answer of the model (an error, a firewall's page, nothing) costs nothing.
- A complete answer without usage, from a provider that always states usage, is charged at its ceiling: the usage was
  hidden.
- An answer that was cut off, or one from a server that does not state usage, is estimated from its content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from paig_gateway.formats.base import Call, Format, Generated, Json, StreamEvent
from paig_gateway.formats.judgement import is_error_page, judge
from paig_gateway.pricing.answer import NOTHING, UsageReading, estimate, read_answer
from paig_gateway.pricing.model_limits import model_limits, rounded_up
from paig_gateway.pricing.names import hides_reasoning
from paig_gateway.pricing.usage import Extracted
from paig_gateway.pricing.worst_case import DEFAULT_CONTEXT_WINDOW
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.meter import StreamMeter
from paig_gateway.routing.candidates import Candidate

CUT = "the answer was cut off"
HIDDEN_REASONING = "the answer was cut off, and the model's reasoning is not shown"
NO_USAGE = "the provider states the usage of every answer, but not of this one"
BACKGROUND = "the work goes on in the background"
UNREAD = "the answer could not be read"
EXCESS = 10
"""A stated cost above this multiple of the hold is not believed."""


def charge_stream(outcome: Outcome, meter: StreamMeter, candidate: Candidate, *, ended: bool, asked: bool) -> None:
    """Charge a stream, complete or not.

    Args:
        outcome: Is charged.
        candidate: Where it came from.
        ended: Whether the provider ended it; false if the connection broke or the client disconnected.
        asked: Whether the gateway requested its usage.
    """
    reading = meter.reading()
    if reading.extracted is not None and not (is_blank(reading) and meter.has_content()):
        charge_reading(outcome, reading, candidate, meter.call)
        return
    if meter.fmt.later_look or meter.is_refusal() or (ended and meter.is_empty() and not meter.call.background):
        return
    if meter.call.background:
        outcome.charge(candidate.ceiling, "ceiling", BACKGROUND)
    elif meter.unread:
        outcome.charge(candidate.ceiling, "ceiling", UNREAD)
    elif (
        meter.is_complete()
        and candidate.price_lookup.always_reports
        and (asked or not _must_be_asked(meter, candidate))
    ):
        outcome.charge(candidate.ceiling, "ceiling", NO_USAGE)
    elif hides_reasoning(meter.fmt.name, candidate.price_lookup.source, candidate.model) and not meter.is_complete():
        outcome.charge(candidate.ceiling, "ceiling", HIDDEN_REASONING)
    else:
        _charge_estimate(outcome, meter.estimate(), candidate)


def _must_be_asked(meter: StreamMeter, candidate: Candidate) -> bool:
    """Whether the provider states usage in such a stream only on request, and the client did not request it."""
    return meter.fmt.asks is not None and candidate.kind.asks_usage and not meter.call.asks_usage


def charge_body(
    outcome: Outcome,
    exchange: Exchange,
    candidate: Candidate,
    headers: Mapping[str, str],
    plain: bytes,
    body: Json | None,
) -> UsageReading | None:
    """Charge a whole body.

    Args:
        outcome: Is charged; its error is set where the body is not an answer.
        candidate: Where the body came from.
        headers: The response's headers, by lower-case name.
        plain: The body without its content encoding.
        body: Its JSON object, or None if it is something else.

    Returns:
        What the body says that it cost; None where it does not.
    """
    fmt, call, status = exchange.fmt, exchange.call, outcome.status or 200
    if body is None and fmt.opaque and status < 400:
        body = {}  # what is billed may depend on the request alone
    if status < 400 and not fmt.answer and is_error_page(fmt, plain):
        outcome.error = outcome.error or error_in(body)
        return None
    if body is not None:
        outcome.body = body
        outcome.work_id = exchange.work_of(body)
    if body is not None and status < 400:
        reading = read_answer(fmt, body, headers, candidate.price_lookup, call)
        if reading.extracted is not None and not (is_blank(reading) and _has_text(fmt, plain)):
            return charge_reading(outcome, reading, candidate, call)
    if status >= 400:
        outcome.error = f"upstream-{status}"
    elif fmt.later_look:
        pass
    elif (judged := judge(fmt, status, plain, complete=True)) == "not-answer":
        outcome.error = outcome.error or error_in(body)
    elif judged == "cut":
        outcome.error = outcome.error or "upstream-unreachable"
        outcome.charge(candidate.ceiling, "ceiling", CUT)
    elif call.background:
        if call.units:
            outcome.reading = UsageReading(Extracted({**NOTHING, **call.units}, {}, call.model), candidate.price, 0)
        outcome.charge(candidate.ceiling, "ceiling", BACKGROUND)
    elif candidate.price_lookup.always_reports and fmt.answer:
        outcome.charge(candidate.ceiling, "ceiling", NO_USAGE)
    else:
        event = StreamEvent("", plain)
        text = fmt.text(event) if fmt.text and plain else ""
        generated = fmt.generated(event) if fmt.generated and plain else Generated()
        known = body if body is not None else {}
        size = len(text.encode("utf-8", "replace"))
        _charge_estimate(outcome, estimate(fmt, call, known, size, generated, candidate.price_lookup), candidate)
    return None


def charge_cut_body(
    outcome: Outcome, exchange: Exchange, candidate: Candidate, headers: Mapping[str, str], seen: int
) -> None:
    """Charge an incomplete body that is not streamed.

    If its length was announced, that many bytes count as text; otherwise it is charged at its ceiling.

    Args:
        outcome: Is charged.
        candidate: Where it came from.
        headers: The response's headers, by lower-case name.
        seen: How many bytes of it arrived.
    """
    fmt, call = exchange.fmt, exchange.call
    if (outcome.status or 200) >= 400 or fmt.later_look:
        return
    announced = headers.get("content-length", "")
    if not seen or not announced.isdecimal() or len(announced) > 12 or call.background or not _is_text(fmt):
        outcome.charge(candidate.ceiling, "ceiling", BACKGROUND if call.background else CUT)
        return
    size = int(announced) if fmt.text is not None else 0
    _charge_estimate(outcome, estimate(fmt, call, {}, size, Generated(), candidate.price_lookup), candidate)


def is_blank(reading: UsageReading) -> bool:
    """Whether a usage is nothing but zeros, as servers fill in that did not count."""
    used = reading.extracted.usage if reading.extracted is not None else {}
    return not reading.from_provider and reading.of_ceiling is None and not any(used.values())


def _has_text(fmt: Format, plain: bytes) -> bool:
    return fmt.text is not None and bool(fmt.text(StreamEvent("", plain)))


def _is_text(fmt: Format) -> bool:
    """Whether an answer's tokens can be estimated from its size: for text, but not for embeddings."""
    return fmt.text is not None or "embed" in fmt.name or fmt.name == "rerank"


def charge_reading(outcome: Outcome, reading: UsageReading, candidate: Candidate, call: Call) -> UsageReading:
    """Charge the usage that an answer states; if that is implausibly high, charge the most that the model can do.

    Returns:
        The reading with the cost that was charged.
    """
    outcome.reading = reading
    reason = "; ".join(reading.doubts) or None
    if reading.of_ceiling is not None:
        outcome.charge(int(candidate.ceiling * reading.of_ceiling), "estimated" if reason else "exact", reason)
        return reading
    if reading.price is None and not reading.from_provider and not reading.cost:
        if candidate.provider.require_price and candidate.price is not None:
            outcome.charge(candidate.ceiling, "ceiling", reason)
        else:
            outcome.charge(0, "unknown" if reading.unknown else "exact", reason if reading.unknown else None)
        return reading
    cost = reading.cost
    if candidate.ceiling and cost > EXCESS * candidate.ceiling:
        cost = _possible(reading, candidate, call)
        outcome.excess = reading.cost // candidate.ceiling
        reading = outcome.reading = replace(reading, cost=cost)
        excess = f"excess: the provider states {outcome.excess} times the most that was held"
        reason = excess if reason is None else f"{excess}; {reason}"
    outcome.charge(cost, "estimated" if reason else "exact", reason)
    return reading


def _possible(reading: UsageReading, candidate: Candidate, call: Call) -> int:
    """The cost of an implausible usage, reduced to what the requested model can do."""
    extracted, price = reading.extracted, candidate.price
    if extracted is None or price is None:
        return reading.cost
    limits = model_limits(candidate.model, price.provider_id)
    window = rounded_up(limits.window or DEFAULT_CONTEXT_WINDOW)
    times = max(1, call.answers) * max(1, call.repeats)
    most = {"input": window * times, "output": (limits.most or window) * times}
    usage = {
        name: min(amount, most["output" if name.startswith("output") else "input"])
        if name.endswith("tokens")
        else amount
        for name, amount in extracted.usage.items()
    }
    charge = candidate.price_lookup.charge(price, usage, reading.modifiers or {})
    return min(reading.cost, max(charge.cost, candidate.ceiling))


def _charge_estimate(outcome: Outcome, reading: UsageReading | None, candidate: Candidate) -> None:
    if reading is None:
        outcome.charge(candidate.ceiling, "ceiling", CUT)
        return
    outcome.reading = reading
    outcome.charge(min(reading.cost, candidate.ceiling), "estimated", "; ".join(reading.doubts) or CUT)


def error_in(body: Json | None) -> str:
    """The provider's name of an error that it reports with a successful status."""
    error = (body or {}).get("error")
    return error_type(error) if error else "not-an-answer"


def error_type(error: object) -> str:
    """The provider's name of an error that it reports in a stream."""
    if isinstance(error, dict):
        for name in ("type", "code", "status", "message"):
            if isinstance(value := error.get(name), str) and value:
                return value[:100]
    return "upstream-error"
