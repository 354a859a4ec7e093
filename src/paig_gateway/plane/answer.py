"""An answer whose beginning is looked at before the client is given any of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from paig_gateway.formats.base import Framing
from paig_gateway.formats.framing import FRAMINGS
from paig_gateway.formats.opening import opening
from paig_gateway.plane.failures import UpstreamError
from paig_gateway.plane.headers import Headers

PEEKED = 256 * 1024
"""Bytes that are looked at, at most: what has said nothing by then is taken for an answer."""

PEEK_SECONDS = 1.0
"""How long a stream's preamble, however many events that is, is held back for the event that follows it."""

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


class Peeked:
    """An answer that has been read in part; whoever reads it gets all of it.

    Attributes:
        held: What was read.
        failure: What broke the reading off, to be raised where it happened.
    """

    def __init__(self, answer: Answer) -> None:
        self.status, self.headers = answer.status, answer.headers
        self.held: list[bytes] = []
        self.failure: UpstreamError | None = None
        self._answer = answer
        self._source = answer.chunks()
        self._pending: asyncio.Task[bytes | None] | None = None
        self._ended = False

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
        self.held.append(chunk)
        return chunk

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of the body, as `UpstreamResponse.chunks` gives it."""
        for chunk in self.held:
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


async def peek(answer: Peeked, framing: Framing) -> bool:
    """Read a stream's first events, up to the first that is more than a preamble.

    Returns:
        Whether the stream fails before it has said anything: with an error event, or by breaking off.
    """
    make, parse = FRAMINGS[framing]
    time = asyncio.get_running_loop().time
    splitter, size, until = make(), 0, None
    while size < PEEKED:
        # However often a provider says that it still lives: the client is to hear of it.
        chunk = await answer.read(None if until is None else max(until - time(), 0.0))
        if chunk is None:
            return answer.failure is not None
        size += len(chunk)
        try:
            for raw in splitter.feed(chunk):
                if (found := opening(parse(raw))) != "preamble":
                    return found == "error"
                until = until or time() + PEEK_SECONDS
        except ValueError:
            return False  # not for us to judge: the client gets the bytes as they are
    return False


async def beginning(answer: Peeked, most: int = PEEKED, patience: float = BODY_SECONDS) -> bytes:
    """The first bytes of a body, all of it if it is short and comes soon."""
    time = asyncio.get_running_loop().time
    size, deadline = 0, time() + patience
    while size < most and (chunk := await answer.read(max(deadline - time(), 0.0))) is not None:
        size += len(chunk)
    return b"".join(answer.held)
