"""Trouble on demand, seen from the wire."""

from __future__ import annotations

import gzip
import json
import re
import time
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from paig_gateway.simulator import Faults, Received, Simulator
from paig_gateway.simulator.faults import NONE, parse, spent, strip
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.waiting import until

from .test_bedrock import frames

pytestmark = pytest.mark.anyio

CHAT, RESPONSES, MESSAGES = "/openai/v1/chat/completions", "/openai/v1/responses", "/anthropic/v1/messages"
GEMINI = "/google/v1beta/models/gemini-2.5-flash:generateContent"
GEMINI_SSE = "/google/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
GEMINI_ARRAY = "/google/v1beta/models/gemini-2.5-flash:streamGenerateContent"
VERTEX = "/vertex/v1beta1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent"
GROQ, MISTRAL = "/groq/openai/v1/chat/completions", "/mistral/v1/chat/completions"
CONVERSE, CONVERSE_STREAM = "/bedrock/model/amazon.nova-micro-v1%3A0/converse", "/bedrock/model/a.b/converse-stream"
INVOKE_STREAM = "/bedrock/model/anthropic.claude-sonnet-5/invoke-with-response-stream"
EMBEDDINGS = "/openai/v1/embeddings"
BODIES = [CHAT, RESPONSES, MESSAGES, GEMINI, VERTEX, GROQ, MISTRAL, CONVERSE]
STREAMS = [CHAT, RESPONSES, MESSAGES, GEMINI_SSE, GEMINI_ARRAY, GROQ, MISTRAL, CONVERSE_STREAM, INVOKE_STREAM]


def body_for(path: str, ask: str, *, stream: bool = False) -> dict[str, Any]:
    """A request's body, in the format of the path."""
    if ":" in path:
        return {"contents": [{"role": "user", "parts": [{"text": ask}]}]}
    if "/converse" in path:
        return {"messages": [{"role": "user", "content": [{"text": ask}]}]}
    if "/invoke" in path:
        messages = [{"role": "user", "content": ask}]
        return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 999, "messages": messages}
    if path == EMBEDDINGS:
        return {"model": "text-embedding-3-small", "input": ask}
    if path == RESPONSES:
        return {"model": "gpt-4o", "input": ask, "stream": stream}
    model = "claude-sonnet-5" if path == MESSAGES else "gpt-4o"
    return {"model": model, "max_tokens": 999, "messages": [{"role": "user", "content": ask}], "stream": stream}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing", NONE),
        ("[sim:status=529] and [sim:retry_after=2]", Faults(status=529, retry_after=2.0)),
        ("[sim:delay=0.5][sim:chunk_delay=.1][sim:disconnect=0]", Faults(delay=0.5, chunk_delay=0.1, disconnect=0)),
        ("[sim:reset] [sim:no_usage] [sim:gzip]", Faults(reset=True, no_usage=True, gzip=True)),
        ("[sim:tool=a][sim:tool]", Faults(tools=("a", ""))),
        ("[sim@groq:status=503][sim@openai:tokens=9]", Faults(tokens=9)),
    ],
)
def test_directives(text: str, expected: Faults) -> None:
    """Directives are found anywhere in the text; those for another mount are not ours."""
    assert parse(text, "openai") == expected


@pytest.mark.parametrize("text", ["[sim:statuss=500]", "[sim:status]", "[sim:status=x]", "[sim:status=200]"])
def test_misspelt_directive(text: str) -> None:
    """An unknown fault is an error, not silence."""
    with pytest.raises(ValueError, match=r"sim|invalid literal"):
        parse(text, "openai")


def test_rest_of_spent_faults() -> None:
    """Once their times are up, only what shapes the answer is left of the faults."""
    assert spent(Faults(status=500, delay=1, times=1, tokens=5, gzip=True)) == Faults(tokens=5, gzip=True)
    assert strip("a [sim:status=500] ") == "a"


