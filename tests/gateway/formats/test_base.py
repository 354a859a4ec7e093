"""Looking for a few events among the bytes of many."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats.base import EVENT_ERROR, Marker

MARKER = Marker(
    rb'"usage"\s*:\s*\{', rb'"finish_reason"\s*:\s*"', rb"\[DONE\]", (b"$", rb'"\$web_search"'), EVENT_ERROR
)
ONE = re.compile(rb'usage"\s*:\s*\{|finish_reason"\s*:\s*"|\[DONE\]|\$web_search"|:\s*error\b')

PIECES = (
    b'"usage"',
    b'"finish_reason"',
    b":",
    b" ",
    b"\n",
    b"{",
    b'"',
    b"null",
    b'"usage":null',
    b'"usage": null',
    b'usage":null',
    b'"finish_reason": null',
    b"[DONE]",
    b'"$web_search"',
    b"error",
    b"errors",
    b"event",
)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.integers(0, 40))
def test_it_finds_what_one_pattern_with_alternatives_finds(data: bytes, start: int) -> None:
    one, found = ONE.search(data, start), MARKER.search(data, start)
    assert (found and found.span()) == (one and one.span())


def test_a_value_besides_many_nulls_is_found() -> None:
    """An event with usage is found among events without, however each of them writes its null."""
    for null in (b'"usage":null', b'"usage": null', b'"usage" : null'):
        data = null * 20 + b'"usage" :{"prompt_tokens":1}' + null * 20
        found = MARKER.search(data)
        assert found is not None
        assert found.start() == 20 * len(null) + len('"')
        assert MARKER.search(data, found.end()) is None
