"""Feeding a stream to a splitter in pieces."""

from __future__ import annotations

from collections.abc import Iterable

from paig_gateway.formats.framing import Splitter


def fed(splitter: Splitter, stream: bytes, sizes: Iterable[int]) -> tuple[list[bytes], bytes]:
    """Feed `stream` in pieces of these sizes, the last one repeated; the events and the rest."""
    events: list[bytes] = []
    pieces = iter(sizes)
    size = next(pieces)
    position = 0
    while position < len(stream):
        events += splitter.feed(stream[position : position + size])
        position += size
        size = next(pieces, size)
    return events, splitter.rest()
