"""WebSockets of the simulated providers: authentication, the API that is played, and faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl

from . import faults as fault_directives
from .auth import Guard
from .delivery import Receive, Scope, Send
from .faults import Faults
from .operation import Shape, SimulatedAnswer, SimulatedRefusal, SimulatedRequest
from .reply import SimulatedModel, TokenCounts
from .traffic import MESSAGE_CHARS, Received, ReceivedLog, Served
from .wire import Document


class Left(Exception):
    """The client closed the connection."""


@dataclass(slots=True)
class Socket:
    """One connection.

    Attributes:
        served: The counters of its mount.
    """

    request: SimulatedRequest
    served: Served
    _received: Received
    _receive: Receive
    _send: Send
    sent: int = 0

    async def message(self) -> Document:
        """The client's next message.

        Raises:
            Left: The client closed the connection.
        """
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                raise Left
            if message["type"] == "websocket.receive":
                text = message.get("text") or (message.get("bytes") or b"").decode()
                self._received.messages.append(text[:MESSAGE_CHARS])
                found: Document = json.loads(text)
                return found

    async def send(self, value: Document, *, binary: bool = False) -> None:
        text = json.dumps(value, separators=(",", ":"))
        content: Document = {"bytes": text.encode()} if binary else {"text": text}
        await self._send({"type": "websocket.send", **content})
        self.sent += 1

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection.

        Raises:
            Left: Always.
        """
        await self._send({"type": "websocket.close", "code": code, "reason": reason})
        raise Left

    def drop(self) -> None:
        """Cut the connection, without a close frame.

        Raises:
            Left: Always.
        """
        transport: asyncio.Transport = self._send.__self__.transport  # type: ignore[attr-defined]
        transport.abort()
        raise Left

    def faults(self, text: str) -> Faults:
        """The faults that a text asks for.

        Raises:
            ValueError: A directive does not exist.
        """
        return fault_directives.parse(text, self.request.mount)

    async def deliver(
        self, events: list[Document], tokens: TokenCounts, faults: Faults, error: Document, *, binary: bool = False
    ) -> None:
        """Send the events of one turn, with its faults, and bill it.

        Args:
            events: The events; the last one ends the turn.
            tokens: What is billed for the turn.
            faults: The turn's faults.
            error: The event for `error_event` and `error_first`.
            binary: Whether to send binary messages.
        """
        served, total = self.served, len(events)
        served.started += 1
        if faults.delay:
            await asyncio.sleep(faults.delay)
        if faults.error_first:
            served.failed += 1
            await self.send(error, binary=binary)
            return
        for index, event in enumerate(events):
            if index == faults.disconnect:
                served.cut_off(tokens, index, total)
                self.drop()
            if faults.error_event and index == total // 2:
                served.cut_off(tokens, index, total)
                await self.send(error, binary=binary)
                return
            if index and faults.chunk_delay:
                await asyncio.sleep(faults.chunk_delay)
            if index == total - 1:
                served.complete(tokens)
            await self.send(event, binary=binary)


class Play(Protocol):
    """Plays one API on a connection until either side closes it."""

    async def __call__(self, socket: Socket) -> None: ...


FindPlay = Callable[[str, str], Play | None]
"""Finds the API to play from the family and the path."""


@dataclass(frozen=True, slots=True)
class SimulatedSockets:
    """The WebSockets of a simulator."""

    guard: Guard
    log: ReceivedLog
    llm: SimulatedModel
    served: Callable[[str], Served]
    find: FindPlay
    family_of: Callable[[str], str]
    shape_of: Callable[[str], Shape]
    clock: Callable[[], float]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        query: bytes = scope["query_string"]
        received = Received("GET", raw_path.decode("latin-1"), query.decode("latin-1"), list(scope["headers"]), b"")
        self.log.add(received)
        mount, _, rest = received.path[1:].partition("/")
        family = self.family_of(mount)
        asked: Mapping[str, str] = dict(parse_qsl(received.query, keep_blank_values=True))
        request = SimulatedRequest(
            mount, family, "GET", "/" + rest, asked, dict(received.headers), self.clock(), self.llm
        )
        try:
            play = self.find(family, request.path)
            if play is None:
                raise SimulatedRefusal(404, f"Invalid URL (GET {request.path})")
            if not self.guard.admits(request, received):
                raise SimulatedRefusal(401, "")
            wrong = fault_directives.parse(" ".join(asked.values()), mount)
            if wrong.status is not None:
                raise SimulatedRefusal(wrong.status, "")
        except SimulatedRefusal as refusal:
            await _refuse(send, self.shape_of(family).error(family, refusal.status, refusal.message or None))
            return
        offered: list[str] = scope.get("subprotocols") or []
        await send({"type": "websocket.accept", "subprotocol": "realtime" if "realtime" in offered else None})
        socket = Socket(request, self.served(mount), received, receive, send)
        try:
            await play(socket)
        except (Left, OSError):
            return


async def _refuse(send: Send, answer: SimulatedAnswer) -> None:
    headers = [(b"content-type", answer.content_type), *answer.headers]
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})
