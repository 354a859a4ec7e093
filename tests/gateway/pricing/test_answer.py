"""What answers use and cost: alike at every provider, and never called exact where a unit is not known."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from paig_gateway.formats.base import Call, Format
from paig_gateway.formats.registry import FORMATS
from paig_gateway.pricing.answer import UsageReading, read_answer
from paig_gateway.pricing.overrides import PriceLookup, PriceSources, own_price
from paig_gateway.pricing.price import PriceBook
from paig_gateway.pricing.provider_charge import CHARGES
from paig_gateway.providers.kinds import KINDS

NOW = datetime(2026, 11, 30, tzinfo=UTC)
BY_NAME = {fmt.name: fmt for fmt in reversed(FORMATS)}
OWN = own_price(
    "m", model="m*", rates={"input_mtok": Decimal(1), "output_mtok": Decimal(2), "requests_kcount": Decimal(1)}
)
PRICED = PriceSources(PriceBook(), lambda: (OWN,))

Body = dict[str, Any]

CHAT_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "total_tokens": 1200,
    "prompt_tokens_details": {"cached_tokens": 300, "audio_tokens": 50},
    "completion_tokens_details": {"reasoning_tokens": 80, "audio_tokens": 20},
}
CHAT_COUNTS = {
    "input_tokens": 1000,
    "output_tokens": 200,
    "cache_read_tokens": 300,
    "input_audio_tokens": 50,
    "output_audio_tokens": 20,
    "output_reasoning_tokens": 80,
}
ANTHROPIC_USAGE = {
    "input_tokens": 100,
    "output_tokens": 200,
    "cache_read_input_tokens": 300,
    "cache_creation_input_tokens": 400,
    "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 250},
    "output_tokens_details": {"thinking_tokens": 80},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
}
CANONICAL: dict[str, tuple[Body, dict[str, int]]] = {
    "openai-chat": ({"model": "m", "choices": [], "usage": CHAT_USAGE}, CHAT_COUNTS),
    "openai-responses": (
        {
            "model": "m",
            "output": [],
            "usage": {
                "input_tokens": 1000,
                "input_tokens_details": {"cached_tokens": 300, "cache_write_tokens": 100},
                "output_tokens": 200,
                "output_tokens_details": {"reasoning_tokens": 80},
                "total_tokens": 1200,
            },
        },
        {
            "input_tokens": 1000,
            "output_tokens": 200,
            "cache_read_tokens": 300,
            "cache_write_tokens": 100,
            "output_reasoning_tokens": 80,
        },
    ),
    "anthropic": (
        {"model": "m", "content": [], "usage": ANTHROPIC_USAGE},
        {
            "input_tokens": 800,
            "output_tokens": 200,
            "cache_read_tokens": 300,
            "cache_write_tokens": 400,
            "cache_write_5m_tokens": 150,
            "cache_write_1h_tokens": 250,
            "output_reasoning_tokens": 80,
            "web_searches": 2,
        },
    ),
    "gemini": (
        {
            "modelVersion": "m",
            "candidates": [],
            "usageMetadata": {
                "promptTokenCount": 1000,
                "cachedContentTokenCount": 300,
                "candidatesTokenCount": 120,
                "thoughtsTokenCount": 80,
                "totalTokenCount": 1200,
            },
        },
        {"input_tokens": 1000, "output_tokens": 200, "cache_read_tokens": 300, "output_reasoning_tokens": 80},
    ),
    "bedrock-converse": (
        {
            "output": {},
            "usage": {
                "inputTokens": 100,
                "outputTokens": 200,
                "cacheReadInputTokens": 300,
                "cacheWriteInputTokens": 400,
                "totalTokens": 1000,
            },
        },
        {"input_tokens": 800, "output_tokens": 200, "cache_read_tokens": 300, "cache_write_tokens": 400},
    ),
    "openai-embeddings": (
        {"model": "m", "data": [], "usage": {"prompt_tokens": 1000, "total_tokens": 1000}},
        {"input_tokens": 1000, "output_tokens": 0},
    ),
    "cohere-chat": (
        {"message": {}, "usage": {"billed_units": {"input_tokens": 1000, "output_tokens": 200}}},
        {"input_tokens": 1000, "output_tokens": 200},
    ),
    "cohere-embed": (
        {"embeddings": {}, "meta": {"billed_units": {"input_tokens": 1000}}},
        {"input_tokens": 1000, "output_tokens": 0},
    ),
}
"""A body of each format with every kind of token that it can tell, and its counts."""

SPEAKERS = [
    (name, kind)
    for name in CANONICAL
    for kind in KINDS.values()
    if BY_NAME[name].errors in kind.speaks
    and (name in ("openai-chat", "openai-responses", "anthropic", "gemini", "bedrock-converse", "openai-embeddings"))
]


def read(
    fmt: Format, body: Body, source: str = "", model: str = "m", call: Call | None = None, **more: Any
) -> UsageReading:
    """Read an answer of the model `m`, which has a price of its own."""
    prices = PriceLookup(PRICED, "p", source, model, NOW, **more)
    return read_answer(fmt, body, {}, prices, call or Call(model))


@pytest.mark.parametrize(("name", "kind"), SPEAKERS, ids=lambda value: getattr(value, "name", value))
def test_the_same_body_has_the_same_counts_everywhere(name: str, kind: Any) -> None:
    """A format's counts do not depend on the provider, but for xAI, which counts reasoning on top in chats."""
    body, counts = CANONICAL[name]
    if kind.name == "xai" and name == "openai-chat":
        body, counts = copy.deepcopy(body), {**counts, "output_tokens": 280}
        body["usage"]["total_tokens"] = 1280
    found = read(BY_NAME[name], body, kind.price_provider or "").extracted
    assert found is not None
    assert {key: found.usage.get(key, 0) for key in counts} == counts


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 6}, {"cache_read_tokens": 6}),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 6}, {"cache_read_tokens": 6}),
        ({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 15}, {"output_tokens": 5}),
        ({"total_tokens": 15, "completion_tokens": 5}, {"input_tokens": 10, "output_tokens": 5}),
        ({"prompt_tokens": 10, "total_tokens": 15}, {"input_tokens": 10, "output_tokens": 5}),
        ({"prompt_tokens": 10.0, "completion_tokens": "5"}, {"input_tokens": 10, "output_tokens": 5}),
        ({"prompt_tokens": 10, "completion_tokens": None}, {"input_tokens": 10, "output_tokens": 0}),
    ],
)
def test_usage_of_lenient_servers(usage: Body, counts: dict[str, int]) -> None:
    """Counts that stand elsewhere, are left out, or are written as strings."""
    for body in ({"model": "m", "usage": usage}, {"model": "m", "choices": [{"usage": usage}]}):
        found = read(BY_NAME["openai-chat"], body).extracted
        assert found is not None
        assert {key: found.usage.get(key) for key in counts} == counts


