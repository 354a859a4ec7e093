"""What the first bytes of images, sounds and documents say of their size."""

from __future__ import annotations

import base64
import json
import struct
import zlib

import pytest

from paig_gateway.formats import media


def png(width: int, height: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"
    )


def jpeg(width: int, height: int, profile: int = 0) -> bytes:
    segments = b"\xff\xe2" + struct.pack(">H", profile + 2) + b"\0" * profile if profile else b""
    return b"\xff\xd8" + segments + b"\xff\xc2" + struct.pack(">HBHH", 11, 8, height, width) + b"\0" * 6


def webp(kind: bytes, rest: bytes) -> bytes:
    return b"RIFF\0\0\0\0WEBP" + kind + b"\0\0\0\0" + rest


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(1024, 768), (1024, 768)),
        (jpeg(640, 480), (640, 480)),
        (jpeg(640, 480, profile=60_000), (640, 480)),
        (b"GIF89a" + struct.pack("<HH", 30, 40), (30, 40)),
        (webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 100, 50)), (100, 50)),
        (webp(b"VP8L", b"\x2f" + (99 | 49 << 14).to_bytes(4, "little")), (100, 50)),
        (webp(b"VP8X", b"\0\0\0\0" + (99).to_bytes(3, "little") + (49).to_bytes(3, "little")), (100, 50)),
        (png(0, 5), None),
        (png(1024, 768)[:20], None),
        (b"\xff\xd8\xff\xe0\0", None),
        (b"no image", None),
    ],
)
def test_an_image_says_its_width_and_height(data: bytes, size: tuple[int, int] | None) -> None:
    item = media.image(data, len(data))
    assert (item.width, item.height) == (size or (None, None))


@pytest.mark.parametrize("head", [b"fLaC", b"OggS", b"\x1aE\xdf\xa3", b"\0\0\0\x20ftypM4A "])
def test_containers_in_which_silence_takes_no_room_are_dense(head: bytes) -> None:
    assert media.audio(lambda offset, most: (head + b"\0" * 100)[offset : offset + most], 112).dense
    assert not media.audio(lambda offset, most: (b"ID3\4" + b"\0" * 100)[offset : offset + most], 104).dense


def document(*streams: bytes, pages: int = 1) -> bytes:
    parts = [b"%PDF-1.7\n", *(b"%d 0 obj\n<</Type /Page /Parent 1 0 R>>\nendobj\n" % n for n in range(pages))]
    return b"".join([*parts, *streams])


def stream(content: bytes, extra: bytes = b"") -> bytes:
    packed = zlib.compress(content)
    return b"9 0 obj\n<</Length %d /Filter /FlateDecode%b>>\nstream\n%b\nendstream\nendobj\n" % (
        len(packed),
        extra,
        packed,
    )


def test_a_document_is_bounded_by_its_pages_and_its_inflated_text() -> None:
    item = media.pdf(document(stream(b"BT (Hello) Tj ET" * 1000), pages=3))
    assert (item.pages, item.text) == (3, 16_000)


def test_pages_in_an_object_stream_count() -> None:
    item = media.pdf(b"%PDF-1.7\n" + stream(b"<</Type/Page>><</Type /Page>><</Type /Pages>>", b" /Type /ObjStm"))
    assert item.pages == 2


def test_images_and_fonts_in_a_document_are_no_text() -> None:
    picture = stream(b"\0" * 50_000, b" /Subtype /Image /Width 100 /Height 100")
    font = stream(b"\0" * 50_000, b" /Length1 50000")
    assert media.pdf(document(picture, font)).text == 0


@pytest.mark.parametrize(
    "data",
    [
        document(b"1 0 obj\n<</Filter /LZWDecode>>\nstream\nxx\nendstream"),
        document(stream(b"x")) + b"<</Encrypt 1 0 R>>",
        document(stream(b"x"), pages=0),
        document(stream(b"\0" * (media.MAX_INFLATED + 1))),
        document(b"1 0 obj\n<</Filter /FlateDecode>>\nstream\nbroken\nendstream"),
    ],
)
def test_nothing_is_said_of_a_document_that_cannot_be_read(data: bytes) -> None:
    item = media.pdf(data)
    assert item.pages is None
    assert item.text is None


def test_base64_comes_from_a_string_or_a_data_url() -> None:
    text = base64.b64encode(png(10, 20)).decode()
    for written in (text, f"data:image/png;base64,{text}"):
        found = media.payload(json.dumps(written).encode())
        assert found is not None
        assert media.dimensions(found[0]) == (10, 20)
        assert found[1] >= len(png(10, 20))
    escaped = json.dumps(f"data:image/png;base64,{text}").replace("/", "\\/").encode()
    found = media.payload(escaped)
    assert found is not None
    assert media.dimensions(found[0]) == (10, 20)
    assert media.payload(b'"https://example.com/a.png"') is None
    assert media.payload(b'"gs://bucket/a.png"') is None