@pytest.mark.parametrize(
    ("path", "status", "shown", "error"),
    [
        (CHAT, 429, 429, {"type": "requests", "code": "rate_limit_exceeded"}),
        (CHAT, 500, 500, {"type": "server_error"}),
        (RESPONSES, 503, 503, {"type": "server_error"}),
        (EMBEDDINGS, 500, 500, {"type": "server_error"}),
        (MESSAGES, 529, 529, {"type": "overloaded_error"}),
        (MESSAGES, 429, 429, {"type": "rate_limit_error"}),
        (GEMINI, 503, 503, {"code": 503, "status": "UNAVAILABLE"}),
        (GEMINI_SSE, 429, 429, {"code": 429, "status": "RESOURCE_EXHAUSTED"}),
        (GROQ, 429, 429, {"code": "rate_limit_exceeded"}),
    ],
)
async def test_status(
    http: httpx2.AsyncClient, simulator: Simulator, path: str, status: int, shown: int, error: dict[str, Any]
) -> None:
    """The refusal has the provider's own shape, and nothing is billed."""
    response = await http.post(path, json=body_for(path, f"hi [sim:status={status}][sim:retry_after=2]"))
    assert (response.status_code, response.headers["retry-after"]) == (shown, "2")
    assert error.items() <= response.json()["error"].items()
    served = simulator.served[path.split("/")[1]]
    assert (served.started, served.failed, served.completed, served.input_tokens) == (1, 1, 0, 0)


async def test_status_of_others(http: httpx2.AsyncClient) -> None:
    """Bedrock names the error in a header; Mistral has no `error` object."""
    response = await http.post(CONVERSE, json=body_for(CONVERSE, "hi [sim:status=429]"))
    assert response.json() == {"message": "Too many requests, please wait before trying again."}
    assert response.headers["x-amzn-errortype"].startswith("ThrottlingException:")
    response = await http.post(MISTRAL, json=body_for(MISTRAL, "hi [sim:status=500]"))
    assert (response.status_code, response.json()["object"]) == (500, "error")


async def test_directive_in_the_model_name(http: httpx2.AsyncClient) -> None:
    """A directive may sit in the model's name, and is not part of the name."""
    asked = {**body_for(CHAT, "hi"), "model": "gpt-4o[sim:tokens=7]"}
    got = (await http.post(CHAT, json=asked)).json()
    assert (got["model"], got["usage"]["completion_tokens"]) == ("gpt-4o-2024-08-06", 7)


@pytest.mark.parametrize("path", [*BODIES, EMBEDDINGS])
async def test_unknown_directive_is_refused(http: httpx2.AsyncClient, path: str) -> None:
    """A misspelt directive is a 400 that names it."""
    response = await http.post(path, json=body_for(path, "hi [sim:statis=500]"))
    assert response.status_code == 400
    assert "[sim:statis=500]" in response.text


async def test_times_and_mounts(http: httpx2.AsyncClient) -> None:
    """Faults can end by themselves, and can be for one account of a provider only."""
    asked = body_for(CHAT, "hi [sim:status=503][sim:times=2]")
    assert [(await http.post(CHAT, json=asked)).status_code for _ in range(3)] == [503, 503, 200]
    asked = body_for(CHAT, "hi [sim@openai-2:status=503]")
    paths = (CHAT, CHAT.replace("openai", "openai-2"))
    assert [(await http.post(path, json=asked)).status_code for path in paths] == [200, 503]


@pytest.mark.parametrize("path", [*BODIES, EMBEDDINGS])
async def test_reset(http: httpx2.AsyncClient, simulator: Simulator, path: str) -> None:
    """The connection is reset without a byte of answer."""
    with pytest.raises(httpx2.ReadError):
        await http.post(path, json=body_for(path, "hi [sim:reset]"))
    assert simulator.served[path.split("/")[1]].failed == 1


