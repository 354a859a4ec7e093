"""The simulator as a server: authentication, routing, and its record of requests."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from paig_gateway.simulator import Simulator
from paig_gateway.simulator.serve import MOUNTS, running_simulator
from paig_gateway.simulator.traffic import Received, ReceivedLog

pytestmark = pytest.mark.anyio

MESSAGES = [{"role": "user", "content": "Hello there"}]
CHAT = {"model": "gpt-4o", "messages": MESSAGES}
CLAUDE = {"model": "claude-sonnet-5", "max_tokens": 9, "messages": MESSAGES}
GEMINI = {"contents": [{"parts": [{"text": "Hello there"}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Hello there"}]}]}
CONVERSE_PATH = "/bedrock/model/a.b/converse"
GEMINI_PATH = "/google/v1beta/models/gemini-2.5-flash:generateContent"
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=k/20261123/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=" + "0" * 64
)
EACH: dict[str, tuple[str, Any, list[dict[str, str]], int]] = {
    "openai": ("/openai/v1/chat/completions", CHAT, [{"authorization": "Bearer k"}], 401),
    "azure": ("/azure/openai/v1/chat/completions", CHAT, [{"authorization": "Bearer k"}, {"api-key": "k"}], 401),
    "groq": ("/groq/openai/v1/chat/completions", CHAT, [{"authorization": "Bearer k"}], 401),
    "mistral": ("/mistral/v1/chat/completions", CHAT, [{"authorization": "bearer k"}], 401),
    "anthropic": ("/anthropic/v1/messages", CLAUDE, [{"x-api-key": "k"}, {"authorization": "Bearer k"}], 401),
    "google": (GEMINI_PATH, GEMINI, [{"x-goog-api-key": "k"}, {"authorization": "Bearer k"}], 401),
    "bedrock": (CONVERSE_PATH, CONVERSE, [{"authorization": "Bearer k"}, {"authorization": SIGNED}], 403),
}


@pytest.mark.parametrize("provider", EACH)
async def test_some_credential_is_needed(base_url: str, simulator: Simulator, provider: str) -> None:
    """Each provider looks in its own headers; without a key there its own kind of error comes back, and no bill."""
    path, body, good, refusal = EACH[provider]
    others = {"x-api-key": "k"} if provider != "anthropic" else {"api-key": "k"}
    async with httpx2.AsyncClient(base_url=base_url, verify=False) as client:
        for headers in good:
            assert (await client.post(path, json=body, headers=headers)).status_code == 200
        for headers in ({}, {"authorization": "Basic k"}, others):
            assert (await client.post(path, json=body, headers=headers)).status_code == refusal
    assert simulator.served[provider].started == len(good)


async def test_only_the_credentials_given_are_accepted() -> None:
    """With a list of credentials only these are let in, wherever each provider looks for them."""
    async with (
        running_simulator(Simulator(credentials={"k"})) as url,
        httpx2.AsyncClient(base_url=url, verify=False) as client,
    ):
        for path, body, good, refusal in EACH.values():
            for headers in good:
                wrong = {name: value.replace("k", "wrong", 1) for name, value in headers.items()}
                tries = [await client.post(path, json=body, headers=given) for given in (headers, wrong)]
                assert [response.status_code for response in tries] == [200, refusal]


async def test_google_key_in_the_query_and_token_by_the_endpoint() -> None:
    """Google's key may be in the query; what its token endpoint gave out is accepted besides the credentials given."""
    simulator = Simulator(credentials={"k"})
    vertex = "/vertex/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent"
    async with running_simulator(simulator) as url, httpx2.AsyncClient(base_url=url, verify=False) as client:
        form = {"grant_type": "refresh_token", "refresh_token": "r"}
        token = (await client.post("/vertex/token", data=form)).json()["access_token"]
        statuses = [
            (await client.post(f"{GEMINI_PATH}?key=k", json=GEMINI)).status_code,
            (await client.post(f"{GEMINI_PATH}?key=wrong", json=GEMINI)).status_code,
            (await client.post(vertex, json=GEMINI, headers={"authorization": f"Bearer {token}"})).status_code,
            (await client.post(vertex, json=GEMINI, headers={"authorization": "Bearer wrong"})).status_code,
        ]
    assert statuses == [200, 401, 200, 401]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/openai/v1/chat/completions", 200),
        ("/openai-eu/v1/chat/completions", 200),
        ("/openai/chat/completions", 404),
        ("/openai/v1/v1/chat/completions", 404),
        ("/groq/openai/v1/chat/completions", 200),
        ("/groq/v1/chat/completions", 404),
        ("/azure/openai/deployments/gpt-4o/chat/completions", 200),
        ("/compatible/chat/completions", 200),
        ("/somebody/api/v1/chat/completions", 200),
        ("/bedrock-mantle/openai/v1/chat/completions", 200),
        ("/openai/v1/chat/completions/", 404),
        ("/openai/v1/nothing", 404),
        ("/anthropic/messages", 404),
        ("/google/v1beta/models/m:nothing", 404),
        ("/bedrock/model/m/nothing", 404),
        ("/", 404),
    ],
)
async def test_paths(http: httpx2.AsyncClient, path: str, status: int) -> None:
    """A provider answers only at its own base path; other mounts are compatible servers at any base."""
    assert (await http.post(path, json=CHAT)).status_code == status


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/v1/chat/completions", b"{"),
        ("/openai/v1/chat/completions", b"[]"),
        ("/openai/v1/chat/completions", b""),
        ("/openai/v1/chat/completions", b'{"model":"gpt-4o"}'),
        ("/openai/v1/chat/completions", b'{"model":"gpt-4o","messages":7}'),
        ("/openai/v1/responses", b'{"model":"gpt-4o"}'),
        ("/openai/v1/embeddings", b'{"model":"m"}'),
        ("/anthropic/v1/messages", b'{"max_tokens":9,"messages":[]}'),
        ("/anthropic/v1/messages", b'{"model":"m","max_tokens":9,"messages":[{}]}'),
        (GEMINI_PATH, b"{}"),
        ("/bedrock/model/a.b/converse", b'{"messages":"hi"}'),
        ("/bedrock/model/anthropic.m/invoke", b'{"messages":[]}'),
    ],
)
async def test_bad_bodies(http: httpx2.AsyncClient, simulator: Simulator, path: str, body: bytes) -> None:
    """What is not the API's body gets the provider's 400, and nothing is started."""
    response = await http.post(path, content=body)
    assert response.status_code == 400
    assert response.json()
    assert simulator.served == {}


