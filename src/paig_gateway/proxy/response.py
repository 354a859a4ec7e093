"""Relays an answer: its bytes to the client as they arrive, its usage to the outcome.

The provider's bytes are pushed: each read of its socket goes through the meter and to the client's socket in one call.
A client that reads slowly makes the provider wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from paig_gateway.domain.http import Headers
from paig_gateway.domain.money import format_usd
from paig_gateway.formats.base import Framing, Json
from paig_gateway.formats.framing import sniffed
from paig_gateway.formats.jsonarray import is_sequence
from paig_gateway.formats.splice import splice_cost
from paig_gateway.pricing.answer import UsageReading, read_answer
from paig_gateway.proxy import model_lists, unmetered, uploads
from paig_gateway.proxy.asgi import ClientConnection
from paig_gateway.proxy.batches import Batches
from paig_gateway.proxy.content_encoding import Decoder, UnknownEncoding, decode, decoder, steps
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.failover import framing_of_answer, header_map
from paig_gateway.proxy.headers import to_client, without_redirects
from paig_gateway.proxy.meter import (
    MAX_HELD,
    UNREAD,
    StreamMeter,
    charge_body,
    charge_cut_body,
    charge_reading,
    charge_stream,
    decode_json,
    error_in,
    error_type,
    last_members,
    takes_long,
)
from paig_gateway.proxy.peek import ReadableResponse
from paig_gateway.proxy.request import upload_session
from paig_gateway.proxy.stored import StoredObjects
from paig_gateway.routing.candidates import Candidate
from paig_gateway.routing.failures import UpstreamBroken, UpstreamError

TAIL = 64 * 1024
"""How many bytes at the end of a long body are searched for its usage."""

_MOST_DECODED = 8 * 1024 * 1024
"""Bytes that one read of an encoded stream may decode to: nothing else is served while they are read."""

_LONGEST_PREAMBLE = 4096
"""Bytes of white space after which an answer without a stream's content type is no longer searched for a stream."""

Sink = Callable[[bytes], None]


def _take_nothing(data: bytes) -> None:
    """The sink of a relay that is over."""


def _end_nothing() -> None:
    """The end of a relay that is over."""


