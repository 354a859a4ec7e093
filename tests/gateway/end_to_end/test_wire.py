"""What clients and providers do on the wire beside the ordinary: encodings, framing, big bodies, redirects."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import zlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import brotli
import pytest
import zstandard

from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.replay import Replay

pytestmark = pytest.mark.anyio

CHAT: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
USAGE = b'"usage": {"prompt_tokens": 13, "completion_tokens": 11, "total_tokens": 24}'
ANSWER = b'{"id": "c", "model": "gpt-5-2025-08-07", "choices": [], ' + USAGE + b"}"
STREAM = (
    b'data: {"id":"c","model":"gpt-5","choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}\r\n\r\n'
    b": ping\r\n\r\n"
    b'data: {"id":"c","model":"gpt-5","choices":[],' + USAGE + b"}\r\n\r\ndata: [DONE]\r\n\r\n"
)
ENCODERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def auth(world: World, **more: str) -> dict[str, str]:
    """Headers with the key."""
    return {"authorization": f"Bearer {world.key}", "content-type": "application/json", **more}


@pytest.mark.parametrize("encoding", sorted(ENCODERS))
@pytest.mark.parametrize("stream", [False, True])
async def test_an_encoded_answer_is_metered_and_left_as_it_is(
    replayed: World, replay: Replay, encoding: str, stream: bool
) -> None:
    """A provider that compresses although it was not asked to: the client gets those very bytes, the row is exact."""
    plain = STREAM if stream else ANSWER
    encoded = ENCODERS[encoding](plain)
    kind = "text/event-stream" if stream else "application/json"
    replay.status, replay.headers = 200, [("content-type", kind), ("content-encoding", encoding)]
    replay.pieces = [encoded[:7], encoded[7:]]
    url = "/proxy/openai/chat/completions"
    request = replayed.http.build_request("POST", url, headers=auth(replayed), json={**CHAT, "stream": stream})
    response = await replayed.http.send(request, stream=True)
    raw = b"".join([chunk async for chunk in response.aiter_raw()])
    assert raw == encoded
    assert response.headers["content-encoding"] == encoding
    row = await replayed.admin.request(response.headers["x-paig-request-id"])
    assert (row.certainty, row.cost) == ("exact", Decimal("0.00012625"))


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_an_encoded_request_is_read_and_sent_on_as_it_is(replayed: World, replay: Replay, encoding: str) -> None:
    """A client may compress its request; the gateway reads it on the side."""
    replay.status, replay.headers, replay.pieces = 200, [("content-type", "application/json")], [ANSWER]
    replay.asked.clear()
    body = ENCODERS[encoding](json.dumps(CHAT).encode())
    headers = auth(replayed, **{"content-encoding": encoding})
    response = await replayed.http.post("/proxy/openai/responses", headers=headers, content=body)
    assert response.status_code == 200, response.text
    assert (replay.asked[0].body, replay.asked[0].headers["content-encoding"]) == (body, encoding)
    bad = await replayed.http.post("/proxy/openai/responses", headers=headers, content=b"not that at all")
    assert (bad.status_code, bad.headers["x-paig-error"]) == (400, "bad-request")


async def test_a_chunked_request(replayed: World, replay: Replay) -> None:
    """A request body without a length is taken in like any other."""
    replay.status, replay.headers, replay.pieces = 200, [("content-type", "application/json")], [ANSWER]

    async def pieces() -> AsyncIterator[bytes]:
        text = json.dumps(CHAT).encode()
        yield text[:5]
        yield text[5:]

    response = await replayed.http.post("/proxy/openai/chat/completions", headers=auth(replayed), content=pieces())
    assert response.json()["usage"]["logfire_ai_gateway"] == {"cost": "0.00012625"}
    assert response.headers["logfire-ai-gateway-cost"] == "0.00012625USD"
    assert response.headers["pydantic-ai-gateway-price-estimate"] == "0.0001USD"


async def test_usage_that_the_client_did_not_ask_for_is_hidden(replayed: World, replay: Replay) -> None:
    """The gateway asks for stream usage, meters it, and hides the extra event from a client that did not ask."""
    replay.status, replay.headers, replay.pieces = 200, [("content-type", "text/event-stream")], [STREAM]
    replay.asked.clear()
    url, body = "/proxy/openai/chat/completions", {**CHAT, "stream": True}
    response = await replayed.http.post(url, headers=auth(replayed), json=body)
    assert json.loads(replay.asked[0].body) == {**body, "stream_options": {"include_usage": True}}
    assert b"prompt_tokens" not in response.content
    assert response.content == STREAM.replace(STREAM.split(b"\r\n\r\n")[2] + b"\r\n\r\n", b"")
    asking = {**body, "stream_options": {"include_usage": True}}
    response = await replayed.http.post(url, headers=auth(replayed), json=asking)
    assert b'"logfire_ai_gateway":{"cost":"0.00012625"}' in response.content
    rows = (await replayed.admin.requests(limit=2)).items
    assert [row.certainty for row in rows] == ["exact", "exact"]


async def test_usage_that_comes_before_the_last_choice_is_the_clients(replayed: World, replay: Replay) -> None:
    """What the gateway asks for comes last: an earlier chunk of usage came unasked, and passes in its place."""
    usage = '"usage":{"prompt_tokens":13,"completion_tokens":%d,"total_tokens":%d}'
    chunks = [
        'data: {"id":"c","model":"gpt-5","choices":[{"index":0,"delta":{"content":"He"},"finish_reason":null}]}\n\n',
        'data: {"id":"c","model":"gpt-5","choices":[],' + usage % (1, 14) + "}\n\n",
        ": alive\n\n",
        'data: {"id":"c","model":"gpt-5","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        'data: {"id":"c","model":"gpt-5","choices":[],' + usage % (11, 24) + "}\n\n",
        "data: [DONE]\n\n",
    ]
    replay.status, replay.headers = 200, [("content-type", "text/event-stream")]
    for pieces in (chunks, ["".join(chunks)]):
        replay.pieces = [piece.encode() for piece in pieces]
        url, body = "/proxy/openai/chat/completions", {**CHAT, "stream": True}
        response = await replayed.http.post(url, headers=auth(replayed), json=body)
        shown = [chunk for chunk in chunks if chunk is not chunks[4]]
        assert sorted(response.text.split("\n\n")) == sorted("".join(shown).split("\n\n"))
        assert response.text.index('"completion_tokens":1,') < response.text.index('"stop"')
        row = await replayed.admin.request(response.headers["x-paig-request-id"])
        assert (row.certainty, row.cost) == ("exact", Decimal("0.00012625"))


async def test_a_model_that_writes_a_usage_object_of_its_own(replayed: World, replay: Replay) -> None:
    """Only the answer's own usage counts, wherever another one may stand."""
    fake = '{"usage": {"prompt_tokens": 1, "completion_tokens": 1}}'
    choice = {"message": {"content": fake, "tool_calls": [{"usage": {"prompt_tokens": 9, "completion_tokens": 9}}]}}
    real = {"id": "c", "model": "gpt-5", "usage": {"prompt_tokens": 13, "completion_tokens": 11}, "choices": [choice]}
    replay.status, replay.headers = 200, [("content-type", "application/json")]
    replay.pieces = [json.dumps(real).encode()]
    response = await replayed.http.post("/proxy/openai/chat/completions", headers=auth(replayed), json=CHAT)
    assert response.json()["usage"].pop("logfire_ai_gateway") == {"cost": "0.00012625"}
    assert response.json()["choices"] == [choice]


