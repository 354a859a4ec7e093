"""The tokens of images, sounds and documents, by their vendors' documented rules."""

from __future__ import annotations

import pytest

from paig_gateway.formats.media import MediaItem
from paig_gateway.pricing.media_tokens import ANY_IMAGE, SLACK, audio_tokens, image_tokens, media_tokens


@pytest.mark.parametrize(
    ("model", "width", "height", "tokens"),
    [
        ("gpt-4o", 1024, 1024, 765),  # OpenAI's own example
        ("gpt-4o", 2048, 4096, 1105),  # OpenAI's own example
        ("gpt-4o-mini", 1024, 1024, 2833 + 4 * 5667),
        ("gpt-5", 1024, 1024, 70 + 4 * 140),
        ("gpt-5.5", 1024, 1024, 1229),
        ("gpt-6-sol", 20_000, 20_000, 36_000),
        ("claude-sonnet-4-5", 1092, 1092, 1521),
        ("us.anthropic.claude-opus-4-6-v1:0", 8000, 8000, 1568),
        ("claude-opus-5", 8000, 8000, 4784),
        ("gemini-2.5-flash", 300, 300, 258),
        ("gemini-2.5-flash", 960, 540, 258 * 6),  # Google's own example
        ("gemini-3-pro", 300, 300, 2240),
    ],
)
def test_an_image_is_counted_as_its_vendor_documents(model: str, width: int, height: int, tokens: int) -> None:
    assert image_tokens(MediaItem("image", width=width, height=height), model) == tokens + SLACK


def test_an_image_of_unknown_size_is_the_largest() -> None:
    assert image_tokens(MediaItem("image"), "gpt-4o") == 85 + 8 * 170 + SLACK
    assert image_tokens(MediaItem("image", detail="low"), "gpt-4o") == 85 + SLACK
    assert image_tokens(MediaItem("image"), "claude-opus-5") == 4784 + SLACK
    assert image_tokens(MediaItem("image"), "some-model") == ANY_IMAGE + SLACK
    assert image_tokens(MediaItem("image", width=64, height=64), "some-model") == 4_096 + 25 + SLACK
    assert image_tokens(MediaItem("image", width=9_000, height=9_000), "some-model") == ANY_IMAGE + SLACK


def test_a_second_of_sound_is_not_a_context_window() -> None:
    assert audio_tokens(MediaItem("audio", size=32_044, seconds=1.0)) <= 100
    assert audio_tokens(MediaItem("audio", size=32_000)) <= 3_000
    # A dense container may hold much silence in few bytes.
    assert audio_tokens(MediaItem("audio", size=32_000, dense=True)) >= 32_000


def test_a_document_counts_text_and_pages() -> None:
    item = MediaItem("pdf", size=100, pages=2, text=1_000)
    assert (media_tokens(item, "claude-opus-5") or 0) >= 1_000 + 2 * 4_784
    assert (media_tokens(item, "gemini-2.5-flash") or 0) >= 1_000 + 2 * 560
    assert media_tokens(MediaItem("pdf", size=100), "gpt-5") is None