async def test_requests_are_written_down(http: httpx2.AsyncClient, simulator: Simulator) -> None:
    """A request is kept as it came: encoded path, query, headers in order and doubled, body."""
    headers = [("x-one", "1"), ("X-Two", "2"), ("x-one", "3"), ("authorization", "Bearer k")]
    path = "/compatible/%2Fodd%20/v1/chat/completions"
    await http.post(f"{path}?a=%20b", content=b'{"a":1}', headers=headers)
    await http.post("/openai/v1/chat/completions", content=b"\xff")
    kept = simulator.requests[0]
    assert (kept.method, kept.path, kept.query, kept.body) == ("POST", path, "a=%20b", b'{"a":1}')
    assert [value for name, value in kept.headers if name == b"x-one"] == [b"1", b"3"]
    assert (kept.header("X-Two"), kept.header("x-none")) == ("2", None)
    shown = (await http.get("/sim/requests")).json()
    assert (shown[0]["path"], shown[0]["body"], shown[1]["body_b64"]) == (path, '{"a":1}', "/w==")
    assert ["x-two", "2"] in shown[0]["headers"]


async def test_books_over_http(http: httpx2.AsyncClient, simulator: Simulator) -> None:
    """A program that runs the simulator can ask what was billed, and reset it."""
    await http.post("/openai/v1/chat/completions", json=CHAT)
    served = (await http.get("/sim/served")).json()
    assert served["openai"] == {
        "started": 1,
        "completed": 1,
        "cut": 0,
        "failed": 0,
        "input_tokens": 3,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "output_tokens": 8,
        "reasoning_tokens": 0,
    }
    assert (await http.post("/sim/reset")).status_code == 200
    assert (await http.get("/sim/served")).json() == {}
    assert (simulator.requests, simulator.served) == ([], {})
    assert (await http.get("/sim/nothing")).status_code == 404


def test_log_is_bounded() -> None:
    """Only the last requests are kept, and never more than 64 MiB of them."""
    log = ReceivedLog(keep=3)
    for size in (1, 2, 3, 4):
        log.add(Received("POST", "/", "", [], b"x" * size))
    assert [len(received.body) for received in log.all()] == [2, 3, 4]
    log.add(Received("POST", "/", "", [], bytes(64 * 1024 * 1024)))
    assert len(log.all()) == 1
    log.clear()
    assert log.all() == []


