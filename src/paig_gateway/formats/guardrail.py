"""Bedrock's ApplyGuardrail: a text or an image judged by policies, billed by text units of each policy."""

from __future__ import annotations

import re
from decimal import Decimal

from paig_gateway.formats import reading
from paig_gateway.formats.base import Call, Format, Json
from paig_gateway.formats.folding import mapping
from paig_gateway.formats.text import HIDDEN

MODEL = "bedrock-guardrail"
"""Stands for a model's name: the price is that of the units."""

UNIT = 1_000
"""Characters of a text unit, begun ones included."""


MOST_CHARACTERS = 8
"""Characters of a token of an answer at most, on the average of a long text."""


def units_beside(body: bytes, output_tokens: int | None) -> dict[str, int]:
    """The units of a guardrail that looks at a request and its answer, at most."""
    texts = -(-len(body) // UNIT) + 1 + -(-(output_tokens or 0) * MOST_CHARACTERS // UNIT)
    return _units(texts, 0)


def _units(texts: int, images: int) -> dict[str, int]:
    return {
        # At most two policies of each price look at a text.
        "guardrail_text_units": 2 * texts,
        "guardrail_filter_units": 2 * texts,
        "guardrail_reasoning_units": texts,
        "guardrail_images": images,
    }


def _read(model: str | None, body: bytes) -> Call:
    texts = images = 0
    for block in reading.objects(reading.request(body).get("content")):
        text = reading.string(reading.members(block.get("text")).get("text"))
        texts += -(-len(text) // UNIT) if text else 0
        images += int("image" in block)
    return Call(
        model=model or MODEL,
        input_tokens=len(body) + HIDDEN,
        output_tokens=0,
        units=_units(texts, images),
        asks_usage=True,
    )


def _result(body: Json) -> Decimal | None:
    """Nothing, where only policies that cost nothing looked at it."""
    usage = mapping(body.get("usage"))
    return Decimal(0) if usage and not any(usage.values()) else None


APPLY = Format(
    name="bedrock-guardrail",
    path=re.compile(r"(?!)"),
    read=_read,
    errors="bedrock",
    answer=frozenset({"usage", "action"}),
    result=_result,
)
