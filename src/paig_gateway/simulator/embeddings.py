"""Embeddings: vectors made from the text's hash, and OpenAI's embeddings endpoint."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from typing import Any

from .faults import strip
from .openai_common import SHAPE, body, wanted_model
from .operation import Operation, SimulatedAnswer, SimulatedRequest
from .reply import Prompt, TokenCounts, count

_DIMENSIONS = {"text-embedding-3-large": 3072}


def vector(text: str, dimensions: int) -> list[float]:
    """A unit vector; equal texts have equal vectors."""
    raw = struct.unpack(f"<{dimensions}h", hashlib.shake_256(text.encode()).digest(2 * dimensions))
    length = math.sqrt(sum(value * value for value in raw)) or 1.0
    return [round(value / length, 8) for value in raw]


def _texts(given: str | list[Any]) -> tuple[list[str], int]:
    """The texts to embed, and the number of tokens if the input was given as token ids."""
    if isinstance(given, str):
        return [given], 0
    if isinstance(given[0], int):
        return [str(given)], len(given)
    if isinstance(given[0], str):
        return given, 0
    return [str(item) for item in given], sum(map(len, given))


def _read(request: SimulatedRequest) -> Prompt:
    found, ready = _texts(request.body["input"])
    prompt = Prompt(model=wanted_model(request), texts=found, carried=ready)
    prompt.user(found)
    return prompt


def _write(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    used = prompt.carried or count(prompt).input
    model = strip(prompt.model)
    dimensions = int(request.body.get("dimensions") or _DIMENSIONS.get(model, 1536))
    packed = request.body.get("encoding_format") == "base64"
    data: list[dict[str, Any]] = []
    for index, text in enumerate(prompt.texts):
        values = vector(text, dimensions)
        shown = base64.b64encode(struct.pack(f"<{dimensions}f", *values)).decode() if packed else values
        data.append({"object": "embedding", "index": index, "embedding": shown})
    value: dict[str, Any] = {"object": "list", "data": data, "model": model}
    if not request.faults.no_usage:
        value["usage"] = {"prompt_tokens": used, "total_tokens": used}
    answer = body(request, value)
    answer.tokens = TokenCounts(input=used)
    return answer


OPERATION = Operation(_read, _write, SHAPE)
