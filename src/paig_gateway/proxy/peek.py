"""Responses whose beginning is read before the client gets any of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from paig_gateway.domain.http import Headers
from paig_gateway.formats import framing
from paig_gateway.formats.base import Framing, StreamEvent
from paig_gateway.formats.framing import FRAMINGS, framing_of, sniffed
from paig_gateway.formats.judgement import judge_event
from paig_gateway.providers.adapters import Adapter, error_at_home
from paig_gateway.routing.failures import UpstreamBroken, UpstreamError, UpstreamTimeout

PEEKED = 256 * 1024
"""The most bytes that are read ahead; a response without a sign of failure by then counts as an answer."""

PEEK_SECONDS = 1.0
"""How long a stream's preamble (any number of events) is kept back while the next event is awaited."""

BODY_SECONDS = 2.0
"""How long to wait for a refusal's body."""


class ReadableResponse(Protocol):
    """A provider's response; see `upstream.UpstreamResponse`."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    async def read(self) -> bytes: ...

    async def pump(self, sink: Callable[[bytes], None]) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    async def aclose(self) -> None: ...


class PeekableResponse:
    """A response that can be read ahead; its reader still gets all of it.

    Attributes:
        buffered: The pieces that were read.
        failure: The error that ended reading; raised again where it happened.
        ended: Whether all of it was read.
    """

    def __init__(self, answer: ReadableResponse) -> None:
        self.status, self.headers = answer.status, answer.headers
        self.buffered: list[bytes] = []
        self.failure: UpstreamError | None = None
        self.ended = False
        self._answer = answer

    @classmethod
    def of(cls, answer: ReadableResponse) -> PeekableResponse:
        """Wrap a response, unless it is one already."""
        return answer if isinstance(answer, cls) else cls(answer)

    async def read(self, seconds: float | None = None) -> bytes:
        """Read a piece and keep it.

        Args:
            seconds: How long to wait for it; nothing is lost when the time is over.

        Returns:
            The piece; empty if the response has ended or failed, or the time is over.
        """
        if self.ended or self.failure is not None:
            return b""
        try:
            async with asyncio.timeout(seconds):
                piece = await self._answer.read()
        except TimeoutError:
            return b""
        except UpstreamError as error:
            self.failure = error
            return b""
        if piece:
            self.buffered.append(piece)
        else:
            self.ended = True
        return piece

    async def pump(self, sink: Callable[[bytes], None]) -> None:
        """Pass all of the body to a sink, as `UpstreamResponse.pump` does."""
        buffered, self.buffered = self.buffered, []
        for piece in buffered:
            sink(piece)
        if self.failure is not None:
            raise self.failure
        if not self.ended:
            await self._answer.pump(sink)

    def pause(self) -> None:
        """Make the provider wait."""
        self._answer.pause()

    def resume(self) -> None:
        self._answer.resume()

    async def aclose(self) -> None:
        await self._answer.aclose()


_SHOWN_BY = 16
"""If this many bytes of text show no framing, the content type decides."""


async def shown(answer: PeekableResponse, framing: Framing, deadline: float) -> Framing | None:
    """How an answer is split into events, as its first bytes show; None for a body of JSON, whatever its content type.

    Args:
        framing: What its content type says.
        deadline: When these bytes must have come, on the event loop's clock.
    """
    time = asyncio.get_running_loop().time
    while True:
        head = b"".join(answer.buffered)
        if (found := sniffed(head)) is not None:
            return None if found == "json" != framing else found
        if len(head.strip()) >= _SHOWN_BY or len(head) >= PEEKED:
            return framing
        if not await answer.read(max(deadline - time(), 0.0)):
            return framing


async def peek(answer: PeekableResponse, framing: Framing, deadline: float) -> bool:
    """Read a stream's first events, up to the first one that is more than a preamble.

    Comments and blank lines that keep the connection alive are not events: the first event must come by the deadline. A
    preamble is kept back for `PEEK_SECONDS` at most, so that the client sees that the provider is working.

    Args:
        answer: The answer; bytes that were read already count too.
        framing: How it is split into events.
        deadline: When the first event must have come, on the event loop's clock.

    Returns:
        Whether the stream fails before it has content: by an error event, by breaking off, or by the deadline.
    """
    make, parse = FRAMINGS[framing]
    time = asyncio.get_running_loop().time
    splitter, size, until, at = make(), 0, None, 0
    while size < PEEKED:
        if at == len(answer.buffered) and not await answer.read(
            max((deadline if until is None else until) - time(), 0.0)
        ):
            if until is None and answer.failure is None and not answer.ended:
                answer.failure = UpstreamTimeout("no data in time", sent=True)
            return answer.failure is not None or (answer.ended and until is None)
        chunk = answer.buffered[at]
        at += 1
        size += len(chunk)
        try:
            for raw in splitter.feed(chunk):
                event = parse(raw)
                if (found := judge_event(event)) is not None:
                    return found == "not-answer"
                if event.data.strip() or event.name:
                    until = until or time() + PEEK_SECONDS
        except ValueError:
            return False  # A stream that cannot be parsed is passed on.
    return False


async def beginning(answer: PeekableResponse) -> bytes:
    """Read the first bytes of a body, or all of it if it is short and arrives soon; closes it if that is cancelled."""
    time = asyncio.get_running_loop().time
    size, deadline = sum(map(len, answer.buffered)), time() + BODY_SECONDS
    try:
        while size < PEEKED and (chunk := await answer.read(max(deadline - time(), 0.0))):
            size += len(chunk)
    except BaseException:
        await answer.aclose()
        raise
    return b"".join(answer.buffered)


_LARGEST_ERROR = 1024 * 1024


class AdaptedResponse:
    """A response converted by an adapter: errors in the format's own shape, frames as server-sent events."""

    def __init__(self, answer: ReadableResponse, adapter: Adapter) -> None:
        self.status = answer.status
        self._answer = answer
        self._unframe: Callable[[StreamEvent], bytes] | None = None
        self._splitter = framing.EventStreamSplitter()
        self._is_error, self._is_done = answer.status >= 400, False
        content = next((value for name, value in answer.headers if name == b"content-type"), b"")
        if self._is_error:
            content = b"application/json"
        elif adapter.unframe is not None and framing_of(content.decode("latin-1")) == "eventstream":
            content, self._unframe = b"text/event-stream; charset=utf-8", adapter.unframe
        kept = [pair for pair in answer.headers if pair[0] not in (b"content-type", b"content-length")]
        self.headers = [*kept, (b"content-type", content)]

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end."""
        if self._is_error:
            body = bytearray()
            while piece := await self._answer.read():
                body += piece[: _LARGEST_ERROR - len(body)]
            return self._error_once(bytes(body))
        while piece := await self._answer.read():
            if out := self._unpacked(piece):
                return out
        self._check_whole()
        return b""

    async def pump(self, sink: Callable[[bytes], None]) -> None:
        """Pass the body to a sink, as `UpstreamResponse.pump` does."""
        if self._is_error:
            while piece := await self.read():
                sink(piece)
            return

        def unpack(piece: bytes) -> None:
            if out := self._unpacked(piece):
                sink(out)

        await self._answer.pump(unpack)
        self._check_whole()

    def _error_once(self, body: bytes) -> bytes:
        done, self._is_done = self._is_done, True
        return b"" if done else error_at_home(self.status, body)

    def _unpacked(self, piece: bytes) -> bytes:
        if self._unframe is None:
            return piece
        try:
            return b"".join([self._unframe(framing.parse_frame(raw)) for raw in self._splitter.feed(piece)])
        except ValueError as error:
            raise UpstreamBroken(f"malformed event stream: {error}", sent=True) from error

    def _check_whole(self) -> None:
        if self._unframe is not None and self._splitter.rest():
            raise UpstreamBroken("event stream cut short", sent=True)

    def pause(self) -> None:
        self._answer.pause()

    def resume(self) -> None:
        self._answer.resume()

    async def aclose(self) -> None:
        await self._answer.aclose()
