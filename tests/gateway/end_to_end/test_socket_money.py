"""Money at the edges of a session: rate limits, stopped sessions, limits per session, several gateways, kill -9."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from paig_client.api.resources import LimitStatus
from paig_client.api.specs import MatchSpec, NamedLimitSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.processes import CONFIG, KEY, Node, every_row, serving
from tests.gateway.end_to_end.test_realtime import rows_of, url
from tests.gateway.end_to_end.test_sockets import ask, socket, until_type
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}


async def answered(connection: Any, message: str) -> dict[str, Any]:
    """Send a request of the Responses API: its last event."""
    await connection.send(message)
    return await until_type(connection, "response.completed", "error")


async def code_at_the_end(connection: Any) -> int:
    """The close code, once the session is over."""
    with pytest.raises(ConnectionClosed):
        await until_type(connection, "never")
    assert connection.close_code is not None
    return int(connection.close_code)


async def test_rate_limits_count_turns(simulated: World) -> None:
    """Two a minute pass, the third is told so, in the provider's words."""
    key = await simulated.make_key("ws-rate", requests_per_minute=2)
    async with socket(simulated, key, "/proxy/openai/responses") as connection:
        for _ in range(2):
            assert (await answered(connection, ask("Hello")))["type"] == "response.completed"
        refused = await answered(connection, ask("Hello"))
        assert (refused["status"], refused["error"]["code"]) == (429, "rate-limited")
        assert await code_at_the_end(connection) == 1008
    rows = await rows_of(simulated, "ws-rate", 3)
    assert [row.status for row in rows] == [101, 101, 429]


@pytest.mark.parametrize("named", [True, False])
async def test_a_stopped_session_takes_no_further_turn(simulated: World, named: bool) -> None:
    """By the client's name for it, or by the one that its rows have."""
    name = f"ws-stopped-{named}"
    key = await simulated.make_key(name)
    headers = {"authorization": f"Bearer {key}"} | ({"x-paig-session": "call-7"} if named else {})
    path = url(simulated, "/proxy/openai/realtime?model=gpt-realtime")
    async with connect(path, additional_headers=headers, proxy=None) as connection:
        await connection.send(json.dumps({"type": "conversation.item.create", "item": ITEM}))
        await connection.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
        await until_type(connection, "response.done")
        [row] = await rows_of(simulated, name, 1)
        assert row.session is not None
        assert (row.session == "call-7") is named
        assert row.session in [one.session for one in await simulated.admin.sessions(key=name)]
        await simulated.admin.stop_session(row.session, key=name)
        await connection.send(json.dumps({"type": "response.create", "event_id": "mine"}))
        refused = await until_type(connection, "error", "response.done")
        assert refused["error"]["code"] == "loop-stopped"
        assert await code_at_the_end(connection) == 1008
    assert [row.error for row in await rows_of(simulated, name, 2)] == [None, "loop-stopped"]


async def test_a_limit_per_session_counts_each_connection(simulated: World) -> None:
    """Without a name of the client's, each connection has a counter of its own; with one, they share it."""
    spec = NamedLimitSpec(match=MatchSpec(key="ws-per-session"), per="session", daily=Decimal(1))
    key = await simulated.make_key("ws-per-session")
    await simulated.admin.named_limits.create("per-socket", spec)
    for headers in ({}, {}, {"x-paig-session": "shared"}, {"x-paig-session": "shared"}):
        given = {"authorization": f"Bearer {key}", **headers}
        async with connect(url(simulated, "/proxy/openai/responses"), additional_headers=given, proxy=None) as one:
            assert (await answered(one, ask("Hello")))["type"] == "response.completed"
    rows = await rows_of(simulated, "ws-per-session", 4)
    members = {limit.member for limit in await simulated.admin.limits() if limit.owner == "per-socket"}
    assert members == {row.session for row in rows}
    assert len(members) == 3
    assert "shared" in members


async def test_equal_requests_are_a_loop_but_equal_answers_asked_for_are_none(simulated: World) -> None:
    """Each turn of a spoken conversation is asked for in the same words; the same Responses request is a sign."""
    key = await simulated.make_key("ws-loops")
    async with socket(simulated, key, "/proxy/openai/realtime?model=gpt-realtime") as connection:
        for _ in range(22):
            await connection.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
            assert (await until_type(connection, "response.done", "error"))["type"] == "response.done"
    assert len(await rows_of(simulated, "ws-loops", 22)) == 22


async def test_a_spoken_answer_without_usage_costs_the_ceiling(simulated: World) -> None:
    """What the provider does not tell is not free."""
    key = await simulated.make_key("ws-untold", daily=5)
    async with socket(simulated, key, "/proxy/openai/realtime?model=gpt-realtime") as connection:
        item = {**ITEM, "content": [{"type": "input_text", "text": "Hello [sim:no_usage]"}]}
        await connection.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await connection.send(json.dumps({"type": "response.create", "response": {"max_output_tokens": 50}}))
        await until_type(connection, "response.done")
    [row] = await rows_of(simulated, "ws-untold", 1)
    assert (row.certainty, row.cost) == ("ceiling", row.reserved)


