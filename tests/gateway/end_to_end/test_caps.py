"""Caps that really stop spend: under concurrency, when a client leaves, when the process is killed."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import httpx2
import pytest

from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.conftest import World

pytestmark = pytest.mark.anyio


async def ask(world: World, key: str, prompt: str = "[sim:tokens=200] Tell me a story.") -> int:
    """One chat completion of 200 tokens; its status."""
    response = await world.http.post(
        "/proxy/openai/v1/chat/completions",
        headers={"authorization": f"Bearer {key}"},
        json={
            "model": "gpt-5",
            "messages": [{"role": "user", "content": prompt}],
            "max_completion_tokens": 200,
            "reasoning_effort": "none",
        },
    )
    refusals = {402: "limit-exceeded", 400: "limit-too-small"}
    assert response.headers.get("x-paig-error") == refusals.get(response.status_code)
    return response.status_code


async def test_200_concurrent_requests_on_a_cap_that_pays_for_20(simulated: World, simulator: Simulator) -> None:
    """Never more than the cap is spent, at least 19 are answered, the rest are refused, nothing stays held.

    Each that is answered has a row, and sixty of the refused ones: one row counts the rest, when the minute is over.
    """
    first = await simulated.make_key("probe")
    await ask(simulated, first)
    [row] = (await simulated.admin.requests(key="probe")).items
    cap = 20 * Decimal(row.cost)
    key = await simulated.make_key("capped", daily=cap)
    statuses = Counter(await asyncio.gather(*(ask(simulated, key) for _ in range(200))))
    assert set(statuses) == {200, 402}
    assert statuses[200] >= 19
    [limit] = [limit for limit in await simulated.admin.limits() if limit.owner == "capped"]
    assert Decimal(limit.spent) <= cap
    assert Decimal(limit.held) == 0
    rows = (await simulated.admin.requests(key="capped", limit=500)).items
    assert sum(Decimal(row.cost) for row in rows) == Decimal(limit.spent)
    found = Counter(row.status for row in rows)
    assert found[200] == statuses[200]
    assert 60 <= found[402] <= statuses[402]


async def test_a_soft_limit_holds_nothing(simulated: World) -> None:
    """A request that could cost far more than the limit passes; once that is spent, the next is refused."""
    key = await simulated.make_key("soft", daily="0.0001", soft=True)
    assert await ask(simulated, key) == 200
    assert await ask(simulated, key) == 402
    hard = await simulated.make_key("hard", daily="0.0001")
    assert await ask(simulated, hard) == 400  # it can never fit


async def chat(world: World, key: str, **more: object) -> httpx2.Response:
    """A short chat completion."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[sim:tokens=5]"}], "max_tokens": 50}
    headers = {"authorization": f"Bearer {key}"}
    return await world.http.post("/proxy/openai/v1/chat/completions", headers=headers, json={**body, **more})


async def test_an_organisations_cap_of_zero_stops_everything(simulated: World) -> None:
    """Whatever costs something is refused at once, under whichever key, streams and embeddings included; lists pass."""
    key, headers = simulated.key, {"authorization": f"Bearer {simulated.key}"}
    assert (await chat(simulated, key)).status_code == 200
    await simulated.admin.update_organisation({"limits": {"daily": "0"}})
    try:
        other = await simulated.make_key("stopped", daily=100)
        embed = {"model": "text-embedding-3-small", "input": "x"}
        claude = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
        refused = [
            await chat(simulated, key),
            await chat(simulated, other, stream=True),
            await simulated.http.post("/proxy/openai/v1/embeddings", headers=headers, json=embed),
            await simulated.http.post("/proxy/anthropic/v1/messages", headers=headers, json=claude),
        ]
        assert {answer.headers.get("x-paig-error") for answer in refused} <= {"limit-too-small", "limit-exceeded"}
        assert (await simulated.http.get("/proxy/openai/v1/models", headers=headers)).status_code == 200
    finally:
        await simulated.admin.update_organisation({"limits": {"daily": None}})
    assert (await chat(simulated, key)).status_code == 200


async def test_models_to_choose_from_hold_the_dearest(simulated: World) -> None:
    """Where a request names other models that may answer, the dearest is held, and each must be allowed and priced."""
    key = await simulated.make_key("chooser")
    alone = await chat(simulated, key)
    either = await chat(simulated, key, models=["gpt-4o-mini", "gpt-5-pro"])
    reserved = [
        Decimal((await simulated.admin.request(answer.headers["x-paig-request-id"])).reserved)
        for answer in (alone, either)
    ]
    assert reserved[1] > 100 * reserved[0]
    unpriced = await chat(simulated, key, models=["no-such-model"])
    assert unpriced.headers["x-paig-error"] == "no-price"
    await simulated.admin.keys.update("chooser", {"models": ["gpt-4o*"]})
    barred = await chat(simulated, key, models=["gpt-5-pro"])
    assert barred.headers["x-paig-error"] == "model-not-allowed"
