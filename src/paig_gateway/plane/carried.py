"""An answer that came through a carrier, as the format that the client speaks has it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from paig_gateway.formats import eventstream
from paig_gateway.formats.framing import framing_of
from paig_gateway.plane.answer import Answer
from paig_gateway.plane.failures import UpstreamBroken
from paig_gateway.providers.carriers import Carrier, error_at_home

_LARGEST_ERROR = 1024 * 1024


class Carried:
    """A provider's answer, unpacked: errors in the format's own shape, frames as server-sent events."""

    def __init__(self, answer: Answer, carrier: Carrier) -> None:
        self.status = answer.status
        self._answer = answer
        self._unframe = None
        self._is_error = answer.status >= 400
        content = next((value for name, value in answer.headers if name == b"content-type"), b"")
        if self._is_error:
            content = b"application/json"
        elif carrier.unframe is not None and framing_of(content.decode("latin-1")) == "eventstream":
            content, self._unframe = b"text/event-stream; charset=utf-8", carrier.unframe
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