async def test_a_turn_with_tools_has_all_its_generations_in_one_row(simulated: World) -> None:
    """In the Live API the result of a function sets off another generation of the same turn."""
    key = await simulated.make_key("ws-tools", daily=20)
    path = "/proxy/google/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    usages = []
    async with socket(simulated, key, path) as connection:
        tool = {"functionDeclarations": [{"name": "weather", "parameters": {"type": "OBJECT", "properties": {}}}]}
        setup = {"model": "models/gemini-3.1-flash-live-preview", "tools": [tool]}
        await connection.send(json.dumps({"setup": setup}))
        await connection.recv()
        turns = [{"role": "user", "parts": [{"text": "What is the weather? [sim:tool]"}]}]
        await connection.send(json.dumps({"clientContent": {"turns": turns, "turnComplete": True}}))
        while True:
            event = json.loads(await connection.recv())
            if usage := event.get("usageMetadata"):
                usages.append(usage)
            if call := event.get("toolCall"):
                answers = [{"id": one["id"], "response": {"sky": "blue"}} for one in call["functionCalls"]]
                await connection.send(json.dumps({"toolResponse": {"functionResponses": answers}}))
            if event.get("serverContent", {}).get("turnComplete"):
                break
    assert len(usages) == 2
    [row] = await rows_of(simulated, "ws-tools", 1)
    assert row.certainty == "exact"
    assert row.usage["input_tokens"] == sum(usage["promptTokenCount"] for usage in usages)
    assert row.usage["output_tokens"] == sum(usage["responseTokenCount"] for usage in usages)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """None for the SQLite file of the gateway's home."""
    if request.param == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server.fresh_database()


@asynccontextmanager
async def configured(home: Path, cap: str) -> AsyncIterator[Path]:
    """A configuration that names a simulated provider, and a key with that daily cap."""
    config = home / "paig.toml"
    async with running_simulator(Simulator()) as base:
        config.write_text(CONFIG.format(base=base, cap=cap))
        yield config


def at(node: Node, path: str) -> Any:
    """A WebSocket to a gateway in a process of its own."""
    headers = {"authorization": f"Bearer {KEY}"}
    return connect(node.origin.replace("http", "ws", 1) + path, additional_headers=headers, proxy=None)


async def balance(node: Node) -> LimitStatus:
    """The one limit, which agrees with the rows."""
    [limit] = await node.admin.limits()
    assert sum(Decimal(row.cost) for row in await every_row(node.admin)) == Decimal(limit.spent)
    return limit


async def test_killed_in_mid_turn_costs_the_ceiling(tmp_path: Path, database: str | None) -> None:
    """`kill -9` while a spoken and a written answer come: each turn is charged what was held, at the next start."""
    async with configured(tmp_path, "20") as config:
        async with (
            serving(tmp_path, config, database) as node,
            at(node, "/proxy/openai/realtime?model=gpt-realtime") as spoken,
            at(node, "/proxy/openai/responses") as written,
        ):
            slow = "Tell me more [sim:tokens=200] [sim:chunk_delay=0.5]"
            item = {**ITEM, "content": [{"type": "input_text", "text": slow}]}
            await spoken.send(json.dumps({"type": "conversation.item.create", "item": item}))
            await spoken.send(json.dumps({"type": "response.create", "response": {"max_output_tokens": 500}}))
            await written.send(ask(slow))
            await until_type(spoken, "response.created")
            await until_type(written, "response.created")
            assert Decimal((await balance(node)).held) > 0
            node.process.kill()
            await node.process.wait()
        async with serving(tmp_path, config, database) as node:
            rows = await every_row(node.admin)
            limit = await balance(node)
    assert sorted(row.format for row in rows) == ["openai-realtime", "openai-responses"]
    assert all((row.state, row.certainty) == ("settled", "ceiling") for row in rows)
    assert all(Decimal(row.cost) == Decimal(row.reserved) > 0 for row in rows)
    assert all(row.session is not None and row.session.startswith("ws_") for row in rows)
    assert Decimal(limit.held) == 0


@pytest.mark.parametrize("nodes", [1, 2])
async def test_sixty_four_sessions_on_one_cap_never_overshoot(tmp_path: Path, postgres: Postgres, nodes: int) -> None:
    """On PostgreSQL, with one gateway and with two that share it: what is spent stays within the cap."""
    cap = Decimal("0.05")
    url = postgres.fresh_database()
    async with configured(tmp_path, str(cap)) as config, AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(serving(tmp_path, config, url)) for _ in range(nodes)]

        async def session(number: int) -> int:
            turns = 0
            try:
                async with at(gateways[number % nodes], "/proxy/openai/responses") as connection:
                    for _ in range(3):
                        message = ask(f"[sim:tokens=300] Hello {number}", reasoning={"effort": "none"})
                        if (await answered(connection, message))["type"] == "error":
                            break
                        turns += 1
            except ConnectionClosed:
                pass
            return turns

        turns = sum(await asyncio.gather(*(session(number) for number in range(64))))

        async def all_settled() -> bool:
            [limit] = await gateways[0].admin.limits()
            return Decimal(limit.held) == 0

        await until(all_settled)
        limit = await balance(gateways[-1])
        rows = await every_row(gateways[0].admin)
    assert turns >= 10
    assert sum(row.certainty == "exact" for row in rows) == turns
    assert Decimal(limit.spent) <= cap
