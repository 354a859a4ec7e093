"""Requests made to be misread, and answers that are not what they should be: nothing is forgiven, nothing leaks."""

from __future__ import annotations

import json
from decimal import Decimal

import brotli
import httpx2
import pytest
import zstandard

from paig_client.api.resources import Request
from paig_client.api.specs import KeySpec
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.replay import Replay

pytestmark = pytest.mark.anyio

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1000}
CHAT_PATH = "/proxy/openai/v1/chat/completions"
USAGE = b'"usage":{"prompt_tokens":10000,"completion_tokens":500}'
JSON = [("content-type", "application/json")]
EVENTS = [("content-type", "text/event-stream")]


def answering(replay: Replay, *pieces: bytes, headers: list[tuple[str, str]] = JSON, cut: bool = False) -> None:
    """Have the provider answer so."""
    replay.status, replay.headers, replay.pieces, replay.cut = 200, headers, pieces, cut


async def post(world: World, content: object, path: str = CHAT_PATH, **headers: str) -> httpx2.Response:
    """A request with a JSON body or raw bytes."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    sent = {"authorization": f"Bearer {world.key}", "content-type": "application/json", **headers}
    return await world.http.post(path, headers=sent, content=body)


async def row_of(world: World, response: httpx2.Response) -> Request:
    """The ledger's row."""
    rows = (await world.admin.requests(limit=20)).items
    return next(row for row in rows if row.id == response.headers["x-paig-request-id"])


@pytest.mark.parametrize("said", [rb'"\ud83d"', b'"hel\xfflo"', b"NaN", b"-Infinity"])
async def test_usage_is_read_from_almost_json(replayed: World, replay: Replay, said: bytes) -> None:
    """Half a surrogate pair, a byte that is not UTF-8, a number that is none: the cost is exact all the same."""
    body = b'{"model":"gpt-5","choices":[{"message":{"content":' + said + b"}}]," + USAGE + b"}"
    answering(replay, body)
    response = await post(replayed, CHAT)
    row = await row_of(replayed, response)
    assert (row.cost, row.certainty, response.status_code) == (Decimal("0.0175"), "exact", 200)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("count", ["1000000000000000000", "1" + "0" * 40, "1e300"])
async def test_absurd_counts_leave_nothing_held(replayed: World, replay: Replay, count: str, stream: bool) -> None:
    """A count that no database can store is not usage: the answer is charged at its ceiling, and nothing stays held."""
    usage = b'"usage":{"prompt_tokens":%b,"completion_tokens":5}' % count.encode()
    if stream:
        answering(replay, b'data: {"model":"gpt-5","choices":[],' + usage + b"}\n\ndata: [DONE]\n\n", headers=EVENTS)
    else:
        answering(replay, b'{"model":"gpt-5","choices":[],' + usage + b"}")
    response = await post(replayed, {**CHAT, "stream": stream})
    assert response.status_code == 200
    assert (await row_of(replayed, response)).certainty == "ceiling"


async def test_an_answer_in_an_unknown_encoding_is_charged_at_its_ceiling(replayed: World, replay: Replay) -> None:
    """Nobody can tell how long it is."""
    answering(replay, b"whatever", headers=[*JSON, ("content-encoding", "x-none")])
    row = await row_of(replayed, await post(replayed, CHAT))
    assert (row.certainty, row.cost) == ("ceiling", row.reserved)


async def test_background_work_is_charged_at_its_ceiling_though_its_stream_was_cut(
    replayed: World, replay: Replay
) -> None:
    """It goes on at the provider."""
    created = b'{"type":"response.created","response":{"id":"resp_cut","status":"queued","model":"gpt-5"}}'
    delta = b'{"type":"response.output_text.delta","delta":"Hey"}'
    answering(replay, b"data: " + created + b"\n\n", b"data: " + delta + b"\n\n", headers=EVENTS, cut=True)
    asked = {"model": "gpt-5", "input": "Hi", "background": True, "stream": True, "max_output_tokens": 5000}
    try:
        with pytest.raises(httpx2.RemoteProtocolError):
            await post(replayed, asked, "/proxy/openai/v1/responses")
    finally:
        replay.cut = False
    row = (await replayed.admin.requests(limit=1)).items[0]
    assert (row.format, row.certainty, row.cost) == ("openai-responses", "ceiling", row.reserved)