async def test_a_redirect_passes(replayed: World, replay: Replay) -> None:
    """The gateway follows nothing: where an upstream points is the client's business."""
    replay.status, replay.headers, replay.pieces = 307, [("location", "http://127.0.0.1:9/elsewhere")], []
    response = await replayed.http.post("/proxy/openai/chat/completions", headers=auth(replayed), json=CHAT)
    assert (response.status_code, response.headers["location"]) == (307, "http://127.0.0.1:9/elsewhere")


async def test_a_big_image(simulated: World, simulator: Simulator) -> None:
    """Six megabytes of base64 pass, and are not counted as text."""
    image = "data:image/png;base64," + base64.b64encode(os.urandom(4_500_000)).decode()
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": image}}]
    body = {"model": "gpt-4o", "max_completion_tokens": 20, "messages": [{"role": "user", "content": parts}]}
    response = await simulated.http.post("/proxy/openai/chat/completions", headers=auth(simulated), json=body)
    assert response.status_code == 200, response.text
    row = await simulated.admin.request(response.headers["x-paig-request-id"])
    assert Decimal(row.reserved) < Decimal("0.15")
    assert json.loads(simulator.requests[-1].body) == body


async def test_no_client_header_reaches_an_upstream_unless_meant_to(replayed: World, replay: Replay) -> None:
    """Credentials, cookies, account choices and our own headers stay behind; what belongs to the API goes on."""
    replay.status, replay.headers, replay.pieces = 200, [("content-type", "application/json")], [ANSWER]
    replay.asked.clear()
    kept = {"anthropic-beta": "tools-1", "openai-beta": "x=1", "x-stainless-lang": "python", "user-agent": "me/1"}
    dropped = {
        **{"cookie": "session=1", "x-api-key": "other", "openai-organization": "org", "x-forwarded-for": "1.2.3.4"},
        **{"x-paig-tags": "a=b", "x-goog-user-project": "p", "proxy-authorization": "Basic eDp5"},
    }
    headers = auth(replayed, **kept, **dropped)
    await replayed.http.post("/proxy/openai/chat/completions", headers=headers, json=CHAT)
    [asked] = replay.asked
    assert kept.items() <= asked.headers.items()
    assert not dropped.keys() & asked.headers.keys()
    assert (await replayed.admin.requests(limit=1)).items[0].tags == {"a": "b"}


async def test_the_first_byte_is_not_held_back(replayed: World, replay: Replay) -> None:
    """A chunk reaches the client before the provider has sent the next."""
    replay.status, replay.headers = 200, [("content-type", "text/event-stream")]
    first, rest = STREAM.split(b"\r\n\r\n", 1)
    replay.pieces, replay.gate = [first + b"\r\n\r\n", rest], asyncio.Event()
    body = {**CHAT, "stream": True}
    try:
        async with replayed.http.stream(
            "POST", "/proxy/openai/chat/completions", headers=auth(replayed), json=body
        ) as response:
            chunks = response.aiter_raw()
            assert await asyncio.wait_for(anext(chunks), 5) == first + b"\r\n\r\n"
            replay.gate.set()
            assert b"[DONE]" in b"".join([chunk async for chunk in chunks])
    finally:
        replay.gate = None