UNKNOWN: dict[str, list[Body]] = {
    "openai-chat": [
        {"model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "holograms": 3}},
        {
            "model": "m",
            "choices": [{"message": {"executed_tools": [{"type": "teleport"}]}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        },
    ],
    "openai-completions": [
        {"model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "holograms": 3}}
    ],
    "openai-responses": [
        {"model": "m", "output": [], "usage": {"input_tokens": 1, "output_tokens": 1, "holograms": 3}},
        {"model": "m", "output": [{"type": "teleport_call"}], "usage": {"input_tokens": 1, "output_tokens": 1}},
        {
            "model": "m",
            "output": [],
            "usage": {"input_tokens": 1, "output_tokens": 1},
            "tool_usage": {"teleport": {"num_requests": 2}},
        },
    ],
    "openai-responses-compact": [
        {"model": "m", "output": [], "usage": {"input_tokens": 1, "output_tokens": 1, "holograms": 3}}
    ],
    "openai-responses-get": [
        {"model": "m", "output": [], "usage": {"input_tokens": 1, "output_tokens": 1, "holograms": 3}}
    ],
    "anthropic": [
        {"model": "m", "usage": {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"teleport_requests": 2}}},
        {
            "model": "m",
            "content": [{"type": "server_tool_use", "name": "teleport"}],
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
        {
            "model": "m",
            "usage": {
                "input_tokens": 1,
                "output_tokens": 1,
                "iterations": [{"type": "daydream", "input_tokens": 9, "output_tokens": 9}],
            },
        },
    ],
    "gemini": [
        {"modelVersion": "m", "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "holograms": 3}}
    ],
    "gemini-embed": [{"usageMetadata": {"promptTokenCount": 1, "holograms": 3}}],
    "bedrock-converse": [{"output": {}, "usage": {"inputTokens": 1, "outputTokens": 1, "holograms": 3}}],
    "bedrock-invoke": [{"usage": {"input_tokens": 1, "output_tokens": 1, "holograms": 3}}],
    "cohere-chat": [{"usage": {"billed_units": {"input_tokens": 1, "output_tokens": 1, "holograms": 3}}}],
    "cohere-chat-v1": [{"meta": {"billed_units": {"input_tokens": 1, "output_tokens": 1, "holograms": 3}}}],
    "cohere-generate": [{"meta": {"billed_units": {"input_tokens": 1, "output_tokens": 1, "holograms": 3}}}],
    "ollama-chat": [{"model": "m", "prompt_eval_count": 1, "eval_count": 1, "eval_duration": 5, "holograms": 3}],
    "ollama-generate": [{"model": "m", "prompt_eval_count": 1, "eval_count": 1, "holograms": 3}],
    "ollama-embed": [{"model": "m", "prompt_eval_count": 1, "total_duration": 5, "holograms": 3}],
    "cohere-embed": [{"meta": {"billed_units": {"input_tokens": 1, "holograms": 3}}}],
    "openai-embeddings": [{"model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1, "holograms": 3}}],
    "rerank": [{"meta": {"billed_units": {"search_units": 1, "holograms": 3}}}],
    "openai-images": [
        {
            "usage": {
                "input_tokens": 1,
                "input_tokens_details": {"text_tokens": 1, "image_tokens": 0},
                "output_tokens": 1,
                "holograms": 3,
            }
        }
    ],
    "openai-transcription": [{"usage": {"input_tokens": 1, "output_tokens": 1, "holograms": 3}}],
    "openai-speech": [{"usage": {"input_tokens": 1, "output_tokens": 1, "holograms": 3}}],
    "gemini-interactions": [{"usage": {"total_input_tokens": 1, "total_output_tokens": 1, "holograms": 3}}],
    "gemini-interactions-get": [{"usage": {"total_input_tokens": 1, "total_output_tokens": 1, "holograms": 3}}],
    "gemini-decisions": [{"answers": {}, "usage": {"total_input_tokens": 1, "total_output_tokens": 1, "holograms": 3}}],
    "mistral-conversations": [
        {"model": "m", "outputs": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "holograms": 3}}
    ],
    "openai-decisions": [
        {"model": "m", "answers": [], "usage": {"input_tokens": 1, "output_tokens": 1, "holograms": 3}}
    ],
    "openai-chat-deferred": [
        {"model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "holograms": 3}}
    ],
    "bedrock-guardrail": [{"usage": {"topicPolicyUnits": 1, "holograms": 3}}],
    "mistral-moderations": [{"model": "m", "results": [], "usage": {"prompt_tokens": 1, "holograms": 3}}],
    "mistral-ocr": [{"model": "m", "usage_info": {"pages_processed": 1, "holograms": 3}}],
    "perplexity-search": [{"id": "s", "results": [], "usage": {"holograms": 3}}],
    "bedrock-rerank": [{"results": [{"index": 0}], "usage": {"holograms": 3}}],
    "gemini-images": [{"predictions": [{"bytesBase64Encoded": "aGk="}], "usage": {"holograms": 3}}],
    "openai-videos-get": [{"id": "v", "status": "completed", "usage": {"holograms": 3}}],
    "gemini-videos-get": [{"name": "v", "done": True, "response": {"videos": [{}]}, "usage": {"holograms": 3}}],
}


ASKED = {"bedrock-rerank": {"model": "m-rerank", "call": Call("m-rerank", units={"rerank_searches": 1})}}
"""What was asked, where the request says what is billed."""

GOES_ON = {"openai-videos", "xai-videos", "gemini-videos"}
"""Formats whose answers say only that work has begun: they are charged their ceiling, never as exact."""


def test_every_metered_format_is_fed_an_unknown_unit() -> None:
    """Batches aside: the formats of their lines read the usage."""
    assert set(UNKNOWN) | GOES_ON == {fmt.name for fmt in FORMATS if fmt.metered and not fmt.batch}
    began = {"id": "v", "name": "operations/v", "status": "queued", "usage": {"holograms": 3}}
    for name in GOES_ON:
        reading = read(BY_NAME[name], began)
        assert reading.extracted is None or reading.doubts


@pytest.mark.parametrize(
    ("name", "body"),
    [(name, body) for name, bodies in UNKNOWN.items() for body in bodies],
    ids=lambda value: str(value)[:60],
)
def test_an_unknown_unit_is_never_exact(name: str, body: Body) -> None:
    """What may be billed, and has no row in the tables, makes the cost an estimate that says so."""
    reading = read(BY_NAME[name], body, **ASKED.get(name, {}))
    assert reading.extracted is not None
    assert any("unknown" in doubt or "unpriced" in doubt for doubt in reading.doubts), reading


@pytest.mark.parametrize("name", [name for name in UNKNOWN if name != "mistral-ocr"])
def test_without_the_unknown_unit_the_answer_is_exact(name: str) -> None:
    """The same answers without it are exact, so the check above is not blind."""
    body = json.loads(json.dumps(UNKNOWN[name][0]))
    _drop(body, {"holograms", "teleport_requests"})
    if name in ("rerank", "bedrock-guardrail", "gemini-images", "bedrock-rerank"):
        return  # the operator's price has no rate for searches, text units and images
    assert read(BY_NAME[name], body).doubts == ()


def _drop(found: Any, names: set[str]) -> None:
    if isinstance(found, dict):
        for key in list(found):
            if key in names:
                del found[key]
            else:
                _drop(found[key], names)
    elif isinstance(found, list):
        for one in found:
            _drop(one, names)


def test_a_unit_s_price() -> None:
    """The operator's price of a unit goes before our own table's; without either the row says that it is unpriced."""
    body = {
        "model": "gpt-5",
        "output": [{"type": "code_interpreter_call", "container_id": "c"}],
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    fmt = BY_NAME["openai-responses"]
    ours = read(fmt, body, "openai", "gpt-5")
    assert (ours.cost, ours.doubts) == (30_000_000, ("estimated: code_interpreter",))
    each = own_price("tools", rates={"code_interpreter_each": Decimal("0.05")}, model="gpt-*")
    prices = PriceLookup(PriceSources(PriceBook(), lambda: (each,)), "p", "openai", "gpt-5", NOW)
    assert read_answer(fmt, body, {}, prices, Call("gpt-5")).cost == 50_000_000
    assert "unpriced: code_interpreter" in read(fmt, {**body, "model": "m"}).doubts


@pytest.mark.parametrize(
    ("kind", "usage", "cost"),
    [
        ("openrouter", {"cost": 0.00495}, 4_950_000),
        ("openrouter", {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002}}, 3_000_000),
        ("perplexity", {"cost": {"total_cost": 0.0061}}, 6_100_000),
        ("xai", {"cost_in_usd_ticks": 500_000_000}, 50_000_000),
        ("openai-compatible", {"cost": 0, "estimated_cost": 0.003}, 3_000_000),
    ],
)
def test_the_provider_s_own_charge(kind: str, usage: Body, cost: int) -> None:
    """The charge that the answer states is the cost, exact, and the list price stands beside it."""
    body = {"model": "m", "choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 0, **usage}}
    reading = read(BY_NAME["openai-chat"], body, charge_rule=CHARGES[kind])
    assert (reading.cost, reading.from_provider, reading.doubts) == (cost, True, ())
    assert reading.list_price == 2_000_000  # 1,000 tokens and a request
    assert read(BY_NAME["openai-chat"], body).from_provider is False


def test_a_charge_that_cannot_be_is_not_taken() -> None:
    """A negative or absurd charge, or a key of one's own without the upstream's, leaves the list price."""
    for usage in ({"cost": -1}, {"cost": 1e9}, {"cost": "lots"}, {"cost": 0.1, "is_byok": True}):
        body = {"model": "m", "usage": {"prompt_tokens": 1000, "completion_tokens": 0, **usage}}
        reading = read(BY_NAME["openai-chat"], body, charge_rule=CHARGES["openrouter"])
        assert (reading.cost, reading.from_provider) == (2_000_000, False)
    for kind in ("xai", "openai-compatible"):  # servers that did not compute it say zero
        usage = {"prompt_tokens": 1000, "completion_tokens": 0, "cost": 0, "cost_in_usd_ticks": 0}
        reading = read(BY_NAME["openai-chat"], {"model": "m", "usage": usage}, charge_rule=CHARGES[kind])
        assert (reading.cost, reading.from_provider) == (2_000_000, False)


def test_a_server_that_charges_nothing_does_not_get_past_a_cap() -> None:
    """A zero says that a compatible server has no price for the model: the list price holds, if there is one."""
    body = {"model": "m", "usage": {"prompt_tokens": 1000, "completion_tokens": 0, "cost": 0, "estimated_cost": "0.0"}}
    prices = PriceLookup(PRICED, "p", "", "m", NOW, charge_rule=CHARGES["openai-compatible"])
    reading = read_answer(BY_NAME["openai-chat"], body, {"x-litellm-response-cost": "0.0"}, prices, Call("m"))
    assert (reading.cost, reading.from_provider) == (2_000_000, False)


@pytest.mark.parametrize(
    ("source", "model", "fmt", "body", "asked", "cost", "doubted"),
    [
        ("openai", "gpt-5", "openai-chat", {"service_tier": "flex"}, {}, 5_625_000, False),
        ("azure", "gpt-5", "openai-chat", {"service_tier": "priority"}, {}, 22_500_000, False),
        ("openai", "gpt-5", "openai-chat", {"service_tier": "scale"}, {}, 11_250_000, True),
        ("openai", "gpt-5", "openai-chat", {}, {"service_tier": "priority"}, 22_500_000, True),
        ("openai", "gpt-5.4", "openai-chat", {}, {"region": "eu"}, 19_250_000, False),
        ("openai", "gpt-4.1", "openai-chat", {}, {"region": "eu"}, 10_000_000, False),
        ("google", "claude-sonnet-4-5", "anthropic", {}, {"region": "us-east5"}, 19_800_000, False),
        ("google", "claude-sonnet-4-5", "anthropic", {}, {"region": "global"}, 18_000_000, False),
        ("anthropic", "claude-sonnet-4-5", "anthropic", {"usage": {"inference_geo": "us"}}, {}, 18_000_000, False),
        ("anthropic", "claude-opus-4-6", "anthropic", {"usage": {"inference_geo": "us"}}, {}, 33_000_000, False),
        ("anthropic", "claude-opus-4-6", "anthropic", {"usage": {"service_tier": "priority"}}, {}, 30_000_000, True),
        ("anthropic", "claude-opus-4-6", "anthropic", {"usage": {"service_tier": "batch"}}, {}, 15_000_000, False),
    ],
)
def test_modifiers(
    source: str, model: str, fmt: str, body: Body, asked: dict[str, str], cost: int, doubted: bool
) -> None:
    """A thousand tokens in and out, under a modifier: by its variant, by its factor, or with a doubt."""
    counts = (
        {"input_tokens": 1000, "output_tokens": 1000}
        if fmt == "anthropic"
        else {"prompt_tokens": 1000, "completion_tokens": 1000}
    )
    whole = {"model": model, **body, "usage": {**counts, **body.get("usage", {})}}
    reading = read(BY_NAME[fmt], whole, source, model, modifiers=asked)
    assert (reading.cost, bool(reading.doubts)) == (cost, doubted)


def test_iterations() -> None:
    """Compaction is the answering model's; an advisor is billed at its own price, its tokens shown apart."""
    usage = {
        "input_tokens": 1000,
        "output_tokens": 100,
        "iterations": [
            {"type": "compaction", "input_tokens": 5000, "output_tokens": 50},
            {"type": "message", "input_tokens": 1000, "output_tokens": 100},
            {"type": "advisor_message", "model": "claude-opus-4-6", "input_tokens": 2000, "output_tokens": 10},
        ],
    }
    body = {"model": "claude-sonnet-4-6", "usage": usage}
    reading = read(BY_NAME["anthropic"], body, "anthropic", "claude-sonnet-4-6")
    assert reading.cost == 6000 * 3000 + 150 * 15000 + 2000 * 5000 + 10 * 25000
    assert reading.extracted is not None
    assert reading.extracted.usage["input_tokens"] == 6000
    assert reading.extracted.usage["other_model_input_tokens"] == 2000
    assert reading.extracted.raw == usage
    assert reading.doubts == ()
