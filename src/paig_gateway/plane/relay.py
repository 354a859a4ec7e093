"""Bringing an answer back: its bytes to the client as they arrive, its usage to the outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from paig_gateway.domain.money import format_usd
from paig_gateway.formats.base import Event, Framing
from paig_gateway.formats.splice import splice_cost
from paig_gateway.plane.answer import Answer
from paig_gateway.plane.decoding import Decoder, UnknownEncoding, decode, decoder
from paig_gateway.plane.dispatch import error_type, framing_of_answer, header_map
from paig_gateway.plane.exchange import Candidate, Exchange, Outcome
from paig_gateway.plane.headers import Headers, to_client
from paig_gateway.plane.intake import Send
from paig_gateway.plane.meter import Reading, StreamMeter, decode_json, estimated, read_answer
from paig_gateway.plane.upstream import UpstreamBroken, UpstreamError

MAX_READ = 256 * 1024 * 1024
"""Bytes of a non-streaming answer that the meter reads at most."""


@dataclass(slots=True)
class Client:
    """The client's end of a request.

    Attributes:
        started: Whether a status has been sent.
        gone: Whether the client has left; what is sent to it after that is dropped.
    """

    send: Send
    started: bool = False
    finished: bool = False
    gone: bool = False

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and headers."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, data: bytes, *, more: bool) -> None:
        """Send a piece of the body."""
        self.finished = not more
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, status: int, headers: Headers, data: bytes) -> None:
        """Send a whole answer."""
        await self.start(status, [*headers, (b"content-length", str(len(data)).encode())])
        await self.body(data, more=False)

    async def _send(self, message: dict[str, object]) -> None:
        if self.gone:
            return
        try:
            await self.send(message)
        except OSError:
            self.gone = True


@dataclass(slots=True)
class Relay:
    """Relays one answer.

    Attributes:
        asked: The gateway asked for stream usage that the client did not ask for.
        max_drained: Bytes of a stream that are read at most after its client has left.
        record: Called when the outcome is known, before the client is sent the last of the answer: who has read a whole
            answer finds it in the ledger.
    """

    exchange: Exchange
    candidate: Candidate
    outcome: Outcome
    client: Client
    response: Answer
    asked: bool
    clock: Callable[[], float]
    record: Callable[[], Awaitable[None]]
    max_drained: int
    headers: dict[str, str] = field(init=False)
    meter: StreamMeter | None = None
    settled: bool = False

    def __post_init__(self) -> None:
        self.headers = header_map(self.response.headers)

    async def run(self) -> None:
        """Relay the answer to its end.

        Raises:
            UpstreamError: It broke off. What was relayed until then has been metered.
        """
        self.outcome.status = self.response.status
        framing = framing_of_answer(self.exchange, self.response.status, self.headers)
        if not self.exchange.fmt.metered:
            await self._pass_through()
        elif framing is not None:
            await self._stream(framing)
        else:
            await self._body()

    def _client_headers(self) -> Headers:
        return [*to_client(self.response.headers), (b"x-paig-request-id", self.exchange.id.encode())]

    async def _pass_through(self) -> None:
        headers = self._client_headers()
        headers += [header for header in self.response.headers if header[0] == b"content-length"]
        await self.client.start(self.response.status, headers)
        async for chunk in self.response.chunks():
            self._mark_first_byte()
            await self.client.body(chunk, more=True)
        self.outcome.answered = self.clock()
        await self.client.body(b"", more=False)

    def _mark_first_byte(self) -> None:
        if self.outcome.first_byte is None:
            self.outcome.first_byte = self.clock()

    # Streams

    async def _stream(self, framing: Framing) -> None:
        exchange, candidate = self.exchange, self.candidate
        encoding = self.headers.get("content-encoding", "")
        plain = encoding.lower() in ("", "identity")
        meter = self.meter = StreamMeter(
            fmt=exchange.fmt,
            call=exchange.call,
            framing=framing,
            headers=self.headers,
            tariff=candidate.tariff,
            splice=plain and candidate.provider.inject_cost and exchange.fmt.splice_streams,
            hide=plain and self.asked,
        )
        undo = _decoder(encoding)
        await self.client.start(self.response.status, self._client_headers())
        drained = 0
        try:
            async for chunk in self.response.chunks():
                self._mark_first_byte()
                out = meter.feed(chunk) if plain else _aside(meter, undo, chunk)
                if out:
                    await self.client.body(out, more=True)
                if self.client.gone and (drained := drained + len(chunk)) > self.max_drained:
                    raise TimeoutError("the answer is too long to drain")
        finally:
            # What the meter still held back is the client's, though the stream may have broken off.
            if rest := meter.end():
                await self.client.body(rest, more=True)
        self.outcome.answered = self.clock()
        self.settle()
        await self.record()
        await self.client.body(b"", more=False)

    # Whole bodies

    async def _body(self) -> None:
        chunks: list[bytes] = []
        try:
            async for chunk in self.response.chunks():
                self._mark_first_byte()
                chunks.append(chunk)
        except UpstreamError as error:
            raise UpstreamBroken(error.reason, sent=True) from error
        self.outcome.answered = self.clock()
        self.settled = True
        raw = b"".join(chunks)
        headers, body = self._client_headers(), raw
        reading = self._read_body(raw)
        if reading is not None:
            self.outcome.reading = reading
            if reading.price is not None:
                cost = format_usd(reading.cost)
                headers.append((b"logfire-ai-gateway-cost", f"{cost}USD".encode()))
                headers.append((b"pydantic-ai-gateway-price-estimate", f"{reading.cost / 1e9:.4f}USD".encode()))
                if self.candidate.provider.inject_cost and "content-encoding" not in self.headers:
                    body = splice_cost(raw, self.exchange.fmt.usage_paths, cost)
        await self.record()
        if self.exchange.method == "HEAD" or self.response.status in (204, 304):
            await self.client.start(self.response.status, headers)
            await self.client.body(b"", more=False)
            return
        await self.client.answer(self.response.status, headers, body)

    def _read_body(self, raw: bytes) -> Reading | None:
        """Read usage from a whole body, and say in the outcome how it is known; None where there is none."""
        exchange, outcome = self.exchange, self.outcome
        try:
            plain = decode(self.headers.get("content-encoding", ""), raw, MAX_READ)
        except ValueError:
            if self.response.status < 400 and not exchange.fmt.later_look:
                outcome.charge(self.candidate.ceiling, "ceiling")  # an answer, and no telling how long
                return None
            return self._unread(b"")
        body = decode_json(plain)
        if body is None:
            return self._unread(plain)
        outcome.body = body
        outcome.work_id = exchange.fmt.work_id(body) if exchange.fmt.work_id else None
        reading = read_answer(exchange.fmt, body, self.headers, self.candidate.tariff)
        if reading.extracted is None:
            return self._unread(plain)
        outcome.charge(reading.cost, "exact")
        return reading

    def _unread(self, plain: bytes) -> Reading | None:
        """A body without usage: a refusal costs nothing, an answer is estimated, work that goes on is held in full."""
        outcome, exchange = self.outcome, self.exchange
        if self.response.status >= 400:
            outcome.error = f"upstream-{self.response.status}"
            return None
        if exchange.fmt.later_look:
            return None
        if exchange.call.background:
            outcome.charge(self.candidate.ceiling, "ceiling")
            return None
        text = exchange.fmt.text(Event("", plain)) if exchange.fmt.text and plain else ""
        reading = estimated(exchange.fmt, exchange.call, {}, len(text.encode()), self.candidate.tariff)
        outcome.charge(min(reading.cost, self.candidate.ceiling), "estimated")
        outcome.reading = reading
        return None

    # The end of a stream

    def settle(self) -> None:
        """Say in the outcome what the answer cost, however it ended; once.

        A stream by its usage, else by estimate, else at its ceiling; a body that did not come through, at its ceiling.
        """
        meter, outcome = self.meter, self.outcome
        if self.settled or not self.exchange.fmt.metered:
            return
        self.settled = True
        if meter is None:
            if self.response.status < 400 and not self.exchange.fmt.later_look:
                outcome.charge(self.candidate.ceiling, "ceiling")
            return
        outcome.body, outcome.text = meter.body, meter.text
        error = meter.body.get("error")
        if error is not None and outcome.error is None:
            outcome.error = error_type(error)
        if self.exchange.fmt.work_id:
            outcome.work_id = self.exchange.fmt.work_id(meter.body)
        outcome.charge_stream(meter, self.candidate.ceiling)


def _decoder(encoding: str) -> Decoder | None:
    try:
        return decoder(encoding)
    except UnknownEncoding:
        return None


def _aside(meter: StreamMeter, undo: Decoder | None, chunk: bytes) -> bytes:
    """Meter an encoded chunk by a decoded copy; the client's bytes stay as they came."""
    if undo is not None:
        try:
            meter.feed(undo(chunk))
        except ValueError:
            return chunk
    return chunk
