"""The cost goes into the one right object of an answer, and no other byte of it changes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats.splice import splice_cost, splice_event, splice_member
from tests.recordings import unspliced

USAGE = (("usage",),)
ADDED = b'"logfire_ai_gateway":{"cost":"0.0042"},"pydantic_ai_gateway":{"cost_estimate":0.0042}'


def spliced(body: bytes, paths: tuple[tuple[str, ...], ...] = USAGE) -> bytes:
    """The body with a cost of $0.0042."""
    return splice_cost(body, paths, "0.0042")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"usage":{"a":1}}', b'{"usage":{"a":1,%b}}'),
        (b'{"usage":{}}', b'{"usage":{%b}}'),
        (b'{"usage" : { } }', b'{"usage" : { %b} }'),
        (b'\n{"usage":{"a":1\n}, "x": 1}  \n', b'\n{"usage":{"a":1\n,%b}, "x": 1}  \n'),
        (b'{"usage":{"a":1},"usage":{"a":1}}', b'{"usage":{"a":1},"usage":{"a":1,%b}}'),
        (b'{"usage":{"a":1},"x":{"usage":{"a":1}}}', b'{"usage":{"a":1,%b},"x":{"usage":{"a":1}}}'),
        (b'{"x":[{"usage":{"a":1}}],"usage":{"a":1}}', b'{"x":[{"usage":{"a":1}}],"usage":{"a":1,%b}}'),
        (b'{"x":"\\"usage\\":{\\"a\\":1}","usage":{"a":1}}', b'{"x":"\\"usage\\":{\\"a\\":1}","usage":{"a":1,%b}}'),
        (b'{"x":"\\ud83d half an emoji","usage":{"a":1}}', b'{"x":"\\ud83d half an emoji","usage":{"a":1,%b}}'),
        ('{"x":"é漢😀","usage":{"a":1}}'.encode(), '{"x":"é漢😀","usage":{"a":1,%b}}'.encode()),
    ],
)
def test_the_right_object(body: bytes, expected: bytes) -> None:
    """The top-level object is found by the document's structure; the last of duplicates counts, as for JSON parsers."""
    assert spliced(body) == expected % ADDED
    assert unspliced(spliced(body)) == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"not json",
        b'{"usage":{"a":1}',
        b'{"usage":{"a":1}} trailing',
        b'{"usage":{"a":01}}',
        b'{"usage":null}',
        b'{"usage":[{"a":1}]}',
        b'{"usage":"{}"}',
        b'{"usage":{"a":1},"usage":null}',
        b'{"x":{"usage":{"a":1}}}',
        b'[{"usage":{"a":1}}]',
        b'{"x":"\\"usage\\":{}"}',
    ],
)
def test_nothing_to_splice_into(body: bytes) -> None:
    """Without such an object, or without JSON, the bytes stay as they are."""
    assert spliced(body) == body


def test_the_first_path_that_leads_to_an_object() -> None:
    """Paths are tried in order, deeper ones too."""
    paths = (("usage",), ("response", "usage"))
    body = b'{"usage":null,"response":{"usage":{"a":1},"output":[{"usage":{"a":1}}]}}'
    assert spliced(body, paths) == body.replace(b'{"a":1}', b'{"a":1,%b}' % ADDED, 1)


def test_costs_are_plain_decimals() -> None:
    """The number is written without an exponent, which not every JSON reader of money expects."""
    assert b'{"cost_estimate":0.0000001}' in splice_cost(b'{"usage":{}}', USAGE, "1E-7")
    assert b'{"cost_estimate":12}' in splice_cost(b'{"usage":{}}', USAGE, "12")


usages = st.sampled_from([{"total_tokens": 7}, {}, {"a": {"usage": {}}}])
texts = st.text(max_size=8) | st.sampled_from(['"usage":{}', '{"usage":{"total_tokens":7}}', "\\", '"'])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | texts | usages,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["usage", "x"]) | texts, inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(["usage", "response", "x"]) | texts, values, max_size=5),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_any_document(
    document: dict[str, Any], separators: tuple[str, str], indent: int | None, ascii_only: bool
) -> None:
    """The parsed document has the cost where it belongs and nowhere else, and taking it out restores every byte."""
    body = json.dumps(document, separators=separators, indent=indent, ensure_ascii=ascii_only).encode(errors="replace")
    document = json.loads(body)
    result = spliced(body, (("usage",), ("response", "usage")))
    response = document.get("response")
    for holder in (document, response if isinstance(response, dict) else {}):
        if isinstance(usage := holder.get("usage"), dict):
            usage["logfire_ai_gateway"] = {"cost": "0.0042"}
            usage["pydantic_ai_gateway"] = {"cost_estimate": 0.0042}
            break
    assert json.loads(result) == document
    assert unspliced(result) == body