@pytest.mark.parametrize("path", BODIES)
async def test_body_broken_off(http: httpx2.AsyncClient, path: str) -> None:
    """A body that is not streamed breaks off half-way, short of its content-length."""
    with pytest.raises(httpx2.RemoteProtocolError):
        await http.post(path, json=body_for(path, "hi [sim:disconnect=0]"))


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("path", STREAMS)
async def test_stream_broken_off(http: httpx2.AsyncClient, simulator: Simulator, path: str, after: int) -> None:
    """A stream breaks off after so many events, without the end of the chunked body; the share sent is billed."""
    whole = await http.post(path, json=body_for(path, "hi [sim:tokens=200]", stream=True))
    mount = path.split("/")[1]
    full = simulator.served[mount].output_tokens
    received = b""

    async def read() -> None:
        nonlocal received
        ask = f"hi [sim:tokens=200][sim:disconnect={after}]"
        async with http.stream("POST", path, json=body_for(path, ask, stream=True)) as response:
            assert response.status_code == 200
            async for data in response.aiter_raw():
                received += data

    with pytest.raises(httpx2.RemoteProtocolError):
        await read()
    assert len(received) < len(whole.content)
    assert bool(received) is bool(after)
    served = simulator.served[mount]
    assert (served.started, served.completed, served.cut, full) == (2, 1, 1, 200)
    assert (0 < served.output_tokens - full < 200) if after else served.output_tokens == full


async def read_events(http: httpx2.AsyncClient, path: str, fault: str) -> str:
    """The whole of a streamed answer, as text."""
    response = await http.post(path, json=body_for(path, f"hi [sim:{fault}]", stream=True))
    assert response.status_code == 200
    if "/bedrock/" in path:
        return json.dumps(frames(response.content))
    return response.text


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        (CHAT, '"server_error"'),
        (RESPONSES, "event: error\n"),
        (MESSAGES, "event: error\n"),
        (GEMINI_SSE, '"UNAVAILABLE"'),
        (GEMINI_ARRAY, '"UNAVAILABLE"'),
        (GROQ, "event: error\n"),
        (MISTRAL, '"object":"error"'),
        (CONVERSE_STREAM, "internalServerException"),
        (INVOKE_STREAM, "internalServerException"),
    ],
)
async def test_error_events(http: httpx2.AsyncClient, simulator: Simulator, path: str, mark: str) -> None:
    """Under a 200, the provider's error event comes half-way, or first and alone; then the stream ends well."""
    half, first = [await read_events(http, path, fault) for fault in ("error_event", "error_first")]
    assert mark in half
    assert "Hello" in half
    assert mark in first
    assert "Hello" not in first
    assert "[DONE]" not in half
    if path == GEMINI_ARRAY:
        assert json.loads(half)[-1]["error"]["code"] == json.loads(first)[0]["error"]["code"] == 503
    served = simulator.served[path.split("/")[1]]
    assert (served.cut, served.failed, served.completed) == (1, 1, 0)


