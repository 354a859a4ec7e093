"""Answers and messages that are made to take long to read. Work is counted, not timed."""

from __future__ import annotations

from typing import Any

import pytest

from paig_gateway.formats import framing
from paig_gateway.formats.base import MalformedRequest
from paig_gateway.proxy.sockets.live import LiveSession


class Searched(bytearray):
    """A buffer that counts how much of it is searched."""

    searched = 0

    def rfind(self, *given: Any) -> int:
        """Search as a buffer does."""
        self.searched += len(self) - (given[1] if len(given) > 1 else 0)
        return super().rfind(*given)


def test_a_line_without_an_end_is_searched_once() -> None:
    """Not as often as chunks of it come."""
    splitter = framing.SseSplitter()
    buffer = splitter._buffer = Searched()
    for _ in range(10_000):
        assert splitter.feed_block(b"x" * 10) == b""
    assert splitter.feed_block(b"\n") == b""
    assert splitter.feed_block(b"\n") == b"x" * 100_000 + b"\n\n"
    assert buffer.searched < 200_000


def test_the_headers_of_a_frame_are_bounded() -> None:
    """AWS allows 128 KB: three bytes are a header, so a frame of them takes seconds to read."""
    with pytest.raises(framing.CorruptFrame):
        framing.EventStreamSplitter().feed(_frame(b"\x01a\x00" * (framing.MAX_FRAME_HEADERS // 3 + 1)))
    most = _frame(b"\x01a\x00" * (framing.MAX_FRAME_HEADERS // 3))
    assert framing.EventStreamSplitter().feed(most) == [most]


def _frame(headers: bytes) -> bytes:
    start = (16 + len(headers)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    frame = start + framing._CRC.pack(framing.crc32(start)) + headers
    return frame + framing._CRC.pack(framing.crc32(frame))


@pytest.mark.parametrize("shape", [b'{"a":%b}', b"[%b]", b'[{"a":%b}]'])
def test_a_deep_message_of_the_live_api(shape: bytes) -> None:
    """It is read or refused, in whichever member the depth is."""
    for depth in (40, 450, 900, 5_000):
        deep = b"1"
        before, _, after = shape.partition(b"%b")
        deep = before * depth + deep + after * depth
        for name in (b"setup", b"clientContent", b"realtimeInput", b"toolResponse"):
            session = LiveSession()
            session.client(b'{"setup":{"model":"models/gemini-live-2.5-flash"}}')
            try:
                session.client(b'{"%b":{"turns":[%b],"x":%b}}' % (name, deep, deep))
            except MalformedRequest:
                continue
            session.provider(b'{"serverContent":{"modelTurn":%b},"usageMetadata":%b}' % (deep, deep))