async def test_big_body(http: httpx2.AsyncClient, simulator: Simulator) -> None:
    """Six megabytes of picture arrive whole and count as one picture."""
    url = "data:image/png;base64," + "A" * 6_000_000
    content = [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": url}}]
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": content}]})
    got = (await http.post("/openai/v1/chat/completions", content=body)).json()
    assert got["usage"]["prompt_tokens"] == 2 + 256
    assert len(simulator.requests[0].body) == len(body)


async def test_many_at_once_add_up(http: httpx2.AsyncClient, simulator: Simulator) -> None:
    """Two hundred concurrent streams: what clients were told they used is what was billed."""
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}

    async def one() -> int:
        text = (await http.post("/openai/v1/chat/completions", json=asked)).text
        usage = json.loads(text.splitlines()[-4].removeprefix("data: "))["usage"]
        return int(usage["total_tokens"])

    told = await asyncio.gather(*(one() for _ in range(200)))
    served = simulator.served["openai"]
    assert (served.completed, served.input_tokens + served.output_tokens) == (200, sum(told))


async def test_times_in_answers_come_from_the_clock() -> None:
    """Timestamps are the injected clock's."""
    async with (
        running_simulator(Simulator(clock=lambda: 1_800_000_000.5)) as url,
        httpx2.AsyncClient(verify=False) as client,
    ):
        headers = {"authorization": "Bearer k"}
        got = (await client.post(f"{url}/openai/v1/chat/completions", json=CHAT, headers=headers)).json()
    assert got["created"] == 1_800_000_000


@pytest.mark.parametrize(("path", "status"), [("/openai/v1/nothing", 404), ("/openai/v1/realtime", 401)])
async def test_websockets_are_refused(base_url: str, path: str, status: int) -> None:
    """Where nothing is played, and without a credential, the upgrade gets an HTTP error."""
    async with httpx2.AsyncClient(verify=False) as client:
        response = await client.get(
            f"{base_url}{path}",
            headers={
                "connection": "upgrade",
                "upgrade": "websocket",
                "sec-websocket-version": "13",
                "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
            },
        )
    assert response.status_code == status


async def test_without_a_transport_the_drop_is_an_exception() -> None:
    """Under a server that hides its transport, a dropped connection is an exception out of the application."""
    messages = [{"type": "http.request", "body": json.dumps({**CHAT, "model": "gpt-4o[sim:reset]"}).encode()}]

    async def receive() -> dict[str, Any]:
        return messages[0]

    async def send(message: Any) -> None:
        raise AssertionError("nothing is sent")

    path = b"/openai/v1/chat/completions"
    scope = {"type": "http", "method": "POST", "path": path.decode(), "raw_path": path, "query_string": b""}
    scope["headers"] = [(b"authorization", b"Bearer k")]
    with pytest.raises(ConnectionResetError):
        await Simulator()(scope, receive, send)


async def test_taken_port() -> None:
    """A port that is taken is an error at once."""
    async with running_simulator() as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with running_simulator(port=port):
                pass
    with socket.create_server(("127.0.0.1", port)):
        pass  # given back


async def test_answers_are_not_held_back() -> None:
    """On a connection that is used again an answer takes no longer than it must: its parts are not sent 40 ms apart."""
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
    took = []
    async with running_simulator() as url, httpx2.AsyncClient(headers={"authorization": "Bearer k"}) as client:
        for _ in range(21):
            began = time.perf_counter()
            await client.post(f"{url}/openai/v1/chat/completions", json=body)
            took.append(time.perf_counter() - began)
    # The first are sent at once whatever happens; a busy machine delays some of the others, but not each of them.
    assert min(took[-10:]) < 0.035


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The simulator as a program, stopped at the end."""
    command = [sys.executable, "-m", "paig_gateway.simulator", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.terminate()
            running.wait(10)


async def test_program() -> None:
    """`python -m paig_gateway.simulator` says where it is, and serves until it is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with process("--port", str(port), "--chunks", "2") as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(len(MOUNTS) + 2)]
        assert lines[0].startswith(f"http://127.0.0.1:{port}/openai/v1 ")
        url = lines[0].split()[0] + "/chat/completions"
        async with httpx2.AsyncClient(headers={"authorization": "Bearer k"}) as client:
            for _ in range(1200):
                try:
                    response = await client.post(url, json=CHAT | {"stream": True})
                    break
                except httpx2.ConnectError:
                    await asyncio.sleep(0.05)
    assert response.text.count('"content":"') == 3  # the role, and two pieces
    assert running.returncode in (0, -15)