async def test_sdks_raise_on_error_events(base_url: str) -> None:
    """The SDKs see their own errors in a broken stream; an error event asked of a plain request is a 500."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k", max_retries=0) as client:
        chat: Any = client.chat.completions
        messages = [{"role": "user", "content": "hi [sim:error_event]"}]
        chunks = await chat.create(model="gpt-4o", messages=messages, stream=True)
        with pytest.raises(openai.APIError, match="had an error"):
            [chunk async for chunk in chunks]
        events = await client.responses.create(model="gpt-4o", input="hi [sim:error_event]", stream=True)
        with pytest.raises(openai.APIError, match="had an error"):
            [event async for event in events]
        with pytest.raises(openai.InternalServerError):
            await chat.create(model="gpt-4o", messages=messages)
    async with anthropic.AsyncAnthropic(base_url=f"{base_url}/anthropic", api_key="k", max_retries=0) as other:
        asked: Any = {"model": "claude-sonnet-5", "max_tokens": 9, "messages": messages, "stream": True}
        parts = await other.messages.create(**asked)
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            [part async for part in parts]


@pytest.mark.parametrize("path", [*BODIES, EMBEDDINGS, *STREAMS])
async def test_no_usage(http: httpx2.AsyncClient, simulator: Simulator, path: str) -> None:
    """The answer is whole but says nothing of what it cost: at most that of its very beginning, or null."""
    stream = path in STREAMS and path not in BODIES
    response = await http.post(path, json=body_for(path, "hi [sim:no_usage]", stream=stream))
    text = json.dumps(frames(response.content)) if "stream" in path and "bedrock" in path else response.text
    text = re.sub('"output_tokens": ?1[,}]|max_output_tokens', "", text)
    for word in ("completion_tokens", "prompt_tokens", "output_tokens", "outputTokens", "TokenCount", "totalTokens"):
        assert word not in text
    assert simulator.served[path.split("/")[1]].input_tokens > 0


async def test_no_usage_in_streams_that_were_asked_for_it(http: httpx2.AsyncClient) -> None:
    """The chunk with the usage never comes, the rest of the stream does."""
    asked = body_for(CHAT, "hi [sim:no_usage]", stream=True) | {"stream_options": {"include_usage": True}}
    text = (await http.post(CHAT, json=asked)).text
    assert "completion_tokens" not in text
    assert text.endswith("data: [DONE]\n\n")
    text = (await http.post(MESSAGES, json=body_for(MESSAGES, "hi [sim:no_usage]", stream=True))).text
    assert text.count('"usage"') == 1
    assert "message_stop" in text


@pytest.mark.parametrize("path", [CHAT, MESSAGES, CONVERSE_STREAM])
async def test_gzip(http: httpx2.AsyncClient, path: str) -> None:
    """Compressed if the client takes it: a stream so that each event can be read at once; else as it is."""
    for stream in (False, True):
        asked = body_for(path, "hi [sim:gzip]", stream=stream)
        packed = await http.post(path, json=asked, headers={"accept-encoding": "gzip"})
        plain = await http.post(path, json=asked, headers={"accept-encoding": "identity"})
        assert (packed.headers["content-encoding"], plain.headers.get("content-encoding")) == ("gzip", None)
        assert b"Hello" in packed.content
    async with http.stream("POST", path, json=body_for(path, "hi [sim:gzip]", stream=True)) as response:
        raw = b"".join([data async for data in response.aiter_raw()])
    assert b"Hello" not in raw
    assert b"Hello" in gzip.decompress(raw)


async def test_delays(http: httpx2.AsyncClient) -> None:
    """The wait is before the headers, or between the events."""
    began = time.monotonic()
    async with http.stream("POST", CHAT, json=body_for(CHAT, "hi [sim:delay=0.2]", stream=True)):
        waited = time.monotonic() - began
    began = time.monotonic()
    asked = body_for(CHAT, "hi [sim:chunk_delay=0.02][sim:tokens=8]", stream=True)
    async with http.stream("POST", CHAT, json=asked) as response:
        headers = time.monotonic()
        async for _ in response.aiter_raw():
            pass
    assert waited >= 0.2
    assert time.monotonic() - headers >= 8 * 0.02
    assert time.monotonic() - began >= 10 * 0.02


async def test_client_that_leaves(http: httpx2.AsyncClient, simulator: Simulator) -> None:
    """A client that goes away is noticed in a pause; the provider stops and bills what it had sent."""
    asked = body_for(CHAT, "hi [sim:chunk_delay=0.05][sim:tokens=100]", stream=True)
    async with http.stream("POST", CHAT, json=asked) as response:
        async for _ in response.aiter_raw():
            break
    with pytest.raises(httpx2.ReadTimeout):
        await http.post(CHAT, json=body_for(CHAT, "hi [sim:delay=5]"), timeout=httpx2.Timeout(20, read=0.3))
    served = simulator.served["openai"]
    await until(lambda: served.cut == 2)
    assert (served.started, served.cut, served.completed) == (2, 2, 0)
    assert 0 < served.output_tokens < 100


async def test_hook() -> None:
    """A test's own function decides about each request; where it has no opinion, the prompt decides."""

    def choose(received: Received) -> Faults | None:
        return Faults(status=503) if received.header("X-Fail") == "yes" else None

    headers = {"authorization": "Bearer k"}
    async with (
        running_simulator(Simulator(faults=choose)) as url,
        httpx2.AsyncClient(base_url=url, headers=headers) as http,
    ):
        failed = await http.post(CHAT, json=body_for(CHAT, "hi"), headers={"x-fail": "yes"})
        fine = await http.post(CHAT, json=body_for(CHAT, "hi"))
        asked_for = await http.post(CHAT, json=body_for(CHAT, "hi [sim:status=500]"))
    assert [response.status_code for response in (failed, fine, asked_for)] == [503, 200, 500]
