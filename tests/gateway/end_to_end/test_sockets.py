"""The Responses API and Gemini's Live API over WebSockets, and what becomes of turns when an end is lost."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from google import genai
from google.genai import types
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from paig_gateway.proxy import stored
from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.test_realtime import rows_of, sdk, url

pytestmark = pytest.mark.anyio


def socket(world: World, key: str, path: str) -> Any:
    """A plain WebSocket to the gateway."""
    return connect(url(world, path), additional_headers={"authorization": f"Bearer {key}"}, proxy=None)


async def until_type(connection: Any, *kinds: str) -> dict[str, Any]:
    """The next event of one of these types, which must come within a minute."""
    async with asyncio.timeout(60):
        while True:
            event: dict[str, Any] = json.loads(await connection.recv())
            if event["type"] in kinds:
                return event


def ask(text: str, **more: Any) -> str:
    """A request of the Responses API as a message."""
    return json.dumps({"type": "response.create", "model": "gpt-5", "input": text, "max_output_tokens": 400, **more})


async def test_responses_over_a_websocket_are_rows_right_to_the_token(simulated: World, simulator: Simulator) -> None:
    """With the official SDK: each `response.create` is a row; one that goes on is bounded by what is known of it."""
    key = await simulated.make_key("ws-responses", daily=5)
    usages: list[Any] = []
    previous: Any = None
    async with sdk(simulated, key).responses.connect() as connection:
        for text in ("Hello", "And again"):
            more = {"previous_response_id": previous} if previous else {}
            await connection.response.create(model="gpt-5", input=text, max_output_tokens=400, **more)
            async for event in connection:
                assert event.type != "error", event
                if event.type == "response.completed":
                    usages.append(event.response.usage)
                    previous = event.response.id
                    break
    rows = await rows_of(simulated, "ws-responses", 2)
    for row, usage in zip(rows, usages, strict=True):
        assert (row.status, row.format, row.certainty) == (101, "openai-responses", "exact")
        assert row.usage["input_tokens"] == usage.input_tokens
        assert row.usage["output_tokens"] == usage.output_tokens
        assert Decimal(row.cost) == (Decimal("1.25") * usage.input_tokens + 10 * usage.output_tokens) / 1_000_000
        assert Decimal(row.reserved) < Decimal("0.02")
    assert rows[0].session == rows[1].session
    received = next(one for one in reversed(simulator.requests) if one.messages)
    assert [json.loads(text)["input"] for text in received.shown()["messages"]] == ["Hello", "And again"]


async def test_a_cap_fills_in_the_output_maximum_and_then_ends_the_session(simulated: World) -> None:
    """`when_tight` works on messages as on bodies; without room the error event and 1008 follow."""
    key = await simulated.make_key("ws-tight", daily="0.1")
    async with socket(simulated, key, "/proxy/openai/responses") as connection:
        await connection.send(json.dumps({"type": "response.create", "model": "gpt-5", "input": "Hello"}))
        done = await until_type(connection, "response.completed", "error")
        assert done["type"] == "response.completed"
        await connection.send(ask("Hello", max_output_tokens=100_000))
        refused = await until_type(connection, "error", "response.completed")
        assert refused["error"]["code"] == "limit-too-small"
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
    one, two = await rows_of(simulated, "ws-tight", 2)
    assert "max_output_tokens=" in str(one.attempts[-1].fitted)
    assert (two.status, two.error) == (400, "limit-too-small")


@pytest.mark.parametrize(
    ("fault", "certainty", "error"),
    [("disconnect=4", "estimated", "upstream-lost"), ("error_first", "exact", "server_error")],
)
async def test_a_provider_that_fails_in_mid_turn(simulated: World, fault: str, certainty: str, error: str) -> None:
    """A lost provider ends the session, the turn being estimated; its own error passes, and costs nothing."""
    name = f"ws-{fault.partition('=')[0]}"
    key = await simulated.make_key(name, daily=5)
    async with socket(simulated, key, "/proxy/openai/responses") as connection:
        await connection.send(ask(f"Tell me more [sim:{fault}]"))
        if fault == "error_first":
            event = await until_type(connection, "error", "response.completed")
            assert event["error"]["type"] == "server_error"
        else:
            with pytest.raises(ConnectionClosed) as closed:
                await until_type(connection, "response.completed")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1011
    [row] = await rows_of(simulated, name, 1)
    assert (row.certainty, row.error) == (certainty, error)
    assert (Decimal(row.cost) == 0) == (fault == "error_first")
    [limit] = [limit for limit in await simulated.admin.limits() if limit.owner == name]
    assert (Decimal(limit.held), Decimal(limit.spent)) == (0, Decimal(row.cost))


async def test_a_client_that_leaves_in_mid_turn_is_charged_what_it_cost(simulated: World) -> None:
    """The answer is read on, and settled exactly."""
    key = await simulated.make_key("ws-gone", daily=5)
    async with socket(simulated, key, "/proxy/openai/responses") as connection:
        await connection.send(ask("Tell me more [sim:chunk_delay=0.05]"))
        await until_type(connection, "response.created")
    [row] = await rows_of(simulated, "ws-gone", 1)
    assert row.certainty == "exact"
    assert row.usage["output_tokens"] > 0


async def test_a_lost_realtime_provider_costs_the_ceiling(simulated: World) -> None:
    """No usage came, so the turn costs what was held for it."""
    key = await simulated.make_key("ws-ceiling", daily=5)
    async with socket(simulated, key, "/proxy/openai/realtime?model=gpt-realtime") as connection:
        content = [{"type": "input_text", "text": "Hello [sim:disconnect=2]"}]
        item = {"type": "message", "role": "user", "content": content}
        await connection.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await connection.send(json.dumps({"type": "response.create", "response": {"max_output_tokens": 50}}))
        with pytest.raises(ConnectionClosed) as closed:
            await until_type(connection, "response.done")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    [row] = await rows_of(simulated, "ws-ceiling", 1)
    assert (row.certainty, row.error, row.cost) == ("ceiling", "upstream-lost", row.reserved)


async def test_messages_of_unknown_cost_are_refused_and_the_session_goes_on(simulated: World) -> None:
    """The error event names the client's message."""
    async with socket(simulated, simulated.key, "/proxy/openai/realtime?model=gpt-realtime") as connection:
        await connection.send(json.dumps({"type": "something.new", "event_id": "mine"}))
        refused = await until_type(connection, "error")
        assert (refused["error"]["code"], refused["error"]["event_id"]) == ("bad-request", "mine")
        await connection.send(json.dumps({"type": "session.update", "session": {"output_modalities": ["text"]}}))
        await until_type(connection, "session.updated")