@pytest.mark.parametrize("part", [b'"messages":[{"content":"a\xff"}]', b'"service_tier":"\xff"', b'"\xff":1'])
async def test_a_request_that_is_not_utf8_goes_on_as_it_is(replayed: World, replay: Replay, part: bytes) -> None:
    """What it means is the provider's to judge."""
    answering(replay, b'{"model":"gpt-5",' + USAGE + b"}")
    body = b'{"model":"gpt-5",' + part + b"}"
    assert (await post(replayed, body)).status_code == 200
    assert replay.asked[-1].body == body


@pytest.mark.parametrize("other", ["100000", -1])
async def test_a_maximum_that_is_not_a_count_is_ignored(replayed: World, replay: Replay, other: object) -> None:
    """Beside a small maximum, one that lenient servers read as a large one leaves the model's own."""
    answering(replay, b'{"model":"gpt-5",' + USAGE + b"}")
    row = await row_of(replayed, await post(replayed, {**CHAT, "max_tokens": 10, "max_completion_tokens": other}))
    assert float(row.reserved) > 1


async def test_an_escaped_name_does_not_hide_a_member(replayed: World, replay: Replay) -> None:
    """Usage is asked for although the client's refusal of it is spelled in escapes."""
    answering(replay, b"data: [DONE]\n\n", headers=EVENTS)
    await post(replayed, rb'{"model":"gpt-5","stream":true,"stream_opti\u006Fns":{"include_us\u0061ge":false}}')
    assert json.loads(replay.asked[-1].body)["stream_options"] == {"include_usage": True}


async def test_credentials_in_the_query_stay_here(replayed: World, replay: Replay) -> None:
    """However they are spelled."""
    answering(replay, b'{"model":"gpt-5",' + USAGE + b"}")
    secrets = "%6Bey=a&Key=b&access_token=c&X-Amz-Signature=d&api_key=e"
    await post(replayed, CHAT, f"{CHAT_PATH}?x=1&{secrets}&y=%20")
    assert replay.asked[-1].target.partition("?")[2] == "x=1&y=%20"


async def test_a_name_as_long_as_a_book_is_refused(replayed: World) -> None:
    """The refusal does not repeat it."""
    response = await post(replayed, {**CHAT, "model": "x" * 1_000_000})
    assert (response.status_code, response.headers["x-paig-error"]) == (400, "bad-request")


async def test_a_form_has_one_reading(replayed: World, replay: Replay) -> None:
    """What stands before the real boundary is not taken for the form's fields."""
    answering(replay, b'{"created":1,"data":[]}')
    name = "images-only"
    key = (await replayed.admin.keys.create(name, KeySpec(models=["gpt-image-1-mini"]))).key

    def field(boundary: str, model: str) -> bytes:
        return f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n'.encode()

    honest = field("real", "gpt-image-1-mini") + b"--real--\r\n"
    cover = field("fake", "gpt-image-1-mini") + b"--fake--\r\n"
    prompt = b'--real\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n'
    smuggled = cover + prompt + field("real", "gpt-image-1") + b"--real--\r\n"
    headers = {"authorization": f"Bearer {key}", "content-type": 'multipart/form-data; boundary="real"'}
    path = "/proxy/openai/v1/images/edits"
    assert (await replayed.http.post(path, headers=headers, content=honest)).status_code == 200
    response = await replayed.http.post(path, headers=headers, content=smuggled)
    assert (response.status_code, response.headers["x-paig-error"]) == (400, "bad-request")


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [("br", brotli.compress(bytes(10**8), quality=5)), ("zstd", zstandard.ZstdCompressor().compress(bytes(10**8)))],
)
def test_a_bomb_is_noticed_while_it_is_small(encoding: str, bomb: bytes) -> None:
    """A few bytes that stand for a hundred million are refused, and never written out."""
    import tracemalloc

    from paig_gateway.proxy.content_encoding import decode

    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="too large"):
            decode(encoding, bomb, 10**9)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10**8


