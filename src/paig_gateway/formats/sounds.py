"""How long a sound is, from what its container states of itself. Nothing is decoded.

A WAV file's length follows from its bytes. Ogg, FLAC, MP4 and WebM state a length, which a file may be built to
understate; so a sound is never taken to be shorter than its bytes would last at a high bit rate.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

Read = Callable[[int, int], bytes]
"""Reads a part of a sound: its offset and its length. What lies behind the end is left out."""

FASTEST = 40_000
"""Bytes of a second of sound at most, in a container that states its length: 320 kilobits, MP3's highest rate."""

_LOOK = 64 * 1024
"""Bytes at a sound's beginning and end that are looked at."""

_MOST_BOXES = 64


def seconds(read: Read, size: int) -> float | None:
    """The length of a sound; None if its container does not state one that can be read.

    Args:
        read: See `Read`.
        size: Its bytes.
    """
    head = read(0, _LOOK)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _wave(head, size)
    stated: float | None = None
    try:
        if head[:4] == b"OggS":
            stated = _ogg(head, read(max(0, size - _LOOK), _LOOK))
        elif head[:4] == b"fLaC":
            stated = _flac(head)
        elif head[4:8] == b"ftyp":
            stated = _mp4(read, size)
        elif head[:4] == _EBML:
            stated = _webm(head, read(max(0, size - 16 * _LOOK), 16 * _LOOK))
    except (struct.error, IndexError):
        return None
    return max(stated, size / FASTEST) if stated else None


def _wave(head: bytes, size: int) -> float | None:
    """The length of an uncompressed WAV file, whatever its head says of it."""
    place = head.find(b"fmt ", 12)
    if place < 0 or len(head) < place + 24:
        return None
    encoding, channels, rate, _, _, bits = struct.unpack("<HHIIHH", head[place + 8 : place + 24])
    if encoding not in (1, 3, 6, 7, 0xFFFE):  # PCM, floats, A-law, µ-law, and PCM with an extended head
        return None
    per_second = rate * channels * (bits // 8)
    return size / per_second if per_second else None


def _ogg(head: bytes, tail: bytes) -> float | None:
    """The position of the last page, in samples of the codec that the first page names."""
    if b"OpusHead" in head[:128]:
        rate = 48_000
    elif (found := head[:128].find(b"\x01vorbis")) >= 0:
        rate = int.from_bytes(head[found + 12 : found + 16], "little")
    else:
        return None
    last = tail.rfind(b"OggS")
    position = int.from_bytes(tail[last + 6 : last + 14], "little", signed=True) if last >= 0 else 0
    return position / rate if rate and position > 0 else None


def _flac(head: bytes) -> float | None:
    (packed,) = struct.unpack(">Q", head[18:26])
    rate, samples = packed >> 44, packed & 0xF_FFFF_FFFF
    return samples / rate if rate else None


def _mp4(read: Read, size: int) -> float | None:
    """The movie header's duration; None for a fragmented file, whose header has none."""
    place = 0
    for _ in range(_MOST_BOXES):
        box = read(place, 16)
        if len(box) < 16:
            return None
        length, name = struct.unpack(">I4s", box[:8])
        if length == 1:
            (length,) = struct.unpack(">Q", box[8:16])
        if name == b"moov":
            header = read(place + 8, 40)
            if header[4:8] != b"mvhd":
                return None
            scale, duration = struct.unpack(
                ">IQ" if header[8] else ">II", header[28:40] if header[8] else header[20:28]
            )
            return duration / scale if scale else None
        place += max(8, length)
        if place >= size:
            return None
    return None


_EBML = b"\x1aE\xdf\xa3"
_CLUSTER = b"\x1fC\xb6u"
_CLUSTER_SPAN = 32.768
"""Seconds between a cluster's beginning and its last block at most: the distance is 16 bits of milliseconds."""


def _webm(head: bytes, tail: bytes) -> float | None:
    """The time of the last cluster, in milliseconds, and how much a cluster can hold."""
    if (scale := head.find(b"\x2a\xd7\xb1\x83")) >= 0 and head[scale + 4 : scale + 7] != b"\x0f\x42\x40":
        return None  # not milliseconds
    last = tail.rfind(_CLUSTER)
    found = tail.find(b"\xe7", last + 4, last + 24) if last >= 0 else -1
    if found < 0:
        return None
    length = tail[found + 1] & 0x7F
    if not 0 < length <= 8:
        return None
    return int.from_bytes(tail[found + 2 : found + 2 + length], "big") / 1000 + _CLUSTER_SPAN
