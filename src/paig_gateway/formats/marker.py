"""Looking for a few events among the bytes of many.

Python's `re` tries every alternative of `"(?:usage"|error"|…)` at each quotation mark, of which a stream is full. A
pattern that begins with a longer text is found some thirty times faster, so each alternative is a pattern of its own.
"""

from __future__ import annotations

import re


class Marker:
    """Finds the first place where one of several patterns matches.

    Args:
        patterns: Each begins with some literal bytes, or stands beside some that are part of every match.
    """

    def __init__(self, *patterns: bytes | tuple[bytes, bytes]) -> None:
        pairs = [one if isinstance(one, tuple) else (b"", one) for one in patterns]
        self._patterns = [(literal, re.compile(pattern)) for literal, pattern in pairs]

    def search(self, data: bytes, start: int = 0) -> re.Match[bytes] | None:
        """The first match from a place on, or None."""
        first: re.Match[bytes] | None = None
        for literal, pattern in self._patterns:
            if literal and data.find(literal, start) < 0:
                continue
            match = pattern.search(data, start)
            if match is not None and (first is None or match.start() < first.start()):
                first = match
        return first


EVENT_ERROR = (b"error", rb":\s*error\b")
"""The name of an event that is an error."""
