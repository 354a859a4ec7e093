"""Our own prices of units that the price book has no price for: each row is dated and names its source.

Sources: [D] the provider's documentation, [L] litellm 1.110.2's price map, [3] a third party.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars for one unit, where the price book has no price for it."""

    unit: str
    sources: re.Pattern[str]
    models: re.Pattern[str]
    usd: Decimal
    origin: str


def own_rate(unit: str, source: str, model: str) -> Decimal | None:
    """Our own dated price of one unit, or None."""
    rows = (rate for rate in (*RATES, *HELD) if rate.unit == unit and rate.sources.fullmatch(source))
    return next((rate.usd for rate in rows if rate.models.search(model)), None)


def _rate(unit: str, sources: str, usd: str, origin: str, models: str = "") -> Rate:
    return Rate(unit, re.compile(sources), re.compile(models), Decimal(usd), origin)


def _video(sources: str, origin: str, models: str, **usd: str) -> tuple[Rate, ...]:
    """The rates of a model's videos: a second, and a picture that they begin with."""
    names = {"plain": "video_seconds", "picture": "input_images"}
    return tuple(
        _rate(names.get(name, f"video_seconds_{name.removeprefix('at_')}"), sources, each_one, origin, models)
        for name, each_one in usd.items()
    )


def _images(sources: str, origin: str, models: str, **usd: str) -> tuple[Rate, ...]:
    """The rates of a model's images by size and quality."""
    return tuple(
        _rate("images" if name == "plain" else f"images_{name.removeprefix('at_')}", sources, each_one, origin, models)
        for name, each_one in usd.items()
    )


PLAIN = {f"images_{name}": "images" for name in ("wide", "hd", "hd_wide", "512", "256")}
"""The unit whose rate applies where a model's images cost the same at every size and quality."""

_DALLE = "[3] 2026-11: OpenAI's last list price, before it removed the model"

