"""OpenAI's Realtime API through the gateway, with the official SDK: rows right to the token, caps that bite."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import openai
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from paig_client.admin_errors import NotFound
from paig_client.api.resources import Request
from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

LOUD, SILENT = base64.b64encode(b"\1" * 4800).decode(), base64.b64encode(bytes(4800)).decode()
"""A tenth of a second of sound, and of silence."""


def sdk(world: World, key: str | None = None) -> openai.AsyncOpenAI:
    """The official SDK, aimed at the gateway."""
    return openai.AsyncOpenAI(api_key=key or world.key, base_url=f"{world.origin}/proxy/openai/v1")


async def rows_of(world: World, key: str, count: int) -> list[Request]:
    """A key's rows, oldest first, once there are so many."""
    found: list[Request] = []

    async def are_there() -> bool:
        found[:] = [row for row in (await world.admin.requests(key=key)).items if row.certainty or row.error]
        return len(found) >= count

    await until(are_there)
    return [await world.admin.request(row.id) for row in sorted(found, key=lambda row: row.id)]


async def say(connection: Any, text: str, **response: Any) -> Any:
    """Say something and have it answered; the response."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await connection.conversation.item.create(item=item)
    await connection.response.create(response=response)
    async for event in connection:
        if event.type == "error":
            raise AssertionError(event)
        if event.type == "response.done":
            return event.response
    raise AssertionError("the session ended")


async def test_each_turn_is_a_row_right_to_the_token(simulated: World, simulator: Simulator) -> None:
    """Text and audio, cached parts included, as the provider's own usage has them; one session's name on all rows."""
    key = await simulated.make_key("turns")
    simulator.served.pop("openai", None)
    async with sdk(simulated, key) as client, client.realtime.connect(model="gpt-realtime") as connection:
        first = await say(connection, "Hello there", output_modalities=["text"])
        second = await say(connection, "And once more")
    one, two = await rows_of(simulated, "turns", 2)
    for row, response in ((one, first), (two, second)):
        usage = response.usage
        assert (row.status, row.certainty, row.model, row.format) == (101, "exact", "gpt-realtime", "openai-realtime")
        assert row.usage["input_tokens"] == usage.input_tokens
        assert row.usage["output_tokens"] == usage.output_tokens
        assert row.usage["output_audio_tokens"] == usage.output_token_details.audio_tokens
        assert Decimal(row.cost) <= Decimal(row.reserved)
    assert one.session == two.session
    assert (one.usage["output_audio_tokens"], two.usage["cache_read_tokens"]) == (0, first.usage.input_tokens)
    assert two.usage["output_audio_tokens"] > 0
    usage = second.usage
    fresh = usage.input_tokens - usage.input_token_details.cached_tokens
    cost = Decimal(4 * fresh) + Decimal("0.4") * usage.input_token_details.cached_tokens
    cost += 16 * usage.output_token_details.text_tokens + 64 * usage.output_token_details.audio_tokens
    assert Decimal(two.cost) == cost / 1_000_000
    served = simulator.served["openai"]
    assert served.input_tokens == one.usage["input_tokens"] + two.usage["input_tokens"]
    assert served.output_tokens == one.usage["output_tokens"] + two.usage["output_tokens"]


async def test_speech_is_held_before_the_first_audio_and_its_transcription_is_billed(simulated: World) -> None:
    """Where the provider listens, audio alone is held for; the transcription is part of the turn's cost."""
    key = await simulated.make_key("speech", daily=20)
    async with sdk(simulated, key) as client, client.realtime.connect(model="gpt-realtime") as connection:
        transcription = {"model": "gpt-4o-mini-transcribe"}
        await connection.session.update(
            session={"type": "realtime", "audio": {"input": {"transcription": transcription}}}
        )
        await connection.input_audio_buffer.append(audio=LOUD)
        done = None
        async for event in connection:
            if event.type == "input_audio_buffer.speech_started":
                [limit] = [limit for limit in await simulated.admin.limits() if limit.owner == "speech"]
                assert Decimal(limit.held) > 0
                await connection.input_audio_buffer.append(audio=LOUD)
                await connection.input_audio_buffer.append(audio=SILENT)
            if event.type == "response.done":
                done = event.response
                break
    [row, unused] = await rows_of(simulated, "speech", 2)
    assert row.certainty == "exact"
    usage = done.usage
    assert row.usage["input_audio_tokens"] == usage.input_token_details.audio_tokens == 3
    assert row.usage["other_model_input_tokens"] == 3
    assert (unused.cost, unused.certainty, unused.error) == (Decimal(0), None, "not-dispatched")
    cost = Decimal(4 * usage.input_token_details.text_tokens + 32 * 3)
    cost += 16 * usage.output_token_details.text_tokens + 64 * usage.output_token_details.audio_tokens
    assert Decimal(row.cost) == cost / 1_000_000 + Decimal(3 * 3 + 5 * 5) / 1_000_000
    [limit] = [limit for limit in await simulated.admin.limits() if limit.owner == "speech"]
    assert Decimal(limit.held) == 0
    assert Decimal(limit.spent) == Decimal(row.cost)


