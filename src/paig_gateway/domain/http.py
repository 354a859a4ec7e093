"""Types of HTTP that every part shares."""

from __future__ import annotations

Headers = list[tuple[bytes, bytes]]
