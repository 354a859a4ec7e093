"""The size of images, sounds and documents in a request, from their first bytes. No pixel is decoded.

Base64 is decoded only as far as the answer needs: the head of an image or a sound, and the whole of a PDF document.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from paig_gateway.formats import sounds

MediaKind = Literal["image", "audio", "pdf"]

HEAD = 512 * 1024
"""Bytes of an image that are looked at: what stands before a JPEG's dimensions (profiles, previews) is shorter."""

MAX_INFLATED = 8 * 1024 * 1024
"""Bytes of text that are looked for in a PDF document; more than that fills every context window."""

MOST_SEGMENTS = 1_000
"""Segments of a JPEG image before its dimensions that are passed over; a photograph has a few dozen."""

MOST_STREAMS = 10_000
"""Streams of a PDF document that are looked into; of one with more, nothing is known."""


@dataclass(frozen=True, slots=True)
class MediaItem:
    """One image, sound or document of a request.

    Attributes:
        size: Its bytes, without base64; 0 if it is a link.
        width: Pixels; None if they are not known.
        height: Pixels; None if they are not known.
        detail: The requested resolution (`low`, `high`, …), or None.
        seconds: How long a sound is; None if only its size is known.
        dense: Whether a sound of this container may have fewer bytes than tokens of any steady bit rate.
        pages: Pages of a document; None if they cannot be counted.
        text: Upper bound of the bytes of a document's text; None if it is not known.
    """

    kind: MediaKind
    size: int = 0
    width: int | None = None
    height: int | None = None
    detail: str | None = None
    seconds: float | None = None
    dense: bool = False
    pages: int | None = None
    text: int | None = None


def image(data: bytes, size: int, detail: str | None = None) -> MediaItem:
    """An image, of whose `size` bytes `data` are the first ones."""
    found = dimensions(data)
    width, height = found if found and found[0] > 0 and found[1] > 0 else (None, None)
    return MediaItem("image", size, width, height, detail)


def audio(read: sounds.Read, size: int) -> MediaItem:
    """A sound of `size` bytes."""
    data = read(0, 8)
    # Silence needs almost no bytes in containers whose bit rate may vary.
    dense = data[:4] in (b"fLaC", b"OggS", b"\x1aE\xdf\xa3") or data[4:8] == b"ftyp"
    return MediaItem("audio", size, seconds=sounds.seconds(read, size), dense=dense)


def is_jpeg(data: bytes) -> bool:
    """Whether it is the beginning of a JPEG image, whose dimensions may stand behind profiles and previews."""
    return data.startswith(b"\xff\xd8")


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, JPEG, GIF or WebP image; None if its header does not have them."""
    for magic, look in _IMAGES:
        if data.startswith(magic):
            try:
                return look(data)
            except (struct.error, IndexError):
                return None
    return None


def _png(data: bytes) -> tuple[int, int] | None:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _gif(data: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack("<HH", data[6:10])
    return width, height


def _webp(data: bytes) -> tuple[int, int] | None:
    match data[8:16]:
        case b"WEBPVP8 ":
            width, height = struct.unpack("<HH", data[26:30])
            return width & 0x3FFF, height & 0x3FFF
        case b"WEBPVP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"WEBPVP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    place = 2
    for _ in range(MOST_SEGMENTS):
        if data[place] != 0xFF:
            return None
        while data[place + 1 : place + 1 + _PADDING] == b"\xff" * _PADDING:
            place += _PADDING
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in _FRAMES:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        elif marker == 0xDA:
            return None
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None


_PADDING = 4096
"""Bytes of padding that are passed over at once."""

_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""JPEG's markers of a frame's head."""

