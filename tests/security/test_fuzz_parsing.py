"""Parsing of requests, fuzzed against second parsers: what passes here means the same to them.

A request that another parser could read otherwise may be refused; what must never happen is that it passes and means
two things.
"""

from __future__ import annotations

import email
import email.policy
import gzip
import json
import zlib
from urllib.parse import parse_qsl, quote

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats import form
from paig_gateway.formats.ambiguity import check_json
from paig_gateway.formats.base import MalformedRequest
from paig_gateway.formats.registry import FORMATS
from paig_gateway.proxy.content_encoding import decode
from paig_gateway.proxy.headers import client_key
from tests.gateway.listener.serving import serving

KEY = "paig_key"


# Queries

NAMES = st.sampled_from(["key", "Key", "KEY", "alt", "model", "api_key", "access_token", "x", "", "key[]"])
TEXT = st.text(st.characters(codec="ascii"), max_size=8)


def spelled(text: str, how: int) -> str:
    """A text percent-encoded: not, where it must be, everywhere."""
    if how == 0:
        return quote(text)
    return "".join(f"%{ord(letter):02{'X' if how == 1 else 'x'}}" for letter in text)


@settings(max_examples=1000, deadline=None)
@given(parts=st.lists(st.tuples(NAMES, st.just(KEY) | TEXT, st.integers(0, 2), st.booleans()), max_size=6))
def test_a_key_in_a_query_never_goes_on(parts: list[tuple[str, str, int, bool]]) -> None:
    """No parser finds a key in what is left, and the key that is taken is the first that another parser finds."""
    query = "&".join(
        spelled(name, how) + ("=" + spelled(value, how) if equals else "") for name, value, how, equals in parts
    ).encode()
    theirs = parse_qsl(query.decode(), keep_blank_values=True)
    given_keys = [value for name, value in theirs if name.lower() == "key" and value]
    try:
        secret, rest = client_key({}, query)
    except GatewayError:
        assert given_keys == []
        return
    assert secret == given_keys[0]
    left = parse_qsl(rest.decode(), keep_blank_values=True)
    taken = ("key", "api_key", "access_token")
    assert not [name for name, _ in left if name.lower() in taken]
    assert left == [pair for pair in theirs if pair[0].lower() not in taken and secret not in "=".join(pair)]


# Forms

BOUNDARY = "b0undary"
FIELD = st.sampled_from(["model", "n", "file", "prompt", "Model", "model ", 'a"b', "mod\\el"])
HEADER = st.sampled_from(
    [
        'Content-Disposition: form-data; name="{}"',
        "content-disposition: form-data; name={}",
        'Content-Disposition: form-data; name="{}"; filename="f.txt"',
        'Content-Disposition: form-data; filename="name=x"; name="{}"',
        "Content-Disposition: form-data; name*=utf-8''{}",
        'Content-Disposition: form-data; name="x"; name="{}"',
        'Content-Disposition: form-data; name="{}"\r\nContent-Type: text/plain',
        'Content-Disposition: form-data; name="{}"\r\nX-Other: 1',
        'Content-Disposition: form-data; name="{}"\nContent-Type: text/plain',
        'Content-Disposition: attachment; name="{}"',
        'Content-Disposition: form-data;\r\n name="{}"',
        'Content-Disposition: form-data; name="{}"\r\nContent-Transfer-Encoding: base64',
    ]
)
CONTENT = st.sampled_from(["gpt-5", "", "1", f"--{BOUNDARY}", f"\r\n--{BOUNDARY}--", "\r\n", "a\r\n\r\nb", "--b"])
END = st.sampled_from([f"--{BOUNDARY}--\r\n", f"--{BOUNDARY}--", f"--{BOUNDARY}", "", f"--{BOUNDARY}--\r\nmore"])


@settings(max_examples=1500, deadline=None)
@given(parts=st.lists(st.tuples(FIELD, HEADER, CONTENT), max_size=4), end=END)
def test_a_form_has_one_reading(parts: list[tuple[str, str, str]], end: str) -> None:
    """Of what passes the check, the standard library's parser finds the same fields with the same contents."""
    pieces = [f"--{BOUNDARY}\r\n{header.format(name)}\r\n\r\n{content}\r\n" for name, header, content in parts]
    body = ("".join(pieces) + end).encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}".encode()
    try:
        form.check(body, kind)
    except MalformedRequest:
        return
    ours = [(name, body[start:stop]) for name, start, stop in form.fields(body)]
    message = email.message_from_bytes(b"content-type: " + kind + b"\r\n\r\n" + body, policy=email.policy.HTTP)
    theirs = [
        (str(part.get_param("name", header="content-disposition")), bytes(part.get_payload(decode=True) or b""))
        for part in (message.iter_parts() if message.is_multipart() else ())
    ]
    assert ours == theirs


# Encodings

MANGLED = st.sampled_from(["whole", "twice", "cut", "tail", "other"])


