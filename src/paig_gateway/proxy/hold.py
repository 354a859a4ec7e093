"""Holds a request's worst case, and makes the request smaller if that does not fit (`when_tight`).

The order: first the whole worst case; then, in the modes `fit` and `lower`, a smaller output maximum; then a wait for
the holds of requests in flight; then refusal. Nothing is held twice: a refused reservation leaves nothing behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from paig_client.api.vocabulary import WhenTight
from paig_gateway.domain.errors import Advice, LimitRefused
from paig_gateway.domain.limits import Balance
from paig_gateway.formats.base import Call
from paig_gateway.formats.maximum import set_maximum
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import Reservation
from paig_gateway.pricing.fit import FLOOR, SHARE, HoldSize, Room, largest, least_output
from paig_gateway.pricing.model_limits import ModelLimits, model_limits
from paig_gateway.proxy.binding import alike
from paig_gateway.proxy.exchange import Exchange
from paig_gateway.routing.candidates import Candidate

STATED = 64
"""The most bytes that a stated maximum adds to a request."""

LEAST = {"openai-responses": 16}
"""The smallest output maximum that an API takes, where that is more than 1; and Claude's must exceed its thinking."""

SEARCH_WINDOW = 128_000
"""Tokens of context with OpenAI's web search, whatever the model's window (its guide "Web search", 2026-11)."""

_WEB_SEARCH = re.compile(r"web_search(?:_preview)?(?:_\d+)*")

TRIES = 4
"""How often a smaller request is sized, since other requests may take the room meanwhile."""


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class Held:
    """A request and its reservation.

    Attributes:
        passed_over: Why members of the route are missing from `order`, by provider.
    """

    exchange: Exchange
    order: list[Candidate]
    reservation: Reservation
    passed_over: Mapping[str, str] = field(default_factory=dict)


async def hold(ledger: Ledger, full: Held, wait: float) -> Held:
    """Reserve a request, made smaller if necessary and if its key's `when_tight` allows that.

    Args:
        full: The request at its worst case.
        wait: Seconds to wait for requests in flight to release their holds.

    Returns:
        The reserved request: the same, or a smaller one.

    Raises:
        LimitRefused: There is no room.
        LedgerDown: The ledger cannot record.
    """
    try:
        await ledger.reserve(full.reservation)
        return full
    except LimitRefused as error:
        refused = error
    fitting = Fitting.of(full) if refused.balances else None
    for _ in range(TRIES if fitting is not None and fitting.may_change else 0):
        assert fitting is not None
        if not refused.balances or (smaller := fitting.fitted(refused.balances)) is None:
            break
        try:
            await ledger.reserve(smaller.reservation)
            return smaller
        except LimitRefused as error:
            refused = error
    least = (fitting.least() if fitting is not None and fitting.may_change else None) or full
    if least is full and (wait <= 0 or not refused.waits):
        raise _advised(refused, fitting)
    try:
        await ledger.reserve(least.reservation, wait=wait)
        return least
    except LimitRefused as error:
        raise _advised(error, fitting) from None


def _advised(refused: LimitRefused, fitting: Fitting | None) -> LimitRefused:
    """The same refusal, with what makes the request fit, if a smaller output does."""
    return refused.advised(fitting.advice(refused.balances) if fitting is not None and refused.balances else None)


