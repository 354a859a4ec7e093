"""Providers that call their answers something else, or never end them: metered all the same, and memory stays flat."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import httpx2
import pytest

from paig_client.api.resources import Request
from paig_gateway.formats.framing import encode_frame
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.replay import Replay

pytestmark = pytest.mark.anyio

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1000}
CHAT_PATH = "/proxy/openai/v1/chat/completions"
USAGE = b'"usage":{"prompt_tokens":10000,"completion_tokens":500}'
DOCUMENT = b'{"model":"gpt-5","choices":[],' + USAGE + b"}"
SAID = b'data: {"model":"gpt-5","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
EVENTS = SAID + b'data: {"model":"gpt-5","choices":[],' + USAGE + b"}\n\ndata: [DONE]\n\n"
MEGABYTE = 1024 * 1024


@pytest.fixture(autouse=True)
def ended(replay: Replay) -> None:
    """No test is cut short because of another."""
    replay.status, replay.cut = 200, False


async def ask(
    world: World, replay: Replay, kinds: Sequence[str], *pieces: bytes, path: str = CHAT_PATH, **body: object
) -> tuple[httpx2.Response, Request]:
    """Have the provider answer so, with these content types; the answer and its row."""
    replay.headers, replay.pieces = [("content-type", kind) for kind in kinds], pieces
    headers = {"authorization": f"Bearer {world.key}"}
    response = await world.http.post(path, headers=headers, json={**CHAT, **body})
    return response, await world.admin.request(response.headers["x-paig-request-id"])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kinds", [["application/json"], ["text/plain"], [], ["application/json", "text/event-stream"]])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n\n", b": hello\n\n", b"event: x\n"])
async def test_a_stream_by_another_name(
    replayed: World, replay: Replay, kinds: list[str], start: bytes, stream: bool
) -> None:
    """What looks like server-sent events is metered, and relayed, as such."""
    asked = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    response, row = await ask(replayed, replay, kinds, start[:1], start[1:] + EVENTS, **asked)
    assert (row.cost, row.certainty, row.error) == (Decimal("0.0175"), "exact", None)
    assert response.content.startswith(start + SAID)
    assert b'"logfire_ai_gateway":{"cost":"0.0175"}' in response.content


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kinds", [["text/event-stream"], ["application/vnd.amazon.eventstream"], ["text/plain"], []])
async def test_a_body_by_another_name(replayed: World, replay: Replay, kinds: list[str], stream: bool) -> None:
    """A JSON object is metered as one though it is called a stream; the client gets its bytes."""
    response, row = await ask(replayed, replay, kinds, DOCUMENT[:9], DOCUMENT[9:], stream=stream)
    assert (row.cost, row.certainty) == (Decimal("0.0175"), "exact")
    assert response.json()["model"] == "gpt-5"


async def test_an_event_stream_by_another_name(replayed: World, replay: Replay) -> None:
    """AWS frames are known by their checksum."""
    frame = encode_frame("metadata", b'{"usage":{"inputTokens":10,"outputTokens":5,"totalTokens":15}}')
    path = "/proxy/bedrock/model/us.amazon.nova-pro-v1%3A0/converse-stream"
    asked = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    response, row = await ask(replayed, replay, ["application/octet-stream"], frame, path=path, **asked)
    assert (row.certainty, row.usage["output_tokens"], response.content) == ("exact", 5, frame)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_gemini_streams_by_another_name(replayed: World, replay: Replay, kind: str) -> None:
    """Server-sent events and the JSON array, each called the other."""
    chunk = b'{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5}}'
    raw = b"data: " + chunk + b"\n\n" if kind == "application/json" else chunk
    path = "/proxy/google/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    response, row = await ask(replayed, replay, [kind], raw, path=path, contents=[{"parts": [{"text": "Hi"}]}])
    assert (row.certainty, row.usage["output_tokens"], response.content) == ("exact", 5, raw)


async def test_an_encoded_stream_by_another_name(replayed: World, replay: Replay) -> None:
    """Compressed without being requested, and labelled as a body: the client's bytes stay, the cost is exact."""
    encoded = gzip.compress(EVENTS)
    replay.headers = [("content-type", "application/json"), ("content-encoding", "gzip")]
    replay.pieces = [encoded]
    url, headers = CHAT_PATH, {"authorization": f"Bearer {replayed.key}"}
    async with replayed.http.stream("POST", url, headers=headers, json={**CHAT, "stream": True}) as response:
        assert b"".join([chunk async for chunk in response.aiter_raw()]) == encoded
    row = await replayed.admin.request(response.headers["x-paig-request-id"])
    assert (row.cost, row.certainty) == (Decimal("0.0175"), "exact")


async def test_two_encodings_are_refused(replayed: World, replay: Replay) -> None:
    """`Content-Encoding` twice means one upon the other, not the latter."""
    replay.headers = [("content-type", "text/event-stream"), ("content-encoding", "br"), ("content-encoding", "gzip")]
    replay.pieces = [gzip.compress(EVENTS)]
    url, headers = CHAT_PATH, {"authorization": f"Bearer {replayed.key}"}
    async with replayed.http.stream("POST", url, headers=headers, json={**CHAT, "stream": True}) as response:
        async for _ in response.aiter_raw():
            pass
    row = await replayed.admin.request(response.headers["x-paig-request-id"])
    assert (row.certainty, row.cost) == ("ceiling", row.reserved)


