"""Models and rates that the price book lacks: our own dated table, used only if the book has none.

Sources: [G] genai-prices 0.2.3, [L] litellm 1.110.2's price map, [3] a third party.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files

from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice


@dataclass(frozen=True, slots=True)
class ExtraModel:
    """Models that are missing from the price book.

    Attributes:
        source: The genai-prices provider that they are served by.
        models: Matches their names, in lower case.
        rates: US dollars by genai-prices' units.
        context_window: Tokens that they read at most.
        origin: The source of the prices and its date.
    """

    source: str
    models: re.Pattern[str]
    rates: Mapping[str, Decimal]
    context_window: int | None
    origin: str


def _model(source: str, models: str, origin: str, window: int | None = None, **rates: str) -> ExtraModel:
    return ExtraModel(source, re.compile(models), {name: Decimal(usd) for name, usd in rates.items()}, window, origin)


def _tuned(base: str, window: int, input_mtok: str, output_mtok: str, cache: str | None = None) -> ExtraModel:
    rates = {"input_mtok": input_mtok, "output_mtok": output_mtok} | ({"cache_read_mtok": cache} if cache else {})
    return _model("openai", rf"ft:{base}(?:-\d{{4}}-\d\d-\d\d|-\d{{4}})?:.*", "[L] 2026-11", window, **rates)


_RERANK = (("cohere", ""), ("azure", "(?:cohere-)?"))

EXTRA_MODELS: tuple[ExtraModel, ...] = (
    _tuned("gpt-3\\.5-turbo", 16_385, "3", "6"),
    _tuned("gpt-4o-mini", 128_000, "0.3", "1.2", "0.15"),
    _tuned("gpt-4o", 128_000, "3.75", "15", "1.875"),
    _tuned("gpt-4\\.1-mini", 1_047_576, "0.8", "3.2", "0.2"),
    _tuned("gpt-4\\.1-nano", 1_047_576, "0.2", "0.8", "0.05"),
    _tuned("gpt-4\\.1", 1_047_576, "3", "12", "0.75"),
    _tuned("o4-mini", 200_000, "4", "16", "1"),
    _tuned("davinci-002", 16_384, "12", "12"),
    _tuned("babbage-002", 16_384, "1.6", "1.6"),
    # The fifth generation is billed by tokens.
    *(_model(at, rf"{by}rerank-v5(?:\.0)?-pro", "[L] 2026-11", 32_768, input_mtok="0.05") for at, by in _RERANK),
    *(_model(at, rf"{by}rerank-v5(?:\.0)?-fast", "[L] 2026-11", 32_768, input_mtok="0.02") for at, by in _RERANK),
    _model("cohere", r"rerank-v4(?:\.0)?-pro", "[L] 2026-11", 32_768, rerank_searches_kcount="2.5"),
    _model("cohere", r"rerank-(?:v\d|english|multilingual).*", "[L] 2026-11", 32_768, rerank_searches_kcount="2"),
    _model("azure", r"(?:cohere-)?rerank-v4(?:\.0)?-pro", "[L] 2026-11", 32_768, rerank_searches_kcount="2.5"),
    _model("azure", r"(?:cohere-)?rerank-.*", "[L] 2026-11", 32_768, rerank_searches_kcount="2"),
    _model("aws", r"(?:.*\.)?amazon\.rerank-.*", "[L] 2026-11", 32_768, rerank_searches_kcount="1"),
    _model("aws", r"(?:.*\.)?cohere\.rerank-.*", "[L] 2026-11", 32_768, rerank_searches_kcount="2"),
    _model(
        "google", r"gemini-2\.5-computer-use-preview.*", "[L] 2026-11", 131_072, input_mtok="1.25", output_mtok="10"
    ),
    _model("cohere", r"embed-(?:english|multilingual)(?:-light)?-v3\.0", "[L] 2026-11", 512, input_mtok="0.1"),
    _model("aws", r"cohere\.embed-(?:english|multilingual)-v3", "[L] 2026-11", 512, input_mtok="0.1"),
    _model("aws", r"(?:(?:us|eu|global)\.)?cohere\.embed-v4(?::0)?", "[L] 2026-11", 128_000, input_mtok="0.12"),
    _model("voyageai", r"voyage-multimodal-3(?:\.5)?", "[L] 2026-11", 32_000, input_mtok="0.12"),
    _model("voyageai", r"rerank-(?:2(?:\.5)?|3)-lite", "[L] 2026-11", 32_000, input_mtok="0.02"),
    _model("voyageai", r"rerank-(?:1|2|2\.5|3)", "[L] 2026-11", 32_000, input_mtok="0.05"),
    _model("voyageai", r"rerank-lite-1", "[L] 2026-11", 8_000, input_mtok="0.02"),
)

_NO_TOKENS = {"input_mtok": "0", "output_mtok": "0"}
"""Rates of models that are billed only by units: seconds of video, images, text units."""

EXTRA_MODELS += (
    *(_model(source, r"sora-2.*", "[L] 2026-11", None, **_NO_TOKENS) for source in ("openai", "azure")),
    _model("google", r"(?:veo|imagen)-.*", "[L] 2026-11", None, **_NO_TOKENS),
    _model("x-ai", r"grok-imagine-(?:video|image).*", "[L] 2026-11", None, **_NO_TOKENS),
    _model("x-ai", r"grok-2-image.*", "[3] 2026-11", None, **_NO_TOKENS),
    _model("openai", r"dall-?e-?[23]", "[3] 2026-11", None, **_NO_TOKENS),
    _model("azure", r"dall-?e-?3", "[L] 2026-11", None, **_NO_TOKENS),
    _model(
        "aws", r"(?:us\.)?(?:amazon\.(?:nova-canvas|titan-image)|stability\.s).*", "[L] 2026-11", None, **_NO_TOKENS
    ),
    # A suffix of the catalog: no model falls back from it to the one that costs.
    _model("openrouter", r"[^/]+/[^/]+:free", "[D] openrouter.ai, 2026-11", None, **_NO_TOKENS),
    _model("zai", r"glm-4\.5-flash", "[L] 2026-11", 128_000, **_NO_TOKENS),
    _model("mistral", r"mistral-moderation-(?:latest|2603)", "[L] 2026-11", 131_072, **_NO_TOKENS),
    _model("perplexity", r"search", "[L] 2026-11", None, web_searches_kcount="5"),
    _model("aws", r"bedrock-guardrail", "[L] 2026-11", None, **_NO_TOKENS),
)

EXTRA_RATES: tuple[ExtraModel, ...] = (
    *(
        _model(source, r"gpt-4o-audio-preview.*", "[L] 2026-11", input_audio_mtok="40", output_audio_mtok="80")
        for source in ("openai", "azure")
    ),
    *(
        _model(source, r"gpt-4o-mini-audio-preview.*", "[3] 2025-12", input_audio_mtok="10", output_audio_mtok="20")
        for source in ("openai", "azure")
    ),
    # OpenRouter sells Google's models at Google's list prices.
    _model("openrouter", r"google/gemini-2\.5-flash-image.*", "[G] Google's price, 2026-11", output_image_mtok="30"),
    _model("openrouter", r"google/gemini-3-pro-image.*", "[G] Google's price, 2026-11", output_image_mtok="120"),
)
"""Rates that the price book's own models lack."""


