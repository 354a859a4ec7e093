"""The turns of one session in the ledger: held before they begin, extended as they grow, settled when they end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from paig_client.api.refusals import SWITCHED, UNUSED
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError, LedgerDown, LimitRefused
from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import ActiveRoute
from paig_gateway.formats.base import Call
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import Reservation
from paig_gateway.ledger.stored_objects import ProviderObject
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.proxy.binding import binding_limits, is_capped
from paig_gateway.proxy.exchange import Exchange, Outcome, new_request_id
from paig_gateway.proxy.hold import Held, hold, with_maximum
from paig_gateway.proxy.loops import Loops
from paig_gateway.proxy.meter import CUT, NO_USAGE, StreamMeter, charge_reading, charge_stream, error_type
from paig_gateway.proxy.observer import Observer
from paig_gateway.proxy.request import Attribution, Target
from paig_gateway.proxy.sockets.dial import Attempt
from paig_gateway.proxy.sockets.turns import Ending, SocketSession, Turn
from paig_gateway.proxy.stored import StoredObjects
from paig_gateway.proxy.trace_context import Trace, beside
from paig_gateway.routing.affinity import Affinity
from paig_gateway.routing.candidates import Candidate, MemberOrder, candidates

MOST_EARLY = 4 * 1024 * 1024
"""Bytes of a provider's messages about turns that are not held yet, from which on it is not read any further."""
OVERHEAD = 200
"""Bytes of memory that a kept message takes beyond its own."""


