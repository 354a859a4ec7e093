"""The data plane: `ANY /proxy/{route}/{path}`, and paths without a route; one ASGI callable, no framework.

A request is taken in, its worst case reserved, sent on, relayed while a meter watches, and settled with its true cost
in a block that nothing can cancel.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Literal
from urllib.parse import unquote

from paig_gateway.catalog.key_uses import KeyUses
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError, LedgerDown, LimitRefused
from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import ActiveRoute, Member
from paig_gateway.formats.base import Call, ErrorShape, Format
from paig_gateway.formats.errors import error_body
from paig_gateway.formats.free import MODELS
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import Reservation
from paig_gateway.ledger.refusals import RefusedRequest
from paig_gateway.listener.cycle import EXTENSION
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.proxy import browsers, model_lists, one_address, request, sessions, unmetered, uploads
from paig_gateway.proxy.admission import Admission, BodyBytes
from paig_gateway.proxy.asgi import ClientConnection, run_shielded
from paig_gateway.proxy.batches import Batches
from paig_gateway.proxy.binding import alike, binding_limits, counts_requests, is_capped
from paig_gateway.proxy.exchange import Exchange, Outcome, new_request_id
from paig_gateway.proxy.failover import Failover, RequestFunds
from paig_gateway.proxy.headers import error_headers
from paig_gateway.proxy.heads import Head, Heads
from paig_gateway.proxy.hold import Held, hold
from paig_gateway.proxy.loops import Loops
from paig_gateway.proxy.meter import CUT
from paig_gateway.proxy.observer import UNOBSERVED, Observer, present_request
from paig_gateway.proxy.peek import ReadableResponse
from paig_gateway.proxy.refused_rows import RefusedRows
from paig_gateway.proxy.request import ClientGone, Receive, Scope, Send
from paig_gateway.proxy.response import ResponseRelay
from paig_gateway.proxy.sessions import FirstSessions
from paig_gateway.proxy.settings import MEGABYTE, ProxySpec
from paig_gateway.proxy.stored import StoredObjects
from paig_gateway.routing.affinity import Affinity
from paig_gateway.routing.candidates import Candidate, MemberOrder, candidates
from paig_gateway.routing.failures import UpstreamError
from paig_gateway.secrets.attempts import Attempts

Recording = Literal["hold", "note", "look", "late"]
"""How a request is recorded in the ledger.