@dataclass(slots=True)
class ResponseRelay:
    """Relays one answer.

    Attributes:
        asked: Whether the gateway requested stream usage that the client did not request.
        max_drained: Bytes that are read at most after the client has left.
        alone: Whether no other member can be tried, so that keep-alive bytes go to the client at once.
        drained: Bytes that were read after the client had disconnected.
        ended: Whether the provider ended the answer.
        seen: Bytes that have arrived of a body that is not streamed.
    """

    exchange: Exchange
    candidate: Candidate
    outcome: Outcome
    client: ClientConnection
    response: ReadableResponse
    asked: bool
    clock: Callable[[], float]
    max_drained: int
    stored: StoredObjects
    batches: Batches
    alone: bool = True
    headers: dict[str, str] = field(init=False)
    meter: StreamMeter | None = None
    settled: bool = False
    ended: bool = False
    seen: int = 0
    drained: int = 0
    _take: Sink = _take_nothing
    _end: Callable[[], None] = _end_nothing
    _holding: bool = False
    _reads: bool = False
    _kept: list[bytes] = field(default_factory=list)
    _size: int = 0
    _looks: bool = False
    _whole: bool = True
    _copy: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.headers = header_map(self.response.headers)

    async def run(self) -> None:
        """Relay the answer to its end.

        Raises:
            UpstreamError: The answer broke off. The part that arrived has been metered.
            TimeoutError: The client has disconnected, and the rest of the answer is too long to be read.
        """
        try:
            await self._run()
        finally:
            # Methods of its own, kept in it, would keep it and the bodies alive until garbage is collected.
            self._take, self._end = _take_nothing, _end_nothing

    async def _run(self) -> None:
        self.outcome.status = self.response.status
        framing = framing_of_answer(self.exchange, self.response.status, self.headers)
        if "location" in self.headers and self.exchange.operation == "create" and self.response.status < 300:
            self.stored.located(self.exchange, self.candidate, self.headers["location"])
        narrows = model_lists.narrows(self.exchange, self.response.status)
        held = self.stored.holds(self.exchange, self.response.status, self.headers.get("content-type", ""))
        if narrows or held or self.exchange.fmt.batch:
            self._holding = self._reads = True
            self._take = self._kept_whole
        elif not self.exchange.fmt.metered:
            await self._note_session()
            self._start_as_it_is()
            self._take, self._end = self.client.write, self._end_unmetered
        elif framing is not None:
            self._begin_stream(framing)
        elif self.exchange.fmt.opaque:
            self._start_as_it_is()
            self._forward()
        else:
            self._hold_body()
        cycle = self.client.cycle
        cycle.on_pressure = self._pressed
        if cycle.is_under_pressure:
            self.response.pause()
        try:
            await self.response.pump(self._feed)
        except UpstreamError as error:
            if self._holding:
                raise UpstreamBroken(error.reason, sent=True) from error
            raise
        finally:
            cycle.on_pressure = None
            # The client gets what the meter held back, even if the stream broke off.
            if self.meter is not None and (rest := self.meter.end()):
                self.client.write(rest)
        self.outcome.answered = self.clock()
        if self._reads:
            await self._end_read()
            return
        if not self.exchange.fmt.metered and self.exchange.operation == "delete" and self.response.status < 400:
            await self.stored.deleted(self.exchange, self.candidate)
        self._end()

    def _kept_whole(self, data: bytes) -> None:
        self._kept.append(data)
        self._size += len(data)
        if self._size <= MAX_HELD:
            return
        if self.exchange.operation != "read":
            raise UpstreamBroken("the answer is too long to be read", sent=True)
        self._relay_unread()

    def _relay_unread(self) -> None:
        """Relay an object that is too long to be read: a batch with its results."""
        self._holding = self._reads = False
        self._start_as_it_is()
        self.client.write(b"".join(self._kept))
        self._kept = []
        self._take, self._end = self.client.write, self._end_unmetered

    async def _end_read(self) -> None:
        """Send an answer about stored objects or models, with only those that the key may see."""
        headers = self._client_headers()
        raw = b"".join(self._kept)
        try:
            plain = decode(self.headers.get("content-encoding", ""), raw, MAX_HELD)
        except ValueError:
            raise UpstreamBroken("the answer is not in its content encoding", sent=True) from None
        if takes_long(plain):
            if self.exchange.operation != "read":
                raise UpstreamBroken("the answer has too many values to be read", sent=True)
            self._relay_unread()
            self._end()
            return
        if model_lists.narrows(self.exchange, self.response.status):
            body = model_lists.narrowed(self.exchange.caller, plain)
        else:
            await self._note_session()
            body = plain
            if self.stored.holds(self.exchange, self.response.status, "application/json"):
                body = await self.stored.answered(self.exchange, self.candidate, plain)
            self.settled = True
            if self.response.status >= 400 and self.exchange.fmt.batch:
                self.outcome.error = f"upstream-{self.response.status}"
            status = self.response.status
            body = await self.batches.answered(self.exchange, self.candidate, self.outcome, body, status)
            if self.exchange.upload is not None and self.exchange.upload.watcher is not None:
                await self.exchange.upload.watcher.answered(self.candidate, plain)
        if body is plain:
            body = raw
        else:
            headers = [header for header in headers if header[0] != b"content-encoding"]
        if self.exchange.fmt.unmetered:
            unmetered.charge(self.outcome, self.candidate, self.response.status)
        self._answer(headers, body)

    def _answer(self, headers: Headers, body: bytes) -> None:
        """Send an answer that is complete."""
        if self.exchange.method == "HEAD" or self.response.status in (204, 304):
            self.client.start(self.response.status, headers)
            self.client.end()
        else:
            self.client.answer(self.response.status, headers, body)

    def _end_unmetered(self) -> None:
        if self.exchange.fmt.unmetered:
            unmetered.charge(self.outcome, self.candidate, self.response.status)
        if self.response.status < 400:
            self.batches.fetched(self.exchange, self.candidate)
        self.client.end()

    def _pressed(self, paused: bool) -> None:
        """Pause the provider for a slow client, or resume it."""
        if paused:
            self.response.pause()
        else:
            self.response.resume()

    def _feed(self, data: bytes) -> None:
        if self.outcome.first_byte is None:
            self.outcome.first_byte = self.clock()
        self._take(data)
        if self.client.gone:
            self.drained += len(data)
            if self.drained > self.max_drained:
                raise TimeoutError("the answer is too long to drain")

    def _client_headers(self) -> Headers:
        added = [(b"x-paig-request-id", self.exchange.id.encode())]
        if self.outcome.attempts and (fitted := self.outcome.attempts[-1].get("fitted")):
            added.append((b"x-paig-fitted", str(fitted).encode()))
        kept = without_redirects(to_client(self.response.headers), self.exchange.headers)
        if self.exchange.origin and "x-goog-upload-status" in self.headers:
            kept = uploads.led_back(
                kept, self.exchange.origin, self.exchange.target.route, self.candidate.provider.base_url
            )
        return [*kept, *added]

    async def _note_session(self) -> None:
        """Store the owner of a resumable upload that the answer begins, and remove that of one that it ends."""
        status = self.headers.get("x-goog-upload-status")
        if status is None or self.response.status >= 400:
            return
        if (begun := uploads.begun_session(self.headers)) is not None:
            self.outcome.work_id = begun  # the requests that continue it go to the same account
            await self.stored.keep_session(self.exchange, self.candidate, begun)
        elif status != "active" and (session := upload_session(self.exchange.target)) is not None:
            await self.stored.drop(self.candidate, session)

    def _start_as_it_is(self) -> None:
        """Start an answer whose body is not changed."""
        length = [header for header in self.response.headers if header[0] == b"content-length"]
        self.client.start(self.response.status, [*self._client_headers(), *length])

    # Streams

    def _begin_stream(self, framing: Framing) -> None:
        encoding = self.headers.get("content-encoding", "")
        self._holding = False
        self._end = self._end_stream
        self.client.start(self.response.status, self._client_headers())
        if _is_plain(encoding):
            self._take = partial(self._first_of_stream, framing)
        else:
            self.meter = self._meter(framing, plain=False)
            self._take = partial(self._encoded, self.meter, _decoder(encoding))

    def _first_of_stream(self, framing: Framing, data: bytes) -> None:
        if data.isspace():  # keeps the connection alive, and shows nothing
            self.client.write(data)
            return
        found = sniffed(data)
        if found == "json" != framing:  # labelled as a stream, but it is not one
            self._forward()
        else:
            self.meter = self._meter(found or framing, plain=True)
            self._take = partial(self._metered, self.meter)
        self._take(data)

    def _metered(self, meter: StreamMeter, data: bytes) -> None:
        if out := meter.feed(data):
            self.client.write(out)

    def _encoded(self, meter: StreamMeter, undo: Decoder | None, data: bytes) -> None:
        self.client.write(_aside(meter, undo, data))

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

    def _end_stream(self) -> None:
        self.ended = True
        self.settle()
        self.client.end()

    # Whole bodies

    def _hold_body(self) -> None:
        """Hold a body until it is complete; a stream, or a body that is too long, is relayed as it arrives.

        White space before a body, which keeps the connection alive, is relayed at once if no other member can be tried.
        """
        self._holding = True
        self._looks = self.exchange.fmt.fold is not None and self.response.status < 400
        self._looks = self._looks and _is_plain(self.headers.get("content-encoding", ""))
        self._take, self._end = self._hold, self._end_body

    def _hold(self, data: bytes) -> None:
        self.seen += len(data)
        if not self._kept and self.alone and self.response.status < 400 and data.isspace():
            if not self.client.started:
                self.client.start(self.response.status, self._client_headers())
            self.client.write(data)
            return
        self._kept.append(data)
        self._size += len(data)
        found: Framing | None = None
        if self._looks:
            found = sniffed(data if len(self._kept) == 1 else b"".join(self._kept))
            self._looks = found is None and self._size < _LONGEST_PREAMBLE
        if self._size > MAX_HELD or found in ("sse", "eventstream"):
            kept, self._kept = self._kept[::-1], []
            if found is not None and found != "json" and not self.client.started:
                self._begin_stream(found)
            else:
                if not self.client.started:
                    self._start_as_it_is()
                self._forward()
            while kept:
                self._take(kept.pop())

    def _end_body(self) -> None:
        raw = b"".join(self._kept)
        self.settled = True
        body, headers = raw, self._client_headers()
        reading = self._read_body(raw)
        self._learn()
        if reading is not None and (reading.price is not None or reading.from_provider):
            cost = format_usd(reading.cost)
            headers.append((b"logfire-ai-gateway-cost", f"{cost}USD".encode()))
            headers.append((b"pydantic-ai-gateway-price-estimate", f"{reading.cost / 1e9:.4f}USD".encode()))
            if self.candidate.provider.inject_cost and "content-encoding" not in self.headers:
                body = splice_cost(raw, self.exchange.fmt.usage_paths, cost, self.outcome.body)
        if self.client.started:
            self.client.write(body)
            self.client.end()
        else:
            self._answer(headers, body)

    def _forward(self) -> None:
        """Relay a body as it arrives; its usage is read from a copy, or from its end if it is too long to copy."""
        self._holding, self.seen = False, 0
        self._take, self._end = self._forwarded, self._end_forwarded

    def _forwarded(self, data: bytes) -> None:
        self.client.write(data)
        self.seen += len(data)
        self._copy += data
        self._whole = self._whole and len(self._copy) <= MAX_HELD
        if not self._whole:
            del self._copy[:-TAIL]

    def _end_forwarded(self) -> None:
        self.settled = True
        copy, self._copy = bytes(self._copy), bytearray()
        if self._whole:
            self._read_body(copy)
        else:
            self._charge_by_end(copy)
        self.client.end()

    def _charge_by_end(self, end: bytes) -> None:
        """Charge a body of which only the end is read."""
        if (body := last_members(end[-TAIL:])) is None or not self._charge_end(body):
            self._charge_unread()

    def _read_body(self, raw: bytes) -> UsageReading | None:
        """Charge a complete body by its usage; returns the reading, or None if it states no usage."""
        plain = raw
        if encoding := self.headers.get("content-encoding"):
            try:
                plain = decode(encoding, raw, MAX_HELD)
            except ValueError:
                self._charge_unread()
                return None
        if takes_long(plain):
            self._charge_by_end(plain)
            return None
        body = decode_json(plain)
        reads_events = self.exchange.fmt.fold is not None and body is None and self.response.status < 400
        framing = sniffed(plain) if reads_events else None
        is_body = framing == "json" != self.exchange.fmt.framing and not is_sequence(plain)
        if framing is None or is_body:
            return charge_body(self.outcome, self.exchange, self.candidate, self.headers, plain, body)
        self.meter = self._meter(framing, plain=False)
        self.meter.feed(plain)
        self.meter.end()
        self.settled, self.ended = False, True
        self.settle()
        return None

    def _charge_end(self, body: Json) -> bool:
        prices, call = self.candidate.price_lookup, self.exchange.call
        reading = read_answer(self.exchange.fmt, body, self.headers, prices, call)
        if reading.extracted is not None:
            charge_reading(self.outcome, reading, self.candidate, call)
        return reading.extracted is not None

    def _charge_unread(self) -> None:
        """Charge a body that cannot be read: a refusal costs nothing, an answer its ceiling."""
        if self.response.status >= 400:
            self.outcome.error = f"upstream-{self.response.status}"
        elif not self.exchange.fmt.later_look:
            self.outcome.charge(self.candidate.ceiling, "ceiling", UNREAD)

    def _learn(self) -> None:
        """Note the stored objects that a metered answer created."""
        if self.outcome.body is not None and self.response.status < 400:
            self.stored.learn(self.exchange, self.candidate, self.outcome.body, self.outcome.work_id)

    # The end of a stream

    def settle(self) -> None:
        """Put the answer's cost into the outcome, once, whether it is complete or not.

        A stream is charged by its usage, else by an estimate, else at its ceiling; an incomplete body at its ceiling.
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
        elif self.ended and meter.is_empty() and self.exchange.fmt.answer:
            outcome.error = outcome.error or error_in(None)
        outcome.work_id = self.exchange.work_of(meter.body)
        self._learn()
        charge_stream(outcome, meter, self.candidate, ended=self.ended, asked=self.asked)


def _decoder(encoding: str) -> Decoder | None:
    try:
        return decoder(encoding)
    except UnknownEncoding:
        return None


def _aside(meter: StreamMeter, undo: Decoder | None, chunk: bytes) -> bytes:
    """Meter a decoded copy of an encoded chunk; the client gets the encoded bytes."""
    if undo is None:
        meter.unread = True
    elif not meter.unread:
        try:
            decoded = 0
            for piece in steps(undo, chunk):
                decoded += len(piece)
                if decoded > _MOST_DECODED:
                    meter.unread = True
                    break
                meter.feed(piece)
        except ValueError:
            meter.unread = True
    return chunk


def _is_plain(encoding: str) -> bool:
    return encoding.lower() in ("", "identity")
