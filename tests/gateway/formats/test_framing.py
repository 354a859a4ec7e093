"""A response's content type says how its stream is cut."""

from __future__ import annotations

import pytest

from paig_gateway.formats.base import Framing
from paig_gateway.formats.framing import framing_of


@pytest.mark.parametrize(
    ("content_type", "framing"),
    [
        ("text/event-stream", "sse"),
        ("text/event-stream; charset=utf-8", "sse"),
        ("Text/Event-Stream;charset=UTF-8", "sse"),
        ("application/vnd.amazon.eventstream", "eventstream"),
        ("application/json", None),
        ("", None),
    ],
)
def test_framing_of(content_type: str, framing: Framing | None) -> None:
    """Parameters and case do not matter; a body is no stream."""
    assert framing_of(content_type) == framing
