"""Bad input and bad upstreams: the contract's code each, in the provider's shape, with nothing left held."""

from __future__ import annotations

import asyncio
import json
import socket
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from sqlalchemy import text as sql

from paig_client.api.resources import Request
from paig_client.api.specs import KeySpec
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.replay import Replay
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 50}
CHUNK = b'data: {"id":"c","model":"gpt-5","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'


async def post(world: World, path: str, content: Any, key: str | None = None) -> httpx2.Response:
    """A request with a JSON body or raw bytes."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {key or world.key}"}
    return await world.http.post(path, headers=headers, content=body)


def refused(response: httpx2.Response, code: str, status: int) -> dict[str, Any]:
    """The body of a refusal, which must be the gateway's own."""
    assert (response.headers.get("x-paig-error"), response.status_code) == (code, status), response.text
    assert response.headers["x-paig-request-id"].startswith("req_")
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing-key"),
        ({"authorization": "Basic eDp5"}, "missing-key"),
        ({"authorization": "Bearer"}, "missing-key"),
        ({"authorization": "Bearer paig_nobody"}, "unknown-key"),
        ({"x-api-key": "paig_ünïcode"}, "unknown-key"),
        ({"x-goog-api-key": "x" * 5000}, "unknown-key"),
        ({"api-key": "?"}, "unknown-key"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us/bedrock/aws4_request"}, "unknown-key"),
    ],
)
async def test_keys(replayed: World, headers: dict[str, str], code: str) -> None:
    """No key, or none such, is a 401 in the shape of the format."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    response = await replayed.http.post("/proxy/openai/chat/completions", headers=raw, json=CHAT)
    assert refused(response, code, 401)["error"]["message"]
    response = await replayed.http.post("/proxy/anthropic/v1/messages", headers=raw, json=CHAT)
    assert refused(response, code, 401)["type"] == "error"


async def test_free_requests_count_for_a_limit_on_requests(replayed: World) -> None:
    """Listing models costs nothing, but not endlessly often; what is refused says when to come again."""
    key = await replayed.make_key("eager", requests_per_minute=2, tokens_per_minute=1, daily="0.000001")
    asked = [
        await replayed.http.get("/proxy/openai/v1/models", headers={"authorization": f"Bearer {key}"}) for _ in range(3)
    ]
    assert [response.headers.get("x-paig-error") for response in asked] == [None, None, "rate-limited"]
    assert 1 <= int(asked[-1].headers["retry-after"]) <= 61

    async def all_have_rows() -> bool:
        return len((await replayed.admin.requests(key="eager")).items) == 3

    await until(all_have_rows)
    rows = (await replayed.admin.requests(key="eager")).items
    assert {row.cost for row in rows} == {Decimal(0)}
    # Of what was never sent there is no cost that could be known.
    assert {row.error: row.certainty for row in rows} == {None: "exact", "rate-limited": None}


async def test_key_states(replayed: World) -> None:
    """A disabled, an expired and a restricted key each say what they are."""
    key = await replayed.admin.keys.create("disabled", KeySpec())
    await replayed.admin.keys.disable("disabled")
    refused(await post(replayed, "/proxy/openai/chat/completions", CHAT, key.key), "key-disabled", 403)
    narrow = await replayed.admin.keys.create("narrow", KeySpec(routes=["anthropic"], models=["claude-*"]))
    body = refused(await post(replayed, "/proxy/openai/chat/completions", CHAT, narrow.key), "route-not-found", 404)
    assert "anthropic" in body["error"]["message"]
    refused(await post(replayed, "/proxy/anthropic/v1/messages", CHAT, narrow.key), "model-not-allowed", 403)
    past = KeySpec.model_validate({"expires_at": "2020-01-01T00:00:00Z"})
    late = await replayed.admin.keys.create("late", past)
    refused(await post(replayed, "/proxy/openai/chat/completions", CHAT, late.key), "key-expired", 403)


@pytest.mark.parametrize(
    ("path", "content", "code", "status"),
    [
        ("/proxy/nowhere/chat/completions", CHAT, "route-not-found", 404),
        ("/proxy/openai/chat/completions", b"{not json", "bad-request", 400),
        ("/proxy/openai/chat/completions", b"", "bad-request", 400),
        ("/proxy/openai/chat/completions", b"[1, 2]", "bad-request", 400),
        ("/proxy/openai/chat/completions", {"messages": []}, "bad-request", 400),
        ("/proxy/openai/chat/completions", {"model": 7, "messages": []}, "bad-request", 400),
        ("/proxy/openai/%2e%2e/chat/completions", CHAT, "no-price", 400),
        ("/proxy/openai/chat/completions", b" " * (65 * 1024 * 1024), "body-too-large", 413),
    ],
)
async def test_bad_requests(replayed: World, path: str, content: Any, code: str, status: int) -> None:
    """What cannot be read, routed or priced is refused before anything is sent."""
    refused(await post(replayed, path, content), code, status)


async def test_a_model_without_a_price(simulated: World) -> None:
    """Where a price is required, an unknown model is refused with what to do about it."""
    body = refused(await post(simulated, "/proxy/openai/responses", {"model": "gpt-x"}), "no-price", 400)
    assert "require_price" in body["error"]["message"]


async def test_an_upstream_that_refuses_the_connection(replayed: World, replay: Replay) -> None:
    """Nothing listens there: 502, and the row costs nothing."""
    from paig_client.api.specs import ProviderSpec

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    spec = ProviderSpec(kind="openai", base_url=f"http://127.0.0.1:{port}/v1", credential="value:x")
    await replayed.admin.providers.create("down", spec)
    response = await post(replayed, "/proxy/down/chat/completions", CHAT)
    refused(response, "upstream-unreachable", 502)
    row = await replayed.admin.request(response.headers["x-paig-request-id"])
    assert (row.cost, row.error, row.status) == (Decimal(0), "upstream-unreachable", 502)


async def test_an_upstream_that_hangs_up(replayed: World, replay: Replay) -> None:
    """The connection is reset before an answer: 502."""
    replay.silent = True
    try:
        refused(await post(replayed, "/proxy/openai/chat/completions", CHAT), "upstream-unreachable", 502)
    finally:
        replay.silent = False


@pytest.mark.parametrize(("model", "certainty"), [("gpt-4o", "estimated"), ("gpt-5", "ceiling")])
async def test_an_upstream_that_breaks_off_in_mid_stream(
    replayed: World, replay: Replay, model: str, certainty: str
) -> None:
    """A broken upstream breaks the client's stream: no clean end is made up.

    The row is an estimate, but for a model whose reasoning nothing shows.
    """
    replay.status, replay.headers = 200, [("content-type", "text/event-stream")]
    replay.pieces, replay.cut = [CHUNK, CHUNK], True
    seen = b""
    headers = {"authorization": f"Bearer {replayed.key}"}
    body = {**CHAT, "model": model, "stream": True}
    broken = False
    async with replayed.http.stream("POST", "/proxy/openai/chat/completions", headers=headers, json=body) as response:
        request_id = response.headers["x-paig-request-id"]
        try:
            async for chunk in response.aiter_raw():
                seen += chunk
        except httpx2.RemoteProtocolError:
            broken = True
    replay.cut = False
    assert broken
    assert seen == CHUNK * 2
    row = await settled(replayed, request_id)
    assert (row.certainty, row.error, row.status) == (certainty, "upstream-unreachable", 200)
    assert certainty == "ceiling" or row.usage["output_tokens"] == 3


async def settled(world: World, request_id: str) -> Request:
    """The row, once it is settled."""
    async with asyncio.timeout(60):
        while (row := await world.admin.request(request_id)).state != "settled":  # noqa: ASYNC110 the row has no event
            await asyncio.sleep(0.02)
    return row


async def test_nothing_secret_is_shown(replayed: World, replay: Replay) -> None:
    """Neither the client's key nor the provider's appears in an error or in the ledger."""
    from tests.gateway.end_to_end.conftest import UPSTREAM_KEY

    replay.status, replay.headers, replay.pieces = 500, [("content-type", "application/json")], [b'{"error":{}}']
    response = await post(replayed, "/proxy/openai/chat/completions", CHAT)
    rows = (await replayed.admin.requests(limit=200)).model_dump_json()
    providers = await replayed.admin.send(_raw("providers"))
    for text in (response.text, str(response.headers), rows, providers):
        assert replayed.key not in text
        assert UPSTREAM_KEY not in text


def _raw(collection: str) -> Any:
    from paig_client.endpoints import ApiCall

    return ApiCall("GET", collection, bytes.decode)


async def test_every_refused_request_is_found_by_its_id(replayed: World) -> None:
    """Also what was refused before the ledger could know of it: with the reason, and whose key it was."""
    narrow = await replayed.admin.keys.create("found-narrow", KeySpec(routes=["anthropic"], models=["claude-*"]))
    disabled = await replayed.admin.keys.create("found-disabled", KeySpec())
    await replayed.admin.keys.disable("found-disabled")
    chat = "/proxy/openai/chat/completions"
    asked = {
        "missing": ("", await replayed.http.post(chat, json=CHAT), "missing-key"),
        "unknown": ("", await post(replayed, chat, CHAT, "paig_nobody"), "unknown-key"),
        "disabled": ("found-disabled", await post(replayed, chat, CHAT, disabled.key), "key-disabled"),
        "route": ("found-narrow", await post(replayed, chat, CHAT, narrow.key), "route-not-found"),
        "model": ("found-narrow", await post(replayed, "/proxy/anthropic/v1/messages", CHAT, narrow.key), ""),
        "syntax": ("tester", await post(replayed, chat, b"{not json"), "bad-request"),
        "size": ("tester", await post(replayed, chat, b" " * (65 * 1024 * 1024)), "body-too-large"),
        "path": ("tester", await post(replayed, "/proxy/openai/%2e%2e/chat/completions", CHAT), "no-price"),
    }
    for key, response, code in asked.values():
        row = await replayed.admin.request(response.headers["x-paig-request-id"])
        assert (row.key, row.error, row.status) == (key, code or "model-not-allowed", response.status_code)
        assert row.refusal is not None
        assert row.refusal["message"] in response.text.replace('\\"', '"')
        assert row.cost == Decimal(0)
    secrets = narrow.key, disabled.key, replayed.key
    with replayed.store.engine.connect() as connection:
        kept = str(connection.execute(sql("SELECT * FROM refusals")).all())
    assert not any(secret in kept for secret in secrets)


async def test_a_flood_of_refusals_leaves_only_some(replayed: World) -> None:
    """Strangers cannot fill the table; and what a known key is refused is found all the same."""
    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(post(replayed, "/proxy/openai/chat/completions", CHAT, "paig_nobody"))
    known = await post(replayed, "/proxy/openai/chat/completions", b"{not json")
    assert (await replayed.admin.request(known.headers["x-paig-request-id"])).error == "bad-request"
