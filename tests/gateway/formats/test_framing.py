"""A response's content type says how its stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats.base import Framing
from paig_gateway.formats.framing import FRAMINGS, encode_frame, framing_of, sniffed


@pytest.mark.parametrize(
    ("content_type", "framing"),
    [
        ("text/event-stream", "sse"),
        ("text/event-stream; charset=utf-8", "sse"),
        ("Text/Event-Stream;charset=UTF-8", "sse"),
        ("application/vnd.amazon.eventstream", "eventstream"),
        ("application/json", None),
        ("", None),
    ],
)
def test_framing_of(content_type: str, framing: Framing | None) -> None:
    """Parameters and case do not matter; a body is no stream."""
    assert framing_of(content_type) == framing


@pytest.mark.parametrize(
    ("head", "framing"),
    [
        (b'data: {"x":1}', "sse"),
        (b"\xef\xbb\xbfevent: ping", "sse"),
        (b": comment", "sse"),
        (b"\r\nid:7", "sse"),
        (b' {"x":1}', "json"),
        (b'[{"x":1}', "json"),
        (encode_frame("chunk", b"{}")[:12], "eventstream"),
        (encode_frame("chunk", b"{}")[:11], None),
        (b"\0" * 20, None),
        (b"dat", None),
        (b"<html>", None),
        (b"\n", None),
        (b"", None),
    ],
)
def test_sniffed(head: bytes, framing: Framing | None) -> None:
    """The first bytes tell, or not yet."""
    assert sniffed(head) == framing


STREAMS: dict[Framing, bytes] = {
    "sse": b'data: {"a":"\\n"}\n\n: b\r\n\r\ndata: c\n\n',
    "json": b'[{"a":"\\"]}"},\n{"b":[1,{"c":2}]}]',
    "eventstream": encode_frame("a", b"{}") + encode_frame("b", b"{}"),
}


@given(st.sampled_from(sorted(STREAMS)), st.integers(0, 60), st.integers(1, 9))
def test_giving_an_event_up_loses_no_byte(framing: Framing, at: int, step: int) -> None:
    """What is let go of, the events and the rest are the stream; the next event but one is cut as ever."""
    splitter, out, events = FRAMINGS[framing][0](), b"", list[bytes]()
    stream = STREAMS[framing]
    for start in range(0, len(stream), step):
        found = splitter.feed(stream[start : start + step])
        events += found
        out += b"".join(found)
        if start <= at < start + step:
            out += splitter.give_up()
    assert out + splitter.rest() == stream