@given(st.binary(max_size=100))
def test_random_bytes(noise: bytes) -> None:
    """Random bytes are never touched."""
    assert spliced(noise) == noise
    assert splice_event(noise, USAGE, "1") == noise


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"usage":{"a":1}}\n\n',
        b'data:{"usage":{"a":1}}   \r\n\r\n',
        b'event: message_delta\ndata: {"usage":{"a":1}  }  \n\n',
        b': comment\ndata: {"usage":{"a":1}}\nevent: late\nid: 7\n\n',
        b'\xef\xbb\xbfdata: {"usage":{"a":1}}\n\n',
    ],
)
def test_events(raw: bytes) -> None:
    """In an event only the JSON of its data line changes."""
    result = splice_event(raw, USAGE, "0.0042")
    assert result == raw.replace(b'"a":1', b'"a":1,' + ADDED)
    assert unspliced(result) == raw


@pytest.mark.parametrize(
    "raw",
    [b'data: {"usage":\ndata: {"a":1}}\n\n', b"data: [DONE]\n\n", b": comment\n\n", b'event: data: {"usage":{}}\n\n'],
)
def test_events_left_alone(raw: bytes) -> None:
    """Events whose data spans lines, is no JSON, or is not there stay as they are."""
    assert splice_event(raw, USAGE, "0.0042") == raw


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        (b' {"a":1}', ("s",), b' {"s":true,"a":1}'),
        (b"{}", ("s",), b'{"s":true}'),
        (b'{"s": null, "a":1}', ("s",), b'{"s": true, "a":1}'),
        (b'{"s":{"b":1}}', ("s", "i"), b'{"s":{"i":true,"b":1}}'),
        (b'{"s":{"i" : false}}', ("s", "i"), b'{"s":{"i" : true}}'),
        (b'{"a":{"s":1}}', ("s",), b'{"s":true,"a":{"s":1}}'),
        (b'{"a":1', ("s",), b'{"a":1'),
        (b'{"s":1}', ("s", "i"), b'{"s":1}'),
    ],
)
def test_members(body: bytes, path: tuple[str, ...], expected: bytes) -> None:
    """A member is replaced where it stands, else put to the front of its object."""
    assert splice_member(body, path, b"true") == expected


def test_a_large_body_is_quick() -> None:
    """A megabyte of embeddings or of log probabilities takes some milliseconds."""
    numbers = [0.0123456789] * 75_000
    tokens = [{"token": "abc", "logprob": -1.25, "bytes": [1, 2, 3]}] * 16_000
    for content in (numbers, tokens):
        body = json.dumps({"data": content, "usage": {"total_tokens": 7}}).encode()
        began = time.perf_counter()
        for _ in range(10):
            result = spliced(body)
        assert (time.perf_counter() - began) / 10 < 0.1
        assert unspliced(result) == body
        assert result != body


_NAMES = st.sampled_from(["usage", "x", "us\\u0061ge", "choices", "}", '{"usage":{}}', "\\u00e9"])
_VALUES = st.recursive(
    st.one_of(st.none(), st.integers(0, 99), _NAMES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(_NAMES, _VALUES, max_size=4), st.booleans(), st.booleans())
def test_a_decoded_body_is_spliced_alike(body: dict[str, object], ascii_only: bool, tight: bool) -> None:
    """Where the members are known already the same bytes come out, wherever the name stands besides."""
    raw = json.dumps(body, ensure_ascii=ascii_only, separators=(",", ":") if tight else None).encode()
    paths = (("usage",), ("x", "usage"))
    assert splice_cost(raw, paths, "0.5", body) == splice_cost(raw, paths, "0.5")


def test_an_escaped_name_is_spliced_in_its_place() -> None:
    """The name of the usage object written with an escape, and the plain name elsewhere, are not mixed up."""
    raw = b'{"x":{"usage":{"n":1}},"us\\u0061ge":{"a":2}}'
    spliced = splice_cost(raw, (("usage",),), "0.5", json.loads(raw))
    assert json.loads(spliced)["usage"]["logfire_ai_gateway"] == {"cost": "0.5"}
    assert spliced == splice_cost(raw, (("usage",),), "0.5")