def _at_azure(models: str, input_mtok: str, output_mtok: str, cache: str | None = None) -> ExtraModel:
    """Open models and Grok, which Azure sells at prices of its own (Azure's retail prices, by [L])."""
    cached = cache or input_mtok
    return _model(
        "azure", models, "[L] 2026-11", input_mtok=input_mtok, output_mtok=output_mtok, cache_read_mtok=cached
    )


REPLACED_RATES: tuple[ExtraModel, ...] = (
    _at_azure(r"deepseek-v3\.2.*", "0.58", "1.68"),
    _at_azure(r"deepseek-(?:r1.*|reasoner)", "1.35", "5.4"),
    _at_azure(r"deepseek-v4-pro", "1.74", "3.48", "0.145"),
    _at_azure(r"deepseek-v4-flash", "0.19", "0.51", "0.028"),
    _at_azure(r"gpt-oss-120b", "0.15", "0.6"),
    _at_azure(r"grok-3-mini", "0.25", "1.27"),
    _model("azure", r"(?!.*claude).*", "[L] 2026-11", web_searches_kcount="14"),
    _model("perplexity", r"(?:gpt|claude|gemini|grok)-.*", "[3] 2026-11", web_searches_kcount="2.5"),
)
"""Rates of providers that sell other vendors' models at prices of their own."""


def replaced_rates(source: str, model: str) -> Mapping[str, Decimal]:
    """Rates that replace the price book's, by genai-prices' units."""
    rows = (row for row in REPLACED_RATES if row.source == source and row.models.fullmatch(model.lower()))
    return next((row.rates for row in rows), {})


def extra_model(source: str, model: str) -> ModelInfo | None:
    """A model of our own table, in the price book's form, or None."""
    name = model.lower()
    row = next((row for row in EXTRA_MODELS if row.source == source and row.models.fullmatch(name)), None)
    return _described(row, name) if row is not None else None


@lru_cache(maxsize=1)
def listed_prices() -> Mapping[str, Mapping[str, ExtraModel]]:
    """`listed_prices.json` by price source and model: what `scripts/listed_prices.py` found in litellm's price list."""
    text = files("paig_gateway.pricing").joinpath("listed_prices.json").read_text("utf-8")
    return {
        source: {
            name: _model(source, re.escape(name), f"[L] 2026-11, {row['page']}", row["window"], **row["usd"])
            for name, row in models.items()
        }
        for source, models in json.loads(text).items()
    }


def listed_model(source: str, model: str) -> ModelInfo | None:
    """A model of the table of listed prices, as the price book would describe it, or None."""
    row = listed_prices().get(source, {}).get(model.lower())
    return _described(row, model.lower()) if row is not None else None


def _described(row: ExtraModel, name: str) -> ModelInfo:
    # The rows' rates are those of a family: all models of a row cost the same.
    match = ClauseEquals(equals=name)
    return ModelInfo(id=name, match=match, context_window=row.context_window, prices=ModelPrice(**row.rates))


def extra_rates(source: str, model: str) -> Mapping[str, Decimal]:
    """Rates to add to a model of the price book, by genai-prices' units."""
    rows = (row for row in EXTRA_RATES if row.source == source and row.models.fullmatch(model.lower()))
    return next((row.rates for row in rows), {})
