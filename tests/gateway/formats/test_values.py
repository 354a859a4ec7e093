"""How much a body may hold of what takes long to read. Work is counted, not timed."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable

import pytest

from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats import ambiguity, media
from paig_gateway.formats.base import MalformedRequest
from paig_gateway.formats.media import MAX_INFLATED, MediaItem
from paig_gateway.formats.registry import FORMATS
from paig_gateway.formats.text import MOST_MEDIA, Media
from paig_gateway.proxy.request import read_call, stated
from tests.gateway.formats.test_media import document, stream

JSON = stated([(b"content-type", b"application/json")])
CHAT = next(fmt for fmt in FORMATS if fmt.name == "openai-chat")
BATCH = next(fmt for fmt in FORMATS if fmt.name == "anthropic-batch")


@pytest.mark.parametrize(
    ("document", "values"),
    [
        (b'{"a":[1,2,3]}', 12),
        (b'{"a":[{},{},[]]}', 27),
        (b'{"a":"[[[,,,{{{","b":1}', 6),
        (b'{"a":"\\"[[[\\\\","b":"\\\\\\"{","c":[]}', 12),
        (b'{"' + b"\\\\" * 60 + b'":[1,2]}', 11),
    ],
)
def test_what_stands_in_strings_is_no_value(document: bytes, values: int) -> None:
    """Whatever is escaped in them, and wherever the document is cut to be counted."""
    json.loads(document)
    long = b'{"a":"' + b"[" * ambiguity._AT_ONCE + b'","b":' + document + b"}"
    for body, number in ((document, values), (long, values + 6)):
        assert ambiguity.has_more_values(body, number - 1)
        assert not ambiguity.has_more_values(body, number)


@pytest.mark.parametrize("ending", range(5))
def test_a_backslash_at_a_cut(ending: int) -> None:
    room = ambiguity._AT_ONCE - len(b'{"a":"') - ending
    body = b'{"a":"' + b"x" * room + b'\\\\\\"' * 3 + b'[[[","b":[1]}'
    json.loads(body)
    assert not ambiguity.has_more_values(body, 11)
    assert ambiguity.has_more_values(body, 10)


def test_a_body_of_too_many_values_is_refused() -> None:
    """Unless the operator allows more; a batch may have more."""
    body = b'{"model":"m","max_tokens":1,"messages":[' + b"{}," * 3_000 + b"{}]}"
    with pytest.raises(GatewayError, match="max_body_values") as refused:
        read_call(CHAT, None, body, JSON, 15_000)
    assert refused.value.code == "bad-request"
    assert read_call(CHAT, None, body, JSON, 20_000).model == "m"
    requests = b'{"requests":[' + b'{"custom_id":"1","params":{}},' * 3_000 + b'{"custom_id":"1","params":{}}]}'
    read_call(BATCH, None, requests, JSON, 15_000)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"model":"m","models":[' + b'"a",' * 1_001 + b'"a"]}', "models"),
        (b'{"model":"m","tools":[' + b"1," * 10_001 + b"1]}", "tools"),
        (b'{"model":"m","thinking":{' + b",".join(b'"k%d":0' % one for one in range(1_001)) + b"}}", "members"),
        (b'{"model":"m","user":"' + b"\xc1\xa1" * 10_001 + b'"}', "UTF-8"),
        (b'{"model":"m","user":"' + b"\xff" * 100_001 + b'"}', "UTF-8"),
        (b'{"model":"m","user":"' + b"\\ud83d" * 100_001 + b'"}', "not JSON"),
    ],
)
def test_no_list_takes_long(body: bytes, words: str) -> None:
    with pytest.raises(GatewayError, match=words):
        read_call(CHAT, None, body, JSON)


def test_media_are_bounded() -> None:
    found = Media()
    for _ in range(MOST_MEDIA):
        found.image(b'"https://example.com/a.png"')
    with pytest.raises(MalformedRequest, match="images, sounds and documents"):
        found.image(b'"https://example.com/a.png"')


def test_documents_are_inflated_until_they_fill_a_context_window() -> None:
    """Each is small, and inflates to megabytes."""
    bomb = base64.b64encode(document(stream(b" " * (MAX_INFLATED - 1))))
    found = Media()
    for _ in range(2):
        found.document(b'"data:application/pdf;base64,%b"' % bomb)
    assert found.unknown
    known = len(found.items)
    found.document(b'"data:application/pdf;base64,%b"' % bomb)
    assert len(found.items) == known  # it was not looked into


def steps(work: Callable[[], object]) -> int:
    """The lines of Python and calls of C that it takes."""
    count = 0

    def watch(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


OVERLAPPING = {
    "textless": b"<</FontFile>>stream\n",
    "of text": b"<<>>stream\n",
}


@pytest.mark.parametrize("name", OVERLAPPING)
def test_streams_in_streams_take_no_more_than_their_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them has an end of its own, so each would be read to the end of the document."""
    read = 0
    inflate = media._inflate

    def note(dictionary: bytes, body: bytes, most: int) -> bytes | None:
        nonlocal read
        read += len(body)
        return inflate(dictionary, body, most)

    monkeypatch.setattr(media, "_inflate", note)
    data = document(OVERLAPPING[name] * 5_000)
    searched = _Searched(data)
    found = media.pdf(searched)
    assert read <= len(data)
    assert searched.looked <= 2 * len(data)
    assert found.pages in (None, 1)


class _Searched(bytes):
    """A document that counts the bytes in which something was looked for."""

    looked = 0

    def find(self, *arguments: object) -> int:  # type: ignore[override]
        start = arguments[1] if len(arguments) > 1 else 0
        place = super().find(*arguments)  # type: ignore[arg-type]
        self.looked += (place if place >= 0 else len(self)) - (start if isinstance(start, int) else 0)
        return place


def test_a_document_of_very_many_streams_is_unknown() -> None:
    data = document(b">>stream\nendstream" * (media.MOST_STREAMS + 1))
    assert media.pdf(data) == MediaItem("pdf", len(data))


def test_padding_and_segments_of_an_image_take_few_steps() -> None:
    for filling in (b"\xff", b"\xff\xe0\x00\x02", b"\xff\xe0\x00\x00"):
        data = b"\xff\xd8" + filling * 100_000
        assert steps(lambda data=data: media.dimensions(data)) < 5_000  # type: ignore[misc]