@dataclass(frozen=True, slots=True)
class Books:
    """What all sessions share: the ledger, the prices, the clocks.

    Attributes:
        limit_wait: Seconds that a turn waits for other requests to release their holds.
        allow_unrecorded: Whether turns pass while the ledger cannot record.
    """

    ledger: Ledger
    prices: PriceSources
    choice: MemberOrder
    holders: Affinity
    observer: Observer
    now: Callable[[], datetime]
    clock: Callable[[], float]
    directory: Directory
    loops: Loops
    stored: StoredObjects
    limit_wait: float = 5.0
    allow_unrecorded: bool = False


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What a session's turns have in common.

    Attributes:
        id: The request id that the client got: the first turn's.
        caller: Returns the present state of the key.
        route: The route, with the one member that the session is connected to.
        candidate: The member and the credential that the session is connected with.
        attribution: The upgrade's attribution, with the session of all turns.
        attempts: The tries to connect.
        trace: The upgrade's trace, which is the first turn's; the others belong to it too.
    """

    id: str
    caller: Callable[[], Caller]
    route: ActiveRoute
    target: Target
    headers: Headers
    attribution: Attribution
    candidate: Candidate
    attempts: list[Attempt]
    trace: Trace | None


@dataclass(slots=True)
class _Open:
    exchange: Exchange
    reservation: Reservation
    candidate: Candidate
    outcome: Outcome
    meter: StreamMeter
    held: int
    recorded: bool
    """Whether the ledger holds it; false if the ledger was down and turns pass anyway."""


@dataclass(slots=True)
class Turns:
    """The turns of one session.

    Attributes:
        settled: How many rows there are.
    """

    books: Books
    upgraded: Upgraded
    session: SocketSession
    settled: int = 0
    _open: dict[Turn, _Open] = field(default_factory=dict)
    _early: dict[Turn, list[bytes]] = field(default_factory=dict)
    """The results of turns whose hold is not written yet."""
    _early_size: int = 0
    _ended: dict[Turn, Ending] = field(default_factory=dict)
    """Turns that the provider began and ended meanwhile."""
    _first: bool = True

    def at_work(self) -> bool:
        """Whether a provider may be at work on a turn that is held."""
        return any(turn.begun for turn in self._open)

    def owes(self, turn: Turn) -> bool:
        """Whether a turn is over that was never held, as the provider was faster than the ledger."""
        return turn in self._ended

    def behind(self) -> bool:
        """Whether so much came for turns that are not held yet that the provider must wait for the ledger."""
        return self._early_size > MOST_EARLY

    async def hold(self, turn: Turn) -> bytes | None:
        """Hold a turn's worst case, or the amount that it has grown by.

        Returns:
            The message that asked for it, where an output maximum was filled in; None where it goes on as it came.

        Raises:
            GatewayError: A limit has no room, or the key is not allowed to do this.
        """
        if (known := self._open.get(turn)) is not None:
            await self._extend(turn, known)
            return None
        exchange = self._exchange(turn.call, turn.frame)
        order: list[Candidate] = []
        try:
            # Requests for spoken answers are all alike.
            body = turn.frame if self.session.fmt.name == "openai-responses" else None
            self.books.loops.check(self.books.directory, exchange, body)
            order = self._candidates(exchange)
            reservation = self._reservation(exchange, order)
            held = await self._reserve(Held(exchange, order, reservation))
        except GatewayError as error:
            if turn.begun and not turn.frame and order:
                # The provider began it by itself, so it costs all the same: it is charged as it ends.
                self._begin(turn, Held(exchange, order, reservation), recorded=False)
            else:
                self._refused(exchange, error)
            raise
        recorded = held is not None
        if held is None:
            held = Held(exchange, order, reservation)
        known = self._begin(turn, held, recorded=recorded)
        sent, fitted = with_maximum(known.exchange, known.candidate)
        if fitted is not None:
            known.outcome.attempts[-1]["fitted"] = fitted
        return sent.body if fitted is not None else None

    def _begin(self, turn: Turn, held: Held, *, recorded: bool) -> _Open:
        exchange, candidate = held.exchange, held.order[0]
        outcome = self._outcome(exchange, candidate)
        known = self._open[turn] = _Open(
            exchange, held.reservation, candidate, outcome, self._meter(turn, exchange, candidate),
            held.reservation.ceiling, recorded,
        )  # fmt: skip
        self.books.observer.started(exchange, held.reservation)
        for message in self._drop_early(turn):
            self.saw(turn, message)
        if (ending := self._ended.pop(turn, None)) is not None:
            self.settle(turn, ending)
        return known

    def _begin_late(self, turn: Turn) -> None:
        """Take in a turn that the provider began before it was held, and that is not going to be."""
        exchange = self._exchange(turn.call, turn.frame)
        try:
            order = self._candidates(exchange)
            self._begin(turn, Held(exchange, order, self._reservation(exchange, order)), recorded=False)
        except GatewayError as error:
            self._refused(exchange, error)

    async def check(self, named: list[str]) -> None:
        """Refuse a message that names stored objects which the key may not use.

        Raises:
            GatewayError: `not-found`; `overloaded` where the database is away.
        """
        wanted = dict.fromkeys(named, False)
        provider = self.upgraded.candidate.provider.name
        await self.books.stored.check_ids(self.upgraded.caller(), {provider}, wanted, self.session.fmt.errors)

    def made(self, kind: str, id: str) -> None:
        """Note that the provider stores an object for this key."""
        caller, provider = self.upgraded.caller(), self.upgraded.candidate.provider.name
        self.books.stored.keep([ProviderObject(provider, id, kind, caller.key_id, caller.project_id)])

    def saw(self, turn: Turn, message: bytes) -> None:
        """Process the provider's message about a turn."""
        known = self._open.get(turn)
        if known is None:
            if turn.begun or not turn.over:
                self._early.setdefault(turn, []).append(message)
                self._early_size += len(message) + OVERHEAD
            return
        if known.outcome.first_byte is None:
            known.outcome.first_byte = self.books.clock()
        known.meter.feed(b"data: " + b" ".join(message.splitlines()) + b"\n\n")

    def settle(self, turn: Turn, ending: Ending) -> None:
        if (known := self._open.pop(turn, None)) is None:
            if ending == "ended" and turn.begun and turn in self._early:
                self._ended[turn] = ending
            else:
                self._drop_early(turn)
            return
        outcome, meter = known.outcome, known.meter
        if ending == "released":
            outcome.attempts, outcome.error = [], UNUSED
        elif ending == "ended" and self._hides_usage(meter):
            outcome.charge(known.candidate.ceiling, "ceiling", NO_USAGE)
        elif ending == "ended":
            charge_stream(outcome, meter, known.candidate, ended=True, asked=True)
        if outcome.error is None and (error := meter.body.get("error")):
            outcome.error = error_type(error)
        self._record(known)

    def _hides_usage(self, meter: StreamMeter) -> bool:
        """Whether a spoken response was made whose usage is not told: of its events, the meter sees the ends alone."""
        made = self.session.fmt.name == "openai-realtime" and meter.body.get("status") in ("completed", "incomplete")
        return made and meter.reading().extracted is None

    def break_off(self, reason: str) -> None:
        """The session is over, and with it every turn that is not: what is known is charged, else the ceiling.

        Args:
            reason: Why it is over, as a row's error.
        """
        for turn in [turn for turn in self._early if turn.begun]:
            self._begin_late(turn)
        for turn in list(self._open):
            known = self._open.pop(turn)
            outcome, meter = known.outcome, known.meter
            if not turn.begun:
                outcome.attempts, outcome.error = [], UNUSED
                self._record(known)
                continue
            outcome.error = reason
            reading = meter.reading()
            if reading.extracted is not None:
                charge_reading(outcome, reading, known.candidate, known.exchange.call)
            elif self.session.fmt.name == "openai-responses":
                charge_stream(outcome, meter, known.candidate, ended=False, asked=True)
            else:
                outcome.charge(known.candidate.ceiling, "ceiling", CUT)
            self._record(known)

    def note_nothing(self) -> None:
        """Write a row for a session without turns, so that its client's request id can be looked up."""
        if self.settled or self._open:
            return
        exchange = self._exchange(Call(self.session.model, stream=True), b"")
        outcome = self._outcome(exchange, self.upgraded.candidate)
        settlement = outcome.settlement(exchange, self.books.now(), self.books.clock())
        self.books.observer.finished(exchange, outcome, settlement)
        self.books.ledger.note(self._reservation(exchange, []), settlement)

    # Inside

    def _drop_early(self, turn: Turn) -> list[bytes]:
        messages = self._early.pop(turn, [])
        self._early_size -= sum(len(message) + OVERHEAD for message in messages)
        return messages

    async def _extend(self, turn: Turn, known: _Open) -> None:
        exchange = replace(known.exchange, call=turn.call)
        try:
            [candidate] = self._candidates(exchange)
            if known.recorded and candidate.ceiling > known.held:
                await self._ask_for(known, candidate.ceiling - known.held)
                known.held = candidate.ceiling
        except GatewayError as error:
            self.books.observer.refused(exchange.id, error)
            raise
        known.exchange, known.candidate = exchange, candidate
        known.outcome.candidate = candidate

    async def _ask_for(self, known: _Open, extra: int) -> None:
        try:
            await self.books.ledger.extend(known.exchange.id, extra)
        except LookupError:
            raise GatewayError(
                "overloaded",
                "The ledger has released this turn, because this gateway did not respond for too long. Connect again.",
            ) from None

    async def _reserve(self, held: Held) -> Held | None:
        """Reserve; returns None if the ledger is down and turns pass anyway."""
        books = self.books
        if books.allow_unrecorded and not books.ledger.healthy:
            return None
        try:
            return await hold(books.ledger, held, books.limit_wait)
        except LedgerDown:
            if not books.allow_unrecorded:
                raise
            return None

    def _exchange(self, call: Call, frame: bytes) -> Exchange:
        upgraded, books = self.upgraded, self.books
        now = books.now()
        caller = upgraded.caller()
        request_id, trace = upgraded.id, upgraded.trace
        if not self._first:
            request_id, trace = new_request_id(now), beside(trace) if trace is not None else None
        self._first = False
        return Exchange(
            request_id, now, books.clock(), caller, upgraded.route, upgraded.target, self.session.fmt, call, "GET",
            upgraded.headers, frame, frame, upgraded.attribution, trace,
        )  # fmt: skip

    def _candidates(self, exchange: Exchange) -> list[Candidate]:
        call = exchange.call
        exchange.caller.check_models((call.model, *call.fallbacks, *(extra.model for extra in call.also)))
        found = candidates(
            exchange.route, exchange.fmt, call, exchange.target.path, exchange.time, self.books.prices,
            self.books.choice, exchange.session, capped=is_capped(exchange),
        )  # fmt: skip
        mine = self.upgraded.candidate.credential.id
        return [candidate for candidate in found if candidate.credential.id == mine]

    def _reservation(self, exchange: Exchange, order: list[Candidate]) -> Reservation:
        reservation = exchange.reservation(
            binding_limits(exchange, order[0] if order else None),
            provider=self.upgraded.candidate.provider.name,
            ceiling=max((candidate.ceiling for candidate in order), default=0),
            tokens=max((candidate.tokens for candidate in order), default=0),
        )
        return replace(reservation, stream=True)

    def _outcome(self, exchange: Exchange, candidate: Candidate) -> Outcome:
        outcome = Outcome(status=SWITCHED)
        before, self.upgraded.attempts[:] = list(self.upgraded.attempts[:-1]), []
        outcome.attempts += before
        attempt = outcome.begin(candidate, exchange, self.books.clock())
        attempt["status"] = SWITCHED
        return outcome

    def _meter(self, turn: Turn, exchange: Exchange, candidate: Candidate) -> StreamMeter:
        meter = StreamMeter(exchange.fmt, exchange.call, "sse", {}, candidate.price_lookup, splice=False, hide=False)
        meter.body.update(turn.facts)
        if "model" in turn.facts:
            meter.body["model"] = candidate.model  # the client may call it otherwise
        return meter

    def _record(self, known: _Open) -> None:
        outcome, meter, books = known.outcome, known.meter, self.books
        exchange = known.exchange
        if outcome.attempts:
            began = exchange.started + float(str(outcome.attempts[-1]["began_ms"])) / 1000
            outcome.attempts[-1]["ms"] = round((books.clock() - began) * 1000, 3)
        outcome.body, outcome.text = meter.body, meter.text
        if outcome.attempts and exchange.fmt.work_id is not None:
            outcome.work_id = exchange.fmt.work_id(meter.body)
            books.holders.learn(self.upgraded.route, known.candidate, (outcome.work_id, exchange.stored))
            books.stored.learn(exchange, known.candidate, meter.body, outcome.work_id)
        settlement = outcome.settlement(exchange, books.now(), books.clock())
        caller, session = exchange.caller, exchange.attribution.session or ""
        books.loops.spent(caller.key_id, caller.key, session, settlement.cost, settlement.finished)
        self.settled += 1
        books.observer.finished(exchange, outcome, settlement)
        if known.recorded:
            books.ledger.settle_soon(settlement)
        else:
            books.ledger.charge_late(known.reservation, settlement)

    def _refused(self, exchange: Exchange, error: GatewayError) -> None:
        outcome = Outcome(status=error.status, error=error.code)
        settlement = outcome.settlement(exchange, self.books.now(), self.books.clock())
        settlement = replace(settlement, refusal={"code": error.code, "message": error.message, **error.details})
        self.settled += 1
        self.books.observer.refused(exchange.id, error)
        self.books.observer.finished(exchange, outcome, settlement)
        self.books.ledger.note(self._reservation(exchange, []), settlement)


def waits(error: GatewayError) -> bool:
    """Whether a refused turn may have room once other turns of its session are settled."""
    return isinstance(error, LimitRefused)
