"""The worst case: whatever a provider could answer, it costs no more than what was held."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from paig_gateway.formats.base import Call, ModelCall
from paig_gateway.formats.media import MediaItem
from paig_gateway.pricing.modifiers import bound_factor
from paig_gateway.pricing.overrides import own_price
from paig_gateway.pricing.price import Price, PriceBook
from paig_gateway.pricing.usage import Usage
from paig_gateway.pricing.worst_case import (
    DEFAULT_CONTEXT_WINDOW,
    BoundFormula,
    Unbounded,
    WorstCase,
    ceiling,
    worst_case,
)
from paig_gateway.providers.endpoints import detect

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BOOK = PriceBook()
EVERY_MODEL = [(provider, model) for provider in get_snapshot().providers for model in provider.models]


def price_of(provider: str, model: str) -> Price:
    price = BOOK.find(provider, model)
    assert price is not None
    return price


SOUND = st.builds(MediaItem, kind=st.just("audio"), size=st.integers(0, 10**6), seconds=st.integers(0, 600))
SIDE = st.none() | st.integers(1, 9_000)
PICTURE = st.builds(MediaItem, kind=st.just("image"), width=SIDE, height=SIDE)
PART = st.integers(0, 100)
"""How much of what is possible an answer uses, in percent."""

CALLS = st.builds(
    Call,
    model=st.just(""),
    input_tokens=st.integers(1, 2_000_000),
    output_tokens=st.none() | st.integers(1, 200_000),
    answers=st.integers(1, 3),
    media=st.lists(SOUND | PICTURE, max_size=3).map(tuple),
    media_in=st.just(True),
    media_out=st.booleans(),
    unbounded_input=st.booleans(),
    cache_write=st.just(True),
    searches=st.integers(0, 5),
    extra_output=st.integers(0, 1_000),
)


@given(
    st.integers(0, len(EVERY_MODEL) - 1), st.sampled_from([None, "priority", "default"]), CALLS,
    st.lists(PART, min_size=9, max_size=9),
)  # fmt: skip
@settings(max_examples=500, deadline=None)
def test_no_answer_costs_more_than_the_hold(number: int, tier: str | None, call: Call, parts: list[int]) -> None:
    """For any request to any model of the price book, and any split of the tokens that its answer could report."""
    provider, model = EVERY_MODEL[number]
    price = Price(provider.id, model.id, model.context_window, provider, model)
    try:
        factor = bound_factor(provider.id, model.id, {"service_tier": tier or ""})
        bound = BoundFormula(model.id, price, NOW, tier, factor=factor).hold(call)
    except Unbounded:
        assume(False)
    worst, part = bound.worst, iter(parts)

    def some(most: int) -> int:
        return most * next(part) // 100

    total_in, total_out = some(worst.input_tokens), some(worst.output_tokens)
    of_media = some(min(total_in, worst.media_tokens))
    written = some(total_in - of_media)
    usage: Usage = {
        "input_tokens": total_in,
        "output_tokens": total_out,
        "cache_write_tokens": written,
        "cache_write_1h_tokens": some(written),
        "cache_read_tokens": some(total_in - of_media - written),
        "input_audio_tokens": of_media if any(item.kind == "audio" for item in call.media) else 0,
        "output_reasoning_tokens": some(total_out),
        "output_audio_tokens": some(total_out) if call.media_out else 0,
        "web_searches": some(call.searches),
    }
    assert price.cost(usage, NOW, {"service_tier": tier} if tier else None) <= bound.money


CHAT = "/v1/chat/completions"
TEXT = st.text(max_size=300)


@given(
    st.sampled_from(["gpt-5", "gpt-4o", "gpt-6-sol"]),
    st.lists(TEXT, min_size=1, max_size=4),
    st.none() | st.integers(1, 50_000),
    st.integers(1, 4),
    st.booleans(),
    st.data(),
)
def test_a_request_that_is_read_from_bytes_is_bounded(
    model: str, texts: list[str], most: int | None, n: int, escaped: bool, data: st.DataObject
) -> None:
    """From the bytes of a request to its hold: as many tokens as its text has bytes, each at the dearest rate."""
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": text} for text in texts],
        "n": n,
    }
    if most is not None:
        body["max_completion_tokens"] = most
    raw = json.dumps(body, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    found = detect("POST", CHAT)
    assert found is not None
    call = found[0].read(None, raw)
    price = price_of("openai", model)
    bound = BoundFormula(model, price, NOW).hold(call)
    tokens = sum(len(text.encode("utf-8", "surrogatepass")) + 8 for text in texts) + 3
    assert tokens <= bound.worst.input_tokens
    assert (most or 16_384) * n <= bound.worst.output_tokens
    written = data.draw(st.integers(0, tokens))
    usage: Usage = {"input_tokens": tokens, "output_tokens": bound.worst.output_tokens, "cache_write_tokens": written}
    assert price.cost(usage, NOW) <= bound.money


@pytest.mark.parametrize(
    ("provider", "model", "call", "most"),
    [
        ("openai", "gpt-5", Call("gpt-5", input_tokens=100), "1.29"),
        ("openai", "gpt-6-sol", Call("gpt-6-sol", input_tokens=100), "1.3"),
        ("aws", "us.anthropic.claude-opus-5", Call("claude-opus-5", input_tokens=100), "3.6"),
        (
            "openai", "gpt-audio",
            Call("gpt-audio", input_tokens=100, output_tokens=500, media=(MediaItem("audio", 32_000),)),
            "0.1",
        ),
    ],
)  # fmt: skip
def test_ordinary_requests_hold_ordinary_sums(provider: str, model: str, call: Call, most: str) -> None:
    held = BoundFormula(model, price_of(provider, model), NOW).hold(call).money
    assert held <= float(most) * 10**9


def test_a_window_below_the_tiers_of_the_price_is_not_a_bound() -> None:
    """Claude Sonnet 4.5 has a rate for more than 200,000 tokens, so its 200,000 window is not its largest."""
    price = price_of("anthropic", "claude-sonnet-4-5")
    call = Call("claude-sonnet-4-5", input_tokens=4_000_000, output_tokens=1_000)
    bound = BoundFormula("claude-sonnet-4-5", price, NOW).hold(call)
    assert bound.worst.input_tokens >= 1_000_000
    assert price.cost({"input_tokens": 800_010, "output_tokens": 1_000}, NOW) <= bound.money


@pytest.mark.parametrize(("words", "held"), [(60_000, 60_000), (10**6, 131_072)])
def test_a_small_window_does_not_bound_the_input(words: int, held: int) -> None:
    """`computer-use-preview` reads more than the 8,192 tokens that its vendor says."""
    price = price_of("openai", "computer-use-preview")
    worst = worst_case(Call("computer-use-preview", input_tokens=words), "computer-use-preview", price, NOW)
    assert worst.input_tokens == held


def test_an_operator_s_window_and_maximum_count_as_they_are() -> None:
    price = own_price("m", rates={"input_mtok": Decimal(1)}, context_window=32_000, max_output=2_000).price
    worst = worst_case(Call("m", input_tokens=10**6), "m", price, NOW)
    assert (worst.input_tokens, worst.output_tokens) == (32_000, 2_000)


def test_a_model_of_which_nothing_is_known_has_the_default_window() -> None:
    worst = worst_case(Call("m", unbounded_input=True), "unheard-of", None, NOW)
    assert (worst.input_tokens, worst.output_tokens) == (DEFAULT_CONTEXT_WINDOW, DEFAULT_CONTEXT_WINDOW)


def test_a_part_of_a_nanodollar_is_held_as_a_whole_one() -> None:
    rates = {"input_mtok": "0.0001", "output_mtok": "0.0003", "requests_kcount": "0.0000007"}
    price = own_price("odd", rates={unit: Decimal(rate) for unit, rate in rates.items()}).price
    # 1 and 3 tenths of a nanodollar for a token, and 7 tenths for the request.
    tokens = ((1, 1), (2, 2), (3, 0), (4, 0))
    assert [ceiling(WorstCase(asked, said), price, NOW, None) for asked, said in tokens] == [2, 2, 1, 2]


def test_an_uncountable_unit_has_no_bound() -> None:
    """A price by the second holds nothing for a request whose sound is not seen: it is refused, not free."""
    price = price_of("groq", "whisper-large-v3")
    with pytest.raises(Unbounded, match="audio_seconds"):
        ceiling(WorstCase(100, 0), price, NOW, None)
    assert ceiling(WorstCase(100, 0, seconds=3600), price, NOW, None) > 0


def test_pages_are_held_as_a_request_states_them() -> None:
    price = price_of("mistral", "mistral-ocr-latest")
    few = ceiling(WorstCase(100, 0, units={"input_document_pages": 2}), price, NOW, None)
    many = ceiling(WorstCase(100, 0, units={"input_document_pages": 1_000}), price, NOW, None)
    assert 0 < few < many
    with pytest.raises(Unbounded):
        ceiling(WorstCase(100, 0), price, NOW, None)


def test_models_besides_and_repeats_are_held_too() -> None:
    price = price_of("anthropic", "claude-haiku-4-5")
    dear = price_of("anthropic", "claude-opus-5")
    call = Call("claude-haiku-4-5", input_tokens=1_000, output_tokens=1_000)
    alone = BoundFormula("claude-haiku-4-5", price, NOW).hold(call)
    advisor = ModelCall("claude-opus-5", times=3, output_tokens=2_000)
    advised = BoundFormula("claude-haiku-4-5", price, NOW, besides=((advisor, dear),)).hold(call)
    opus = dear.cost({"input_tokens": 1_000, "output_tokens": 2_000}, NOW)
    assert advised.money >= alone.money + 3 * opus
    instead = BoundFormula("claude-haiku-4-5", price, NOW, instead=(("claude-opus-5", dear),)).hold(call)
    assert instead.money >= dear.cost({"input_tokens": 1_000, "output_tokens": 1_000}, NOW)
    several = BoundFormula("claude-haiku-4-5", price, NOW).hold(replace(call, repeats=4))
    assert (several.money, several.tokens) == (4 * alone.money, 4 * alone.tokens)


@pytest.mark.parametrize(
    ("provider", "model", "call", "tokens"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929", {}, 200_000),
        ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {}, 200_000),
        ("anthropic", "claude-sonnet-4-5", {"standard_window": False}, 1_050_000),
        ("anthropic", "claude-sonnet-4-5", {"unbounded_tools": True}, 1_050_000),
        ("anthropic", "claude-sonnet-4-5", {"input_tokens": 700_000}, 700_000),
        ("anthropic", "claude-sonnet-4-6", {}, 1_050_000),
        ("openrouter", "anthropic/claude-sonnet-4.5", {}, 1_050_000),
    ],
)
def test_a_document_has_no_more_than_the_standard_window(
    provider: str, model: str, call: dict[str, object], tokens: int
) -> None:
    """Where a model reads more on request alone, a linked document is bounded by what it reads otherwise."""
    asked = replace(Call(model, input_tokens=50, unbounded_input=True, standard_window=True), **call)  # type: ignore[arg-type]
    assert worst_case(asked, model, price_of(provider, model), NOW).input_tokens == tokens
