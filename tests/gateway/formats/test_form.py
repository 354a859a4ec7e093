"""Forms: their fields, and one of them replaced."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from email.policy import HTTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats.base import MalformedRequest
from paig_gateway.formats.form import check, fields, is_form, splice_field

FORM = (
    b'--abc\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    b'name="model"\r\n\r\nx\r\n'
    b"--abc\r\ncontent-disposition: form-data; name=model\r\n\r\nlong\r\n"
    b'--abc\r\nContent-Disposition: form-data; name="empty"\r\n\r\n\r\n--abc--\r\n'
)


def test_fields() -> None:
    """Each field has its name and its content, whatever the content looks like."""
    found = [(name, FORM[start:end]) for name, start, end in fields(FORM)]
    assert found == [("image", b'name="model"\r\n\r\nx'), ("model", b"long"), ("empty", b"")]
    assert is_form(FORM)
    assert not is_form(b'{"a": "--"}')


def test_a_field_replaced() -> None:
    """No other byte changes; a field that is not there is not made."""
    assert splice_field(FORM, "model", b"other") == FORM.replace(b"\r\nlong\r\n", b"\r\nother\r\n")
    assert splice_field(FORM, "none", b"other") == FORM


def test_forms_cut_anywhere() -> None:
    """A form that ends too soon, at whichever byte, is read as far as it goes."""
    for length in range(len(FORM)):
        cut = FORM[:length]
        assert all(0 <= start <= end <= length for _, start, end in fields(cut))


IMAGE = (
    b'Content-Disposition: form-data; name="image[]"; filename="a b.png"\r\nContent-Type: image/png',
    b"\0\r\n--X\r\n",
)
CONTENT_TYPE = b"multipart/form-data; boundary=XB"
NAMED = b"Content-Disposition: form-data; "


def form(*parts: tuple[bytes, bytes], end: bytes = b"--XB--\r\n") -> bytes:
    """A form of some parts, each of headers and content."""
    return b"".join(b"--XB\r\n%b\r\n\r\n%b\r\n" % part for part in parts) + end


MODEL, PROMPT, N = (
    (NAMED + b'name="%b"' % name, value) for name, value in ((b"model", b"m"), (b"prompt", b"x"), (b"n", b"1"))
)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (form(MODEL, PROMPT, N), CONTENT_TYPE),
        (form(MODEL, PROMPT, end=b"--XB--"), b'Multipart/Form-Data; boundary="XB"; charset=utf-8'),
        (form(MODEL, IMAGE), CONTENT_TYPE),
        (form((NAMED + b'name="image[]"', b"1"), (NAMED + b'name="image[]"', b"2")), CONTENT_TYPE),
        (form((NAMED + b"name=\"file\"; filename=\"a\"; filename*=utf-8''%c3%a4", b"1"), MODEL), CONTENT_TYPE),
        (b'{"model":"m"}', b"application/json"),
        (b"", b""),
    ],
)  # fmt: skip
def test_plain_forms_pass(body: bytes, content_type: bytes) -> None:
    """What HTTP libraries send has one reading."""
    check(body, content_type)


@pytest.mark.parametrize(
    "part",
    [
        (NAMED + b"name*=utf-8''n", b"10"),
        (NAMED + b"name=\"x\"; name*=utf-8''n", b"10"),
        (b'Content-Disposition: form-data;\r\n name="n"', b"10"),
        (b'Content-Disposition: form-data;\r\n\tname="model"', b"dear"),
        (NAMED + b'filename="; name=x"; name="n"; name="model"', b"10"),
        (NAMED + b'filename="; name=x"; name="seed"', b"10"),
        (NAMED + b'name="\\n"', b"10"),
        (NAMED + b'name = "n"', b"10"),
        (NAMED + b"name=n", b"10"),
        (NAMED + b'name="x"; filename=n', b"10"),
        (NAMED + b'name="x"; size="1"', b"10"),
        (b'CONTENT-DISPOSITION: FORM-DATA; NAME="n"', b"10"),
        (NAMED + b'name="N"', b"10"),
        (NAMED + b'name="Model"', b"dear"),
        (NAMED + b'name="x"\r\n' + NAMED + b'name="n"', b"10"),
        (NAMED + b'name="x"\r\nX-Other: 1', b"10"),
        (NAMED + b'name="x"\nContent-Type: a', b"10"),
        (NAMED + b'name="n[]"', b"10"),
        (NAMED + b'name="x"\r\nContent-Transfer-Encoding: base64', b"MTA="),
        (b"Content-Type: text/plain", b"10"),
        (b'Content-Disposition: attachment; name="n"', b"10"),
    ],
)
def test_parts_that_parsers_read_differently(part: tuple[bytes, bytes]) -> None:
    """A part whose name is not plain, or is already there, is refused."""
    with pytest.raises(MalformedRequest):
        check(form(MODEL, PROMPT, N, part), CONTENT_TYPE)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (form(MODEL, end=b""), CONTENT_TYPE),
        (form(MODEL, end=b"--XB--\r\nmore"), CONTENT_TYPE),
        (form(MODEL, end=b"--XB\n" + NAMED + b'name="n"\n\n10\n--XB--\r\n'), CONTENT_TYPE),
        (form(MODEL, end=b"--XB \r\n" + NAMED + b'name="n"\r\n\r\n10\r\n--XB--\r\n'), CONTENT_TYPE),
        (b"preamble\r\n" + form(MODEL), CONTENT_TYPE),
        (form(MODEL), CONTENT_TYPE + b"; boundary=YB"),
        (form(MODEL), b"multipart/form-data; boundary=YB"),
        (form(MODEL), b"multipart/form-data"),
        (form(MODEL), b"multipart/mixed; boundary=XB"),
        (form(MODEL), b"application/json, multipart/form-data; boundary=XB"),
        (form(MODEL), b"application/json"),
        (form(MODEL), b""),
        (b'{"model":"m"}', CONTENT_TYPE),
        (b'{"model":"m"}', b"application/json, multipart/form-data; boundary=x"),
    ],
)
def test_forms_that_parsers_read_differently(body: bytes, content_type: bytes) -> None:
    """A form that is cut short, has something around it, or another content type, is refused."""
    with pytest.raises(MalformedRequest):
        check(body, content_type)


@given(
    st.lists(
        st.sampled_from([b"--XB", b"\r\n", b"--", MODEL[0], N[0], b"x", b"\n", b": ", b'"', b"; name="]), max_size=14
    )
)
def test_what_passes_is_read_alike(pieces: list[bytes]) -> None:
    """Where a form passes, the standard library's parser finds the same fields as we do."""
    body = b"".join(pieces)
    for whole in (
        body,
        form(MODEL, PROMPT, end=body),
        form(MODEL, (N[0], body)),
        form((NAMED + b'name="a"' + body, b"1")),
    ):
        try:
            check(whole, CONTENT_TYPE)
        except MalformedRequest:
            continue
        said = b"Content-Type: " + CONTENT_TYPE + b"\r\n\r\n" + whole
        parts = message_from_bytes(said, policy=HTTP).get_payload()
        assert isinstance(parts, list)
        theirs = [part.get_param("name", header="content-disposition") for part in parts if isinstance(part, Message)]
        assert [name for name, _, _ in fields(whole)] == theirs
