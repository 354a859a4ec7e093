"""The client's end of a request."""

from __future__ import annotations

from dataclasses import dataclass

from paig_gateway.plane.headers import Headers
from paig_gateway.plane.intake import Send


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