async def test_what_cannot_be_metered_needs_a_key_without_bounds(replayed: World, replay: Replay) -> None:
    """A key of certain models may not send what hides its model; a run with a budget may not send what has no price."""
    answering(replay, b"{}")
    only = (await replayed.admin.keys.create("only-mini", KeySpec(models=["gpt-image-1-mini"]))).key
    form = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-4o-transcribe\r\n--b--\r\n'
    path, kind = "/proxy/openai/v1/audio/transcriptions", "multipart/form-data; boundary=b"
    hidden = await post(replayed, form, path, **{"authorization": f"Bearer {only}", "content-type": kind})
    assert (hidden.status_code, hidden.headers["x-paig-error"]) == (403, "model-not-allowed")
    video = {"model": "sora-2", "prompt": "Hi"}
    trusted = (await replayed.admin.keys.create("trusted", KeySpec(allow_unmetered=True))).key
    run = {"x-paig-run": "r1", "x-paig-run-budget": "0.01"}
    budgeted = await post(replayed, video, "/proxy/openai/v1/vector_stores", **run)
    assert (budgeted.status_code, budgeted.headers["x-paig-error"]) == (400, "no-price")
    allowed = await post(replayed, video, "/proxy/openai/v1/vector_stores", authorization=f"Bearer {trusted}")
    assert allowed.status_code == 200


async def test_a_usage_object_as_deep_as_a_well(replayed: World, replay: Replay) -> None:
    """It is charged, kept without its depths, and can be listed."""
    usage = USAGE[:-1] + b',"x":' + b"[" * 700 + b"]" * 700 + b"}"
    answering(replay, b'{"model":"gpt-5",' + usage + b"}")
    row = await row_of(replayed, await post(replayed, CHAT))
    assert (row.cost, row.certainty, row.raw_usage) == (Decimal("0.0175"), "exact", None)


@pytest.mark.parametrize("stream", [1, "true", "True"])
async def test_what_lenient_servers_take_for_a_stream(replayed: World, replay: Replay, stream: object) -> None:
    """Some servers read `1` and `"true"` so: usage is asked for as of any stream, the cost is exact."""
    answering(replay, b'data: {"model":"gpt-5","choices":[],' + USAGE + b"}\n\ndata: [DONE]\n\n", headers=EVENTS)
    response = await post(replayed, {**CHAT, "stream": stream})
    sent = json.loads(replay.asked[-1].body)
    assert (sent["stream"], sent["stream_options"]) == (stream, {"include_usage": True})
    row = await row_of(replayed, response)
    assert (row.cost, row.certainty, row.stream) == (Decimal("0.0175"), "exact", True)


async def test_a_dearer_tier_asked_for_by_a_header_is_held(replayed: World, replay: Replay) -> None:
    """Vertex AI reads its tier from a header alone: the hold covers what that tier costs."""
    answering(replay, b'{"candidates":[],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1}}')
    asked = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 1000}}
    path = "/proxy/google-vertex/v1beta1/publishers/google/models/gemini-3.8-flash-tts:generateContent"
    held = {}
    for tier in ("standard", "flex", "Priority"):
        response = await post(replayed, asked, path, **{"x-vertex-ai-llm-shared-request-type": tier})
        assert replay.asked[-1].headers["x-vertex-ai-llm-shared-request-type"] == tier.lower()
        held[tier] = float((await row_of(replayed, response)).reserved)
    assert held["standard"] == held["flex"] < held["Priority"]


async def test_the_tier_that_bedrock_served_is_part_of_the_prices_identity(replayed: World, replay: Replay) -> None:
    """In Converse's body and in InvokeModel's header."""
    usage = b'"usage":{"inputTokens":10,"outputTokens":5,"totalTokens":15}'
    path = "/proxy/bedrock/model/us.amazon.nova-pro-v1%3A0"
    asked = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 9}}
    answering(replay, b'{"output":{},"serviceTier":{"type":"priority"},' + usage + b"}")
    row = await row_of(replayed, await post(replayed, asked, f"{path}/converse"))
    assert (row.price or "").endswith(";service_tier=priority")
    answering(replay, b'{"output":{},' + usage + b"}", headers=[*JSON, ("x-amzn-bedrock-service-tier", "flex")])
    row = await row_of(replayed, await post(replayed, asked, f"{path}/invoke"))
    assert (row.price or "").endswith(";service_tier=flex")
