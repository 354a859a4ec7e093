"""Server-sent events are cut the same however the network cuts them, and read as the standard says."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats.base import StreamEvent
from paig_gateway.formats.framing import SseSplitter, parse_sse
from tests.gateway.formats.cutting import fed


def cut(stream: bytes, *sizes: int) -> tuple[list[bytes], bytes]:
    """Feed `stream` in pieces of these sizes, the last one repeated."""
    return fed(SseSplitter(), stream, sizes)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_line_end(end: bytes) -> None:
    """All three line ends of the standard separate events, alone or in a byte-by-byte stream."""
    stream = end.join([b"event: a", b"data: 1", b"", b"data: 2", b"", b"data: cut"])
    events = [end.join([b"event: a", b"data: 1", b"", b""]), end.join([b"data: 2", b"", b""])]
    assert cut(stream, len(stream)) == (events, b"data: cut")
    assert cut(stream, 1) == (events, b"data: cut")


def test_mixed_line_ends() -> None:
    """Line ends may be mixed within a stream."""
    stream = b"data: 1\r\n\ndata: 2\n\r\ndata: 3\r\rdata: 4\n\r\n"
    events, rest = cut(stream, 3)
    assert [parse_sse(raw).data for raw in events] == [b"1", b"2", b"3", b"4"]
    assert rest == b""


def test_a_cut_between_return_and_feed() -> None:
    """A `\\r\\n` that is torn apart belongs to the event before it as a whole."""
    splitter = SseSplitter()
    assert splitter.feed(b"data: 1\r\n\r") == []
    assert splitter.feed(b"\ndata: 2") == [b"data: 1\r\n\r\n"]
    assert splitter.rest() == b"data: 2"


streams = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b": c", b"\xef\xbb\xbf", b"event:", b"\xc3"])
).map(b"".join)


@given(streams, st.lists(st.integers(1, 7), min_size=1))
def test_chunks_make_no_difference(stream: bytes, sizes: list[int]) -> None:
    """Whatever the chunks, the same events come out, and events and rest joined are the input."""
    events, rest = cut(stream, *sizes)
    assert (events, rest) == cut(stream, max(1, len(stream)))
    assert b"".join(events) + rest == stream


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (b"data: {}\n\n", StreamEvent("", b"{}")),
        (b"data:{}\n\n", StreamEvent("", b"{}")),
        (b"data:  {}  \n\n", StreamEvent("", b" {}  ")),
        (b"event: error\ndata: 1\n\n", StreamEvent("error", b"1")),
        (b"data: 1\nevent: late\n\n", StreamEvent("late", b"1")),
        (b"event:tight\r\ndata: 1\r\n\r\n", StreamEvent("tight", b"1")),
        (b"data: 1\ndata: 2\n\n", StreamEvent("", b"1\n2")),
        (b"data\ndata: 2\n\n", StreamEvent("", b"\n2")),
        (b": keep-alive\n\n", StreamEvent("", b"")),
        (b"id: 7\nretry: 9\ndata: 1\n\n", StreamEvent("", b"1")),
        (b"\xef\xbb\xbfdata: 1\n\n", StreamEvent("", b"1")),
        (b"\n\n", StreamEvent("", b"")),
        (b"data: cut", StreamEvent("", b"cut")),
        ("data: a\u2028b\x85c\n\n".encode(), StreamEvent("", "a\u2028b\x85c".encode())),
    ],
)
def test_parse(raw: bytes, event: StreamEvent) -> None:
    """Fields are read as the standard says."""
    assert parse_sse(raw) == event


@pytest.mark.parametrize("opening", [b"data: ", b":\r\n\r\ndata: "])
def test_a_huge_event_in_small_chunks(opening: bytes) -> None:
    """Time grows with the bytes, not with their square: 8 MB in chunks of 256 bytes take far less than a second."""
    stream = opening + b"x" * 8_000_000 + b"\n\n"
    began = time.perf_counter()
    events, rest = cut(stream, 256)
    assert b"".join(events) == stream
    assert rest == b""
    assert time.perf_counter() - began < 3
