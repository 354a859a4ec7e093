"""Routes: the next member is tried before the client has seen a byte, under the name that the model has there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import NO_BREAKER, World, running_world

pytestmark = pytest.mark.anyio

CLAUDE, AT_BEDROCK = "claude-sonnet-4-5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, Simulator]]:
    """Two OpenAI accounts, a Bedrock one twice, one that does not answer, and routes over them."""
    simulator = Simulator()
    async with running_simulator(simulator) as base:
        specs = {
            "first": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:a"),
            "second": ProviderSpec(kind="openai", base_url=f"{base}/openai-2/v1", credential="value:b"),
            "down": ProviderSpec(kind="openai", base_url="http://127.0.0.1:9/v1", credential="value:c"),
            "bedrock": ProviderSpec(kind="bedrock", base_url=f"{base}/bedrock", credential="value:d"),
        }
        async with running_world(tmp_path_factory.mktemp("home"), specs, NO_BREAKER) as running:
            members = [
                MemberSpec(provider="down", priority=20),
                MemberSpec(provider="first", priority=10),
                MemberSpec(provider="second", priority=5, models={"gpt-5": "gpt-4o-mini"}),
            ]
            await running.admin.routes.create("fast", RouteSpec(members=members))
            renamed = [MemberSpec(provider="bedrock", models={CLAUDE: AT_BEDROCK})]
            await running.admin.routes.create("claude", RouteSpec(members=renamed))
            yield running, simulator


async def ask(world: World, prompt: str, **more: Any) -> Any:
    """One chat completion through the route `fast`."""
    return await world.http.post(
        "/proxy/fast/chat/completions",
        headers={"authorization": f"Bearer {world.key}"},
        json={"model": "gpt-5", "messages": [{"role": "user", "content": prompt}], **more},
    )


async def test_a_member_that_cannot_be_reached_is_passed_over(world: tuple[World, Simulator]) -> None:
    """The client sees one good answer; the row has both attempts, and the one that failed cost nothing."""
    running, _ = world
    response = await ask(running, "Hi", max_completion_tokens=50)
    assert response.status_code == 200
    row = await running.admin.request(response.headers["x-paig-request-id"])
    assert [(attempt.provider, attempt.status, attempt.error) for attempt in row.attempts] == [
        ("down", None, "upstream-unreachable"),
        ("first", 200, None),
    ]
    assert (row.provider, row.certainty) == ("first", "exact")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_member_that_fails_is_passed_over(world: tuple[World, Simulator], status: int, stream: bool) -> None:
    """The next member is asked under its own name for the model, and charged at that model's price."""
    running, simulator = world
    response = await ask(running, f"[sim@openai:status={status}] Hi", max_completion_tokens=50, stream=stream)
    assert response.status_code == 200, response.text
    assert json.loads(simulator.requests[-1].body)["model"] == "gpt-4o-mini"
    row = await running.admin.request(response.headers["x-paig-request-id"])
    assert [attempt.status for attempt in row.attempts] == [None, status, 200]
    assert (row.provider, row.price, row.certainty) == ("second", "openai/gpt-4o-mini", "exact")
    assert 0 < Decimal(row.cost) <= Decimal(row.reserved)


async def test_the_last_answer_is_the_clients(world: tuple[World, Simulator]) -> None:
    """Where every member fails, the last one's own answer passes, and nothing is charged."""
    running, _ = world
    response = await ask(running, "[sim:status=503] Hi")
    assert response.status_code == 503
    assert "x-paig-error" not in response.headers
    row = await running.admin.request(response.headers["x-paig-request-id"])
    assert [attempt.status for attempt in row.attempts] == [None, 503, 503]
    assert row.cost == Decimal(0)


async def test_a_refusal_is_not_retried(world: tuple[World, Simulator]) -> None:
    """A request that is wrong is wrong everywhere."""
    running, _ = world
    response = await ask(running, "[sim:status=400] Hi")
    row = await running.admin.request(response.headers["x-paig-request-id"])
    assert [attempt.status for attempt in row.attempts] == [None, 400]


async def test_a_model_named_in_the_path_is_renamed_there(world: tuple[World, Simulator]) -> None:
    """Bedrock's model stands in the path, percent-encoded."""
    running, simulator = world
    response = await running.http.post(
        f"/proxy/claude/model/{CLAUDE}/converse",
        headers={"authorization": f"Bearer {running.key}"},
        json={"messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
    )
    assert response.status_code == 200, response.text
    assert simulator.requests[-1].path == f"/bedrock/model/{AT_BEDROCK.replace(':', '%3A')}/converse"