@settings(max_examples=500, deadline=None)
@given(
    plain=st.binary(max_size=200),
    more=st.binary(min_size=1, max_size=20),
    encoding=st.sampled_from(["gzip", "deflate"]),
    how=MANGLED,
)
def test_an_encoded_body_has_one_reading(plain: bytes, more: bytes, encoding: str, how: str) -> None:
    """Only one whole member passes, and it reads as the standard library reads it."""
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    packed = pack(plain)
    body = {
        "whole": packed,
        "twice": packed + pack(more),
        "cut": packed[:-1],
        "tail": packed + more,
        "other": more + packed,
    }[how]
    try:
        ours = decode(encoding, body, 10_000, strict=True)
    except ValueError:
        assert how != "whole"
        return
    theirs = gzip.decompress(body) if encoding == "gzip" else zlib.decompress(body)
    assert ours == theirs
    assert how == "whole"


# Bodies that are JSON


CHAT = next(format for format in FORMATS if format.name == "openai-chat")
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MEMBER = st.sampled_from(["model", "max_tokens", "n", "stream", "messages", "x", "tools"])


def lenient(value: object) -> bool:
    """Whether a server that validates with pydantic, as vLLM does, takes the value for true."""
    try:
        return TypeAdapter(bool).validate_python(value)
    except ValidationError:
        return False


@settings(max_examples=1000, deadline=None)
@given(
    members=st.dictionaries(MEMBER, VALUE | st.just("gpt-5"), max_size=5),
    at=st.integers(0, 80),
    noise=st.binary(max_size=4),
    ascii_only=st.booleans(),
)
def test_a_json_body_has_one_reading(members: dict[str, object], at: int, noise: bytes, ascii_only: bool) -> None:
    """Any bytes are read or refused in words; what is read names the model that another parser finds."""
    body = json.dumps(members, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    body = body[:at] + noise + body[at:]
    try:
        check_json(body)
        call = CHAT.read(None, body)
    except MalformedRequest:
        return
    try:
        loaded = json.loads(body.decode("utf-8"))
    except ValueError:
        return  # a strict provider refuses it too
    assert isinstance(loaded, dict)
    assert call.model == loaded.get("model", "")
    assert call.stream == lenient(loaded.get("stream"))


# Heads

LINES = st.lists(
    st.sampled_from(
        [
            "Content-Length: 5", "Content-Length: 3", "Content-Length: +5", "content-length : 5",
            "Content-Length: 5, 5", "Transfer-Encoding: chunked", "Transfer-Encoding: identity",
            "Transfer-Encoding: xchunked",
            "X-A: b\x0bc", "X-A:b", "X A: b", " folded", "X-B: \t c \t", "Connection: close",
            "Connection: keep-alive", "X-C: \xff", "X-D", ": e",
        ]
    ),
    max_size=4,
)  # fmt: skip
TARGETS = st.sampled_from(["/a", "/a?b=c", "/a%2fb?x", "//a", "/../b", "http://h/a?b", "*", "/a#f", "/\x7f", "/é"])
METHODS = st.sampled_from(["POST", "GET", "DELETE", "post", "TRACE", "PO ST"])
BODIES = st.sampled_from(["", "hello", "5\r\nhello\r\n0\r\n\r\n", "hel", "hello, and more"])


def second_reading(data: bytes) -> tuple[str, str, bytes] | None:
    """Method, target and body of the first request as h11 reads it; None where it refuses or waits for more."""
    reader = h11.Connection(h11.SERVER)
    body, head = b"", None
    try:
        reader.receive_data(data)
        reader.receive_data(b"")
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                head = event.method.decode(), event.target.decode("latin-1")
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return (*head, body)
            else:
                return None
    except h11.RemoteProtocolError:
        return None


@pytest.mark.anyio
async def test_the_listener_agrees_with_a_second_parser() -> None:
    """What both take for a request is the same request: method, target and body."""
    found: list[bytes] = []

    @settings(max_examples=400, deadline=None, database=None)
    @given(method=METHODS, target=TARGETS, lines=LINES, body=BODIES)
    def collect(method: str, target: str, lines: list[str], body: str) -> None:
        head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: h", *lines])
        found.append(f"{head}\r\n\r\n{body}".encode("latin-1"))

    collect()
    both = 0
    async with serving() as running:
        for data in dict.fromkeys(found):
            if (theirs := second_reading(data)) is None:
                continue
            running.app.seen.clear()
            async with await running.connect() as socket:
                await socket.send(data)
                if not (await socket.answer()).startswith(b"HTTP/1.1 200"):
                    continue
            ours = running.app.seen[0]
            method, target, body = theirs
            assert ours["method"] == method, data
            assert ours["body"] == body, data
            query = ours["query_string"].decode("latin-1")
            read = ours["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
            path = target.partition("#")[0]
            path = "/" + path.split("/", 3)[3] if path.startswith("http://") else path
            assert read == path.removesuffix("?"), data
            both += 1
    assert both > 20
