"""One side of a relayed WebSocket: frames over a transport, with the sans-I/O protocol of `websockets`.

Fragments of a message, its kind, pings and pongs are kept as they came: a ping is answered by the other side, not here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from websockets.client import ClientProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN, Side, State
from websockets.protocol import Protocol as Frames

NEVER_SENT = frozenset({1005, 1006, 1015})
"""Close codes for a missing close frame; no close frame may carry them."""

CLOSE_SECONDS = 5.0
"""How long the other side has to answer a close frame."""

LONGEST_REASON = 123
"""Bytes of the reason that a close frame can carry."""

MOST_FRAGMENTS = 32_768
"""The most fragments of one message: empty ones take memory, and count nothing towards its size."""

Message = list[Frame]
"""The frames of one message: the first says its kind, the others continue it."""


class PeerEvents(Protocol):
    """Events of a peer."""

    def message(self, peer: Peer, message: Message) -> None: ...

    def control(self, peer: Peer, frame: Frame) -> None:
        """A ping or a pong came."""

    def closed(self, peer: Peer, code: int, reason: str) -> None:
        """A close frame came, or the connection ended without one (1006)."""

    def pressure(self, peer: Peer, high: bool) -> None:
        """The peer reads too slowly for what is written to it, or has caught up."""

    def shutdown(self) -> None:
        """The process is to end."""


class _RelayedFrames(Frames):
    _fragments = 0

    def recv_frame(self, frame: Frame) -> None:
        """Take a frame; a ping is not answered here."""
        if frame.opcode is Opcode.PING:
            self.events.append(frame)
            return
        super().recv_frame(frame)
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._fragments = 0 if frame.fin else self._fragments + 1
            if self._fragments > MOST_FRAGMENTS:
                raise ProtocolError(f"a message has more than {MOST_FRAGMENTS} fragments")


class ClientFrames(_RelayedFrames, ClientProtocol):
    """The side towards a provider."""


def server_frames(max_size: int) -> Frames:
    """The side of the client, after its upgrade was accepted."""
    return _RelayedFrames(Side.SERVER, state=OPEN, max_size=max_size)


class Peer(asyncio.Protocol):
    """One side of a relayed WebSocket.

    Attributes:
        answered: The provider's answer to the upgrade; unused on the client's side.
    """

    def __init__(self, frames: Frames, dropped: Callable[[Peer], None] | None = None) -> None:
        self.frames = frames
        self.answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._dropped = dropped
        self._link: PeerEvents | None = None
        self._transport: asyncio.Transport | None = None
        self._early: list[Frame] = []
        self._message: Message = []
        self._reasons: set[str] = set()
        self._lost = False
        self._told = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        return self.frames.state is State.OPEN and not self._lost

    def attach(self, link: PeerEvents) -> None:
        """Send all events to `link`, also those that came before."""
        self._link = link
        early, self._early = self._early, []
        for frame in early:
            self._take(frame)
        if self._lost:
            self._tell_closed()

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        self.frames.receive_data(data)
        self._deliver()

    def eof_received(self) -> bool:
        """The other side sends nothing more."""
        self.frames.receive_eof()
        self._deliver()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
        if not self.frames.reader.eof:
            self.frames.receive_eof()
        self._deliver()
        if not self.answered.done():
            self.answered.set_exception(exc or ConnectionResetError("the connection was closed before an answer"))
            self.answered.exception()  # it may be that nothing waits for it any more
        if self._dropped is not None:
            self._dropped(self)
        self._tell_closed()

    def pause_writing(self) -> None:
        """The write buffer is full."""
        if self._link is not None:
            self._link.pressure(self, True)

    def resume_writing(self) -> None:
        """The write buffer has drained."""
        if self._link is not None:
            self._link.pressure(self, False)

    def shutdown(self) -> None:
        """The process is to end; the server calls this."""
        if self._link is not None:
            self._link.shutdown()

    # What came

    def _deliver(self) -> None:
        for event in self.frames.events_received():
            if isinstance(event, Response):
                if not self.answered.done():
                    self.answered.set_result(event)
                self.pause("attach")
            elif isinstance(event, Frame):
                if self._link is None:
                    self._early.append(event)
                else:
                    self._take(event)
        self.flush()
        if self.frames.handshake_exc is not None and not self.answered.done():
            self.answered.set_exception(self.frames.handshake_exc)
            self.answered.exception()

    def _take(self, frame: Frame) -> None:
        assert self._link is not None
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._message.append(frame)
            if frame.fin:
                message, self._message = self._message, []
                self._link.message(self, message)
        elif frame.opcode is Opcode.CLOSE:
            self._tell_closed()
        else:
            self._link.control(self, frame)

    def _tell_closed(self) -> None:
        if self._link is None or self._told:
            return
        self._told = True
        received, sent = self.frames.close_rcvd, self.frames.close_sent
        if received is not None:
            self._link.closed(self, received.code, received.reason)
        elif self.frames.parser_exc is not None and sent is not None:
            self._link.closed(self, sent.code, sent.reason)  # what came was against the protocol, or too large
        else:
            self._link.closed(self, 1006, "")

    # What goes out

    def send(self, message: Message) -> None:
        """Send a message, in the fragments in which it came."""
        if not self.open:
            return
        for frame in message:
            match frame.opcode:
                case Opcode.TEXT:
                    self.frames.send_text(frame.data, frame.fin)
                case Opcode.BINARY:
                    self.frames.send_binary(frame.data, frame.fin)
                case _:
                    self.frames.send_continuation(frame.data, frame.fin)
        self.flush()

    def control(self, frame: Frame) -> None:
        if not self.open:
            return
        if frame.opcode is Opcode.PING:
            self.frames.send_ping(frame.data)
        else:
            self.frames.send_pong(frame.data)
        self.flush()

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame; one without a code where none may carry it. Once only."""
        self.resume(*self._reasons)  # the other side's close frame must be read
        if self.open:
            if code in NEVER_SENT:
                self.frames.send_close(None)
            else:
                self.frames.send_close(code, cut(reason))
            self.flush()
        transport = self._transport
        if transport is not None and not self._lost and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def flush(self) -> None:
        """Write what the protocol has to send."""
        transport = self._transport
        for data in self.frames.data_to_send():
            if transport is None or self._lost:
                continue
            if data:
                transport.write(data)
            else:
                transport.close()  # after pending writes: both close frames have been sent

    def write(self, data: bytes) -> None:
        """Write bytes that are not a frame: the answer to an upgrade."""
        if self._transport is not None:
            self._transport.write(data)

    # Reading

    def pause(self, reason: str) -> None:
        """Stop reading until this reason, and every other one, has ended."""
        if not self._reasons and self._transport is not None and not self._lost:
            self._transport.pause_reading()
        self._reasons.add(reason)

    def resume(self, *reasons: str) -> None:
        """End a reason not to read."""
        if not self._reasons:
            return
        self._reasons.difference_update(reasons)
        if not self._reasons and self._transport is not None and not self._lost:
            self._transport.resume_reading()


def cut(reason: str) -> str:
    """A reason that a close frame can carry."""
    return reason.encode("utf-8", "replace")[:LONGEST_REASON].decode("utf-8", "ignore")