`hold`: held, then settled. `note`: noted afterwards, because it costs nothing. `look`: it looks at work that was begun
earlier, which is charged when its usage is first seen. `late`: charged late, because the ledger was down.
"""


@dataclass(slots=True)
class Proxy:
    """The data plane's ASGI callable."""

    directory: Directory
    ledger: Ledger
    prices: PriceSources
    failover: Failover
    now: Callable[[], datetime]
    clock: Callable[[], float]
    member_order: MemberOrder
    affinity: Affinity
    batches: Batches
    settings: ProxySpec = field(default_factory=ProxySpec)
    cors: browsers.Cors = browsers.NO_PAGES
    observer: Observer = UNOBSERVED
    admission: Admission = field(default_factory=Admission)
    key_uses: KeyUses = field(default_factory=KeyUses)
    stored: StoredObjects = field(default_factory=StoredObjects)
    attempts: Attempts = field(default_factory=lambda: Attempts(time.monotonic))
    loops: Loops = field(default_factory=Loops)
    first_sessions: FirstSessions = field(default_factory=FirstSessions)
    watch_upload: Callable[[Exchange], uploads.UploadWatcher | None] = lambda exchange: None
    refused_rows: RefusedRows = field(init=False)
    heads: Heads = field(default_factory=Heads)

    def __post_init__(self) -> None:
        self.refused_rows = RefusedRows(self.ledger.note, self.now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, now = self.clock(), self.now()
        request_id = new_request_id(now)
        present_request.set(request_id)
        headers: Headers = scope["headers"]  # in lower case
        head = self.heads.of(scope, self.directory.snapshot, self.cors)
        client = ClientConnection(scope["extensions"][EXTENSION], head.sealed)
        exchange: Exchange | None = None
        try:
            address = scope["client"][0] if scope.get("client") else None
            if head.caller is not None and not (head.guessable and self.attempts.wait("key", address)):
                request.check_state(head.caller, now)
            elif (asked := await self._identify(head, scope, now, address)) is not None:
                client.sealed = browsers.SEALED
                client.start(204, asked)
                client.end()
                return
            caller = head.caller
            assert caller is not None
            caller.check_use(scope["method"], address)
            self.key_uses.note(caller.key_id, now, address)
            await self.admission.enter()
            try:
                body = self.admission.body(caller.key_id)
                if head.listed is not None:
                    caller.check_format("models")
                    exchange = self._listing(scope["method"], request_id, now, started, head.target, caller, headers)
                    await self._answer_list(exchange, client, *head.listed)
                    return
                exchange = await self._take_in(head, caller, scope, receive, request_id, now, started, body)
                self._check_models(exchange)
                await self._serve(exchange, client)
            finally:
                self.admission.leave()
                body.release()
        except ClientGone:
            return
        except GatewayError as error:
            self.observer.refused(request_id, error)
            if exchange is None:  # else the ledger has a row of it
                found, target, by_name = head.caller, head.target, dict(headers)
                known = error.code in ("key-disabled", "key-blocked", "key-expired")
                if found is None and known and uploads.continued_session(target, by_name) is None:
                    found, _ = request.find_caller(self.directory, by_name, target.query)
                fmt = head.likely.format.name if head.likely else ""
                self.ledger.note_refused(
                    RefusedRequest(request_id, now, found, scope["method"], target.path, target.route, fmt, error)
                )
            if not client.started:
                refuse(client, head.shape, error, request_id)

    async def _identify(self, head: Head, scope: Scope, now: datetime, address: str | None) -> Headers | None:
        """Look up the caller of a request, for all requests with the same head.

        Returns:
            The headers of the answer to a browser's preflight request; None for any other request.

        Raises:
            GatewayError: The request is refused.
        """
        headers, target, query = scope["headers"], head.target, scope["query_string"]
        by_name = dict(headers)
        from_page = browsers.check(headers)
        if (asked := self.cors.preflight(scope["method"], headers)) is not None:
            return asked
        goes_on = uploads.is_upload(scope["method"], head.found, by_name)
        session = uploads.continued_session(target, by_name) if goes_on else None
        try:
            # The target of a remembered head has no key in its query.
            head.caller, without_key = request.authenticate(
                self.directory, by_name, query, now, self.attempts, address, from_page=from_page
            )
        except GatewayError as error:
            if session is None or error.code != "missing-key":
                raise
            head.caller = await self._maker_of_session(session, now, address, error)
            return None
        steady, head.guessable = request.key_facts(self.directory, by_name, query)
        head.steady = steady and not goes_on
        head.target = replace(target, query=without_key)
        return None

    async def _take_in(
        self,
        head: Head,
        caller: Caller,
        scope: Scope,
        receive: Receive,
        request_id: str,
        now: datetime,
        started: float,
        body_bytes: BodyBytes,
    ) -> Exchange:
        headers: Headers = scope["headers"]
        target, sent = head.target, None
        upload: uploads.Upload | None = None
        if head.stated is None:
            by_name = dict(headers)
            request.check_once(headers)
            head.stated, head.origin = request.stated(headers), uploads.origin_of(scope["scheme"], by_name)
            if uploads.is_upload(scope["method"], head.found, by_name):
                upload = uploads.Upload(receive, by_name, self.settings.max_upload_mb * MEGABYTE)
                upload.check_length()
                sent = b"", b""
        if not target.route and one_address.is_native(target.path):
            sent = sent or await self._read(head.stated, headers, receive, body_bytes)
            name = await self._find_route(scope["method"], head, caller, headers, sent[1], now)
            target = replace(target, route=name)
        place = head.places.get(target.route)
        if place is None:
            place = request.find_place(self.directory, caller, scope["method"], target, head.found)
            head.places[target.route] = place
            head.said = request.read(dict(headers))
            self.heads.remember(head)
        fmt, said = place.fmt, head.said
        body, plain = sent or await self._read(head.stated, headers, receive, body_bytes)
        call = request.read_call(fmt, place.model, plain, head.stated, self.settings.max_body_values)
        ids = said.ids or (sessions.of_user_id(call.session) if fmt.name == "anthropic" else None)
        if ids is not None:
            said = replace(said, ids=self.first_sessions.resolve(caller.key_id, ids))
        exchange = Exchange(
            request_id, now, started, caller, place.route, target, fmt, call, scope["method"], headers, body, plain,
            said, self.observer.trace(caller, headers), endpoint=place.endpoint, upload=upload, origin=head.origin,
        )  # fmt: skip
        if upload is not None:
            upload.check = partial(self.stored.check_named, exchange)
            upload.watcher = self.watch_upload(exchange)
        return exchange

    async def _maker_of_session(
        self, session: str, now: datetime, address: str | None, missing: GatewayError
    ) -> Caller:
        """The key that began a resumable upload; Google's clients continue it without a key.

        Raises:
            GatewayError: `missing-key` if there is no such session; otherwise as for any key.
        """
        key_id = None if self.attempts.wait("key", address) else await self.stored.maker_of_session(session)
        caller = self.directory.caller_of_key(key_id) if key_id is not None else None
        if caller is None:
            self.attempts.refused("key", address)
            raise missing
        request.check_state(caller, now)
        return caller

    def _listing(
        self,
        method: str,
        request_id: str,
        now: datetime,
        started: float,
        target: request.Target,
        caller: Caller,
        headers: Headers,
    ) -> Exchange:
        """Make the exchange of a request for the gateway's own list of models."""
        said, trace = request.read(dict(headers)), self.observer.trace(caller, headers)
        call = Call(model_lists.named(target.path) or "")
        return Exchange(
            request_id, now, started, caller, ActiveRoute("", ()), target, MODELS, call, method, headers, b"", b"",
            said, trace,
        )  # fmt: skip

    async def _answer_list(
        self, exchange: Exchange, client: ClientConnection, shape: model_lists.ListShape, model: str | None
    ) -> None:
        """Answer with the gateway's own list of models, or one of them; the row in the ledger costs nothing.

        Raises:
            GatewayError: `not-found`; `rate-limited`.
        """
        reservation = self._reservation(exchange, [])
        recording = recorded_by(exchange, 0)
        try:
            if recording == "hold":
                await self.ledger.reserve(reservation)
        except GatewayError as error:
            self._note_refusal(exchange, error)
            raise
        outcome = Outcome(status=200)
        try:
            models = model_lists.usable(self.directory, exchange.caller, self.prices.book)
            body = model_lists.answer(shape, models, model)
        except GatewayError as error:
            outcome.status, outcome.error = error.status, error.code
            raise
        finally:
            self._record(exchange, reservation, outcome, recording)
        named = [(b"content-type", b"application/json"), (b"x-paig-request-id", exchange.id.encode())]
        client.answer(200, named, body)

    async def _read(
        self, stated: request.Stated, headers: Headers, receive: Receive, body_bytes: BodyBytes
    ) -> tuple[bytes, bytes]:
        """The request's body, as received and decoded."""
        limit = self.settings.max_body_mb * MEGABYTE
        length = dict(headers).get(b"content-length", b"0")
        body = await request.read_body(length, receive, limit, body_bytes)
        return body, request.readable(body, stated.encoding, limit)

    async def _find_route(
        self,
        method: str,
        head: Head,
        caller: Caller,
        headers: Headers,
        plain: bytes,
        now: datetime,
    ) -> str:
        """The name of the route that a request to the one address means."""
        target, found, stated = head.target, head.found, head.stated
        assert stated is not None
        calls: dict[tuple[int, str | None], Call] = {}

        def read(fmt: Format, model: str | None) -> Call:
            key = (id(fmt), model)
            if key not in calls:
                calls[key] = request.read_call(fmt, model, plain, stated, self.settings.max_body_values)
            return calls[key]

        def knows(member: Member, fmt: Format, call: Call) -> bool:
            plans = self.member_order.plans
            return one_address.knows_model(member, fmt, call, target.path, now, plans, self.prices)

        named = {match.format.stored(target.path) for match in found if match.endpoint.object}
        # A batch is created at the provider that has its file.
        named |= {read(match.format, match.model).stored for match in found if match.format.batch}
        stored = [unquote(one) for one in named if one]
        holders = await self.stored.holders(caller, stored) if stored else frozenset[str]()
        names = frozenset(name for name, _ in headers)
        return one_address.find(self.directory, caller, method, target, found, names, holders, read, knows)

    def _check_models(self, exchange: Exchange) -> None:
        """Refuse a model that the key may not use, wherever the request names it.

        Raises:
            GatewayError: `model-not-allowed`.
        """
        caller, call, fmt = exchange.caller, exchange.call, exchange.fmt
        if caller.models is None:
            return
        shown = model_lists.shown(exchange)
        named = (call.model, *call.fallbacks, *(extra.model for extra in call.also), *([shown] if shown else []))
        barred = next((name for name in named if name and not caller.may_use_model(name)), None)
        unnamed = not call.model and (fmt.unmetered or (fmt.metered and not fmt.later_look and not fmt.batch))
        if unnamed:
            barred = "(none that the gateway can read)"
        if barred:
            error = GatewayError(
                "model-not-allowed",
                f"The key '{caller.key}' may not use the model '{barred}'. It may use: {', '.join(caller.models)}.",
                details={"model": barred},
            )
            self._note_refusal(exchange, error)
            raise error

    async def _serve(self, exchange: Exchange, client: ClientConnection) -> None:
        fmt = exchange.fmt
        try:
            if fmt.metered:
                self.loops.check(self.directory, exchange, exchange.plain)
            order = candidates(
                exchange.route,
                fmt,
                exchange.call,
                exchange.target.path,
                exchange.time,
                self.prices,
                self.member_order,
                exchange.session,
                capped=is_capped(exchange),
            )
            await self.stored.check(exchange)
            if len(order) > 1:
                order = await self.affinity.first(exchange.stored, order)
            if fmt.unmetered:
                order = unmetered.admitted(exchange, order, capped=is_capped(exchange, soft=True))
            if exchange.fmt.batch:
                capped = is_capped(exchange, soft=True)
                exchange, order = await self.batches.prepare(exchange, order, lambda: client.gone, capped=capped)
                if exchange.lines is not None and exchange.lines.named:
                    await self.stored.check_named(exchange, exchange.lines.named)
            elif exchange.operation == "delete":
                await self.batches.before_delete(exchange)
            reservation = self._reservation(exchange, order)
            recording = recorded_by(exchange, reservation.ceiling)
            held: Held | None = None
            if recording == "hold":
                held = await self._hold(exchange, order, reservation)
            if held is not None:
                exchange, order, reservation = held.exchange, held.order, held.reservation
            elif recording == "hold":
                # The ledger may have written the reservation before it went down, so this one gets another id.
                exchange = replace(exchange, id=new_request_id(exchange.time))
                reservation, recording = replace(reservation, id=exchange.id), "late"
        except GatewayError as error:
            self._note_refusal(exchange, error)
            raise
        self.observer.started(exchange, reservation)
        outcome = Outcome(not_tried=dict(held.passed_over) if held is not None else {})
        funds = RequestFunds()
        if recording == "hold":
            extend = partial(self.ledger.extend, exchange.id)
            funds = RequestFunds(reservation.ceiling, extend, reservation.limits, partial(binding_limits, exchange))
        try:
            await self._exchange(exchange, order, outcome, client, funds)
        finally:
            if self._record(exchange, reservation, outcome, recording):
                await run_shielded(self._record_look(exchange, reservation, outcome))

    async def _hold(self, exchange: Exchange, order: list[Candidate], reservation: Reservation) -> Held | None:
        """Reserve; None if the ledger is down and the request may pass anyway."""
        allow = self.settings.on_ledger_down == "allow" and not exchange.fmt.batch
        if allow and not self.ledger.healthy:
            return None
        try:
            return await self._hold_any(exchange, order, reservation)
        except LedgerDown:
            if not allow:
                raise
            return None

    async def _hold_any(self, exchange: Exchange, order: list[Candidate], reservation: Reservation) -> Held:
        """Reserve for the first member whose limits have room; wait only for the last member."""
        passed_over: dict[str, str] = {}
        while True:
            full = Held(exchange, order, reservation)
            others = exchange.caller.named != () and len(alike(exchange, order)) < len(order)
            try:
                held = await hold(self.ledger, full, 0.0 if others else self.settings.limit_wait)
                return replace(held, passed_over=passed_over) if passed_over else held
            except LimitRefused as error:
                id = error.limit.id
                free = [one for one in order if all(limit.id != id for limit in binding_limits(exchange, one))]
                if not free:
                    if others:
                        return await hold(self.ledger, full, self.settings.limit_wait)
                    raise
                names = {one.provider.name for one in order} - {one.provider.name for one in free}
                passed_over |= dict.fromkeys(names, error.message)
                order, reservation = free, self._reservation(exchange, free)

    async def _exchange(
        self,
        exchange: Exchange,
        order: list[Candidate],
        outcome: Outcome,
        client: ClientConnection,
        funds: RequestFunds,
    ) -> None:
        """Send the request and relay the answer; the outcome has the cost in every case."""
        relay: ResponseRelay | None = None
        answered = False
        decisions = self.failover.decisions(exchange, order, outcome)
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        drain: asyncio.TimerHandle | None = None
        over = False

        def drained() -> None:
            """Give up: the rest of the answer took too long."""
            nonlocal over
            over = True
            if task is not None:
                task.cancel()

        def gone() -> None:
            """Note that the client has disconnected: the running try is charged, and no other begins."""
            nonlocal drain
            decisions.client_left()
            if relay is not None:
                relay.response.resume()
            drain = drain or loop.call_later(self._drain_seconds(exchange, outcome.candidate), drained)

        client.cycle.on_gone = gone
        try:
            if client.gone:
                gone()
            sending = self.failover.send(exchange, decisions, outcome, funds)
            while True:
                relay = None
                response, asked = await sending
                relay = self._relay(exchange, outcome, client, response, asked, alone=not decisions.order)
                try:
                    await relay.run()
                    break
                except UpstreamError as error:
                    # A body that is not streamed goes to the client only when it is complete.
                    relay.settle()
                    failure = self.failover.failed(decisions, error, outcome)
                    if client.started:
                        # The client of a stream learns of it by the broken connection.
                        outcome.error = failure.error.code
                        break
                finally:
                    await response.aclose()
                sending = self.failover.send_again(exchange, decisions, outcome, funds, failure)
        except TimeoutError:
            outcome.error = outcome.error or "client-gone"
        except ClientGone:
            outcome.error = "client-gone"
            raise
        except asyncio.CancelledError:
            if over and task is not None and not task.uncancel():
                outcome.error = outcome.error or "client-gone"
                return
            outcome.error = outcome.error or "shutdown"
            raise
        except GatewayError as error:
            outcome.status, outcome.error = error.status, error.code
            answered = True
            raise
        finally:
            client.cycle.on_gone = None
            if drain is not None:
                drain.cancel()
            if relay is not None:
                relay.settle()
            elif not answered and outcome.at_work and outcome.candidate is not None:
                # Cancelled while a provider may be processing it.
                outcome.charge(outcome.candidate.ceiling, "ceiling", CUT)

    def _drain_seconds(self, exchange: Exchange, candidate: Candidate | None) -> float:
        """How long an answer is read on after its client has left: the rest of a file has no usage."""
        drains = candidate is None or candidate.provider.on_disconnect == "drain"
        drains = drains and (exchange.fmt.metered or exchange.method not in ("GET", "HEAD"))
        return self.settings.drain_seconds if drains else 0.0

    def _relay(
        self,
        exchange: Exchange,
        outcome: Outcome,
        client: ClientConnection,
        response: ReadableResponse,
        asked: bool,
        *,
        alone: bool,
    ) -> ResponseRelay:
        assert outcome.candidate is not None
        return ResponseRelay(
            exchange, outcome.candidate, outcome, client, response, asked, self.clock,
            self.settings.drain_mb * MEGABYTE, self.stored, self.batches, alone=alone,
        )  # fmt: skip

    def _record(self, exchange: Exchange, reservation: Reservation, outcome: Outcome, recording: Recording) -> bool:
        """Hand the row to the ledger, without waiting for the database."""
        settlement = outcome.settlement(exchange, self.now(), self.clock())
        self.observer.finished(exchange, outcome, settlement)
        caller, session = exchange.caller, exchange.attribution.session
        if session is not None:
            self.loops.spent(caller.key_id, caller.key, session, settlement.cost, settlement.finished)
        answered = outcome.status is not None and outcome.status < 400
        first = outcome.first_byte - exchange.started if answered and outcome.first_byte is not None else None
        self.member_order.learn(exchange.route, exchange.fmt, exchange.call, outcome.attempts, first)
        if answered and outcome.candidate is not None:
            self.affinity.learn(exchange.route, outcome.candidate, (outcome.work_id, exchange.stored))
        if outcome.deferred:
            return False
        if recording == "hold":
            self.ledger.settle_soon(settlement)
        elif recording == "note":
            self.ledger.note(reservation, settlement)
        elif recording == "late":
            self.ledger.charge_late(reservation, settlement)
        return recording == "look" and bool(outcome.work_id) and outcome.reading is not None

    async def _record_look(self, exchange: Exchange, reservation: Reservation, outcome: Outcome) -> None:
        """Charge work when its usage is first seen, and never again."""
        settlement = outcome.settlement(exchange, self.now(), self.clock())
        assert outcome.work_id is not None
        unknown = await self.ledger.correct(outcome.work_id, None, settlement) == "unknown"
        if unknown and settlement.of_ceiling is None:
            await self.ledger.charge(reservation, settlement)

    def _reservation(self, exchange: Exchange, order: list[Candidate]) -> Reservation:
        limits = binding_limits(exchange, order[0] if order else None)
        model = ""
        if exchange.fmt.batch:
            # A batch runs at the provider's pace, so limits of tokens per minute do not apply.
            limits = tuple(limit for limit in limits if limit.unit != "tokens")
            model = next(iter(exchange.lines.models if exchange.lines is not None else ()), "")
        bound = alike(exchange, order) if order else []
        return exchange.reservation(
            limits,
            provider=order[0].provider.name if order else None,
            model=model,
            ceiling=max([candidate.ceiling for candidate in bound], default=0),
            tokens=max([candidate.tokens for candidate in bound], default=0),
        )

    def _note_refusal(self, exchange: Exchange, error: GatewayError) -> None:
        outcome = Outcome(status=error.status, error=error.code)
        settlement = outcome.settlement(exchange, self.now(), self.clock())
        settlement = replace(settlement, refusal={"code": error.code, "message": error.message, **error.details})
        self.observer.finished(exchange, outcome, settlement)
        self.refused_rows.add(self._reservation(exchange, []), settlement)


def recorded_by(exchange: Exchange, ceiling: int) -> Recording:
    """How a request is recorded while the ledger is up."""
    if exchange.fmt.later_look:
        return "look"
    # A free request still counts as a request.
    return "hold" if exchange.fmt.metered or ceiling > 0 or counts_requests(exchange) else "note"


def refuse(client: ClientConnection, shape: ErrorShape, error: GatewayError, request_id: str) -> None:
    """Answer with the gateway's own error, in the shape that the provider's SDK expects."""
    body, native = error_body(shape, error.status, error.code, error.message, error.details)
    headers = [(b"content-type", b"application/json"), *native, *error_headers(error, request_id)]
    client.answer(error.status, headers, body)