RATES: tuple[Rate, ...] = (
    # Preview searches with models that do not reason cost more; their search tokens are free.
    _rate("web_searches", "openai|azure", "0.010", "[L] 2026-11", r"search-api"),
    _rate("web_searches", "google", "0.035", "[L] 2026-11", r"gemini-[12]"),
    _rate("web_searches", "google", "0.010", "[L] 2026-11", r"claude"),
    _rate("web_searches", "google", "0.014", "[L] 2026-11", r"gemini-"),
    _rate("web_searches", "x-ai", "0.005", "[D] docs.x.ai, 2026-11"),
    _rate("web_searches", "moonshotai", "0.005", "[D] platform.kimi.ai/docs/pricing/tools, 2026-11"),
    _rate("web_searches", "zai", "0.01", "[3] 2026-05, of Z.ai's price page"),
    _rate("web_searches", "groq", "0.005", "[3] 2026-11"),
    _rate("web_searches", "aws", "0.012", "[3] 2026-11", r"openai\."),
    _rate("web_searches", "openrouter", "0.02", "[3] 2026-11: five results at $4 a thousand"),
    # 8,000 input tokens at the model's rate.
    _rate("search_contents", "openai|azure", "0.0032", "[3] 2026-03, of OpenAI's price page", r"gpt-4\.1-mini"),
    _rate("search_contents", "openai|azure", "0.0012", "[3] 2026-03, of OpenAI's price page", r"gpt-4o-mini"),
    _rate("preview_searches", "openai", "0.025", "[L] 2026-11", r"gpt-4"),
    _rate("preview_searches", "azure", "0.014", "[L] 2026-11"),
    _rate("social_searches", "x-ai", "0.005", "[D] docs.x.ai, 2026-11"),
    _rate("code_executions", "x-ai", "0.005", "[D] docs.x.ai, 2026-11"),
    _rate("attachment_searches", "x-ai", "0.010", "[D] docs.x.ai, 2026-11"),
    _rate("storage_searches", "x-ai", "0.0025", "[D] docs.x.ai, 2026-11"),
    _rate("storage_searches", "openai|azure", "0.0025", "[L] 2026-11"),
    _rate("page_visits", "groq", "0.001", "[3] 2026-11"),
    _rate("map_groundings", "google", "0.025", "[L] 2026-11", r"gemini-[12]"),
    _rate("map_groundings", "google", "0.014", "[L] 2026-11", r"gemini-"),
    _rate("web_fetches", "perplexity", "0.0005", "[3] 2026-11"),
    _rate("rerank_searches", "cohere|azure", "0.0025", "[L] 2026-11", r"rerank-v4(?:\.0)?-pro"),
    _rate("rerank_searches", "cohere|azure", "0.002", "[L] 2026-11", r"rerank(?!-v5)"),
    _rate("rerank_searches", "aws", "0.001", "[L, D] 2026-11", r"amazon\.rerank"),
    _rate("rerank_searches", "aws", "0.002", "[L, D] 2026-11", r"cohere\.rerank"),
    _rate("routed_tokens", "azure", "0.00000014", "[L] 2026-11"),
    # OpenAI's estimates by the minute.
    _rate("audio_seconds", "openai|azure", "0.00005", "[L] 2026-11", r"gpt-4o-mini-transcribe"),
    _rate("audio_seconds", "openai|azure", "0.0001", "[L] 2026-11", r"gpt-4o-transcribe"),
    # Larger containers cost in proportion to their memory.
    _rate("code_interpreter", "openai", "0.03", "[L] 2026-11: a container, for each gigabyte of its memory"),
    _rate("code_interpreter", "azure", "0.033", "[L] 2026-11: a session, for each gigabyte of its memory"),
    _rate("guardrail_text_units", "aws", "0.00015", "[L] 2026-11"),
    _rate("guardrail_filter_units", "aws", "0.0001", "[L] 2026-11"),
    _rate("guardrail_reasoning_units", "aws", "0.00017", "[L] 2026-11"),
    _rate("guardrail_images", "aws", "0.00075", "[L] 2026-11"),
    _rate("images", "google", "0.06", "[L] 2026-11, fal.ai's price", r"imagen-4.*ultra"),
    _rate("images", "google", "0.02", "[L] 2026-11", r"imagen-[34].*fast"),
    _rate("images", "google", "0.04", "[L] 2026-11, of Imagen 4 fal.ai's price", r"imagen-[34]"),
    _rate("images", "x-ai", "0.06", "[L] 2026-11: the dearest resolution", r"imagine-image-2"),
    _rate("images", "x-ai", "0.05", "[L] 2026-11", r"imagine-image-(?:quality|pro)"),
    _rate("images", "x-ai", "0.02", "[L] 2026-11", r"imagine-image"),
    _rate("images", "x-ai", "0.07", "[3] 2026-11: its last list price", r"grok-2-image"),
    *_images("openai", _DALLE, r"dall-?e-?3", plain="0.04", wide="0.08", hd="0.08", hd_wide="0.12"),
    *_images("openai", _DALLE, r"dall-?e-?2", plain="0.02", at_512="0.018", at_256="0.016"),
    *_images("azure", "[L] 2026-11", r"dall-?e-?3", plain="0.044", wide="0.088", hd="0.088", hd_wide="0.132"),
    _rate("images", "aws", "0.06", "[L] 2026-11: a premium image of 1024 by 1024", r"nova-canvas"),
    _rate("images", "aws", "0.008", "[L] 2026-11", r"titan-image"),
    _rate("images", "aws", "0.6", "[L] 2026-11", r"creative-upscale"),
    _rate("images", "aws", "0.4", "[L] 2026-11", r"conservative-upscale"),
    _rate("images", "aws", "0.03", "[L] 2026-11", r"fast-upscale"),
    _rate("images", "aws", "0.06", "[L] 2026-11", r"stable-outpaint"),
    _rate("images", "aws", "0.14", "[L] 2026-11", r"stable-image-ultra"),
    _rate("images", "aws", "0.04", "[L] 2026-11", r"stable-image-core"),
    _rate("images", "aws", "0.08", "[L] 2026-11", r"stability\.sd3|stable-style-transfer"),
    _rate("images", "aws", "0.07", "[L] 2026-11", r"stability\.stable-image"),
    *_video("google", "[L] 2026-11", r"veo-3\.1.*lite", plain="0.05", at_1080p="0.08"),
    *_video("google", "[L] 2026-11", r"veo-3\.1.*fast", plain="0.1", at_1080p="0.12", at_4k="0.3"),
    *_video("google", "[L] 2026-11", r"veo-3\.1", plain="0.4", at_1080p="0.4", at_4k="0.6"),
    *_video("google", "[L] 2026-11", r"veo-3.*fast", plain="0.1", at_1080p="0.12"),
    *_video("google", "[L] 2026-11", r"veo-3", plain="0.4", at_1080p="0.4"),
    *_video("google", "[L] 2026-11", r"veo-2", plain="0.5"),
    *_video("openai|azure", "[L] 2026-11", r"sora-2-pro", plain="0.3", high="0.5"),
    *_video("openai|azure", "[L] 2026-11", r"sora-2", plain="0.1", high="0.1"),
    # Without a resolution, at the dearest one.
    *_video(
        "x-ai", "[L] 2026-11", r"video-1\.5-lite", plain="0.14", at_480p="0.02", at_720p="0.03", at_1080p="0.14",
        picture="0.01",
    ),
    *_video(
        "x-ai", "[L] 2026-11", r"video-1\.5", plain="0.25", at_480p="0.08", at_720p="0.14", at_1080p="0.25",
        picture="0.01",
    ),
    *_video("x-ai", "[L] 2026-11", r"imagine-video", plain="0.07", at_480p="0.05", at_720p="0.07", picture="0.002"),
)  # fmt: skip

HELD: tuple[Rate, ...] = (
    _rate("tool_containers", "openai", "0.03", "[L] 2026-11"),
    _rate("tool_containers", "azure", "0.033", "[L] 2026-11"),
    # 6,240 tokens at gpt-image-1's rate, and what it reads.
    _rate("tool_images", "openai|azure", "0.3", "[L] 2026-11"),
)
"""The hold for one container or image that a tool may make; the answer's units decide the cost."""
