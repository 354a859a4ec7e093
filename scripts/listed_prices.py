"""Make the table of listed prices: src/paig_gateway/pricing/listed_prices.json.

Run as `python scripts/listed_prices.py --litellm WHEEL`, with the archive that `model_limits.py` pins. The
table has the models that the installed genai-prices lacks and litellm's price list states a price for, with the
provider's own page as its source. Left out are models whose tokens have more than one price (long contexts,
sounds, images): what a row cannot say would be charged too low. Read the difference before you commit it, because money
rests on it.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from model_limits import read

from paig_gateway.pricing.price import PriceBook

TARGET = Path(__file__).parent.parent / "src/paig_gateway/pricing/listed_prices.json"

# litellm's providers, the price book's, and what litellm's names begin with.
PROVIDERS = {
    "together_ai": ("together", "together_ai/"),
    "fireworks_ai": ("fireworks", "fireworks_ai/"),
    "novita": ("novita", "novita/"),
    "cohere": ("cohere", "cohere/"),
    "cohere_chat": ("cohere", "cohere/"),
    "mistral": ("mistral", "mistral/"),
    "perplexity": ("perplexity", "perplexity/"),
    "xai": ("x-ai", "xai/"),
    "zai": ("zai", "zai/"),
    "anthropic": ("anthropic", ""),
    "openai": ("openai", ""),
    "gemini": ("google", "gemini/"),
    "bedrock": ("aws", ""),
    "bedrock_converse": ("aws", ""),
    "azure": ("azure", "azure/"),
    "azure_ai": ("azure", "azure_ai/"),
}
MAAS = ("google", "vertex_ai/")  # models of other vendors at Vertex AI: `vertex_ai-llama_models` and the like

RATES = {
    "input_cost_per_token": "input_mtok",
    "output_cost_per_token": "output_mtok",
    "cache_read_input_token_cost": "cache_read_mtok",
    "input_cost_per_token_cache_hit": "cache_read_mtok",
    "cache_creation_input_token_cost": "cache_write_mtok",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_mtok",
}
# Prices of a tier or a batch come from the table of modifiers, or make a row an estimate.
MODIFIED = ("_flex", "_priority", "_batches")
OTHERS = ("artificialanalysis.ai", "vercel.com")  # pages of others than the provider
MODES = {"chat", "responses", "completion", "embedding"}
WITHOUT_PAGE = frozenset({"novita", "bedrock", "bedrock_converse"})
"""Providers whose rows are taken without a page: they hold that provider's own prices."""
DOUBTFUL = {
    # The models that they are made of have other rates above 272,000 tokens, and these rows have none.
    *("gpt-6-astra-law", "gpt-5.5-cyber-preview"),
    # Gemini 3 Pro has other rates above 200,000 tokens, and its searches are billed too.
    *("gemini/deep-research-preview-04-2026", "gemini/deep-research-max-preview-04-2026"),
    # The page has no prices.
    *("gemini/gemini-gemma-2-27b-it", "gemini/gemini-gemma-2-9b-it"),
    # Perplexity sells other vendors' models at their prices; these two are at twice those.
    *("perplexity/openai/gpt-5.3-codex", "perplexity/google/gemini-3.6-flash"),
    # A cached token at the price of any other; a quarter of the price at all other providers.
    *("perplexity/perplexity/nemotron-3-ultra-550b-a55b", "perplexity/perplexity/nemotron-3.5-lightning-30b-a3b"),
    # A tenth more than GPT-4 Turbo costs at Azure.
    "azure/gpt-4-turbo-vision-preview",
}
"""Rows that were compared with the price book's for the same model elsewhere, and are not believed."""


def provider_of(row: dict[str, object]) -> tuple[str, str] | None:
    """The price book's provider of a row, and the prefix of its name."""
    name = str(row.get("litellm_provider"))
    maas = name.startswith("vertex_ai-") and name.endswith("_models") and "anthropic" not in name
    return MAAS if maas else PROVIDERS.get(name)


def rates(row: dict[str, object]) -> dict[str, str] | None:
    """The prices of a million tokens; None where there are others too, or none."""
    costs = {name for name, value in row.items() if "cost" in name and isinstance(value, (int, float)) and value}
    if not costs or any(name not in RATES and not name.endswith(MODIFIED) for name in costs):
        return None
    found = {RATES[name]: Decimal(str(row[name])) * 1_000_000 for name in RATES if name in costs}
    generates = row.get("mode") != "embedding"
    if "input_mtok" not in found or (generates and "output_mtok" not in found):
        return None
    return {name: f"{round(usd, 6).normalize():f}" for name, usd in found.items()}


def rows(table: dict[str, dict[str, object]]) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Each row that the price book lacks: provider, model, and what is kept of it."""
    book = PriceBook(listed=False)
    for name, row in sorted(table.items()):
        found = provider_of(row)
        page, window = str(row.get("source") or ""), row.get("max_input_tokens")
        if found is None or name in DOUBTFUL or row.get("mode") not in MODES:
            continue
        if not page.startswith("http") and row["litellm_provider"] not in WITHOUT_PAGE:
            continue
        if any(other in page for other in OTHERS):
            continue
        provider, model = found[0], name.removeprefix(found[1]).lower()
        usd = rates(row)
        regional = found[0] in ("azure", "aws") and "/" in model
        if usd is None or regional or book.find(provider, model) is not None:
            continue
        yield provider, model, {"usd": usd, "window": window if isinstance(window, int) else None, "page": page}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--litellm", type=Path, required=True)
    wheel = parser.parse_args().litellm
    read(wheel, "litellm")
    with zipfile.ZipFile(wheel) as archive:
        table = json.loads(archive.read("litellm/model_prices_and_context_window_backup.json"))
    found: dict[str, dict[str, object]] = {}
    for provider, model, kept in rows(table):
        found.setdefault(provider, {})[model] = kept
    parts = []
    for provider, models in sorted(found.items()):
        lines = ",\n".join(f"{json.dumps(model)}: {json.dumps(kept)}" for model, kept in models.items())
        parts.append(f"{json.dumps(provider)}: {{\n{lines}\n}}")
    text = ",\n".join(parts)
    TARGET.write_text(f"{{\n{text}\n}}\n", "utf-8")
    print({provider: len(models) for provider, models in found.items()})


if __name__ == "__main__":
    main()
