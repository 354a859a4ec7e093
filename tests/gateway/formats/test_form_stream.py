"""Forms that are read as they pass: the same fields, and the same refusals, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats import form
from paig_gateway.formats.base import MalformedRequest
from paig_gateway.formats.form_stream import LARGEST_FIELD, LARGEST_HEAD, FormScanner

TYPE = b"multipart/form-data; boundary=xyz"


class Read:
    """What a scanner told."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, bytes]] = []
        self.files: dict[str, bytes] = {}

    def field(self, name: str, content: bytes) -> None:
        """A field."""
        self.fields.append((name, content))

    def piece(self, name: str, data: bytes) -> None:
        """A piece of a file."""
        self.files[name] = self.files.get(name, b"") + data


def scanned(body: bytes, size: int, content_type: bytes = TYPE) -> Read:
    """What a scanner finds in a body that comes in pieces of a size."""
    read = Read()
    scanner = FormScanner(content_type, read)
    for start in range(0, len(body), size):
        scanner.feed(body[start : start + size])
    scanner.end()
    return read


def part(head: str, content: bytes) -> bytes:
    """A part of a form."""
    return b"--xyz\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"


PLAIN = part('name="purpose"', b"batch") + part('name="file"; filename="a.jsonl"', b"x\r\n--xy\r\n" * 50)
END = b"--xyz--\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_a_form_is_read_however_it_is_cut(size: int) -> None:
    """Fields whole, files in pieces; a beginning of the boundary inside a file is content."""
    read = scanned(PLAIN + END, size)
    assert read.fields == [("purpose", b"batch")]
    assert read.files == {"file": b"x\r\n--xy\r\n" * 50}
    assert scanned(b"\r\n" + PLAIN + b"--xyz--", size).fields == [("purpose", b"batch")]


BAD = [
    (b"", "must end"),
    (b"junk" + PLAIN + END, "must begin"),
    (PLAIN, "must end"),
    (PLAIN + END + b"more", "nothing may come after"),
    (PLAIN + part('name="purpose"', b"x") + END, "more than once"),
    (PLAIN + part('name="Purpose"', b"x") + END, "urpose"),
    (part('name="a"; filename="f"', b"one --xyz two") + END, "inside one of its parts"),
    (part('name="a"', b"one\r\n--xyzz") + END, "inside one of its parts"),
    (part("name=a", b"x") + END, "name="),
    (part('name="a"; name="b"', b"x") + END, "once"),
    (part('name="a"\r\nX-Other: 1', b"x") + END, "header that parsers read differently"),
]


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize(("body", "why"), BAD)
def test_what_has_two_readings_is_refused(body: bytes, why: str, size: int) -> None:
    """As in a form that is held; the two agree on each."""
    with pytest.raises(MalformedRequest, match=why):
        scanned(body, size)
    if body:
        with pytest.raises(MalformedRequest):
            form.check(body, TYPE)


def test_what_is_held_of_it_is_bounded() -> None:
    """Heads and fields have a largest size; files have none."""
    with pytest.raises(MalformedRequest, match="longer than"):
        scanned(part(f'name="{"a" * LARGEST_HEAD}"', b"x") + END, 1000)
    with pytest.raises(MalformedRequest, match="send it as a file"):
        scanned(part('name="a"', b"x" * (LARGEST_FIELD + 1)) + END, 100_000)
    assert len(scanned(part('name="a"; filename="f"', b"x" * 3_000_000) + END, 100_000).files["a"]) == 3_000_000


@given(st.lists(st.binary(max_size=40), max_size=4), st.integers(1, 50))
def test_it_agrees_with_the_reader_of_whole_forms(contents: list[bytes], size: int) -> None:
    """Whatever the contents: both refuse, or both find the same."""
    body = b"".join(part(f'name="f{number}"; filename="f"', one) for number, one in enumerate(contents)) + END
    try:
        form.check(body, TYPE)
    except MalformedRequest:
        with pytest.raises(MalformedRequest):
            scanned(body, size)
        return
    found = {name: body[start:end] for name, start, end in form.fields(body)}
    read = scanned(body, size).files
    assert {name: content for name, content in found.items() if content} == read
