"""Values that two parsers could read in two ways are refused, or read as the most lenient one would."""

from __future__ import annotations

import pytest

from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats.images import IMAGES
from paig_gateway.formats.openai_chat import CHAT, asks
from paig_gateway.proxy.request import read_call, stated

MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
JSON, FORM = b"application/json", b"multipart/form-data; boundary=XB"


def body(member: bytes) -> bytes:
    return b'{"model":"gpt-5-nano","max_tokens":10,%b,%b}' % (member, MESSAGES)


def form(name: str, value: str) -> bytes:
    """A form that asks for an image, with one field more."""
    fields = [("model", "gpt-image-1"), ("prompt", "x"), (name, value)]
    parts = [f'--XB\r\nContent-Disposition: form-data; name="{one}"\r\n\r\n{text}\r\n' for one, text in fields]
    return ("".join(parts) + "--XB--\r\n").encode()


@pytest.mark.parametrize(
    ("n", "answers"), [(b"3", 3), (b'"100"', 100), (b"1e2", 100), (b"2.0", 2), (b"null", 1), (b"0", 1)]
)
def test_a_number_of_answers_that_is_plain(n: bytes, answers: int) -> None:
    """It multiplies what is held, however it is written."""
    call = read_call(CHAT, None, body(b'"n":' + n), stated([(b"content-type", JSON)]))
    assert (call.answers, call.output_tokens) == (answers, 10 * answers)


@pytest.mark.parametrize("n", [b"[100]", b'{"a":1}', b"true", b'"many"', b"2.5", b"-1", b"1e12"])
def test_a_number_of_answers_that_is_not(n: bytes) -> None:
    """A server could make anything of it."""
    with pytest.raises(GatewayError, match="whole number"):
        read_call(CHAT, None, body(b'"n":' + n), stated([(b"content-type", JSON)]))


@pytest.mark.parametrize("charset", [b"utf-7", b"UTF-16", b'"utf-32"', b"iso-8859-1"])
def test_a_body_in_another_charset(charset: bytes) -> None:
    """A server that believes the header would read another text."""
    headers = [(b"content-type", JSON + b"; charset=" + charset)]
    with pytest.raises(GatewayError, match="UTF-8"):
        read_call(CHAT, None, body(b'"n":1'), stated(headers))


@pytest.mark.parametrize("content_type", [JSON, JSON + b"; charset=utf-8", JSON + b';charset="UTF8"', b""])
def test_a_body_in_utf8(content_type: bytes) -> None:
    """However that is said."""
    assert read_call(CHAT, None, body(b'"n":1'), stated([(b"content-type", content_type)])).answers == 1


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/x-www-form-urlencoded",
        b" Application/X-WWW-Form-Urlencoded ; charset=utf-8",
        b"application/json, application/x-www-form-urlencoded",
    ],
)
def test_a_body_that_a_form_parser_would_read(content_type: bytes) -> None:
    """A server that believes the header would find other members in the same text."""
    with pytest.raises(GatewayError, match="as JSON"):
        read_call(CHAT, None, body(b'"user":"&model=gpt-5-pro&n=100&"'), stated([(b"content-type", content_type)]))


@pytest.mark.parametrize("wrong", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", "\u00e4".encode()[:1]])
@pytest.mark.parametrize(
    "place", [b'"max_tok%bens":9', b'"n":1,"n%b":9', b'"stream_options":{"usage%b":true}', b'"thinking":{"tools%b":[]}']
)
def test_a_body_that_is_not_utf8(wrong: bytes, place: bytes) -> None:
    """A server that leaves such bytes away would read another name; a large body is looked through to its end."""
    headers = [(b"content-type", JSON)]
    for padding in (b"", b'"x":"' + "\u00e4".encode() * 1_000_001 + b'",'):
        with pytest.raises(GatewayError, match=r"UTF-8|given twice"):
            read_call(CHAT, None, body(padding + place % wrong), stated(headers))
    for harmless in (b'"user":"a%b"', b'"metadata":{"n%b":1}', b'"%b":1'):
        assert read_call(CHAT, None, body(harmless % wrong), stated(headers)).model == "gpt-5-nano"


@pytest.mark.parametrize("n", ["1e1", "+10", "-1", "10.0", "\u0661\u0660", "ten", "0x10"])
def test_a_forms_number_of_answers_that_is_not_plain(n: str) -> None:
    """A server may read it as more than one."""
    with pytest.raises(GatewayError, match="whole number"):
        read_call(IMAGES, None, form("n", n), stated([(b"content-type", FORM)]))


@pytest.mark.parametrize("name", ["n[]", "n[0]", "model[]", "stream[x]", "max_tokens[]", "_charset_"])
def test_a_forms_field_that_another_server_calls_otherwise(name: str) -> None:
    """Brackets that some servers leave away, and a field that names another charset."""
    with pytest.raises(GatewayError, match=r"without brackets|charset"):
        read_call(IMAGES, None, form(name, "10"), stated([(b"content-type", FORM)]))


@pytest.mark.parametrize(
    "part",
    [
        b'name="n\x00"', b'name="n "', b'name="%6e"', b'name="N"',
        'name="\uff4e"'.encode(), b'name="model\xe2\x80\x8b"',
        b'name="stream"; filename="a"', b'name="x"\r\nContent-Type: multipart/mixed; boundary=YY',
    ],
)  # fmt: skip
def test_a_forms_part_that_another_server_reads_otherwise(part: bytes) -> None:
    """Names that become deciding ones where control characters, spaces, escapes or width count for nothing; files."""
    extra = b"--XB\r\nContent-Disposition: form-data; %b\r\n\r\n10\r\n--XB--\r\n" % part
    sent = form("user", "ada").replace(b"--XB--\r\n", extra)
    with pytest.raises(GatewayError):
        read_call(IMAGES, None, sent, stated([(b"content-type", FORM)]))


@pytest.mark.parametrize(
    "member",
    [
        b'"model\\u0000":"gpt-5-pro"', b'"\\ufeffmodel":"gpt-5-pro"', b'"mod\\u200bel":"gpt-5-pro"',
        '"\uff4dodel":"gpt-5-pro"'.encode(), b'"mode\xc1\xac":"gpt-5-pro"', b'"mode\xe0\x81\xac":"gpt-5-pro"',
        b'" model":"gpt-5-pro"', b'"mod%65l":"gpt-5-pro"', b'"\\u006e ":5', b'"max_tokens\\u0000x":99999',
    ],
)  # fmt: skip
def test_a_member_whose_name_another_server_reads_otherwise(member: bytes) -> None:
    """Names that end at a null byte, or lose marks, width, spaces and escapes, at some servers."""
    with pytest.raises(GatewayError):
        read_call(CHAT, None, body(member), stated([(b"content-type", JSON)]))


def test_a_forms_plain_fields() -> None:
    """White space around a number, and lists of images, are as they were."""
    assert read_call(IMAGES, None, form("n", " 10 "), stated([(b"content-type", FORM)])).answers == 10
    assert read_call(IMAGES, None, form("image[]", "x"), stated([(b"content-type", FORM)])).answers == 1


def test_stream_options_that_are_null() -> None:
    """They ask for no usage, so the gateway asks in their place."""
    asked = asks(body(b'"stream":true,"stream_options":null'))
    assert b'"stream_options":{"include_usage":true}' in asked
    assert b"null" not in asked
