"""Context windows and output maxima of models.

`model_limits.json` is made by `scripts/model_limits.py`, which says where each number comes from. A model that is not
in the table gets the largest values of its family: the models whose names begin with the same words.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

CLOSED = re.compile(r"gpt-(?!oss)|o[134](?:-|$)|chatgpt|codex|computer-use|claude|gemini|grok|nova-|amazon-nova")
"""Models whose vendor's output maximum holds wherever they are sold: they run at the vendor or under its terms."""

REASONING = re.compile(
    r"o[134](?:-|$)|gpt-(?:[5-9]|oss)|codex|claude-(?:3-7|[a-z]+-[4-9])|gemini-(?:2\.5|[3-9])|grok-(?:3-mini|[4-9]|code)"
    r"|deepseek-(?:r|v[4-9])|.*(?:reason|think|magistral|qwq)|kimi-k[2-9]|glm-(?:4\.[5-9]|[5-9])|minimax-m|qwen[3-9]"
    r"|sonar-(?:reasoning|deep)|nova-2"
)
"""Models that may think before they answer: with too small a maximum the answer is empty."""

_NOT_REASONING = re.compile(r"gpt-[5-9][^ ]*-chat|.*non-reasoning|.*-instruct(?:-|$)")
_VENDOR = re.compile(
    r"^(?:regional|global|us-gov|us|eu|apac|au|jp|ca|sa|me|af)\.|^(?:anthropic|amazon|openai|meta|mistral|deepseek|cohere|"
    r"moonshotai|moonshot|qwen|zai|minimax|google|ai21|writer|nvidia)\."
)
_VERSION = re.compile(
    r"(?:-v\d+(?::\d+)*(?::\d+k)?|@(?:\d{8}|default|latest)|-20\d{2}-?\d{2}-?\d{2}|-latest|:[a-z][a-z0-9.-]*)$"
)


def bare_name(model: str) -> str:
    """A model's name without its provider, its date and its billing variant.

    Examples: `us.anthropic.claude-opus-5-v1:0`, `anthropic/claude-opus-5`, `claude-opus-5@20261101` and
    `openrouter/anthropic/claude-opus-5:beta` are all `claude-opus-5`.
    """
    name = model.lower().rstrip("/").rsplit("/", 1)[-1]
    while (shorter := _VERSION.sub("", _VENDOR.sub("", name, count=1), count=1)) != name:
        name = shorter
    return name.replace("claude-opus-4.", "claude-opus-4-").replace("claude-sonnet-4.", "claude-sonnet-4-")


def rounded_up(window: int) -> int:
    """A context window, rounded up to the next power of two if it is a round number: `128,000` often means 131,072."""
    return window * 105 // 100 if window % 1000 == 0 else window


_LONG_ON_REQUEST = re.compile(r"claude-sonnet-4(?:-5|-0)?$")
_SOLD_BY = frozenset({"anthropic", "aws", "google"})


def standard_window(model: str, provider: str) -> int | None:
    """The context window of a model that has a longer one only on request; None for any other model.

    Claude Sonnet 4 and 4.5 read 200,000 tokens, and more only with the beta `context-1m` (Anthropic's documentation,
    "Context windows"). Other providers of these models, such as OpenRouter, ask for it by themselves.

    Args:
        model: As a client or a provider names it.
        provider: The provider of the price book that serves it.
    """
    return 200_000 if provider in _SOLD_BY and _LONG_ON_REQUEST.match(bare_name(model)) else None


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """The most that a model reads and writes, in tokens.

    Attributes:
        window: Upper bound of the input.
        output: The vendor's output maximum, which the gateway may set in a request; None if none is known.
        most: Upper bound of one answer at the given provider; None if only the context window bounds it.
        reasoning: Whether the model may think before it answers.
    """

    window: int | None
    output: int | None
    most: int | None
    reasoning: bool


@lru_cache(maxsize=1)
def _table() -> dict[str, list[int | str | None]]:
    source = files("paig_gateway.pricing").joinpath("model_limits.json").read_text("utf-8")
    table: dict[str, list[int | str | None]] = json.loads(source)["models"]
    return table


def known_models() -> list[str]:
    """The bare names of the models in the table."""
    return list(_table())


@lru_cache(maxsize=4096)
def model_limits(model: str, provider: str = "") -> ModelLimits:
    """The known limits of a model.

    Args:
        model: As a client or a provider names it.
        provider: The provider of the price book that serves it.
    """
    name = bare_name(model)
    reasoning = bool(REASONING.match(name)) and not _NOT_REASONING.match(name)
    rows = [_table()[name]] if name in _table() else _family(name)
    if not rows:
        return ModelLimits(None, None, None, reasoning)
    windows = [row[0] for row in rows if isinstance(row[0], int)]
    outputs = [row[1] for row in rows if isinstance(row[1], int)]
    most = [row[1] if provider and provider in row[3:] else row[2] for row in rows]
    known = [number for number in most if isinstance(number, int)]
    bounded = bool(known) if CLOSED.match(name) else len(known) == len(most)
    return ModelLimits(
        max(windows),
        # The smallest maximum of a family is the one that all its models accept.
        min(outputs, default=None),
        max(known) if bounded else None,
        reasoning,
    )


def _family(name: str) -> list[list[int | str | None]]:
    """The rows of the models that share the most leading words with `name`."""
    words = re.findall(r"[^-.]+[-.]?", name)
    for count in range(len(words) - 1, 0, -1):
        prefix = "".join(words[:count])
        bare = prefix.rstrip("-.")
        rows = [row for other, row in _table().items() if other == bare or other.startswith((bare + "-", bare + "."))]
        if rows:
            return rows
    return []