@dataclass(frozen=True, slots=True)
class Fitting:
    """Sizes a request's output maximum.

    Attributes:
        full: The request at its worst case.
        call: What is sized: the request, with what its searches may read bounded by the provider's documentation.
        order: The candidates at which the maximum can be set.
        counted: Those that are bound by the same limits as the first one.
        field: The request's field for the maximum, for messages.
        may_change: Whether the request may be changed; otherwise there is only advice.
        floor: The smallest maximum that may be set.
        most: The largest maximum that may be set.
    """

    full: Held
    call: Call
    order: list[Candidate]
    counted: list[Candidate]
    field: str
    may_change: bool
    floor: int
    most: int

    @classmethod
    def of(cls, full: Held) -> Fitting | None:
        """The sizes of a request; None if no candidate is known to have an output maximum."""
        exchange = full.exchange
        call, name = exchange.call, exchange.fmt.name
        order = [candidate for candidate in full.order if _field(candidate, name)]
        if not order or call.repeats > 1 or not exchange.fmt.metered:
            return None
        sample = _set(exchange, order[0], FLOOR)
        if sample is None:
            return None
        stated = call.output_tokens is not None and not all(one.bound.ignores_maximum(call) for one in order)
        mode = tightness(exchange)
        known = [_limits(candidate) for candidate in order]
        floor = max(least_output(call.thinking, limits.reasoning) for limits in known)
        most = min(
            limits.output or limits.most or candidate.worst.output_tokens // call.answers
            for candidate, limits in zip(order, known, strict=True)
        )
        if stated:
            most = (call.output_tokens or 0) // call.answers
        may_change = mode == "lower" or (mode == "fit" and not stated)
        sized = _searching(call, order) if may_change else call
        return cls(full, sized, order, alike(exchange, order), sample[1], may_change, floor, most)

    def fitted(self, balances: tuple[Balance, ...]) -> Held | None:
        """The request with the largest maximum that fits; None if the smallest does not fit."""
        room = _room(balances)
        if self.floor > self.most or not room.holds(self._need(self.floor)):
            return None
        return self._held(largest(self._need, room, self.floor, self.most, SHARE) or self.floor)

    def least(self) -> Held | None:
        """The request with the smallest maximum; None if the request states a smaller one itself."""
        return self._held(self.floor) if self.floor <= self.most else None

    def advice(self, balances: tuple[Balance, ...]) -> Advice:
        """The maximum that would fit now, and the one that would fit an unused limit.

        Stating a maximum makes the request longer; the numbers leave room for that.
        """
        whole = tuple(replace(balance, spent=0, held=0) for balance in balances)
        need = partial(self._need, longer=STATED)
        call, name = self.full.exchange.call, self.full.exchange.fmt.name
        least = max(LEAST.get(name, 1), 1 if name == "gemini" else (call.thinking or 0) + 1)
        now, ever = (largest(need, _room(found), least, self.most) for found in (balances, whole))
        return Advice(self.field, now, ever)

    def _need(self, maximum: int, longer: int = 0) -> HoldSize:
        call = self.full.exchange.call if longer else self.call  # what is advised must fit as the client sends it
        text = call.input_tokens + longer
        smaller = replace(call, output_tokens=maximum * call.answers, maxima=(), input_tokens=text)
        holds = [candidate.bound.hold(smaller) for candidate in self.counted]
        return HoldSize(max(found.money for found in holds), max(found.tokens for found in holds))

    def _held(self, maximum: int) -> Held:
        exchange = self.full.exchange
        call = replace(exchange.call, output_tokens=maximum * exchange.call.answers, maxima=())
        sized = replace(self.call, output_tokens=call.output_tokens, maxima=())
        order: list[Candidate] = []
        for candidate in self.order:
            found = candidate.bound.hold(sized)
            order.append(replace(candidate, worst=found.worst, ceiling=found.money, tokens=found.tokens))
        counted = alike(exchange, order)
        reservation = replace(
            self.full.reservation,
            ceiling=max(candidate.ceiling for candidate in counted),
            tokens=max(candidate.tokens for candidate in counted),
        )
        return Held(replace(exchange, call=call, maximum=maximum), order, reservation)


def _searching(call: Call, order: list[Candidate]) -> Call:
    """A request whose only tool at the provider is OpenAI's web search, which reads no more than is documented."""
    searches = bool(call.server_tools) and all(map(_WEB_SEARCH.fullmatch, call.server_tools))
    if not searches or call.unbounded_input or any(one.price_lookup.source != "openai" for one in order):
        return call
    return replace(call, unbounded_tools=False, input_tokens=call.input_tokens + SEARCH_WINDOW)


def tightness(exchange: Exchange) -> WhenTight:
    """The request's mode if it does not fit: from its header, else its key's setting."""
    off = dict(exchange.headers).get(b"x-paig-fit", b"").strip().lower() == b"off"
    return "refuse" if off else exchange.caller.when_tight


def with_maximum(exchange: Exchange, candidate: Candidate) -> tuple[Exchange, str | None]:
    """The request for one candidate with the output maximum that the gateway sets, and the field that holds it."""
    if exchange.maximum is None:
        return exchange, None
    changed = _set(exchange, candidate, exchange.maximum)
    if changed is None:
        raise AssertionError("a request was fitted that has no place for an output maximum")
    body, places = changed
    headers = [header for header in exchange.headers if header[0] != b"content-encoding"]
    fitted = ",".join(f"{place}={exchange.maximum}" for place in places.split(","))
    return replace(exchange, body=body, plain=body, headers=headers), fitted


def _set(exchange: Exchange, candidate: Candidate, most: int) -> tuple[bytes, str] | None:
    name = exchange.fmt.name
    alone = candidate.bound.heeds is not None
    return set_maximum(exchange.plain, name, _field(candidate, name) or "", most, alone=alone)


def _field(candidate: Candidate, format_name: str) -> str | None:
    return candidate.kind.maximum_field(format_name, reasoning=_limits(candidate).reasoning)


def _limits(candidate: Candidate) -> ModelLimits:
    return model_limits(candidate.model, candidate.price.provider_id if candidate.price else "")


def _room(balances: tuple[Balance, ...]) -> Room:
    money = [balance.left for balance in balances if balance.limit.unit == "usd"]
    tokens = [balance.left for balance in balances if balance.limit.unit == "tokens"]
    return Room(min(money, default=None), min(tokens, default=None))
