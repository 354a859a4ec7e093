"""Bringing an answer back: its bytes to the client as they arrive, its usage to the outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from paig_gateway.domain.http import Headers
from paig_gateway.domain.money import format_usd
from paig_gateway.formats.base import Framing, Json
from paig_gateway.formats.framing import sniffed
from paig_gateway.formats.splice import splice_cost
from paig_gateway.pricing.answer import UsageReading, read_answer
from paig_gateway.proxy.asgi import ClientConnection
from paig_gateway.proxy.content_encoding import Decoder, UnknownEncoding, decode, decoder, steps
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.failover import framing_of_answer, header_map
from paig_gateway.proxy.headers import to_client
from paig_gateway.proxy.meter import MAX_HELD, StreamMeter, decode_json, last_members
from paig_gateway.proxy.peek import Answer
from paig_gateway.proxy.settling import (
    UNREAD,
    charge_body,
    charge_cut_body,
    charge_reading,
    charge_stream,
    error_in,
    error_type,
)
from paig_gateway.routing.candidates import Candidate
from paig_gateway.routing.failures import UpstreamBroken, UpstreamError

TAIL = 64 * 1024
"""Bytes of the end of a body too long to hold that are looked at for its usage."""

_LONGEST_PREAMBLE = 4096
"""Bytes of white space after which nobody looks any more for a stream in what is not called one."""


@dataclass(slots=True)
class Relay:
    """Relays one answer.

    Attributes:
        asked: The gateway asked for stream usage that the client did not ask for.
        max_drained: Bytes that are read at most after the client has left.
        drained: Bytes that were.
        ended: The provider ended the answer itself.
        seen: Bytes of a body that is not streamed that have come.
        record: Called when the outcome is known, before the client is sent the last of the answer: who has read a whole
            answer finds it in the ledger.
    """

    exchange: Exchange
    candidate: Candidate
    outcome: Outcome
    client: ClientConnection
    response: Answer
    asked: bool
    clock: Callable[[], float]
    record: Callable[[], Awaitable[None]]
    max_drained: int
    headers: dict[str, str] = field(init=False)
    meter: StreamMeter | None = None
    settled: bool = False
    ended: bool = False
    seen: int = 0
    drained: int = 0

    def __post_init__(self) -> None:
        self.headers = header_map(self.response.headers)

    async def run(self) -> None:
        """Relay the answer to its end.

        Raises:
            UpstreamError: It broke off. What was relayed until then has been metered.
        """
        self.outcome.status = self.response.status
        framing = framing_of_answer(self.exchange, self.response.status, self.headers)
        pieces = self.response.chunks()
        if not self.exchange.fmt.metered:
            await self._pass_through(pieces)
        elif framing is not None:
            await self._stream(framing, pieces)
        else:
            await self._body(pieces)

    def _client_headers(self) -> Headers:
        added = [(b"x-paig-request-id", self.exchange.id.encode())]
        if self.outcome.attempts and (fitted := self.outcome.attempts[-1].get("fitted")):
            added.append((b"x-paig-fitted", str(fitted).encode()))
        return [*to_client(self.response.headers), *added]

    async def _start_as_it_is(self) -> None:
        """Begin an answer whose body will not be changed."""
        length = [header for header in self.response.headers if header[0] == b"content-length"]
        await self.client.start(self.response.status, [*self._client_headers(), *length])

    async def _pass_through(self, pieces: AsyncIterator[bytes]) -> None:
        await self._start_as_it_is()
        async for chunk in pieces:
            self._mark_first_byte()
            await self.client.body(chunk, more=True)
        self.outcome.answered = self.clock()
        await self.client.body(b"", more=False)

    def _drain(self, chunk: bytes) -> None:
        """Count what is read of an answer whose client has left.

        Raises:
            TimeoutError: It is too long to be read on.
        """
        if self.client.gone:
            self.drained += len(chunk)
            if self.drained > self.max_drained:
                raise TimeoutError("the answer is too long to drain")

    def _mark_first_byte(self) -> None:
        if self.outcome.first_byte is None:
            self.outcome.first_byte = self.clock()

    # Streams

    async def _stream(self, framing: Framing, pieces: AsyncIterator[bytes]) -> None:
        encoding = self.headers.get("content-encoding", "")
        plain = _is_plain(encoding)
        undo = None if plain else _decoder(encoding)
        await self.client.start(self.response.status, self._client_headers())
        try:
            async for chunk in pieces:
                self._mark_first_byte()
                if self.meter is None:
                    found = sniffed(chunk) if plain else None
                    if found == "json" != framing:  # what is called a stream is none
                        return await self._forward(_after([chunk], pieces))
                    self.meter = self._meter(found or framing, plain)
                out = self.meter.feed(chunk) if plain else _aside(self.meter, undo, chunk)
                if out:
                    await self.client.body(out, more=True)
                self._drain(chunk)
        finally:
            # What the meter still held back is the client's, though the stream may have broken off.
            if self.meter is not None and (rest := self.meter.end()):
                await self.client.body(rest, more=True)
        self.outcome.answered = self.clock()
        self.ended = True
        self.settle()
        await self._end()

    def _meter(self, framing: Framing, plain: bool) -> StreamMeter:
        exchange, candidate = self.exchange, self.candidate
        return StreamMeter(
            fmt=exchange.fmt,
            call=exchange.call,
            framing=framing,
            headers=self.headers,
            price_lookup=candidate.price_lookup,
            splice=plain and candidate.provider.inject_cost and exchange.fmt.splice_streams,
            hide=plain and self.asked,
        )

    async def _end(self) -> None:
        await self.record()
        await self.client.body(b"", more=False)

    # Whole bodies

    async def _body(self, pieces: AsyncIterator[bytes]) -> None:
        """Hold a body until it is whole; but what turns out to be a stream, or too long, goes on as it comes."""
        chunks: list[bytes] = []
        size, found = 0, None
        looks = self.exchange.fmt.fold is not None and self.response.status < 400
        looks = looks and _is_plain(self.headers.get("content-encoding", ""))
        try:
            async for chunk in pieces:
                self._mark_first_byte()
                chunks.append(chunk)
                size += len(chunk)
                self.seen = size
                if looks:
                    found = sniffed(b"".join(chunks))
                    looks = found is None and size < _LONGEST_PREAMBLE
                if size > MAX_HELD or found in ("sse", "eventstream"):
                    break
            else:
                return await self._whole(b"".join(chunks))
        except UpstreamError as error:
            raise UpstreamBroken(error.reason, sent=True) from error
        if found is not None and found != "json":
            return await self._stream(found, _after(chunks, pieces))
        await self._start_as_it_is()
        await self._forward(_after(chunks, pieces))

    async def _whole(self, raw: bytes) -> None:
        self.outcome.answered = self.clock()
        self.settled = True
        headers, body = self._client_headers(), raw
        reading = self._read_body(raw)
        if reading is not None and (reading.price is not None or reading.from_provider):
            cost = format_usd(reading.cost)
            headers.append((b"logfire-ai-gateway-cost", f"{cost}USD".encode()))
            headers.append((b"pydantic-ai-gateway-price-estimate", f"{reading.cost / 1e9:.4f}USD".encode()))
            if self.candidate.provider.inject_cost and "content-encoding" not in self.headers:
                body = splice_cost(raw, self.exchange.fmt.usage_paths, cost)
        if self.exchange.method == "HEAD" or self.response.status in (204, 304):
            await self.record()
            await self.client.start(self.response.status, headers)
            await self.client.body(b"", more=False)
            return
        await self.record()
        await self.client.answer(self.response.status, headers, body)

    async def _forward(self, pieces: AsyncIterator[bytes]) -> None:
        """Relay a body as it comes; its usage is read from a copy, or, where it is too long for one, from its end."""
        kept, whole = bytearray(), True
        async for chunk in pieces:
            await self.client.body(chunk, more=True)
            self._drain(chunk)
            kept += chunk
            self.seen += len(chunk)
            whole = whole and len(kept) <= MAX_HELD
            if not whole:
                del kept[:-TAIL]
        self.outcome.answered = self.clock()
        self.settled = True
        if whole:
            self._read_body(bytes(kept))
        elif (body := last_members(bytes(kept))) is None or not self._charge_end(body):
            self._charge_unread()
        await self._end()

    def _read_body(self, raw: bytes) -> UsageReading | None:
        """Read usage from a whole body, and say in the outcome how it is known; None where there is none."""
        try:
            plain = decode(self.headers.get("content-encoding", ""), raw, MAX_HELD)
        except ValueError:
            self._charge_unread()
            return None
        body = decode_json(plain)
        framing = sniffed(plain) if self.exchange.fmt.fold is not None and body is None else None
        if framing is None or framing == "json":
            return charge_body(self.outcome, self.exchange, self.candidate, self.headers, plain, body)
        self.meter = self._meter(framing, plain=False)
        self.meter.feed(plain)
        self.meter.end()
        self.settled, self.ended = False, True
        self.settle()
        return None

    def _charge_end(self, body: Json) -> bool:
        """Charge a body by the usage at its end; whether there is any."""
        prices, call = self.candidate.price_lookup, self.exchange.call
        reading = read_answer(self.exchange.fmt, body, self.headers, prices, call)
        if reading.extracted is not None:
            charge_reading(self.outcome, reading, self.candidate)
        return reading.extracted is not None

    def _charge_unread(self) -> None:
        """Charge a body that cannot be read: a refusal costs nothing, an answer the most that it could have."""
        if self.response.status >= 400:
            self.outcome.error = f"upstream-{self.response.status}"
        elif not self.exchange.fmt.later_look:
            self.outcome.charge(self.candidate.ceiling, "ceiling", UNREAD)

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
            if self.ended:  # nothing came
                outcome.error = outcome.error or error_in(None)
            else:
                charge_cut_body(outcome, self.exchange, self.candidate, self.headers, self.seen)
            return
        outcome.body, outcome.text = meter.body, meter.text
        error = meter.body.get("error")
        if error is not None and outcome.error is None:
            outcome.error = error_type(error)
            if outcome.tried is not None:
                outcome.tried.stream_error(outcome.error)
        if self.exchange.fmt.work_id:
            outcome.work_id = self.exchange.fmt.work_id(meter.body)
        charge_stream(outcome, meter, self.candidate, ended=self.ended, asked=self.asked)


def _decoder(encoding: str) -> Decoder | None:
    try:
        return decoder(encoding)
    except UnknownEncoding:
        return None


def _aside(meter: StreamMeter, undo: Decoder | None, chunk: bytes) -> bytes:
    """Meter an encoded chunk by a decoded copy; the client's bytes stay as they came."""
    if undo is None:
        meter.unread = True
    elif not meter.unread:
        try:
            for piece in steps(undo, chunk):
                meter.feed(piece)
        except ValueError:
            meter.unread = True
    return chunk


def _is_plain(encoding: str) -> bool:
    return encoding.lower() in ("", "identity")


async def _after(chunks: list[bytes], pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What was read already, and what is still to come."""
    while chunks:
        yield chunks.pop(0)
    async for piece in pieces:
        yield piece