async def test_many_sessions_on_one_cap_never_overshoot(simulated: World) -> None:
    """64 sessions at once: what is spent stays within the cap, and nothing stays held."""
    key = await simulated.make_key("ws-64", daily="0.05")

    async def session() -> int:
        turns = 0
        try:
            async with socket(simulated, key, "/proxy/openai/responses") as connection:
                for _ in range(3):
                    await connection.send(ask("[sim:tokens=300] Hello", reasoning={"effort": "none"}))
                    if (await until_type(connection, "response.completed", "error"))["type"] == "error":
                        break
                    turns += 1
        except ConnectionClosed:
            pass
        return turns

    turns = sum(await asyncio.gather(*(session() for _ in range(64))))
    assert turns >= 10
    await rows_of(simulated, "ws-64", turns)

    [limit] = [limit for limit in await simulated.admin.limits() if limit.owner == "ws-64"]
    rows = (await simulated.admin.requests(key="ws-64", limit=500)).items
    assert Decimal(limit.held) == 0
    assert sum(Decimal(row.cost) for row in rows) == Decimal(limit.spent) <= Decimal("0.05")


async def test_gemini_live_with_googles_sdk(
    simulated: World, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text and audio turns, each a row with the counts that the provider states."""

    def plainly(uri: str, **options: Any) -> Any:
        options.pop("ssl", None)
        return connect(uri.replace("wss://", "ws://"), proxy=None, **options)

    monkeypatch.setattr("google.genai.live.ws_connect", plainly)  # the SDK speaks TLS whatever its base URL says
    key = await simulated.make_key("live", daily=20)
    client = genai.Client(
        api_key=key, http_options=types.HttpOptions(base_url=f"{simulated.origin}/proxy/google", api_version="v1beta")
    )
    usages: list[Any] = []
    config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
    async with client.aio.live.connect(model="gemini-3.1-flash-live-preview", config=config) as session:
        for text in ("Hello", "And again"):
            turn = types.Content(role="user", parts=[types.Part(text=text)])
            await session.send_client_content(turns=turn, turn_complete=True)
            async for message in session.receive():
                if message.usage_metadata is not None:
                    usages.append(message.usage_metadata)
    await client.aio.aclose()
    rows = await rows_of(simulated, "live", 2)
    for row, usage in zip(rows, usages, strict=True):
        assert (row.status, row.format, row.certainty) == (101, "gemini-live", "exact")
        assert row.usage["input_tokens"] == usage.prompt_token_count
        assert row.usage["output_audio_tokens"] == row.usage["output_tokens"] == usage.response_token_count
        heard = row.usage.get("input_audio_tokens", 0)
        cost = Decimal("0.75") * (usage.prompt_token_count - heard) + 3 * heard + 12 * usage.response_token_count
        assert Decimal(row.cost) == cost / 1_000_000
    assert simulator.requests[-1].header("x-goog-api-key") != key


async def test_live_refusals_stand_in_the_close_frame(simulated: World) -> None:
    """The Live API has no error event: the reason comes with 1008."""
    path = "/proxy/google/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    async with socket(simulated, simulated.key, path) as connection:
        await connection.send(json.dumps({"setup": {"model": "models/no-such-model"}}))
        assert "setupComplete" in str(json.loads(await connection.recv()))
        await connection.send(json.dumps({"realtimeInput": {"text": "Hello"}}))
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert "No price is known" in closed.value.rcvd.reason


async def test_items_of_other_sessions_are_not_there(simulated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message may name the items of its own session; the session goes on after another one is refused."""
    monkeypatch.setattr(stored, "WAITS", (0.01,))
    key = await simulated.make_key("ws-items")
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    reference = {"type": "item_reference", "id": "item_other"}
    async with socket(simulated, key, "/proxy/openai/realtime?model=gpt-realtime") as connection:
        for message in (
            {"type": "conversation.item.delete", "item_id": "item_other"},
            {"type": "conversation.item.create", "previous_item_id": "item_other", "item": item},
            {"type": "response.create", "name": "x", "response": {"input": [reference]}},
        ):
            await connection.send(json.dumps(message))
            assert (await until_type(connection, "error"))["error"]["code"] == "not-found", message
        own = {"type": "conversation.item.create", "previous_item_id": "root", "item": {**item, "id": "own_1"}}
        await connection.send(json.dumps(own))
        after = {"type": "conversation.item.create", "previous_item_id": "own_1", "item": item}
        await connection.send(json.dumps(after))
        for expected in ("own_1", None):
            added = await until_type(connection, "conversation.item.added", "error")
            assert added["type"] == "conversation.item.added"
            assert expected in (None, added["item"]["id"])
        given = {**reference, "id": added["item"]["id"]}
        await connection.send(json.dumps({"type": "response.create", "response": {"input": [given]}}))
        assert (await until_type(connection, "response.done", "error"))["type"] == "response.done"
