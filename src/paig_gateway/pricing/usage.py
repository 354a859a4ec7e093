"""Usage: what a finished answer says it used, counted as genai-prices counts.

`input_tokens` and `output_tokens` include their cached, audio and reasoning parts, each of which is also shown apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from genai_prices.types import UsageExtractor

Usage = dict[str, int | float]
"""Counts by genai-prices' usage key: tokens mostly, also `web_searches`, `audio_seconds` and the like."""

Json = Mapping[str, object]

_BUNDLED = get_snapshot()
"""How answers are read is what was tested with this version; only prices are refreshed while running."""

MOST = 10**9
"""No count in one answer is larger; usage with one that is tells nothing."""

_ALWAYS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(frozen=True, slots=True)
class Extracted:
    """Usage read from an answer.

    Attributes:
        usage: The counts.
        raw: The provider's own usage object, untouched.
        model: The model the answer names, or None where its format names none.
    """

    usage: Usage
    raw: Json
    model: str | None


def extract(body: Json, *, provider: str, flavor: str, home: str) -> Extracted | None:
    """Read the usage of an answer in the shape of a non-streaming body.

    The provider's own extractor comes first; one that has none for this API format speaks that format's home
    provider's shape.

    Args:
        body: The answer's JSON.
        provider: The genai-prices provider that is billed.
        flavor: genai-prices' name of the API format.
        home: The genai-prices provider that invented the format.

    Returns:
        What was read, or None where the answer carries no usage, or counts that cannot be.
    """
    for candidate, name in ((provider, flavor), (provider, "default"), (home, flavor), (home, "default")):
        extractor = _extractor(candidate, name)
        if extractor is None:
            continue
        try:
            model, counts = extractor.extract(body)
        except ValueError:
            continue
        raw = _at(body, extractor.root)
        usage: Usage = dict.fromkeys(_ALWAYS, 0)
        for key, value in vars(counts).items():
            if isinstance(value, int):
                usage[key] = value
            elif isinstance(value, (float, Decimal)):
                usage[key] = float(value)
        return Extracted(usage, raw, model) if all(0 <= count <= MOST for count in usage.values()) else None
    return None


@lru_cache(maxsize=512)
def _extractor(provider: str, flavor: str) -> UsageExtractor | None:
    found = find_provider_by_id(_BUNDLED.providers, provider)
    return next((e for e in (found.extractors or ()) if e.api_flavor == flavor), None) if found else None


def _at(body: Json, path: object) -> Json:
    steps = [path] if isinstance(path, str) else path
    value: object = body
    for step in steps if isinstance(steps, (list, tuple)) else ():
        value = value.get(step) if isinstance(value, Mapping) and isinstance(step, str) else None
    return value if isinstance(value, Mapping) else {}
