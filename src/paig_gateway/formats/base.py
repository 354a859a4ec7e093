"""The record that describes an API format.

A format is data and pure functions: which path it claims, what it reads from a request, how a stream's events fold into
the body that the non-streaming call would have returned, and the shape of its errors. Everything that differs between
formats is here; nothing else in the gateway asks which format it has before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from paig_gateway.formats.media import MediaItem

_LITERAL = re.compile(rb'(?:[\w":]|\\[$\[\].])+')


class Marker:
    """Finds the first place where one of several patterns matches, such as a few events among the bytes of many.

    Python's `re` tries every alternative of `"(?:usage"|error"|…)` at each quotation mark, of which a stream is full.
    So each alternative is a pattern of its own, and it is tried only where its first, literal bytes occur at all:
    looking for bytes takes half of the time of a pattern. Patterns that share such bytes are ruled out together.

    The quotation mark before a name is not searched for either, which saves a quarter of the time. A longer name with
    the same ending is then found as well, and its event is read for nothing.

    Args:
        patterns: Each begins with some literal bytes, or stands beside some that are part of every match: one rare
            byte is found ten times as fast as several.
    """

    def __init__(self, *patterns: bytes | tuple[bytes, bytes]) -> None:
        literals = [one[0] if isinstance(one, tuple) else _literal(one) for one in patterns]
        groups: dict[bytes, list[re.Pattern[bytes]]] = {}
        for one, literal in zip(patterns, literals, strict=True):
            shared = min((other for other in literals if other in literal), key=len)
            pattern = one[1] if isinstance(one, tuple) else one
            groups.setdefault(shared, []).append(re.compile(pattern.removeprefix(b'"')))
        self._groups = [(literal, tuple(found)) for literal, found in groups.items()]

    def search(self, data: bytes, start: int = 0) -> re.Match[bytes] | None:
        first: re.Match[bytes] | None = None
        for literal, patterns in self._groups:
            if data.find(literal, start) < 0:
                continue
            for pattern in patterns:
                match = pattern.search(data, start)
                if match is not None and (first is None or match.start() < first.start()):
                    first = match
        return first


def _literal(pattern: bytes) -> bytes:
    """What every match of a pattern begins with."""
    found = _LITERAL.match(pattern)
    if found is None or pattern[found.end() : found.end() + 1] in (b"*", b"?", b"{", b"|"):
        raise ValueError(f"{pattern!r} does not begin with literal bytes")
    return found[0].replace(b"\\", b"")


EVENT_ERROR = (b"error", rb":\s*error\b")
"""The name of an event that is an error."""


Json = Mapping[str, object]
Framing = Literal["sse", "eventstream", "json"]
"""How a stream is cut into events: server-sent events, AWS event stream frames, or JSON: the elements of one array, or
one object after another (newline-delimited)."""

ErrorShape = Literal["openai", "anthropic", "google", "bedrock", "ollama"]


class MalformedRequest(ValueError):
    """The request cannot be read; the message says what to change."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A model that a request may set to work besides its own.

    Attributes:
        model: Its name.
        times: How often at most.
        output_tokens: The most that each call may write; None if the request does not say.
    """

    model: str
    times: int = 1
    output_tokens: int | None = None


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class Call:
    """The parts of a request that the gateway needs to bound its cost and to relay the answer.

    Attributes:
        model: The requested model, by the client's name.
        stream: Whether the client requests a stream.
        input_tokens: Upper bound of input tokens, from the text alone (a token is at least one byte of it).
        output_tokens: The request's own maximum over all answers it asks for, or None where it sets none.
        answers: The number of requested answers (`n`, `candidateCount`, `best_of`).
        media_in: The request carries images, audio, video or documents, or may make the provider read some.
        media: The images, sounds and documents whose tokens have a bound of their own.
        unbounded_input: The request brings in what only the context window bounds: links, stored files, video.
        media_out: The answer may be audio, image or video.
        cache_write: The request may write to a prompt cache that costs more than plain input.
        searches: Upper bound of server-side tool calls billed apiece.
        unbounded_tools: Server-side tools that may grow input without a bound other than the context window.
        standard_window: Whether the request uses the model's default context window.
        server_tools: Tools and features that run at the provider, as the request names them.
        units: What else the request alone makes billable, by genai-prices' unit: `rerank_searches`, `document_pages`.
        modifiers: The request's own words that change a price: `service_tier`, `speed`, `inference_geo`.
        long_cache: What it writes to a prompt cache may be kept for longer, at a higher price.
        maxima: The members that state `output_tokens`, in an API whose servers differ in which of them they heed.
        extra_output: Tokens of output that the maximum does not bound: of a predicted answer, the rejected ones of
            which are billed as output, and of pictures.
        repeats: How many times over the provider may do the work: agents side by side, modes that try several times.
        thinking: The budget for thinking that the request states, or None.
        asks_usage: Whether the client itself requested usage in the stream.
        service_tier: The requested service tier, or None.
        fallbacks: Other models that the provider may answer with instead.
        also: Models that the provider may call besides: advisors, agents.
        background: The work goes on after the answer (`background: true`): usage comes through at a later look.
        session: What the request itself calls the conversation that it belongs to, for the provider's prompt cache.
        stored: The object stored at the provider that it continues: a response, a conversation, a cached content.
        stores: Whether the provider is to keep the answer, so that a later request may name it (chats: `store`).
    """

    model: str
    stream: bool = False
    input_tokens: int = 0
    output_tokens: int | None = None
    answers: int = 1
    media_in: bool = False
    media: tuple[MediaItem, ...] = ()
    unbounded_input: bool = False
    media_out: bool = False
    cache_write: bool = False
    long_cache: bool = False
    searches: int = 0
    unbounded_tools: bool = False
    standard_window: bool = False
    server_tools: frozenset[str] = frozenset()
    units: Mapping[str, int] = field(default_factory=dict)
    modifiers: Mapping[str, str] = field(default_factory=dict)
    maxima: tuple[str, ...] = ()
    extra_output: int = 0
    repeats: int = 1
    thinking: int | None = None
    asks_usage: bool = False
    service_tier: str | None = None
    background: bool = False
    fallbacks: tuple[str, ...] = ()
    also: tuple[ModelCall, ...] = ()
    session: str | None = None
    stored: str | None = None
    stores: bool = False


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a stream.

    Attributes:
        name: The SSE `event:` field, or the event stream's `:event-type`/`:exception-type` header; empty if none.
        data: The payload: joined `data:` lines, or the frame's payload.
        is_exception: Whether it is an event stream frame whose `:message-type` is `exception` or `error`.
    """

    name: str
    data: bytes
    is_exception: bool = False


