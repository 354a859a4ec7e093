"""What becomes of requests whose worst case does not fit what is left of a limit."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal
from typing import Any, Literal

import httpx2
import pytest

from paig_client.api.specs import KeySpec, LimitsSpec, ProjectSpec
from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.conftest import World

pytestmark = pytest.mark.anyio


async def ask(world: World, key: str, *, headers: dict[str, str] | None = None, **body: Any) -> httpx2.Response:
    messages = [{"role": "user", "content": "[sim:tokens=20] Tell me a story."}]
    asked = {"model": "gpt-5", "messages": messages, "reasoning_effort": "none", **body}
    given = {"authorization": f"Bearer {key}", **(headers or {})}
    return await world.http.post("/proxy/openai/v1/chat/completions", headers=given, json=asked)


async def test_a_request_without_a_maximum_gets_one(simulated: World, simulator: Simulator) -> None:
    """On a cap of a dollar gpt-5 may write a quarter of it: 25,000 tokens. The header and the row say so."""
    key = await simulated.make_key("dollar", total=1)
    answer = await ask(simulated, key)
    assert answer.status_code == 200
    name, _, number = answer.headers["x-paig-fitted"].partition("=")
    assert name == "max_completion_tokens"
    assert 20_000 < int(number) <= 25_000
    [row] = (await simulated.admin.requests(key="dollar")).items
    assert row.attempts[-1].fitted == answer.headers["x-paig-fitted"]
    assert Decimal(row.reserved) <= Decimal("0.25")


async def test_what_fits_is_not_touched(simulated: World, simulator: Simulator) -> None:
    key = await simulated.make_key("rich", total=100)
    assert "x-paig-fitted" not in (await ask(simulated, key)).headers


async def test_a_request_may_refuse_to_be_fitted(simulated: World, simulator: Simulator) -> None:
    """`x-paig-fit: off` gets a refusal that says what would help, and that trying again is no use."""
    key = await simulated.make_key("strict", total=1)
    answer = await ask(simulated, key, headers={"x-paig-fit": "off"})
    assert (answer.status_code, answer.headers["x-paig-error"]) == (400, "limit-too-small")
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    details = json.loads(answer.headers["x-paig-error-details"])
    row = await simulated.admin.request(answer.headers["x-paig-request-id"])
    assert row.refusal is not None
    assert {**details, "code": "limit-too-small"}.items() <= row.refusal.items()
    assert "can never fit" in str(row.refusal["message"])
    assert details["field"] == "max_completion_tokens"
    again = await ask(simulated, key, headers={"x-paig-fit": "off"}, max_completion_tokens=details["lower_to"])
    assert again.status_code == 200


async def test_a_stated_maximum_is_kept_in_the_mode_fit(simulated: World, simulator: Simulator) -> None:
    key = await simulated.make_key("stated", total=1)
    answer = await ask(simulated, key, max_completion_tokens=120_000)
    assert (answer.status_code, answer.headers["x-paig-error"]) == (400, "limit-too-small")


async def test_tokens_per_minute_are_fitted_too(simulated: World, simulator: Simulator) -> None:
    """Eight small requests at once on 20,000 tokens a minute are all answered: they wait for one another."""
    key = await simulated.make_key("tpm", tokens_per_minute=20_000)
    answers = await asyncio.gather(*(ask(simulated, key, model="gpt-4o-mini") for _ in range(8)))
    assert Counter(answer.status_code for answer in answers) == {200: 8}


async def test_a_cap_holds_though_every_request_is_fitted(simulated: World, simulator: Simulator) -> None:
    """Forty agents without a maximum on a cap of thirty cents: none overruns it."""
    key = await simulated.make_key("agents", total="0.3")

    async def agent() -> int:
        served = 0
        while (answer := await ask(simulated, key, messages=STORY)).status_code == 200:
            served += 1
        assert answer.headers["x-paig-error"] in ("limit-exceeded", "limit-too-small")
        return served

    served = sum(await asyncio.gather(*(agent() for _ in range(40))))
    assert served >= 10
    [limit] = [limit for limit in await simulated.admin.limits() if limit.owner == "agents"]
    assert Decimal(limit.spent) <= Decimal("0.3")
    assert Decimal(limit.held) == 0


STORY = [{"role": "user", "content": "[sim:tokens=2000] Tell me a story."}]


async def test_a_key_decides_before_its_project(simulated: World, simulator: Simulator) -> None:
    """`lower` at the project lowers what its keys state; a key with a word of its own is as it says."""
    await simulated.admin.projects.create("tight", ProjectSpec(when_tight="lower"))
    limits = LimitsSpec(total=Decimal(1))
    lowered = (await simulated.admin.keys.create("lowered", KeySpec(project="tight", limits=limits))).key
    answer = await ask(simulated, lowered, max_completion_tokens=120_000)
    assert answer.status_code == 200
    assert int(answer.headers["x-paig-fitted"].partition("=")[2]) <= 25_000
    strict = KeySpec(project="tight", limits=limits, when_tight="refuse")
    refused = (await simulated.admin.keys.create("refused", strict)).key
    assert (await ask(simulated, refused)).headers["x-paig-error"] == "limit-too-small"


def first_request(agent: str) -> tuple[str, dict[str, Any]]:
    """What a coding agent sends first: its instructions and tools, a short task, and a high maximum or none."""
    text = "[sim:tokens=60] Say hello."
    instructions = "You are a coding agent. " * 700
    schema = {"type": "object", "properties": {"path": {"type": "string", "description": "A path. " * 150}}}
    tools = [(f"tool_{number}", "Reads, writes or runs something. " * 20) for number in range(25)]
    if agent == "claude-code":
        return "/proxy/anthropic/v1/messages?beta=true", {
            "model": "claude-opus-4-5",
            "max_tokens": 64_000,
            "stream": True,
            "system": [{"type": "text", "text": instructions, "cache_control": {"type": "ephemeral"}}],
            "tools": [{"name": name, "description": about, "input_schema": schema} for name, about in tools],
            "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
            "metadata": {"user_id": "user_0_account__session_5d1b7c62"},
        }
    functions = [
        {"type": "function", "name": name, "description": about, "parameters": schema} for name, about in tools
    ]
    asked = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]
    if agent == "codex-gpt-6":  # its tools are an item of the input
        namespace = {"type": "namespace", "name": "functions", "description": "", "tools": functions}
        item = {"type": "additional_tools", "role": "developer", "tools": [namespace]}
        own: dict[str, Any] = {"model": "gpt-6-sol", "input": [item, *asked]}
    else:  # the search is of a cache of pages
        found = {"type": "tool_search", "execution": "client"}
        search = {"type": "web_search", "external_web_access": False}
        own = {"model": agent.removeprefix("codex-"), "input": asked, "tools": [*functions, found, search]}
    return "/proxy/openai/v1/responses", {
        **own,
        "stream": True,
        "store": False,
        "instructions": instructions,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "5d1b7c62-0f0e-4a7e-9c55-2f6d0f3f1c9a",
    }


AGENTS: list[tuple[str, Literal["fit", "lower"]]] = [
    ("claude-code", "lower"),
    ("codex-gpt-5", "lower"),
    *((f"codex-{model}", "fit") for model in ("gpt-5", "gpt-5.5", "gpt-6")),
]


@pytest.mark.parametrize(("agent", "mode"), AGENTS)
async def test_an_agents_first_request_passes_on_two_dollars_a_day(
    simulated: World, simulator: Simulator, agent: str, mode: Literal["fit", "lower"]
) -> None:
    spec = KeySpec(limits=LimitsSpec(daily=Decimal(2)), when_tight=mode)
    key = (await simulated.admin.keys.create(f"{agent}-{mode}", spec)).key
    path, body = first_request(agent)
    assert len(json.dumps(body)) > 60_000
    answer = await simulated.http.post(path, headers={"authorization": f"Bearer {key}"}, json=body)
    assert answer.status_code == 200, answer.text
    [row] = (await simulated.admin.requests(key=f"{agent}-{mode}")).items
    assert Decimal(row.reserved) <= 2
    assert 0 < Decimal(row.cost) <= Decimal(row.reserved)


async def test_tools_without_a_documented_bound_hold_the_context_window(simulated: World, simulator: Simulator) -> None:
    """A search beside another tool of the provider is bounded by nothing smaller, so it never fits two dollars."""
    key = await simulated.make_key("tools", total=2)
    path, body = first_request("codex-gpt-5.5")
    body["tools"].append({"type": "mcp", "server_label": "s", "server_url": "https://example.com/mcp"})
    answer = await simulated.http.post(path, headers={"authorization": f"Bearer {key}"}, json=body)
    assert (answer.status_code, answer.headers["x-paig-error"]) == (400, "limit-too-small")
