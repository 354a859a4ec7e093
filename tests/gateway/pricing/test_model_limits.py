"""Context windows and output maxima."""

from __future__ import annotations

import pytest
from genai_prices.data_snapshot import get_snapshot

from paig_gateway.pricing.model_limits import bare_name, model_limits


@pytest.mark.parametrize(
    "name",
    [
        "claude-opus-5",
        "us.anthropic.claude-opus-5-v1:0",
        "global.anthropic.claude-opus-5-20261101-v1:0",
        "anthropic/claude-opus-5",
        "claude-opus-5@20261101",
        "openrouter/anthropic/claude-opus-5:beta",
        "claude-opus-5-latest",
    ],
)
def test_a_model_is_known_by_any_of_its_names(name: str) -> None:
    assert bare_name(name) == "claude-opus-5"


@pytest.mark.parametrize(
    ("model", "provider", "most"),
    [
        ("gpt-5", "openai", 128_000),
        ("gpt-5", "azure", 128_000),
        ("gpt-5-pro", "openai", 272_000),
        ("gpt-6-sol", "openai", 128_000),
        ("gpt-4", "openai", 8_192),
        ("claude-opus-5", "anthropic", 128_000),
        ("us.anthropic.claude-opus-5-v1:0", "aws", 128_000),
        ("claude-haiku-4-5", "anthropic", 64_000),
        ("gemini-4-argon", "google", 65_536),
        ("deepseek-chat", "deepseek", 8_192),
    ],
)
def test_what_a_vendor_documents_bounds_the_output(model: str, provider: str, most: int) -> None:
    assert model_limits(model, provider).most == most


def test_hosts_of_open_models_are_bounded_by_the_window_alone() -> None:
    assert model_limits("deepseek/deepseek-chat-v3-0324", "openrouter").most is None
    assert model_limits("deepseek-chat", "openrouter").most is None
    assert model_limits("openai/gpt-oss-120b", "groq").most is None


def test_an_unknown_model_takes_the_largest_of_its_family() -> None:
    unknown, known = model_limits("gpt-6-unheard-of", "openai"), model_limits("gpt-6-sol", "openai")
    assert unknown.most is not None
    assert 128_000 <= unknown.most <= 131_072
    assert unknown.window is not None
    assert unknown.window >= (known.window or 0)
    assert model_limits("gpt-4o-unheard-of").most == 16_384
    assert model_limits("made-up").window is None


def test_most_models_of_the_price_book_are_known() -> None:
    """A new price book that the table was not made for shows here."""
    models = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
    unknown = [name for provider, name in models if model_limits(name, provider).window is None]
    assert len(unknown) < len(models) * 0.08


@pytest.mark.parametrize(
    "model", ["gpt-5", "o3", "claude-opus-5", "gemini-2.5-pro", "deepseek-reasoner", "openai/gpt-oss-20b"]
)
def test_models_that_think_are_known(model: str) -> None:
    assert model_limits(model).reasoning


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-5-chat-latest", "claude-3-5-haiku", "gemini-2.0-flash", "mistral-large-4"]
)
def test_models_that_do_not_think_are_known(model: str) -> None:
    assert not model_limits(model).reasoning
