"""What an answer costs: reads streams while they pass, and charges streams and bodies at their end.

The meter parses only events that can carry usage. It returns the bytes that it was given, unless the cost is spliced
into the stream, or an event is hidden that the client did not ask for.

- An answer is charged by the usage that it states; a charge that the provider states itself goes before our list price.
- A body that is not an answer of the model (an error, a firewall's page, nothing) costs nothing.
- A complete answer without usage, from a provider that always states usage, is charged at its ceiling: the usage was
  hidden.
- An answer that was cut off, or one from a server that does not state usage, is estimated from its content.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from paig_gateway.domain.money import format_usd
from paig_gateway.formats import ambiguity, framing
from paig_gateway.formats import reading as json_reading
from paig_gateway.formats.base import Call, Format, Framing, Generated, Json, Marker, StreamEvent
from paig_gateway.formats.folding import END, PARTIAL, TEXT_SIZE, each, mapping, whole
from paig_gateway.formats.framing import FRAMINGS, Splitter
from paig_gateway.formats.judgement import is_error_page, judge
from paig_gateway.formats.splice import splice_event
from paig_gateway.pricing.answer import NOTHING, UsageReading, estimate, read_answer
from paig_gateway.pricing.model_limits import model_limits, rounded_up
from paig_gateway.pricing.names import hides_reasoning
from paig_gateway.pricing.overrides import PriceLookup
from paig_gateway.pricing.usage import Extracted
from paig_gateway.pricing.worst_case import DEFAULT_CONTEXT_WINDOW
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.routing.candidates import Candidate

MAX_HELD = 32 * 1024 * 1024
"""The most bytes of an event or a body that are held; a longer one is passed on without being read."""

KEPT_FOR_ESTIMATE = 256 * 1024
"""Bytes of a stream that are kept for an estimate, in case it ends without usage."""

MOST_EVENTS = 20_000
"""Events of a stream that may carry usage and are all read; of later ones only the last few of each part are.

