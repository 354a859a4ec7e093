"""An answer whose beginning is looked at before the client is given any of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from paig_gateway.domain.http import Headers
from paig_gateway.formats import eventstream
from paig_gateway.formats.base import Framing
from paig_gateway.formats.framing import FRAMINGS, framing_of
from paig_gateway.formats.judgement import judge_event
from paig_gateway.providers.adapters import Adapter, error_at_home
from paig_gateway.routing.failures import UpstreamBroken, UpstreamError, UpstreamTimeout

PEEKED = 256 * 1024
"""Bytes that are looked at, at most: what has said nothing by then is taken for an answer."""

PEEK_SECONDS = 1.0
"""How long a stream's preamble, however many events that is, is kept back for the event that follows it."""

BODY_SECONDS = 2.0
"""How long a refusal's body is waited for, to see what it means."""


class Answer(Protocol):
    """A provider's answer; see `upstream.UpstreamResponse`."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class PeekableResponse:
    """An answer that has been read in part; whoever reads it gets all of it.

    Attributes:
        buffered: What was read.
        failure: What broke the reading off, to be raised where it happened.
    """

    def __init__(self, answer: Answer) -> None:
        self.status, self.headers = answer.status, answer.headers
        self.buffered: list[bytes] = []
        self.failure: UpstreamError | None = None
        self._answer = answer
        self._source = answer.chunks()
        self._pending: asyncio.Task[bytes | None] | None = None
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether all of it was read."""
        return self._ended

    async def read(self, patience: float | None = None) -> bytes | None:
        """Read a chunk and keep it.

        Args:
            patience: Seconds to wait for it; the reading goes on after that, for `chunks` to take up.

        Returns:
            The chunk; None where there is none (yet): the answer has ended or broken, or patience has.
        """
        if self._ended or self.failure is not None:
            return None
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._next())
        try:
            await asyncio.wait({self._pending}, timeout=patience)
        except asyncio.CancelledError:
            self._pending.cancel()
            raise
        if not self._pending.done():
            return None
        done, self._pending = self._pending, None
        try:
            chunk = done.result()
        except UpstreamError as error:
            self.failure = error
            return None
        if chunk is None:
            self._ended = True
            return None
        self.buffered.append(chunk)
        return chunk

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of the body, as `UpstreamResponse.chunks` gives it."""
        for chunk in self.buffered:
            yield chunk
        if self.failure is not None:
            raise self.failure
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                first = await pending
            finally:
                pending.cancel()
            if first is None:
                return
            yield first
        if not self._ended:
            async for chunk in self._source:
                yield chunk

    async def aclose(self) -> None:
        """Let go of the connection."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending})
            self._pending = None
        await self._answer.aclose()

    async def _next(self) -> bytes | None:
        async for chunk in self._source:
            return chunk
        return None


async def peek(answer: PeekableResponse, framing: Framing, deadline: float) -> bool:
    """Read a stream's first events, up to the first that is more than a preamble.

    Comments and blank lines that only keep the connection alive are no answer: they wait for the first event until the
    deadline. A preamble waits for `PEEK_SECONDS`: the client must see that the provider is at work.

    Args:
        answer: The stream.
        framing: How it is cut into events.
        deadline: The moment of the event loop's clock until which an event must come.

    Returns:
        Whether the stream fails before it has said anything: with an error event, by breaking off, or by saying nothing
        until the deadline.
    """
    make, parse = FRAMINGS[framing]
    time = asyncio.get_running_loop().time
    splitter, size, until = make(), 0, None
    while size < PEEKED:
        chunk = await answer.read(max((deadline if until is None else until) - time(), 0.0))
        if chunk is None:
            if until is None and answer.failure is None and not answer.ended:
                answer.failure = UpstreamTimeout("no data in time", sent=True)
            return answer.failure is not None or (answer.ended and until is None)
        size += len(chunk)
        try:
            for raw in splitter.feed(chunk):
                event = parse(raw)
                if (found := judge_event(event)) is not None:
                    return found == "not-answer"
                if event.data.strip() or event.name:
                    until = until or time() + PEEK_SECONDS
        except ValueError:
            return False  # The client gets the bytes as they are.
    return False


async def beginning(answer: PeekableResponse, most: int = PEEKED, patience: float = BODY_SECONDS) -> bytes:
    """The first bytes of a body, all of it if it is short and comes soon."""
    time = asyncio.get_running_loop().time
    size, deadline = 0, time() + patience
    while size < most and (chunk := await answer.read(max(deadline - time(), 0.0))) is not None:
        size += len(chunk)
    return b"".join(answer.buffered)


_LARGEST_ERROR = 1024 * 1024


class AdaptedResponse:
    """A provider's answer, unpacked: errors in the format's own shape, frames as server-sent events."""

    def __init__(self, answer: Answer, adapter: Adapter) -> None:
        self.status = answer.status
        self._answer = answer
        self._unframe = None
        self._is_error = answer.status >= 400
        content = next((value for name, value in answer.headers if name == b"content-type"), b"")
        if self._is_error:
            content = b"application/json"
        elif adapter.unframe is not None and framing_of(content.decode("latin-1")) == "eventstream":
            content, self._unframe = b"text/event-stream; charset=utf-8", adapter.unframe
        kept = [pair for pair in answer.headers if pair[0] not in (b"content-type", b"content-length")]
        self.headers = [*kept, (b"content-type", content)]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they arrive."""
        if self._is_error:
            body = bytearray()
            async for chunk in self._answer.chunks():
                body += chunk[: _LARGEST_ERROR - len(body)]
            yield error_at_home(self.status, bytes(body))
        elif self._unframe is not None:
            splitter = eventstream.Splitter()
            async for chunk in self._answer.chunks():
                try:
                    events = [self._unframe(eventstream.parse(raw)) for raw in splitter.feed(chunk)]
                except ValueError as error:
                    raise UpstreamBroken(f"malformed event stream: {error}", sent=True) from error
                if out := b"".join(events):
                    yield out
            if splitter.rest():
                raise UpstreamBroken("event stream cut short", sent=True)
        else:
            async for chunk in self._answer.chunks():
                yield chunk

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._answer.aclose()