async def test_a_cap_ends_the_session_with_the_providers_error_and_1008(simulated: World) -> None:
    """The turn that has no room is not relayed; the client is told in the provider's words, and the caps hold."""
    key = await simulated.make_key("capped-talk", daily="1.2")
    turns = 0
    with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - the session itself is what ends
        async with sdk(simulated, key) as client, client.realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello " * 2000}]}
            refusal: Any = None
            while refusal is None:
                await connection.conversation.item.create(item=item)
                await connection.response.create(response={"max_output_tokens": 4096})
                async for event in connection:
                    if event.type == "error":
                        refusal = event.error
                        break
                    if event.type == "response.done":
                        turns += 1
                        break
            await connection.recv()
    assert turns > 1
    assert (refusal.type, refusal.code) == ("insufficient_quota", "limit-exceeded")
    assert "capped-talk" in refusal.message
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    rows = await rows_of(simulated, "capped-talk", turns + 1)
    assert [row.status for row in rows] == [101] * turns + [402]
    assert rows[-1].error == "limit-exceeded"
    [limit] = [limit for limit in await simulated.admin.limits() if limit.owner == "capped-talk"]
    assert Decimal(limit.spent) <= Decimal("1.2")
    assert Decimal(limit.held) == 0
    assert sum(Decimal(row.cost) for row in rows) == Decimal(limit.spent)


def url(world: World, path: str) -> str:
    """A WebSocket's address at the gateway."""
    return world.origin.replace("http", "ws", 1) + path


async def refused(world: World, path: str, **options: Any) -> tuple[int, dict[str, Any], Any]:
    """An upgrade that is refused: the status, the body, the headers."""
    with pytest.raises(InvalidStatus) as error:
        async with connect(url(world, path), proxy=None, **options):
            pass
    response = error.value.response
    return response.status_code, json.loads(response.body or b"{}"), response.headers


async def test_refusals_come_before_the_upgrade_in_the_providers_shape(simulated: World) -> None:
    """Status, code and shape are those of HTTP, the row is found by the id, and the provider's own refusal passes."""
    bearer = {"authorization": f"Bearer {simulated.key}"}
    status, body, headers = await refused(simulated, "/proxy/openai/realtime?model=gpt-realtime")
    assert (status, body["error"]["code"], headers["x-paig-error"]) == (401, "missing-key", "missing-key")
    status, body, headers = await refused(
        simulated, "/proxy/openai/realtime?model=no-such-model", additional_headers=bearer
    )
    assert (status, body["error"]["code"]) == (400, "no-price")
    row = await simulated.admin.request(headers["x-paig-request-id"])
    assert (row.status, row.error, row.format) == (400, "no-price", "openai-realtime")
    status, body, _ = await refused(simulated, "/proxy/google/ws/nothing", additional_headers=bearer)
    assert (status, body["error"]["status"]) == (400, "INVALID_ARGUMENT")
    status, body, _ = await refused(simulated, "/proxy/groq/realtime?model=x", additional_headers=bearer)
    assert (status, body["error"]["code"]) == (400, "no-price")
    status, body, headers = await refused(simulated, "/proxy/groq/responses", additional_headers=bearer)
    assert (status, body["error"]["code"]) == (426, "no-price")  # the same API is there over HTTP: Codex goes on so
    row = await simulated.admin.request(headers["x-paig-request-id"])
    assert (row.status, row.error, row.format) == (426, "no-price", "openai-responses")
    status, body, headers = await refused(
        simulated, "/proxy/openai/realtime?model=gpt-realtime&fault=%5Bsim:status=429%5D", additional_headers=bearer
    )
    assert (status, body["error"]["type"]) == (429, "requests")
    assert "x-paig-error" not in headers
    row = await simulated.admin.request(headers["x-paig-request-id"])
    assert (row.status, row.cost) == (429, Decimal(0))
    await simulated.admin.keys.update("tester", {"models": ["gpt-4o*"]})
    try:
        status, body, _ = await refused(
            simulated, "/proxy/openai/realtime?model=gpt-realtime", additional_headers=bearer
        )
        assert (status, body["error"]["code"]) == (403, "model-not-allowed")
    finally:
        await simulated.admin.keys.update("tester", {"models": None})


@pytest.mark.parametrize("way", ["bearer", "api-key", "subprotocol"])
async def test_a_key_comes_as_clients_send_it_and_goes_no_further(
    simulated: World, simulator: Simulator, way: str
) -> None:
    """By header or subprotocol; the provider sees neither, and the other subprotocols are negotiated with it."""
    headers = {"bearer": {"authorization": f"Bearer {simulated.key}"}, "api-key": {"api-key": simulated.key}}
    subprotocols: list[Any] = ["realtime"]
    if way == "subprotocol":
        subprotocols += [f"openai-insecure-api-key.{simulated.key}", "openai-project.proj_1"]
    async with connect(
        url(simulated, "/proxy/openai/v1/realtime?model=gpt-realtime"),
        additional_headers=headers.get(way),
        subprotocols=subprotocols,
        proxy=None,
    ) as socket:
        assert socket.subprotocol == "realtime"
        assert "session.created" in str(await socket.recv())
        received = simulator.requests[-1]
    assert received.path == "/openai/v1/realtime"
    assert received.header("sec-websocket-protocol") == "realtime"
    assert simulated.key not in str(received.headers) + received.query
    # A session without a turn can be looked up all the same.
    request_id = socket.response.headers["x-paig-request-id"]
    await until(lambda: has_row(simulated, request_id))
    row = await simulated.admin.request(request_id)
    assert (row.status, row.cost, row.usage) == (101, Decimal(0), None)


async def has_row(world: World, request_id: str) -> bool:
    """Whether a request's row is there."""
    try:
        await world.admin.request(request_id)
    except NotFound:
        return False
    return True