No provider sends so many but one that states the usage so far in every event, where the last one tells it all.
"""

_LAST_EVENTS = 4
_PART = 8 * 1024
"""Bytes of a block that are searched at once: what has many matches is searched again after each of them."""

_MOST_HIDDEN = 64 * 1024
"""Bytes of hidden events that are held back in case that a choice follows them."""


_T = TypeVar("_T")
_CHOICE = re.compile(rb'"choices"\s*:\s*\[\s*\{')


@dataclass(slots=True)
class StreamMeter:
    """Meters one streamed answer.

    Attributes:
        headers: The answer's headers, by lower-case name.
        price_lookup: Finds prices.
        splice: Whether the cost is added to the stream.
        hide: Whether to hide events that the gateway asked for, not the client.
        body: The answer so far, folded into one body.
        unread: Whether part of the stream was not read.
    """

    fmt: Format
    call: Call
    framing: Framing
    headers: Mapping[str, str]
    price_lookup: PriceLookup
    splice: bool
    hide: bool
    body: dict[str, object] = field(default_factory=dict)
    unread: bool = False
    _splitter: Splitter = field(init=False)
    _parse: Callable[[bytes], StreamEvent] = field(init=False)
    _kept: list[bytes] = field(default_factory=list)
    _kept_size: int = 0
    _more: list[bytes] = field(default_factory=list)
    _more_size: int = 0
    _counted: int = 0
    _generated: Generated = field(default_factory=Generated)
    _unsplit: int = 0
    _seen: int = 0
    _waiting: int = 0
    _reading: UsageReading | None = None
    _corrupt: bool = False
    _hid: bool = False
    _held: bytes = b""
    _events: int = 0

    def __post_init__(self) -> None:
        make, self._parse = FRAMINGS[self.framing]
        self._splitter = make()

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk of the stream; returns the bytes for the client (perhaps none yet)."""
        if self._corrupt:
            self._seen += len(chunk)
            self._unsplit += len(chunk)
            return chunk
        rewrite = self.splice or self.hide
        if isinstance(self._splitter, framing.SseSplitter) and (block := self._splitter.feed_block(chunk)) is not None:
            passed = self._watch_block(block) if block else b""
            self._waiting += len(chunk) - len(block)
            if self._waiting > MAX_HELD:
                self.unread, self._waiting = True, 0
                passed += self._splitter.give_up()
            return passed if rewrite else chunk
        try:
            events = self._splitter.feed(chunk)
        except ValueError:
            # A stream that cannot be parsed is still relayed.
            self._corrupt = True
            return self._splitter.rest() if rewrite else chunk
        unread = len(events) - len(self._read_among(events))
        out = [self._pass(raw) for raw in events[:unread]]
        out += [self._watch(raw) for raw in events[unread:]]
        self._waiting += len(chunk) - sum(map(len, events))
        if self._waiting > MAX_HELD:
            self.unread, self._waiting = True, 0
            out.append(self._splitter.give_up())
        return b"".join(out) if rewrite else chunk

    def end(self) -> bytes:
        """End the stream; returns the remaining bytes for the client."""
        rest = b"" if self._corrupt else self._splitter.rest()
        if not rest:
            return b""
        out = self._watch(rest)
        return out if self.splice or self.hide else b""

    def _watch_block(self, block: bytes) -> bytes:
        """Parse those events of a block that may carry usage, and pass the others on."""
        marker = self.fmt.usage_marker
        if marker is None or self.fmt.fold is None or marker.search(block) is None:
            return self._pass(block)
        out: list[bytes] = []
        at = 0
        while at < len(block):
            cut = block.rfind(b"\n\n", at, at + _PART) + 2
            part = block[at : cut if cut >= 2 else block.index(b"\n\n", at) + 2]
            out.append(self._watch_part(part, marker))
            at += len(part)
        return b"".join(out)

    def _watch_part(self, part: bytes, marker: Marker | re.Pattern[bytes]) -> bytes:
        found: list[tuple[int, int]] = []
        at = 0
        while (match := marker.search(part, at)) is not None:
            before = part.rfind(b"\n\n", at, match.start())
            start = before + 2 if before >= 0 else at
            at = part.index(b"\n\n", match.start()) + 2
            found.append((start, at))
        out: list[bytes] = []
        at = 0
        for start, end in self._read_among(found):
            if start > at:
                out.append(self._pass(part[at:start]))
            out.append(self._watch(part[start:end]))
            at = end
        if at < len(part):
            out.append(self._pass(part[at:]))
        return b"".join(out)

    def _read_among(self, events: list[_T]) -> list[_T]:
        """Those of some events that are read; see `MOST_EVENTS`."""
        self._events += len(events)
        return events if self._events <= MOST_EVENTS else events[-_LAST_EVENTS:]

    def _pass(self, raw: bytes) -> bytes:
        self._seen += len(raw)
        self._keep(raw)
        return self._after_held(raw)

    def _after_held(self, raw: bytes) -> bytes:
        """An event, after those held back if it has a choice: the usage that the gateway asked for comes last."""
        if not self._held or _CHOICE.search(raw) is None:
            return raw
        return self._release() + raw

    def _release(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def _watch(self, raw: bytes) -> bytes:
        self._seen += len(raw)
        self._keep(raw)
        marker = self.fmt.usage_marker
        if marker is None or self.fmt.fold is None or not marker.search(raw):
            return self._after_held(raw)
        told = "usage" in self.body or PARTIAL in self.body
        try:
            event = self._parse(raw)
            self.fmt.fold(self.body, event)
        except ValueError:
            return self._after_held(raw)
        self._reading = None
        # A provider whose earlier events state usage sends it unasked: this event is the client's too.
        hides = self.hide and (self._hid or not told)
        if hides and self.fmt.is_asked_only is not None and self.fmt.is_asked_only(event):
            self._hid = True
            self._held += raw
            return b"" if len(self._held) <= _MOST_HIDDEN else self._release()
        if self.splice and self.framing == "sse" and "usage" in self.body:
            reading = self.reading()
            if reading.price is not None or reading.from_provider:
                return self._after_held(splice_event(raw, self.fmt.usage_paths, format_usd(reading.cost)))
        return self._after_held(raw)

    def _keep(self, raw: bytes) -> None:
        """Keep an event in case the stream ends without usage; events beyond the limit are counted and dropped."""
        if self._kept_size < KEPT_FOR_ESTIMATE:
            self._kept.append(raw)
            self._kept_size += len(raw)
            return
        self._more.append(raw)
        self._more_size += len(raw)
        if self._more_size >= KEPT_FOR_ESTIMATE:
            self._count_more()

    def _count_more(self) -> None:
        size, generated = self._count(self._more)
        self._counted += size
        self._generated += generated
        self._more, self._more_size = [], 0

    def _count(self, raws: list[bytes]) -> tuple[int, Generated]:
        """Count the bytes of text in raw events, and their other generated content."""
        size, found = 0, Generated()
        for raw in self._single(raws):
            with contextlib.suppress(ValueError):
                event = self._parse(raw)
                size += len(self.fmt.text(event).encode("utf-8", "replace")) if self.fmt.text else 0
                found += self.fmt.generated(event) if self.fmt.generated else Generated()
        return size, found

    def _single(self, raws: list[bytes]) -> Iterator[bytes]:
        """Split blocks of events into single events."""
        for raw in raws:
            if self.framing != "sse":
                yield raw
                continue
            # A block may be nothing but blank lines and comments, hundreds of thousands of them.
            yield from (event for event in framing.separated(raw) if b"data" in event)

    def reading(self) -> UsageReading:
        """The usage and cost so far; `extracted` is None if the stream had no final usage."""
        if self._reading is None:
            self._reading = read_answer(self.fmt, self.body, self.headers, self.price_lookup, self.call)
        return self._reading

    def text(self) -> str:
        """The text in the part of the stream that is kept."""
        read = self.fmt.text
        if read is None:
            return ""
        texts: list[str] = []
        for raw in self._single(self._kept):
            with contextlib.suppress(ValueError):
                texts.append(read(self._parse(raw)))
        return "".join(texts)

    def is_complete(self) -> bool:
        """Whether the answer is complete: it had a finish reason or a stop event, and no error."""
        return END in self.body and "error" not in self.body

    def is_empty(self) -> bool:
        """Whether the stream had nothing that a provider could bill."""
        told = any(any(mapping(self.body.get(name)).values()) for name in (PARTIAL, "usage", "usageMetadata"))
        if told or self._unsplit or self.unread:
            return False
        return self.fmt.text is not None and not self._is_garbled() and not self.has_content()

    def _is_garbled(self) -> bool:
        """Whether an event that is kept was meant to be JSON, and is not."""
        if self.framing != "sse":
            return False
        found = (self._parse(raw).data.strip() for raw in self._single(self._kept))
        return any(data.startswith(b"{") and data != b"{}" and not json_reading.members(data) for data in found)

    def has_content(self) -> bool:
        """Whether the stream had text, output items, or something else that was generated."""
        if self._more or self._counted or each(self.body.get("output")):
            return True
        return self._count(self._kept) != (0, Generated())

    def is_refusal(self) -> bool:
        """Whether the stream had an error and nothing that a provider could bill."""
        return "error" in self.body and self.is_empty()

    def estimate(self) -> UsageReading | None:
        """Usage estimated from the content of a stream without usage; None if nothing can be counted."""
        if self.fmt.text is None or self._seen == 0 or self.unread:
            return None
        self._count_more()
        size, generated = self._count(self._kept)
        size += self._counted + self._unsplit
        generated += self._generated
        # Some servers send whole items in place of deltas.
        items = sum(whole(mapping(item).get(TEXT_SIZE)) or 0 for item in each(self.body.get("output")))
        return estimate(self.fmt, self.call, self.body, max(size, items), generated, self.price_lookup)


_USAGE = re.compile(rb'"usage(?:Metadata)?"\s*:')
_CANDIDATES = 16


def last_members(end: bytes) -> Json | None:
    """Parse the members of a JSON object from its usage on, given only the object's end.

    A match within a nested object or a string does not decode, since too much follows it.
    """
    places = [match.start() for match in _USAGE.finditer(end)][-_CANDIDATES:]
    return next(filter(None, (decode_json(b"{" + end[place:]) for place in places)), None)


MOST_VALUES = 3_000_000
"""Values in an answer, counted as in a request, plus quotation marks: 32 MB of embeddings have 2.5 million numbers."""


def takes_long(body: bytes) -> bool:
    """Whether reading an answer would keep everything else waiting, so that only its end is read.

    It has very many values, however few bytes each takes, or much of it is not UTF-8.
    """
    if len(body) * 5 <= MOST_VALUES:  # a byte counts for five at most
        return False
    quotes = body.count(b'"')
    return quotes > MOST_VALUES or ambiguity.has_more_values(body, MOST_VALUES - quotes) or ambiguity.is_broken(body)


def decode_json(body: bytes) -> Json | None:
    """Parse a JSON object; None if the bytes are something else."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:  # lenient servers send NaN and single surrogates, which are not JSON
            value = json.loads(body.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


CUT = "the answer was cut off"
HIDDEN_REASONING = "the answer was cut off, and the model's reasoning is not shown"
NO_USAGE = "the provider states the usage of every answer, but not of this one"
BACKGROUND = "the work goes on in the background"
UNREAD = "the answer could not be read"
EXCESS = 10
"""A stated cost above this multiple of the hold is not believed, if it is above `SMALL_EXCESS` too."""

SMALL_EXCESS = 10_000_000
"""Nanodollars: a stated cost of a cent at most is believed, whatever was held."""


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
        if reading.extracted is not None and not (is_blank(reading) and _has_content(fmt, plain)):
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


_NEVER_FREE = re.compile(r"embed|images|ocr")


def _has_content(fmt: Format, plain: bytes) -> bool:
    """Whether an answer has what is never made of nothing: a text, embeddings, images, a document that was read."""
    return _NEVER_FREE.search(fmt.name) is not None or (fmt.text is not None and bool(fmt.text(StreamEvent("", plain))))


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
    if candidate.ceiling and cost > max(EXCESS * candidate.ceiling, SMALL_EXCESS):
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
