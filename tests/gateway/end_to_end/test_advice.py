"""What a refusal advises is true: with the maximum that it names the request passes, in each format and window."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from paig_client.api.specs import KeySpec
from tests.gateway.end_to_end.conftest import World

pytestmark = pytest.mark.anyio

TEXT = "[sim:tokens=20] Tell me a story."
GEMINI = "/proxy/google/v1beta/models/gemini-2.5-pro:generateContent"
CONVERSE = "/proxy/bedrock/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/converse"
SPOKEN = [{"role": "user", "content": TEXT}]
PARTS = [{"role": "user", "parts": [{"text": TEXT}]}]

REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/proxy/openai/v1/chat/completions", {"model": "gpt-5", "messages": SPOKEN}),
    "chat-n": ("/proxy/openai/v1/chat/completions", {"model": "gpt-4o", "messages": SPOKEN, "n": 3}),
    "chat-both": (
        "/proxy/openai/v1/chat/completions",
        {"model": "gpt-4o", "messages": SPOKEN, "max_tokens": 16_000, "max_completion_tokens": 16_000},
    ),
    "responses": ("/proxy/openai/v1/responses", {"model": "gpt-5", "input": TEXT}),
    "anthropic": (
        "/proxy/anthropic/v1/messages",
        {"model": "claude-sonnet-4-5", "messages": SPOKEN, "max_tokens": 64_000},
    ),
    "anthropic-thinking": (
        "/proxy/anthropic/v1/messages",
        {
            "model": "claude-sonnet-4-5", "messages": SPOKEN, "max_tokens": 64_000,
            "thinking": {"type": "enabled", "budget_tokens": 1_500},
        },
    ),
    "gemini": (GEMINI, {"contents": PARTS}),
    "gemini-thinking": (GEMINI, {"contents": PARTS, "generationConfig": {"thinkingConfig": {"thinkingBudget": 4096}}}),
    "groq": ("/proxy/groq/openai/v1/chat/completions", {"model": "llama-3.3-70b-versatile", "messages": SPOKEN}),
    "converse": (CONVERSE, {"messages": [{"role": "user", "content": [{"text": TEXT}]}]}),
}  # fmt: skip

LIMITS: dict[str, dict[str, Any]] = {
    "daily": {"daily": "0.06"},
    "weekly-in-a-larger-month": {"weekly": "0.06", "monthly": "0.08"},
    "total": {"total": "0.06"},
    "tokens": {"tokens_per_minute": 6_000},
    "money-and-tokens": {"monthly": "0.08", "tokens_per_minute": 9_000},
    "requests": {"total": "0.06", "requests_per_minute": 1},
    "soft": {"daily": "0.00001", "soft": True},
}


def lowered(body: Mapping[str, Any], field: str, value: int) -> dict[str, Any]:
    """The request with what a refusal says, and nothing else changed."""
    changed = copy.deepcopy(dict(body))
    for place in field.split(","):
        *outer, last = place.split(".")
        inside = changed
        for name in outer:
            inside = inside.setdefault(name, {})
        inside[last] = value
    return changed


async def ask(world: World, key: str, path: str, body: Mapping[str, Any], *, fit: bool = False) -> httpx2.Response:
    """One request, which the gateway may fit by itself or not."""
    headers = {"authorization": f"Bearer {key}", **({} if fit else {"x-paig-fit": "off"})}
    return await world.http.post(path, headers=headers, json=body)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("name", REQUESTS)
async def test_what_a_refusal_says_makes_the_request_pass(simulated: World, name: str, limit: str) -> None:
    """Fresh, and after something was spent: following the advice once is enough, or there is none."""
    path, body = REQUESTS[name]
    spec = KeySpec.model_validate({"limits": LIMITS[limit]})
    key = (await simulated.admin.keys.create(f"{name}-{limit}", spec)).key
    for fit in (False, False, True, False):
        answer = await ask(simulated, key, path, body, fit=fit)
        if answer.status_code == 200:
            continue
        details = json.loads(answer.headers["x-paig-error-details"])
        text = answer.text
        if details.get("lower_to") is None:
            assert " fits now" not in text
            assert "raise" in text or "resets" in text
            continue
        assert details["field"].replace(",", " ") in text.replace(",", " ")
        assert str(details["lower_to"]) in text
        smaller = lowered(body, details["field"], details["lower_to"])
        passed = await ask(simulated, key, path, smaller, fit=fit)
        assert passed.status_code == 200, (text, passed.text)
        if "thinking" in body:
            assert details["lower_to"] > body["thinking"]["budget_tokens"]
