"""Values that two parsers could read in two ways are refused, or read as the most lenient one would."""

from __future__ import annotations

import pytest

from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats.openai_chat import CHAT, asks
from paig_gateway.proxy.request import read_call

MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
JSON = b"application/json"


def body(member: bytes) -> bytes:
    return b'{"model":"gpt-5-nano","max_tokens":10,%b,%b}' % (member, MESSAGES)


@pytest.mark.parametrize(
    ("n", "answers"), [(b"3", 3), (b'"100"', 100), (b"1e2", 100), (b"2.0", 2), (b"null", 1), (b"0", 1)]
)
def test_a_number_of_answers_that_is_plain(n: bytes, answers: int) -> None:
    """It multiplies what is held, however it is written."""
    call = read_call(CHAT, None, body(b'"n":' + n), [(b"content-type", JSON)])
    assert (call.answers, call.output_tokens) == (answers, 10 * answers)


@pytest.mark.parametrize("n", [b"[100]", b'{"a":1}', b"true", b'"many"', b"2.5", b"-1", b"1e12"])
def test_a_number_of_answers_that_is_not(n: bytes) -> None:
    """A server could make anything of it."""
    with pytest.raises(GatewayError, match="whole number"):
        read_call(CHAT, None, body(b'"n":' + n), [(b"content-type", JSON)])


@pytest.mark.parametrize("charset", [b"utf-7", b"UTF-16", b'"utf-32"', b"iso-8859-1"])
def test_a_body_in_another_charset(charset: bytes) -> None:
    """A server that believes the header would read another text."""
    headers = [(b"content-type", JSON + b"; charset=" + charset)]
    with pytest.raises(GatewayError, match="UTF-8"):
        read_call(CHAT, None, body(b'"n":1'), headers)


@pytest.mark.parametrize("content_type", [JSON, JSON + b"; charset=utf-8", JSON + b';charset="UTF8"', b""])
def test_a_body_in_utf8(content_type: bytes) -> None:
    """However that is said."""
    assert read_call(CHAT, None, body(b'"n":1'), [(b"content-type", content_type)]).answers == 1


@pytest.mark.parametrize(
    "content_type", [b"application/x-www-form-urlencoded", b" Application/X-WWW-Form-Urlencoded ; charset=utf-8"]
)
def test_a_body_that_a_form_parser_would_read(content_type: bytes) -> None:
    """A server that believes the header would find other members in the same text."""
    with pytest.raises(GatewayError, match="as JSON"):
        read_call(CHAT, None, body(b'"user":"&model=gpt-5-pro&n=100&"'), [(b"content-type", content_type)])


def test_stream_options_that_are_null() -> None:
    """They ask for no usage, so the gateway asks in their place."""
    asked = asks(body(b'"stream":true,"stream_options":null'))
    assert b'"stream_options":{"include_usage":true}' in asked
    assert b"null" not in asked
