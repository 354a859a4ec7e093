"""How long a sound is, as its container says."""

from __future__ import annotations

import base64
import json
import struct

import pytest

from paig_gateway.formats import media, sounds
from paig_gateway.formats.media import MediaItem
from paig_gateway.pricing.media_tokens import audio_seconds


def wave(seconds: float, *, rate: int = 16_000, channels: int = 1, bits: int = 16, encoding: int = 1) -> bytes:
    data = b"\0" * int(seconds * rate * channels * bits // 8)
    head = struct.pack("<HHIIHH", encoding, channels, rate, 1, channels * bits // 8, bits)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + head + b"data\0\0\0\0" + data


def page(position: int, data: bytes, first: bool = False) -> bytes:
    head = b"OggS\0" + bytes([2 * first]) + struct.pack("<q", position) + b"\0" * 12
    return head + bytes([1, min(255, len(data))]) + data


def opus(seconds: int) -> bytes:
    pages = b"".join(page((number + 1) * 48_000, b"\x08" * 4_000) for number in range(seconds))
    return page(0, b"OpusHead\1\1" + b"\0" * 9, first=True) + pages


def vorbis(seconds: int, rate: int = 44_100) -> bytes:
    head = b"\x01vorbis\0\0\0\0\x02" + struct.pack("<I", rate) + b"\0" * 14
    return page(0, head, first=True) + b"".join(page((n + 1) * rate, b"\0" * 9_000) for n in range(seconds))


def flac(seconds: int, rate: int = 44_100) -> bytes:
    packed = struct.pack(">Q", rate << 44 | 15 << 36 | seconds * rate)
    return b"fLaC\x80\0\0\x22" + b"\x10\0\x10\0" + b"\0" * 6 + packed + b"\0" * 16 + b"\xff\xf8" * 20_000 * seconds


def box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data) + 8, name) + data


def mp4(seconds: int, *, last: bool = False, version: int = 0) -> bytes:
    times = struct.pack(">IQ", 1000, seconds * 1000) if version else struct.pack(">II", 1000, seconds * 1000)
    movie = box(b"moov", box(b"mvhd", bytes([version]) + b"\0" * (19 if version else 11) + times + b"\0" * 80))
    data = box(b"mdat", b"\x21" * 8_000 * seconds)
    return box(b"ftyp", b"M4A \0\0\0\0") + (data + movie if last else movie + data)


def webm(seconds: int) -> bytes:
    clusters = (
        b"\x1fC\xb6u\x01\xff\xff\xff\xff\xff\xff\xff\xe7\x82" + struct.pack(">H", second * 1000) + b"\xa3" * 6_000
        for second in range(0, seconds, 2)
    )
    return b"\x1aE\xdf\xa3\x84webm\x2a\xd7\xb1\x83\x0f\x42\x40" + b"".join(clusters)


def length(data: bytes) -> float | None:
    return sounds.seconds(lambda offset, most: data[offset : offset + most], len(data))


@pytest.mark.parametrize(
    ("data", "least", "most"),
    [
        (wave(3), 3, 3.01),
        (wave(3, rate=8_000, bits=8), 3, 3.01),
        (opus(30), 30, 30),
        (vorbis(30), 30, 30),
        (flac(30), 30, 31),
        (mp4(60), 60, 60),
        (mp4(60, last=True), 60, 60),
        (mp4(60, version=1), 60, 60),
        # A cluster's blocks may last for 33 seconds.
        (webm(60), 60, 92),
    ],
)
def test_a_container_says_how_long_it_is(data: bytes, least: float, most: float) -> None:
    found = length(data)
    assert found is not None
    assert least <= found <= most


@pytest.mark.parametrize(
    "data",
    [
        wave(1, encoding=2),
        b"ID3\4" + b"\0" * 100,
        b"OggS" + b"\0" * 100,
        b"fLaC" + b"\0" * 100,
        b"\0\0\0\x20ftypM4A " + b"\0" * 100,
        mp4(5)[:30],
        box(b"ftyp", b"M4A ") + box(b"moov", box(b"mvhd", b"\0" * 100)),  # fragmented: no duration
        b"\x1aE\xdf\xa3" + b"\0" * 100,
        b"",
    ],
)
def test_what_says_nothing_is_not_guessed(data: bytes) -> None:
    assert length(data) is None


@pytest.mark.parametrize(
    "understated", [mp4(1) + b"\0" * 10**6, opus(1) + page(48_000, b"\0" * 4_000) * 250, flac(1) * 50]
)
def test_a_sound_lasts_as_long_as_its_bytes_would_at_a_high_bit_rate(understated: bytes) -> None:
    found = length(understated)
    assert found is not None
    assert found >= len(understated) / sounds.FASTEST >= 20


@pytest.mark.parametrize("data", [opus(9), mp4(9, last=True), flac(9), wave(9), webm(8)])
@pytest.mark.parametrize("escaped", [False, True])
def test_base64_is_read_where_it_matters_alone(data: bytes, escaped: bool) -> None:
    """The parts that are looked at are decoded by themselves; escapes in the JSON do not displace them."""
    text = json.dumps(base64.b64encode(data).decode())
    raw = (text.replace("/", "\\/") if escaped else text).encode()
    found = media.sound(raw)
    assert found is not None
    # The length of base64 gives that of the bytes up to two more.
    assert found.seconds == pytest.approx(length(data), abs=0.001)
    assert media.sound(b'"https://example.test/a.ogg"') is None


def test_an_ordinary_voice_message_is_not_hours() -> None:
    """A minute in a container that may hold silence in no bytes is a minute, where it says so."""
    for data in (opus(60), mp4(60), flac(60)):
        item = media.audio(lambda offset, most, data=data: data[offset : offset + most], len(data))  # type: ignore[misc]
        assert item.dense
        assert audio_seconds(item) <= 62
    unknown = MediaItem("audio", size=500_000, dense=True)
    assert audio_seconds(unknown) > 10_000
