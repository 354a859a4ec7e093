"""Sending a request on: trying one candidate after the other until one answers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.domain.limits import Limit
from paig_gateway.domain.route import ActiveProvider, Credential
from paig_gateway.formats.base import Format, Framing, MalformedRequest
from paig_gateway.formats.form import is_form, splice_field
from paig_gateway.formats.framing import framing_of
from paig_gateway.formats.judgement import judge
from paig_gateway.formats.openai_chat import refuses_some_member, refuses_stream_options
from paig_gateway.formats.splice import splice_member
from paig_gateway.providers.adapters import OutboundRequest
from paig_gateway.providers.auth import SigningError
from paig_gateway.proxy.content_encoding import UnknownEncoding, decoder
from paig_gateway.proxy.egress import own_egress
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.headers import to_upstream
from paig_gateway.proxy.hold import with_maximum
from paig_gateway.proxy.meter import CUT, StreamMeter, charge_stream, decode_json, error_in, error_type
from paig_gateway.proxy.peek import AdaptedResponse, PeekableResponse, ReadableResponse, beginning, peek, shown
from paig_gateway.proxy.provider_client import ProviderAccess
from paig_gateway.proxy.upstream import RequestHead
from paig_gateway.routing.affinity import has_not
from paig_gateway.routing.candidates import Candidate
from paig_gateway.routing.decisions import (
    Answered,
    Cover,
    Decisions,
    Failure,
    Leave,
    RelayResponse,
    Result,
    Step,
    Stop,
    Unanswered,
    Unsigned,
)
from paig_gateway.routing.decisions import TryCandidate as SendTo
from paig_gateway.routing.failures import UpstreamBroken, UpstreamError, UpstreamTimeout
from paig_gateway.routing.health import Try
from paig_gateway.routing.verdicts import BODY_TELLS, REACH, Reach, another_may, of_status

log = logging.getLogger(__name__)

_REFUSALS = frozenset({400, 401, 403})
"""Statuses by which providers refuse a credential."""


MOST_HEADS, LONGEST_HEAD = 1024, 4096
"""Heads of requests to providers that are kept at most, and the bytes of one that is kept."""


@dataclass(slots=True)
class RequestFunds:
    """What the ledger holds for a request.

    Attributes:
        held: Nanodollars.
        extend: Makes the ledger hold more, or raises. Takes the additional nanodollars, the limits that replace the
            present ones (or None), and the most tokens. None if nothing needs to be held.
        short: Why the ledger did not hold enough for the last try.
    """

    held: int = 0
    extend: Callable[[int, tuple[Limit, ...] | None, int], Awaitable[None]] | None = None
    bound: tuple[Limit, ...] = ()
    limits_of: Callable[[Candidate], tuple[Limit, ...]] | None = None
    short: str = ""

    async def ensure(self, candidate: Candidate, total: int) -> bool:
        """Make sure that all limits that bind a try hold `total` nanodollars; returns whether they do."""
        if self.extend is None:
            return True
        limits = self.bound if self.limits_of is None else self.limits_of(candidate)
        exchange = limits if limits != self.bound else None
        if exchange is None and total <= self.held:
            return True
        try:
            await self.extend(max(0, total - self.held), exchange, candidate.tokens)
        except GatewayError as error:
            self.short = error.message
            return False
        except LookupError:  # this node was taken for dead, and what it held was charged
            self.short = "what was held for the request is charged already"
            return False
        self.held, self.bound = max(self.held, total), limits
        return True


class Failover:
    """Tries candidates in turn until one answers."""

    def __init__(self, access: ProviderAccess) -> None:
        self._upstream = access.client.upstream
        self._auth = access.client.auth
        self._directory = access.directory
        self._health = access.health
        self._clock = access.clock
        self._deadlines = access.deadlines
        self._refuse_stream_options: set[str] = set()
        self._heads: dict[tuple[object, ...], tuple[ActiveProvider, Credential, RequestHead]] = {}

    def decisions(self, exchange: Exchange, order: list[Candidate], outcome: Outcome) -> Decisions:
        return Decisions(exchange, exchange.stored, order, self._deadlines, self._health, outcome.leave_out)

    async def send(
        self, exchange: Exchange, decisions: Decisions, outcome: Outcome, funds: RequestFunds
    ) -> tuple[ReadableResponse, bool]:
        """Send the request to the first candidate that takes it.

        Args:
            decisions: Decide which candidate is tried next.
            outcome: Records each try, and the cost of those that may be billed.
            funds: The request's hold: a candidate that it cannot cover is not tried.

        Returns:
            The answer, and whether the gateway asked for stream usage that the client had not requested. The last
            candidate's answer is returned even if it is an error.

        Raises:
            GatewayError: `upstream-unreachable` or `upstream-timeout`, where the last try brought no answer.
            TimeoutError: The client has left.
        """
        return await self._follow(decisions.begin(self._clock()), exchange, decisions, outcome, funds)

    async def send_again(
        self, exchange: Exchange, decisions: Decisions, outcome: Outcome, funds: RequestFunds, failure: Failure
    ) -> tuple[ReadableResponse, bool]:
        """Send again after an answer broke off before the client got any of it; see `send`."""
        outcome.at_work = False
        step = decisions.report(Unanswered(failure), self._clock(), outcome.cost)
        return await self._follow(step, exchange, decisions, outcome, funds)

    async def _follow(
        self, step: Step, exchange: Exchange, decisions: Decisions, outcome: Outcome, funds: RequestFunds
    ) -> tuple[ReadableResponse, bool]:
        answer: ReadableResponse | None = None
        asked = False
        try:
            while True:
                match step:
                    case SendTo(candidate=candidate, last=last):
                        if answer is not None:
                            await answer.aclose()
                            answer = None
                        answer, asked, result = await self._try(exchange, decisions, candidate, outcome, last=last)
                        if exchange.upload is not None and exchange.upload.started:
                            decisions.client_left()  # the part that was sent cannot be sent again
                        if not isinstance(result, Answered) or result.reach is not None:
                            outcome.at_work = False
                        step = decisions.report(result, self._clock(), outcome.cost)
                    case Cover(candidate=candidate, total=total):
                        held = await funds.ensure(candidate, total)
                        step = decisions.covered(None if held else funds.short)
                    case RelayResponse(after_all=after_all):
                        assert answer is not None
                        if after_all:
                            outcome.undo()
                            outcome.tried = None  # its result was reported already
                        return answer, asked
                    case Stop(error=error):
                        raise error
                    case Leave():
                        raise TimeoutError("the client disconnected while the next try was being prepared")
        except BaseException:
            if answer is not None:
                await answer.aclose()
            raise

    async def _try(
        self, exchange: Exchange, decisions: Decisions, candidate: Candidate, outcome: Outcome, *, last: bool
    ) -> tuple[ReadableResponse | None, bool, Result]:
        began = self._clock()
        outcome.status = outcome.answered = outcome.first_byte = outcome.reading = None
        attempt = outcome.begin(candidate, exchange, began)
        tried = outcome.tried = self._health.begin(candidate)
        answer: ReadableResponse | None = None
        asked = False
        try:
            sent, fitted = with_maximum(exchange, candidate)
            if fitted is not None:
                attempt["fitted"] = fitted
            answer, asked = await self._send_renewed(sent, candidate, len(outcome.attempts))
            attempt["status"] = answer.status
            answer, reach = await self._classify(exchange, decisions, candidate, answer, outcome, tried, last=last)
            return answer, asked, Answered(reach)
        except SigningError as error:
            tried.credential_rejected("credential")
            attempt["error"] = "credential"
            return None, False, Unsigned(str(error))
        except UpstreamError as error:
            failure = self.failed(decisions, error, outcome, answered=answer is not None)
            if failure.may_be_billed:
                outcome.charge(candidate.ceiling, "ceiling", CUT)
            if answer is not None:
                await answer.aclose()
            return None, False, Unanswered(failure)
        except BaseException:
            if answer is not None:
                await answer.aclose()
            raise
        finally:
            tried.end()
            attempt["ms"] = round((self._clock() - began) * 1000, 3)

    def failed(
        self, decisions: Decisions, error: UpstreamError, outcome: Outcome, *, answered: bool = False
    ) -> Failure:
        """Note that no answer came, or that it broke off."""
        begun = outcome.first_byte is not None
        failure = decisions.failure(error, self._clock(), begun=begun, answered=answered)
        outcome.attempts[-1]["error"] = (
            "upstream-timeout" if isinstance(error, UpstreamTimeout) else "upstream-unreachable"
        )
        if failure.is_providers and outcome.tried is not None:
            outcome.tried.failed(error)
        return failure

    async def _classify(
        self,
        exchange: Exchange,
        decisions: Decisions,
        candidate: Candidate,
        answer: ReadableResponse,
        outcome: Outcome,
        tried: Try,
        *,
        last: bool,
    ) -> tuple[ReadableResponse, Reach | None]:
        """Decide whether another candidate is tried instead of relaying this answer, which has been charged.

        Raises:
            UpstreamError: The answer is a stream that ended before its first byte.
        """
        status = answer.status
        if status >= 400:
            body = b""
            if status in BODY_TELLS:
                answer = PeekableResponse.of(answer)
                body = await beginning(answer)
            verdict = tried.answered(status, answer.headers, body)
            if verdict == "credential_rejected":
                self._directory.doubt(candidate.credential.id)  # Its file or keyring entry may have changed.
            # Another account may have the object that this one lacks.
            if exchange.stored and has_not(status, body):
                return answer, REACH[verdict] or "elsewhere"
            return answer, REACH[verdict] or another_may(status, body)
        if last:
            tried.answered(status, answer.headers)
            return answer, None
        headers = header_map(answer.headers)
        framing = framing_of_answer(exchange, status, headers)
        peeked = PeekableResponse.of(answer)
        limit = self._deadlines.of_try(exchange, candidate.provider, self._clock()).first_byte
        until = asyncio.get_running_loop().time() + limit
        if headers.get("content-encoding", "identity") != "identity":
            framing = None
        elif framing is not None:
            framing = await shown(peeked, framing, until)
        if framing is None:
            if not await self._is_no_answer(exchange, candidate, peeked, headers):
                tried.answered(status, answer.headers)
                return peeked, None
            body = b"".join(peeked.buffered)
            outcome.attempts[-1]["error"] = error = error_in(decode_json(body)) if status == 200 else f"status-{status}"
            reach = REACH[tried.stream_error(error)] or "member"
            return peeked, "member" if reach == "elsewhere" else reach
        if not await peek(peeked, framing, until):
            tried.answered(status, answer.headers)
            return peeked, None
        return peeked, await self._failed_stream(exchange, decisions, candidate, peeked, framing, outcome, tried)

    async def _failed_stream(
        self,
        exchange: Exchange,
        decisions: Decisions,
        candidate: Candidate,
        peeked: PeekableResponse,
        framing: Framing,
        outcome: Outcome,
        tried: Try,
    ) -> Reach:
        """Charge a stream that failed before it said anything; returns what else may be tried.

        Raises:
            UpstreamError: It ended before its first byte.
        """
        if peeked.failure is not None and not any(chunk.strip() for chunk in peeked.buffered):
            await peeked.aclose()
            raise peeked.failure
        meter = StreamMeter(
            *(exchange.fmt, exchange.call, framing, header_map(peeked.headers), candidate.price_lookup),
            splice=False,
            hide=False,
        )
        for chunk in peeked.buffered:
            meter.feed(chunk)
        meter.end()
        reach: Reach = "member"
        if peeked.failure is not None:
            self.failed(decisions, peeked.failure, outcome)
        else:
            outcome.attempts[-1]["error"] = error = error_type(meter.body.get("error"))
            reach = REACH[tried.stream_error(error)] or reach
        if exchange.fmt.metered:
            charge_stream(outcome, meter, candidate, ended=peeked.failure is None, asked=True)
            outcome.reading = None
        return reach

    async def _is_no_answer(
        self, exchange: Exchange, candidate: Candidate, peeked: PeekableResponse, headers: Mapping[str, str]
    ) -> bool:
        """Whether a body that is not streamed is not an answer: HTML, an error, a redirect, or nothing.

        Raises:
            UpstreamTimeout: Only white space arrived in time.
            UpstreamBroken: It breaks off, or is not in its content encoding.
        """
        try:
            undo = decoder(headers.get("content-encoding", ""))
        except UnknownEncoding:
            return False
        plain, decoded = bytearray(), 0
        time = asyncio.get_running_loop().time
        until = time() + self._deadlines.of_try(exchange, candidate.provider, self._clock()).first_byte
        while True:
            for piece in peeked.buffered[decoded:]:
                try:
                    plain += piece if undo is None else undo(piece)
                except ValueError:
                    raise UpstreamBroken("the answer is not in its content encoding", sent=True) from None
            decoded = len(peeked.buffered)
            found = judge(exchange.fmt, peeked.status, bytes(plain), peeked.ended)
            if found == "cut":
                raise UpstreamBroken("the answer is not whole", sent=True)
            if found != "more":
                return found == "not-answer"
            if not await peeked.read(max(until - time(), 0.0)) and not peeked.ended:
                if peeked.failure is None and not plain.strip():
                    raise UpstreamTimeout("no data in time", sent=True)
                return False  # It is relayed without this limit; a failure is raised then.

    def _asks_usage(self, candidate: Candidate) -> bool:
        wanted = candidate.provider.stream_usage
        asks = candidate.kind.asks_usage if wanted is None else wanted
        return asks and candidate.provider.name not in self._refuse_stream_options

    async def _send_renewed(
        self, exchange: Exchange, candidate: Candidate, number: int
    ) -> tuple[ReadableResponse, bool]:
        """Send a request; send it again if its credential is refused and its file or keyring has changed."""
        answer, asked = await self._send_asking(exchange, candidate, number)
        if answer.status not in _REFUSALS or (exchange.upload is not None and exchange.upload.started):
            return answer, asked
        peeked = PeekableResponse.of(answer)
        if of_status(answer.status, await beginning(peeked)) != "credential_rejected":
            return peeked, asked
        try:
            renewed = await asyncio.to_thread(self._directory.renewed, candidate.credential)
        except BaseException:
            await peeked.aclose()
            raise
        if renewed is None:
            return peeked, asked
        await peeked.aclose()
        log.info("%s refused a credential that has changed: sending the new one", candidate.provider.name)
        return await self._send_asking(exchange, replace(candidate, credential=renewed), number)

    async def _send_asking(
        self, exchange: Exchange, candidate: Candidate, number: int
    ) -> tuple[ReadableResponse, bool]:
        """Send a request, and again without `stream_options` if the provider refuses what the gateway added."""
        answer, asked = await self._send_one(exchange, candidate, number)
        if not asked or answer.status < 400:
            return answer, asked
        peeked = PeekableResponse.of(answer)
        said = await beginning(peeked)
        certain = refuses_stream_options(answer.status, said)
        if not certain and not refuses_some_member(answer.status, said):
            return peeked, asked
        await peeked.aclose()
        if certain:
            self._refuse_stream_options.add(candidate.provider.name)
            return await self._send_one(exchange, candidate, number)
        answer, asked = await self._send_one(exchange, candidate, number, asking=False)
        if answer.status < 400:  # it was this member, and not one of the client's
            self._refuse_stream_options.add(candidate.provider.name)
        return answer, asked

    async def _send_one(
        self, exchange: Exchange, candidate: Candidate, number: int, *, asking: bool = True
    ) -> tuple[ReadableResponse, bool]:
        kind, provider = candidate.kind, candidate.provider
        if problem := self._directory.problem(provider.name):
            raise SigningError(problem)
        fmt, call = exchange.fmt, exchange.call
        path, body, asked = exchange.target.path, exchange.body, False
        query, headers = exchange.target.query, to_upstream(exchange.headers)
        adapter = kind.adapters.get(fmt.name)
        if adapter is not None and adapter.native(path):
            adapter = None
        if adapter is not None:
            try:
                outbound = adapter.pack(
                    OutboundRequest(path, query, headers, exchange.plain), candidate.model, call.stream
                )
            except MalformedRequest as error:
                raise GatewayError("bad-request", str(error)) from None
            path, query, headers, body = outbound.path, outbound.query, outbound.headers, outbound.body
        elif candidate.model != call.model:
            path, body = renamed(fmt, path, exchange.plain, candidate.model)
        asking = asking and fmt.asks is not None and call.stream and not call.asks_usage
        if asking and fmt.asks is not None and self._asks_usage(candidate):
            body, asked = fmt.asks(exchange.plain if body is exchange.body else body), True
        if body is not exchange.body:
            # All changes were made in the decoded body.
            headers = [header for header in headers if header[0] != b"content-encoding"]
        headers.append((b"accept-encoding", self._accept_encoding(exchange)))
        head = await self._head(candidate, exchange.method, path, query, headers, body)
        payload: bytes | AsyncIterator[bytes] | None
        payload = body if body or exchange.method in ("POST", "PUT", "PATCH") else None
        length: int | None = None
        if exchange.upload is not None:
            payload = exchange.upload.pieces()
            length = int(exchange.upload.length) if exchange.upload.length is not None else None
        timeouts = self._deadlines.of_try(exchange, provider, self._clock())
        trace = exchange.trace.headers(number) if exchange.trace is not None else None
        answer = await self._upstream.send_after(head, payload, more=trace, length=length, timeouts=timeouts)
        return (answer if adapter is None else AdaptedResponse(answer, adapter)), asked

    async def _head(
        self, candidate: Candidate, method: str, path: str, query: bytes, headers: Headers, body: bytes
    ) -> RequestHead:
        """The request line and headers for a candidate, the same bytes for all requests that are alike.

        Raises:
            SigningError: The credential cannot be used.
            Unsendable: What a client or an operator wrote cannot be sent.
        """
        kind, provider = candidate.kind, candidate.provider
        # The value keeps both alive, so that no other object gets their ids.
        key = (id(provider), id(candidate.credential), method, path, query, *headers)
        if (known := self._heads.get(key)) is not None:
            return known[2]
        url = kind.path(provider.base_url, path, provider.settings)
        if kind.name == "azure" and b"api-version=" not in query and "/deployments/" in url:
            version = provider.settings.get("api_version", "2024-10-21").encode()
            query = query + b"&api-version=" + version if query else b"api-version=" + version
        if query:
            url = f"{url}?{query.decode('latin-1')}"
        signed = await self._auth.headers(kind.auth, provider, candidate.credential, method, url, headers, body)
        head = self._upstream.head(method, url, [*headers, *signed], way=own_egress(provider))
        if self._auth.is_steady(kind.auth) and len(head.lines) <= LONGEST_HEAD:
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            self._heads[key] = provider, candidate.credential, head
        return head

    @staticmethod
    def _accept_encoding(exchange: Exchange) -> bytes:
        """Ask for an encoding that the meter can read, or for the client's own if the answer is not metered."""
        if exchange.fmt.metered or exchange.operation is not None:
            return b"identity"
        return next((value for name, value in exchange.headers if name == b"accept-encoding"), b"identity")


def renamed(fmt: Format, path: str, plain: bytes, model: str) -> tuple[str, bytes]:
    """The request's path and body with another model's name in place of the one they have; no other byte changes."""
    match = fmt.path.search(path)
    if match is not None and match.groupdict().get("model"):
        start, end = match.span("model")
        return path[:start] + quote(model, safe="") + path[end:], plain
    if is_form(plain):
        return path, splice_field(plain, "model", model.encode())
    return path, splice_member(plain, ("model",), json.dumps(model).encode())


def framing_of_answer(exchange: Exchange, status: int, headers: Mapping[str, str]) -> Framing | None:
    """How an answer is split into events; None if it is not a stream."""
    fmt = exchange.fmt
    if fmt.fold is None or status >= 400:
        return None
    return framing_of(headers.get("content-type", "")) or (fmt.unlabelled if exchange.call.stream else None)


def header_map(headers: Headers) -> dict[str, str]:
    """Headers by name, as the formats read them; repeated headers are joined by commas."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = str(name, "latin-1"), str(value, "latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
