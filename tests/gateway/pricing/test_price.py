from __future__ import annotations

from datetime import UTC, datetime

import pytest
from genai_prices import Usage as GenaiUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider
from hypothesis import given, settings
from hypothesis import strategies as st

from paig_gateway.domain.money import nanodollars
from paig_gateway.pricing.modifiers import apply
from paig_gateway.pricing.price import Price, PriceBook
from paig_gateway.pricing.usage import Usage, extract

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BOOK = PriceBook()
MODELS = [
    ("openai", "gpt-5"),
    ("openai", "gpt-4o-audio-preview"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-pro"),
    ("google", "gemini-2.5-flash"),
    ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("groq", "llama-3.3-70b-versatile"),
    ("deepseek", "deepseek-chat"),
]


KEYS = [
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens"),
    *("cache_write_1h_tokens", "input_audio_tokens", "output_audio_tokens", "output_reasoning_tokens"),
    *("input_text_tokens", "input_image_tokens", "cache_text_read_tokens", "web_searches", "cache_audio_read_tokens"),
]
CONTEXTS = [
    None,
    {},
    {"service_tier": "priority"},
    {"service_tier": "flex"},
    {"processing": "batch"},
    {"speed": "fast"},
]
SNAPSHOT = get_snapshot()
EVERY_MODEL = [(provider, model) for provider in SNAPSHOT.providers for model in provider.models]


@given(
    st.sampled_from(EVERY_MODEL),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from([0, 0, 1, 7, 1_000, 250_000]), min_size=1),
    st.sampled_from(CONTEXTS),
    st.datetimes(datetime(2026, 10, 1), datetime(2027, 1, 1)),
)
@settings(max_examples=1000)
def test_compiled_prices_equal_genai_prices(
    found: tuple[Provider, ModelInfo], usage: Usage, context: dict[str, str] | None, at: datetime
) -> None:
    """Whatever is reported of whichever model, a cost is genai-prices' own; where it refuses, a cost is found still."""
    provider, model = found
    at = at.replace(tzinfo=UTC)
    price = Price(provider.id, model.id, None, provider, model)
    ours = price.cost(usage, at, context)
    try:
        theirs = model.calc_price(
            GenaiUsage(**usage), provider, genai_request_timestamp=at, price_context=context or None
        )
    except ValueError:
        assert ours >= 0
        return
    if theirs.model_price != price.model_prices(at, context) or apply(context or {}, model, provider.id, at).factors:
        return  # rates and factors of our own are tested by themselves
    assert ours == nanodollars(theirs.total_price)
    assert price.cost(usage, at, context) == ours


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_costs_are_those_of_genai_prices(provider: str, model: str) -> None:
    """A cost is genai-prices' own, to the nanodollar."""
    price = BOOK.find(provider, model)
    assert price is not None
    expected = calc_price(
        GenaiUsage(input_tokens=12_345, output_tokens=678, cache_read_tokens=1_000),
        model,
        provider_id=provider,
        genai_request_timestamp=NOW,
    )
    usage: Usage = {"input_tokens": 12_345, "output_tokens": 678, "cache_read_tokens": 1_000}
    assert price.cost(usage, NOW) == nanodollars(expected.total_price)


def test_a_service_tier_has_its_own_price() -> None:
    """The tier that the answer reports decides the rate."""
    price = BOOK.find("openai", "gpt-5")
    assert price is not None
    usage: Usage = {"input_tokens": 1_000, "output_tokens": 1_000}
    flex, standard, priority = (
        price.cost(usage, NOW, {"service_tier": tier}) for tier in ("flex", "default", "priority")
    )
    assert flex < standard == price.cost(usage, NOW) < priority


def test_unknown_models_have_no_price_and_do_not_fill_the_memory() -> None:
    """A name that fits nothing is None, and made-up names are not remembered without bound."""
    book = PriceBook(size=10)
    assert all(book.find("openai", f"no-such-{number}") is None for number in range(100))
    assert len(book._found) <= 10
    assert book.find("no-such-provider", "gpt-5") is None


def test_usage_is_read_by_the_billed_providers_extractor_or_the_formats() -> None:
    """A provider without an extractor for the format is read as the format's inventor would be."""
    chat = {"model": "m", "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    for provider in ("openai", "groq", "mistral", "together", "no-such-provider"):
        found = extract(chat, provider=provider, flavor="chat", home="openai")
        assert found is not None, provider
        assert (found.usage["input_tokens"], found.usage["output_tokens"]) == (7, 3)
        assert found.raw == chat["usage"]
        assert found.model == "m"
    assert extract({"model": "m"}, provider="openai", flavor="chat", home="openai") is None
