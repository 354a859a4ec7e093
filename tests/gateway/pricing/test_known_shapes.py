"""Answers of a shape that was seen before are read as they would be in full: the same usage, cost, doubts and price."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from paig_gateway.formats.base import Call, Format
from paig_gateway.formats.framing import FRAMINGS, framing_of
from paig_gateway.formats.registry import FORMATS
from paig_gateway.pricing.answer import read_answer, read_in_full
from paig_gateway.pricing.known_shapes import MOST_PLANS, READABLE, outline
from paig_gateway.pricing.overrides import PriceLookup, PriceOverride, PriceSources, own_price
from paig_gateway.pricing.price import PriceBook
from paig_gateway.pricing.provider_charge import CHARGES
from paig_gateway.providers.endpoints import detect
from paig_gateway.providers.kinds import KINDS
from tests.gateway.formats.cutting import fed
from tests.gateway.pricing.test_answer import CANONICAL
from tests.recordings import recordings

NOW = datetime(2026, 11, 30, tzinfo=UTC)
BY_NAME = {fmt.name: fmt for fmt in reversed(FORMATS)}
CASES = Path(__file__).parents[2] / "cases" / "data"
SOURCES = PriceSources(PriceBook())

Body = dict[str, Any]


def _of_stream(fmt: Format, raw: bytes, content_type: str) -> Body | None:
    framing = framing_of(content_type)
    if framing is None or fmt.fold is None or fmt.usage_marker is None:
        return None
    make, parse = FRAMINGS[framing]
    events, rest = fed(make(), raw, [len(raw) or 1])
    body: Body = {}
    for one in [*events, rest] if rest else events:
        if fmt.usage_marker.search(one):
            try:
                fmt.fold(body, parse(one))
            except ValueError:
                continue
    return body


def _plain(raw: bytes) -> Body | None:
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def answers() -> Iterator[tuple[str, str, Format, Body]]:
    """(name, provider kind, format, body): every answer of the recordings, the cases and the table of formats."""
    for one in recordings():
        found = detect(one.method, one.path)
        if found is None or one.status != 200:
            continue
        streamed = _of_stream(found[0], one.response_body, one.content_type) if one.stream else None
        body = streamed or _plain(one.response_body)
        if body is not None and found[0].normalise is None:
            yield one.id, one.provider, found[0], body
    for path in sorted(CASES.glob("*.json")):
        case = json.loads(path.read_text("utf-8"))
        found = detect(case["request"].get("method", "POST"), case["request"]["path"])
        up = case["upstream"]
        whole = up.get("body")
        if found is None or found[0].normalise is not None:
            continue
        if isinstance(whole, dict) and "@repeat" not in json.dumps(whole):
            yield path.stem, case["route"], found[0], whole
        chunks = [chunk.encode() for chunk in up.get("chunks", ()) if isinstance(chunk, str)]
        streamed = _of_stream(found[0], b"".join(chunks), "text/event-stream") if chunks else None
        if streamed:
            yield path.stem, case["route"], found[0], streamed
    for name, (body, _) in CANONICAL.items():
        for kind in ("openai", "azure", "xai", "groq", "anthropic", "openrouter"):
            yield f"{name} at {kind}", kind, BY_NAME[name], {**body, "model": "gpt-5"}


def other_counts(value: Any, draw: random.Random) -> Any:
    """The same with other numbers: mostly of the same shape."""
    if isinstance(value, dict):
        return {name: other_counts(found, draw) for name, found in value.items()}
    if isinstance(value, list):
        return [other_counts(found, draw) for found in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if isinstance(value, float):
        return value * draw.random()
    chance = draw.random()
    if chance < 0.04:
        return draw.choice([0, 1, -1, 2 * 10**9, "12", 7.0, None, True, {}, [3]])
    return 0 if not value else draw.randrange(1, draw.choice([10, 1000, 10**6]))


ANSWERS = [one for one in answers() if one[2].name in READABLE]


def lookup(kind: str, body: Body, sources: PriceSources = SOURCES, **more: Any) -> PriceLookup:
    """Prices of a provider of that kind."""
    known = KINDS.get(kind)
    source = (known.price_provider if known is not None else None) or kind
    asked = body.get("model") if isinstance(body.get("model"), str) else "gpt-5"
    return PriceLookup(sources, kind, source, asked or "gpt-5", NOW, charge_rule=CHARGES.get(kind), **more)


@pytest.mark.parametrize(("name", "kind", "fmt", "body"), ANSWERS, ids=[f"{one[1]}-{one[0]}" for one in ANSWERS])
def test_known_answers_are_read_as_in_full(name: str, kind: str, fmt: Format, body: Body) -> None:
    """Whatever counts the next answers of a shape have, and whatever else changes, both readings are the same."""
    draw = random.Random(name)
    call = Call("gpt-5")
    for prices in (lookup(kind, body), lookup(kind, body, modifiers={"service_tier": "flex"}, factor=Decimal("0.9"))):
        for _ in range(25):
            changed = {
                **body,
                **{place: other_counts(body[place], draw) for place in ("usage", "tool_usage") if place in body},
            }
            if draw.random() < 0.1:
                changed["model"] = draw.choice(["gpt-4o-mini", "claude-sonnet-4-5", "unknown-model", "", 7])
            if draw.random() < 0.1:
                changed["service_tier"] = draw.choice(["priority", "default", "scale", None, 7])
            known = read_answer(fmt, changed, {}, prices, call)
            full = read_in_full(fmt, changed, {}, prices, call)
            assert known == full
            if full.extracted is not None and known.extracted is not None:
                assert list(known.extracted.usage.items()) == list(full.extracted.usage.items())


def test_most_answers_have_a_plan() -> None:
    """Answers of every format of the table are read by what was learned from the first."""
    planned: dict[str, int] = {}
    for _, kind, fmt, body in ANSWERS:
        prices = lookup(kind, body)
        reading = read_answer(fmt, body, {}, prices, Call("gpt-5"))
        seen = outline(fmt, body)
        if seen is not None and prices.known.find(seen[0], SOURCES.present()) is not None:
            planned[fmt.name] = planned.get(fmt.name, 0) + 1
            assert read_answer(fmt, body, {}, prices, Call("gpt-5")) == reading
    assert {"openai-chat", "openai-responses", "anthropic"} <= planned.keys()
    assert sum(planned.values()) > len(ANSWERS) // 3


CHAT: Body = {
    "model": "gpt-5",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}
FORMAT = BY_NAME["openai-chat"]


def test_a_changed_price_holds_for_the_next_answer() -> None:
    """A price that the operator sets while a request is under way is not covered up by what was learned before."""
    own: list[tuple[PriceOverride, ...]] = [()]
    sources = PriceSources(PriceBook(), lambda: own[0])
    prices = lookup("openai", CHAT, sources)
    before = [read_answer(FORMAT, CHAT, {}, prices, Call("gpt-5")).cost for _ in range(2)]
    own[0] = (own_price("gpt-5", rates={"input_mtok": Decimal(1000), "output_mtok": Decimal(1000)}),)
    assert read_answer(FORMAT, CHAT, {}, prices, Call("gpt-5")).cost == 15_000_000
    assert before[0] == before[1] < 15_000_000


def test_what_is_remembered_is_bounded() -> None:
    """Names and texts that an answer makes up fill no memory."""
    prices = lookup("openai", CHAT)
    for number in range(3 * MOST_PLANS):
        read_answer(FORMAT, {**CHAT, "usage": {**CHAT["usage"], f"new_{number}": 1}}, {}, prices, Call("gpt-5"))
    assert len(prices.known) <= MOST_PLANS
    usage = CHAT["usage"]
    deep: Body = {}
    for _ in range(500):
        deep = {"more": deep}
    for strange in ({**usage, "x" * 100: 1}, {**usage, "text": "x" * 100}, {f"n{n}": n for n in range(300)}, deep):
        assert outline(FORMAT, {**CHAT, "usage": {**strange}}) is None


@pytest.mark.parametrize(
    "message",
    [{"tool_calls": [{"function": {"name": "$web_search"}}]}, {"executed_tools": [{"type": "search"}]}],
    ids=["built-in function", "executed tool"],
)
def test_work_of_the_providers_tools_is_read_in_full(message: Body) -> None:
    """What a tool cost stands in no count, so that such an answer has no shape."""
    assert outline(FORMAT, {**CHAT, "choices": [{"message": message}]}) is None


def test_what_the_request_makes_billable_is_read_in_full() -> None:
    """Units of the request are charged on top of an answer that looks like many others."""
    prices = lookup("openai", CHAT)
    read_answer(FORMAT, CHAT, {}, prices, Call("gpt-5"))
    call = Call("gpt-5", server_tools=frozenset({"guardrail"}), units={"input_characters": 5})
    assert read_answer(FORMAT, CHAT, {}, prices, call) == read_in_full(FORMAT, CHAT, {}, prices, call)