_IMAGES: tuple[tuple[bytes, Callable[[bytes], tuple[int, int] | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8", _jpeg),
    (b"GIF8", _gif),
    (b"RIFF", _webp),
)


_STREAM = re.compile(rb">>\s*stream\r?\n")
LONGEST_DICTIONARY = 4096
"""Bytes before a stream in which its dictionary stands."""

_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
# Streams without text: images, fonts, cross references, and colour profiles, which have two members together.
_TEXTLESS = re.compile(rb"/Subtype\s*/Image|/Length1\b|/FontFile|/Type\s*/XRef|/Type1C\b")
_COLOURS = re.compile(rb"/N\s+[134]\b")
_PLAIN_FILTERS = re.compile(rb"/Filter\s*(?:\[\s*)?/FlateDecode\s*\]?(?:\s*/|\s*>>)")


def pdf(data: bytes) -> MediaItem:
    """A PDF document: how many pages it has, and how many bytes its text can be.

    Text is written in content streams, so their inflated size bounds it. Where a stream cannot be read (encryption,
    unusual filters, a broken file), nothing is known.
    """
    unknown = MediaItem("pdf", len(data))
    if b"/Encrypt" in data:
        return unknown
    pages, text = len(_PAGE.findall(data)), 0
    streams, seen = _streams(data), 0
    if streams is None:
        return unknown
    for dictionary, start, end in streams:
        if _TEXTLESS.search(dictionary) or (b"/Alternate" in dictionary and _COLOURS.search(dictionary)):
            continue
        seen += end - start
        if seen > len(data):  # streams in streams: the same bytes would be read over and over
            return unknown
        inflated = _inflate(dictionary, data[start:end], MAX_INFLATED - text)
        if inflated is None:
            return unknown
        pages += len(_PAGE.findall(inflated)) if b"/ObjStm" in dictionary else 0
        text += len(inflated)
    return MediaItem("pdf", len(data), pages=pages, text=text) if pages else unknown


def _streams(data: bytes) -> list[tuple[bytes, int, int]] | None:
    """Each stream's dictionary, and where its bytes begin and end; None if there are too many."""
    found: list[tuple[bytes, int, int]] = []
    end = 0
    for match in _STREAM.finditer(data):
        if len(found) == MOST_STREAMS:
            return None
        start = match.end()
        before = data[max(0, match.start() - LONGEST_DICTIONARY, end if end < start else 0) : match.start() + 2]
        if end < start:  # else the stream is inside of another one, and ends with it
            end = data.find(b"endstream", start)
            end = end if end >= 0 else len(data)
        found.append((before.rpartition(b" obj")[2], start, end))
    return found


def _inflate(dictionary: bytes, body: bytes, most: int) -> bytes | None:
    """A stream's bytes; None if they cannot be read, or are more than `most`."""
    if b"/Filter" not in dictionary:
        return body if len(body) <= most else None
    if not _PLAIN_FILTERS.search(dictionary) or most <= 0:
        return None
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(body, most)
    except zlib.error:
        return None
    return None if inflater.unconsumed_tail else found


_DATA_URL = re.compile(rb'\s*"data:([^;,"]*)[^,"]{0,100};base64,')


def media_type(raw: bytes) -> bytes | None:
    """The media type of a JSON string that is a data URL with base64; None for any other."""
    match = _DATA_URL.match(raw[:300])
    return match[1].replace(b"\\/", b"/").lower() if match else None


def payload(raw: bytes | memoryview, most: int | None = HEAD) -> tuple[bytes, int] | None:
    """The bytes of base64 in a JSON string, which may be a data URL.

    Args:
        raw: The string as JSON has it, with its quotes.
        most: How many bytes of it are wanted; None for all.

    Returns:
        The first bytes, and how many there are at most in all. None for a link, and for what is not base64.
    """
    if (span := _base64(raw)) is None:
        return None
    start, end = span
    decoded = _decoded(bytes(raw[start : end if most is None else min(end, start + most * 4 // 3)]))
    return None if decoded is None else (decoded, (end - start) * 3 // 4)


def sound(raw: bytes | memoryview) -> MediaItem | None:
    """A sound in base64 in a JSON string, which may be a data URL; None for a link or anything else."""
    if (span := _base64(raw)) is None:
        return None
    text = bytes(raw[slice(*span)])
    if b"\\" in text:  # escapes would displace what is looked for
        text = _plain(text)

    def read(offset: int, length: int) -> bytes:
        first = offset // 3 * 4
        return (_decoded(text[first : first + (length // 3 + 2) * 4]) or b"")[offset % 3 :][:length]

    return audio(read, len(text) * 3 // 4) if _decoded(text[:64]) is not None else None


def _base64(raw: bytes | memoryview) -> tuple[int, int] | None:
    """Where the base64 in a JSON string begins and ends; None for a link."""
    first = bytes(raw[:300])
    match = _DATA_URL.match(first)
    start = match.end() if match else first.find(b'"') + 1
    if match is None and b":" in first[start : start + 12]:
        return None
    return start, max(start, len(raw) - 1)


def _plain(text: bytes) -> bytes:
    """Base64 in the usual alphabet, without JSON's escapes."""
    text = text.replace(b"\\/", b"/").replace(b"\\n", b"")
    return text.replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")


def _decoded(text: bytes) -> bytes | None:
    text = _plain(text)
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])
    except (binascii.Error, ValueError):
        return None
