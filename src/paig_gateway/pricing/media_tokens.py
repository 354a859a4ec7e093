"""The most tokens that an image, a sound or a document can be, by the rules of the model's vendor.

Images are bounded by their width and height if the first bytes of the image give them, else by the largest image that
the vendor accepts. If a vendor's rule is not documented, the largest known one is used (`ANY_IMAGE`).

Sources: the vendors' vision guides as of November 2026, and, for the patch budgets of OpenAI's small models, third
parties; where two sources differ, the larger number is used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache

from paig_gateway.formats.media import MediaItem
from paig_gateway.pricing.model_limits import bare_name

ANY_IMAGE = 50_000
"""Tokens of an image if no rule is known: gpt-4o-mini's eight tiles are 48,169, the most of any known rule."""

ANY_TILE, ANY_PATCH = 4_096, 14
"""Where no rule is known, an image has no more tokens than one tile that it may be scaled up to (Llama 3.2's have
1,601, Nova's about 2,600), and one for each patch of so many pixels; no open model has smaller patches."""

ImageRule = Callable[[MediaItem], int]

SLACK = 16
"""Tokens around an image, such as its beginning and its end."""

AUDIO_TOKENS_PER_SECOND = 32
"""Gemini's; OpenAI's are 10, Voxtral's 12.5."""

AUDIO_BYTES_PER_TOKEN = 15
"""At MP3's lowest constant bit rate, 8 kilobits a second, 1,000 bytes are 32 tokens; this assumes half that rate."""

PDF_PAGE = 1_120
"""Tokens of a page's picture and numbers at OpenAI and Gemini, at high resolution."""


def tiles(base: int, tile: int) -> ImageRule:
    """OpenAI's tiles of 512 pixels, after the image is scaled down to 2,048 pixels and its short side to 768."""

    def tokens(item: MediaItem) -> int:
        if item.detail == "low":
            return base
        if item.width is None or item.height is None:
            return base + 8 * tile
        scale = min(1.0, 2048 / max(item.width, item.height))
        width, height = item.width * scale, item.height * scale
        scale = min(1.0, 768 / min(width, height))
        across, down = (math.ceil(side * scale / 512) for side in (width, height))
        return base + min(8, across * down) * tile

    return tokens


def patches(size: int, most: int, factor: float) -> ImageRule:
    """Patches of `size` pixels, at most `most` after scaling down, each counted `factor` times."""

    def tokens(item: MediaItem) -> int:
        count = most
        if item.width is not None and item.height is not None:
            count = min(most, math.ceil(item.width / size) * math.ceil(item.height / size))
        return math.ceil(count * factor)

    return tokens


def crops(item: MediaItem) -> int:
    """Gemini 2's: 258 tokens for a small image, else for each crop of 256 to 768 pixels."""
    if item.width is None or item.height is None:
        return 16 * 258
    if max(item.width, item.height) <= 384:
        return 258
    unit = max(256, min(768, int(min(item.width, item.height) / 1.5)))
    return 258 * math.ceil(item.width / unit) * math.ceil(item.height / unit)


# The first pattern that the bare name begins with decides.
IMAGE_RULES: tuple[tuple[re.Pattern[str], ImageRule], ...] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (r"gpt-4o-mini", tiles(2_833, 5_667)),
        (r"gpt-4\.1-(?:mini|nano)|gpt-5-(?:mini|nano)|gpt-5\.1-codex-mini|o4-mini", patches(32, 6_144, 2.46)),
        (r"gpt-5\.[23]", patches(32, 6_144, 2.46)),
        (r"gpt-4o|gpt-4\.1|gpt-4\.5|gpt-4-|chatgpt-4o", tiles(85, 170)),
        (r"gpt-5(?:\.1)?(?:-|$)", tiles(70, 140)),
        (r"o[13](?:-|$)", tiles(75, 150)),
        (r"computer-use", tiles(65, 129)),
        (r"gpt-5\.[45]-nano", patches(32, 10_000, 2.46)),
        (r"gpt-5\.[45]-mini", patches(32, 10_000, 1.62)),
        (r"gpt-5\.[45]", patches(32, 10_000, 1.2)),
        (r"gpt-5\.|gpt-[6-9]", patches(32, 30_000, 1.2)),
        (r"claude-3|claude-(?:opus|sonnet|haiku)-4(?:-[0-6])?(?:-|$)", patches(28, 1_568, 1)),
        (r"claude", patches(28, 4_784, 1)),
        (r"gemini-(?:1|2)|gemini-(?:pro|flash)", crops),
        (r"gemini", lambda item: 2_240),
    )
)


@lru_cache(maxsize=1024)
def _image_rule(model: str) -> ImageRule | None:
    name = bare_name(model)
    return next((rule for pattern, rule in IMAGE_RULES if pattern.match(name)), None)


def image_tokens(item: MediaItem, model: str) -> int:
    """The most tokens of an image at a model."""
    rule = _image_rule(model)
    return (any_image if rule is None else rule)(item) + SLACK


def any_image(item: MediaItem) -> int:
    """The most tokens of an image at a model whose rule is not known."""
    if item.width is None or item.height is None:
        return ANY_IMAGE
    return min(ANY_IMAGE, ANY_TILE + math.ceil(item.width / ANY_PATCH) * math.ceil(item.height / ANY_PATCH))


def audio_seconds(item: MediaItem) -> float:
    """The longest possible duration of a sound: from its header, else from its size."""
    if item.seconds is not None:
        return item.seconds
    return audio_tokens(item) / AUDIO_TOKENS_PER_SECOND


def audio_tokens(item: MediaItem) -> int:
    """The most tokens of a sound."""
    if item.seconds is not None:
        return math.ceil(item.seconds * AUDIO_TOKENS_PER_SECOND) + SLACK
    return item.size // (1 if item.dense else AUDIO_BYTES_PER_TOKEN) + SLACK


def pdf_tokens(item: MediaItem, model: str) -> int | None:
    """The most tokens of a document, whose pages are read as text and as pictures; None if nothing in it bounds it."""
    if item.pages is None or item.text is None:
        return None
    page = MediaItem("image")
    picture = max(PDF_PAGE, image_tokens(page, model)) if bare_name(model).startswith("claude") else PDF_PAGE
    if bare_name(model).startswith(("gpt", "o1", "o3", "o4")):
        picture = max(picture, image_tokens(page, model))
    return item.text + item.pages * picture + SLACK


def media_tokens(item: MediaItem, model: str) -> int | None:
    """The most tokens of one item; None if only the model's context window bounds it."""
    match item.kind:
        case "image":
            return image_tokens(item, model)
        case "audio":
            return audio_tokens(item)
        case "pdf":
            return pdf_tokens(item, model)
