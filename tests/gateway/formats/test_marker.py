"""Looking for a few events among the bytes of many."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats.marker import EVENT_ERROR, Marker

MARKER = Marker(rb'"usage"\s*:\s*\{', rb'"finish_reason"\s*:\s*"', rb"\[DONE\]", EVENT_ERROR)
ONE = re.compile(rb'"usage"\s*:\s*\{|"finish_reason"\s*:\s*"|\[DONE\]|:\s*error\b')

PIECES = (
    b'"usage"',
    b'"finish_reason"',
    b":",
    b" ",
    b"\n",
    b"{",
    b'"',
    b"null",
    b"[DONE]",
    b"error",
    b"errors",
    b"event",
)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.integers(0, 40))
def test_it_finds_what_one_pattern_with_alternatives_finds(data: bytes, start: int) -> None:
    one, found = ONE.search(data, start), MARKER.search(data, start)
    assert (found and found.span()) == (one and one.span())
