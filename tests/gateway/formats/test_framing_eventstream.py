"""AWS event streams: cut, checked, written; what is corrupt says so and holds nothing up."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats.base import StreamEvent
from paig_gateway.formats.framing import MAX_FRAME, CorruptFrame, EventStreamSplitter, encode_frame, parse_frame
from tests.gateway.formats.cutting import fed

names = st.text(st.characters(codec="utf-8"), max_size=40)
frames = st.tuples(names, st.binary(max_size=300), st.sampled_from(["event", "exception", "error"]))


@given(st.lists(frames, max_size=5), st.binary(max_size=11), st.lists(st.integers(1, 50), min_size=1))
def test_round_trip_in_any_chunks(given_frames: list[tuple[str, bytes, str]], rest: bytes, sizes: list[int]) -> None:
    """What was written comes back frame by frame, whatever the chunks, and all bytes are accounted for."""
    stream = b"".join(encode_frame(name, payload, kind=kind) for name, payload, kind in given_frames)  # type: ignore[arg-type]
    raw, left = fed(EventStreamSplitter(), stream + rest, sizes)
    assert b"".join(raw) == stream
    assert left == rest
    for event, (name, payload, kind) in zip([parse_frame(one) for one in raw], given_frames, strict=True):
        said = payload or (b'{"message": ""}' if kind == "error" else b"")
        assert event == StreamEvent(name, said, is_exception=kind != "event")


def test_headers_of_every_type() -> None:
    """Headers that are no strings are passed over, by the length of their type."""
    headers = b"".join(
        bytes([len(name)]) + name + value
        for name, value in [
            (b"true", b"\x00"),
            (b"false", b"\x01"),
            (b"byte", b"\x02\x07"),
            (b"short", b"\x03\x00\x07"),
            (b"int", b"\x04" + bytes(4)),
            (b"long", b"\x05" + bytes(8)),
            (b"bytes", b"\x06\x00\x03abc"),
            (b":event-type", b"\x07\x00\x05chunk"),
            (b"time", b"\x08" + bytes(8)),
            (b"uuid", b"\x09" + bytes(16)),
        ]
    )
    assert parse_frame(frame(headers, b"{}")) == StreamEvent("chunk", b"{}")


def frame(headers: bytes, payload: bytes) -> bytes:
    """A frame with these raw headers."""
    start = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    start += struct.pack(">I", crc32(start)) + headers + payload
    return start + struct.pack(">I", crc32(start))


@pytest.mark.parametrize(
    "headers", [b"\x04name", b"\x04name\x0a", b"\x01a\x07\x00\x99x", b"\x01a\x04\x00", b"\x01\xff\x00"]
)
def test_malformed_headers(headers: bytes) -> None:
    """Headers that end early or are of no known type make a corrupt frame."""
    with pytest.raises(CorruptFrame):
        parse_frame(frame(headers, b"{}"))


@given(st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    """A frame with any one byte changed is corrupt, or visibly not complete."""
    raw = encode_frame("metadata", b'{"usage":{}}')
    at = data.draw(st.integers(0, len(raw) - 1))
    other = data.draw(st.integers(1, 255))
    with pytest.raises(CorruptFrame):
        parse_frame(raw[:at] + bytes([raw[at] ^ other]) + raw[at + 1 :])


def test_a_corrupt_prelude_stops_at_once_and_keeps_the_bytes() -> None:
    """Frames before a corrupt one come out; then every call raises, and `rest` has all that was not returned."""
    splitter = EventStreamSplitter()
    good, bad = encode_frame("a", b"1"), b"\x00\x00\x00\x20" + b"\xff" * 30
    assert splitter.feed(good + bad) == [good]
    with pytest.raises(CorruptFrame):
        splitter.feed(b"more")
    assert splitter.rest() == bad + b"more"


def test_a_frame_beyond_the_bound_is_not_waited_for() -> None:
    """A frame that claims to be larger than any is corrupt, whatever its checksum."""
    start = struct.pack(">II", MAX_FRAME + 1, 0)
    with pytest.raises(CorruptFrame):
        EventStreamSplitter().feed(start + struct.pack(">I", crc32(start)))


def test_an_error_without_payload() -> None:
    """An error message's own text becomes the payload."""
    headers = b"".join(
        bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value
        for name, value in [
            (b":message-type", b"error"),
            (b":error-code", b"InternalError"),
            (b":error-message", b"gone"),
        ]
    )
    assert parse_frame(frame(headers, b"")) == StreamEvent("InternalError", b'{"message": "gone"}', is_exception=True)


@given(st.binary(max_size=400))
def test_random_bytes_only_raise_corrupt_frame(noise: bytes) -> None:
    """Random bytes are cut, or refused as corrupt; nothing else happens."""
    splitter = EventStreamSplitter()
    try:
        for raw in splitter.feed(noise):
            parse_frame(raw)
    except CorruptFrame:
        pass
    with pytest.raises(CorruptFrame):
        parse_frame(noise)
