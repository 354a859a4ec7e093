"""One side of a session by itself: which close codes go out, and what a lost connection is told as."""

from __future__ import annotations

import asyncio

import pytest
from websockets.frames import Frame
from websockets.protocol import OPEN, Protocol, Side

from paig_gateway.proxy.sockets.peer import NEVER_SENT, Message, Peer, server_frames

pytestmark = pytest.mark.anyio


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Told:
    """A link that notes how the session was closed."""

    def __init__(self) -> None:
        self.closed_with: list[tuple[int, str]] = []

    def message(self, peer: Peer, message: Message) -> None: ...

    def control(self, peer: Peer, frame: Frame) -> None: ...

    def closed(self, peer: Peer, code: int, reason: str) -> None:
        self.closed_with.append((code, reason))

    def pressure(self, peer: Peer, high: bool) -> None: ...

    def shutdown(self) -> None: ...


def connected() -> tuple[Peer, Wire, Told]:
    """A peer on a wire."""
    peer, wire, told = Peer(server_frames(1024)), Wire(), Told()
    peer.connection_made(wire)
    peer.attach(told)
    return peer, wire, told


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1012, 4999, *sorted(NEVER_SENT)])
async def test_codes_that_may_not_be_sent_become_a_close_frame_without_one(code: int) -> None:
    """1005, 1006 and 1015 say what was not received; any other code goes out with its reason, cut to what fits."""
    peer, wire, _ = connected()
    peer.close(code, "because " * 40)
    peer.close(1011, "only the first counts")
    client = Protocol(Side.CLIENT, state=OPEN)
    client.receive_data(wire.written)
    assert client.parser_exc is None
    assert client.close_rcvd is not None
    if code in NEVER_SENT:
        assert (client.close_rcvd.code, client.close_rcvd.reason) == (1005, "")  # as an empty frame reads
        assert wire.written == b"\x88\x00"
    else:
        assert client.close_rcvd.code == code
        assert client.close_rcvd.reason == ("because " * 40)[:123]


@pytest.mark.parametrize("ending", ["eof", "lost"])
async def test_a_connection_without_a_close_frame_is_told_once_as_1006(ending: str) -> None:
    """However it is lost."""
    peer, _, told = connected()
    if ending == "eof":
        peer.eof_received()
    peer.connection_lost(None)
    assert told.closed_with == [(1006, "")]


async def test_a_message_that_is_too_large_is_told_as_1009() -> None:
    """And so it is closed on both sides."""
    peer, wire, told = connected()
    client = Protocol(Side.CLIENT, state=OPEN)
    client.send_text(b"x" * 1025)
    for data in client.data_to_send():
        peer.data_received(data)
    peer.connection_lost(None)
    assert [code for code, _ in told.closed_with] == [1009]
    assert wire.written[2:4] == (1009).to_bytes(2, "big")