@dataclass(frozen=True, slots=True)
class Generated:
    """What an event or a body shows to have been generated besides text, for estimates.

    Attributes:
        hidden_bytes: Bytes of reasoning that is encrypted or redacted.
        images: Images.
        audio_bytes: Bytes of 16-bit audio at 24 kHz.
    """

    hidden_bytes: int = 0
    images: int = 0
    audio_bytes: int = 0

    def __add__(self, other: Generated) -> Generated:
        return Generated(
            self.hidden_bytes + other.hidden_bytes, self.images + other.images, self.audio_bytes + other.audio_bytes
        )


Fold = Callable[[dict[str, object], StreamEvent], None]
"""Takes an event that may matter to money into the body so far.

The usage object goes where the extractor looks only when it is final; what is known before is under `"partial_usage"`
(see `folding.provisional`). A provider's error object goes under `"error"`.
"""


@dataclass(frozen=True, slots=True)
class Format:
    """An API format.

    Attributes:
        name: The contract's name, on every ledger row.
        flavor: genai-prices' `api_flavor`.
        home: The genai-prices provider that invented the format, whose extractor reads it anywhere.
        path: Claims a request by the end of its percent-encoded path. Groups: `model`, where the path names one;
            `stored`, where it names something that one account at the provider has.
        methods: The HTTP methods it claims.
        read: Reads a request: percent-decoded model from the path or None, and the body. Raises MalformedRequest.
        framing: How its streams are split into events; None without streams.
        unlabelled: How a stream is split whose content type names no framing; None if such an answer is not a stream.
        usage_marker: Matches inside the bytes of every stream event that `fold` needs; others are not parsed.
        fold: See `Fold`; None without streams.
        usage_paths: Where the usage object may stand in a body or in a stream's events, most wanted first. The cost is
            spliced into it; empty where the format's usage objects are never touched.
        splice_streams: Whether the cost is also spliced into streams.
        asks: Adds what makes the provider give usage in a stream to a request's bytes (returned unchanged where there
            is nothing to add); None where the provider gives it unasked.
        is_asked_only: Whether a stream event is there only because `asks` asked: hidden from a client who did not.
        context: What besides usage decides the price: from the folded body and the answer's headers (lower-case names).
        work_id: The provider's name of the work in an answer (a stored response's id), by which a later look is known.
        text: Joins the model's text in an event or body that was cut short, for an estimate; None where there is none.
        generated: What an event or body holds besides text that was generated, for an estimate; None where text is all.
        answer: Members of which an answer has at least one; empty where any body is an answer.
        normalise: Turns a body (of that model, with those response headers) into one that the extractor reads; None
            where bodies are read as they come.
        metered: False for free operations (token counting, model lists): no reservation, a zero row at most.
        unmetered: What it costs is settled out of the gateway's sight: passed only where the operator allows it.
        title: What the operator's flat price of it is called by (`POST /videos`); empty where it can have none.
        opaque: Answers are not text: they go to the client as they come, and only the request tells what they cost.
        later_look: A later look at work that was asked for before: nothing is reserved, and its usage is charged only
            if it never came through before.
        batch: It makes a batch of other requests, which are held one by one and charged when their results come.
        result: The part of its worst case that work cost, where no usage says more: 1 for all of it, 0 where it failed;
            None where that is not known yet.
    """

    name: str
    path: re.Pattern[str]
    read: Callable[[str | None, bytes], Call]
    flavor: str = "default"
    home: str = "openai"
    errors: ErrorShape = "openai"
    methods: frozenset[str] = frozenset({"POST"})
    framing: Framing | None = None
    unlabelled: Framing | None = None
    usage_marker: re.Pattern[bytes] | Marker | None = None
    fold: Fold | None = None
    usage_paths: tuple[tuple[str, ...], ...] = ()
    splice_streams: bool = False
    asks: Callable[[bytes], bytes] | None = None
    is_asked_only: Callable[[StreamEvent], bool] | None = None
    context: Callable[[Json, Mapping[str, str]], dict[str, str]] | None = None
    work_id: Callable[[Json], str | None] | None = None
    text: Callable[[StreamEvent], str] | None = None
    generated: Callable[[StreamEvent], Generated] | None = None
    answer: frozenset[str] = frozenset()
    normalise: Callable[[Json, str, Mapping[str, str]], Json] | None = None
    metered: bool = True
    unmetered: bool = False
    title: str = ""
    opaque: bool = False
    later_look: bool = False
    batch: bool = False
    result: Callable[[Json], Decimal | None] | None = None

    def stored(self, path: str) -> str | None:
        """What a path names that one account at the provider has; None where it names no such thing."""
        if "stored" not in self.path.groupindex or (match := self.path.search(path)) is None:
            return None
        return match["stored"] or None
