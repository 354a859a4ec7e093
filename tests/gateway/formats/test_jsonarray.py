"""A stream that is one JSON array is cut at its elements, wherever the network cuts it."""

from __future__ import annotations

import json
import time

from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats.base import StreamEvent
from paig_gateway.formats.jsonarray import JsonArraySplitter, parse
from tests.gateway.formats.cutting import fed

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['"', "\\", '\\"', "}]", "[{"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=5), values, max_size=4)


@given(
    st.lists(objects, max_size=5),
    st.sampled_from([",\n", ",", " ,\r\n "]),
    st.sampled_from([None, 2]),
    st.booleans(),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_elements_in_any_chunks(
    elements: list[object], between: str, indent: int | None, ascii_only: bool, sizes: list[int]
) -> None:
    """Each element comes out once and whole, and all bytes are accounted for."""
    texts = [json.dumps(element, indent=indent, ensure_ascii=ascii_only) for element in elements]
    stream = f"[{between.join(texts)}\n]".encode()
    raw, rest = fed(JsonArraySplitter(), stream, sizes)
    assert [json.loads(parse(one).data) for one in raw] == elements
    assert b"".join(raw) + rest == stream
    assert rest.strip() in (b"]", b"[\n]")


def test_a_lone_object() -> None:
    """An error that comes without the array is one element."""
    raw, rest = fed(JsonArraySplitter(), b' {"error": {"code": 503}}\n', [1])
    assert [parse(one) for one in raw] == [StreamEvent("", b'{"error": {"code": 503}}')]
    assert rest == b"\n"


def test_arrays_as_elements() -> None:
    """Elements need not be objects."""
    raw, _ = fed(JsonArraySplitter(), b"[[1,[2]],[3]]", [2])
    assert [parse(one).data for one in raw] == [b"[1,[2]]", b"[3]"]


@given(st.binary(max_size=300), st.lists(st.integers(1, 9), min_size=1))
def test_random_bytes(noise: bytes, sizes: list[int]) -> None:
    """Random bytes are cut the same in any chunks, without loss."""
    raw, rest = fed(JsonArraySplitter(), noise, sizes)
    assert (raw, rest) == fed(JsonArraySplitter(), noise, [max(1, len(noise))])
    assert b"".join(raw) + rest == noise


def test_a_huge_element_in_small_chunks() -> None:
    """Time grows with the bytes, not with their square."""
    stream = b'[{"data":"' + b'\\"' * 2_000_000 + b'"}]'
    began = time.perf_counter()
    raw, rest = fed(JsonArraySplitter(), stream, [256])
    assert b"".join(raw) + rest == stream
    assert len(raw) == 1
    assert time.perf_counter() - began < 5