@pytest.mark.parametrize("name", ["content-type", "content-encoding"])
async def test_a_request_says_once_what_its_body_is(replayed: World, replay: Replay, name: str) -> None:
    """Of two content types the gateway would read one and the provider perhaps the other."""
    said = [("authorization", f"Bearer {replayed.key}"), (name, "multipart/form-data; boundary=a"), (name, "x")]
    response = await replayed.http.post(CHAT_PATH, headers=said, content=json.dumps(CHAT).encode())
    assert (response.status_code, response.headers["x-paig-error"]) == (400, "bad-request")
    assert name in response.json()["error"]["message"]


# Without end


@dataclass
class Endless:
    """Pieces that are there only while they are sent."""

    first: bytes
    last: bytes
    megabytes: int

    def __len__(self) -> int:
        return self.megabytes + 2

    def __getitem__(self, number: int) -> bytes:
        if number >= len(self):
            raise IndexError
        return self.first if number == 0 else self.last if number == len(self) - 1 else b"x" * MEGABYTE


LONG_EVENTS = [b'data: {"model":"gpt-5","choices":[{"index":0,"delta":{"content":"', b'"}}]}\n\n']
LONG_BODY = [b'{"model":"gpt-5","choices":[{"index":0,"message":{"usage":{"prompt_tokens":1},"content":"', b'"}}],']
LONG_CHUNK = [b'[{"candidates":[{"content":{"parts":[{"text":"', b'"}]}}]}\n']
GEMINI = "/proxy/google/v1beta/models/gemini-2.5-flash:streamGenerateContent"
GEMINI_USAGE = (
    b',{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":5}}]'
)

ENDLESS = {
    "an event": (CHAT_PATH, "text/event-stream", LONG_EVENTS, EVENTS, "exact", "0.0175"),
    "an event without usage": (CHAT_PATH, "text/event-stream", LONG_EVENTS, b"", "ceiling", ""),
    "a body": (CHAT_PATH, "application/json", LONG_BODY, USAGE + b"}", "exact", "0.0175"),
    "a body without usage": (CHAT_PATH, "application/json", LONG_BODY, b'"x":1}', "ceiling", ""),
    "a chunk": (GEMINI, "application/json", LONG_CHUNK, GEMINI_USAGE, "exact", "0.0000152"),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_memory_stays_flat(replayed: World, replay: Replay, what: str) -> None:
    """Two hundred megabytes in one event, or body, pass with a few dozen held; usage that comes after them counts."""
    path, kind, (first, last), usage, certainty, cost = ENDLESS[what]
    replay.headers = [("content-type", kind)]
    replay.pieces = Endless(first, last + usage, 200)  # type: ignore[assignment]
    asked = {**CHAT, "stream": "event" in what, "contents": [{"parts": [{"text": "Hi"}]}]}
    headers = {"authorization": f"Bearer {replayed.key}"}
    size, end = 0, b""
    tracemalloc.start()
    try:
        async with replayed.http.stream("POST", path, headers=headers, json=asked) as response:
            pieces: AsyncIterator[bytes] = response.aiter_raw()
            async for piece in pieces:
                size += len(piece)
                end = (end + piece)[-5000:]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size >= 200 * MEGABYTE
    assert peak < 120 * MEGABYTE
    assert last in end
    row = await replayed.admin.request(response.headers["x-paig-request-id"])
    assert (row.certainty, row.cost) == (certainty, Decimal(cost) if cost else row.reserved)


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_a_bomb_is_not_written_out(replayed: World, replay: Replay, kind: str) -> None:
    """A stream or body that stands for 300 MB passes as the 300 kB that it is, and is charged at its ceiling."""
    bomb = gzip.compress(bytes(300 * MEGABYTE), compresslevel=1)
    replay.headers, replay.pieces = [("content-type", kind), ("content-encoding", "gzip")], [bomb]
    headers = {"authorization": f"Bearer {replayed.key}"}
    tracemalloc.start()
    try:
        async with replayed.http.stream("POST", CHAT_PATH, headers=headers, json={**CHAT, "stream": True}) as response:
            assert b"".join([chunk async for chunk in response.aiter_raw()]) == bomb
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 120 * MEGABYTE
    row = await replayed.admin.request(response.headers["x-paig-request-id"])
    assert (row.certainty, row.cost) == ("ceiling", row.reserved)


async def test_a_long_body_that_breaks_off(replayed: World, replay: Replay) -> None:
    """Once it goes on to the client it can only break there too; it is charged at its ceiling."""
    replay.headers, replay.cut = [("content-type", "application/json")], True
    replay.pieces = Endless(LONG_BODY[0], b"", 40)  # type: ignore[assignment]
    headers = {"authorization": f"Bearer {replayed.key}"}
    with pytest.raises(httpx2.RemoteProtocolError):
        await replayed.http.post(CHAT_PATH, headers=headers, json=CHAT)
    row = (await replayed.admin.requests(limit=1)).items[0]
    assert (row.certainty, row.cost, row.error) == ("ceiling", row.reserved, "upstream-unreachable")
