"""Browsers at the data plane: what a page may call, and what a relayed answer may do to a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paig_gateway.config import ServerSpec
from tests.gateway.end_to_end.conftest import World, replayed_providers, running_world
from tests.gateway.end_to_end.replay import Replay

pytestmark = pytest.mark.anyio

CHAT_PATH = "/proxy/openai/v1/chat/completions"
CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}
ANSWER = b'{"model":"gpt-5","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}'
APP = "https://app.example.com"
SEALED = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
}
STEERING = [
    ("Set-Cookie", "paig_session=evil; Path=/"),
    ("Service-Worker-Allowed", "/"),
    ("Clear-Site-Data", '"*"'),
    ("Refresh", "0; url=/admin/v1/keys"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("WWW-Authenticate", 'Basic realm="gateway"'),
    ("Content-Security-Policy", "default-src *"),
    ("X-Content-Type-Options", "sniff"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("SourceMap", "/proxy/evil"),
    ("NEL", "{}"),
    ("OpenAI-Organization", "org-secret"),
    ("OpenAI-Project", "proj-secret"),
    ("Anthropic-Organization-Id", "org-secret"),
]


@pytest.fixture(scope="module")
async def world(environment: None, replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway that one app's pages may call."""
    server = ServerSpec(cors_origins=[f"{APP}:443"])
    home: Path = tmp_path_factory.mktemp("home")
    async with running_world(home, replayed_providers(replay.base), server) as running:
        yield running


@pytest.fixture(autouse=True)
def answers(replay: Replay) -> None:
    """A provider that steers browsers."""
    replay.status, replay.pieces, replay.cut = 200, [ANSWER], False
    replay.headers = [("Content-Type", "text/html"), *STEERING, ("x-ratelimit-remaining-requests", "7")]


@pytest.mark.parametrize("path", [CHAT_PATH, "/proxy/openai/v1/models"])
@pytest.mark.parametrize("status", [200, 404, 500])
async def test_a_relayed_answer_is_sealed(world: World, replay: Replay, path: str, status: int) -> None:
    """It runs nowhere, and what steers a browser or names the account is gone; the rest passes."""
    replay.status = status
    sent = {"authorization": f"Bearer {world.key}"}
    method = "POST" if path == CHAT_PATH else "GET"
    answer = await world.http.request(method, path, headers=sent, json=CHAT if method == "POST" else None)
    assert answer.status_code == status
    for name, value in SEALED.items():
        assert answer.headers.get_list(name) == [value]
    for name, _ in STEERING:
        if name.lower() not in SEALED:
            assert name not in answer.headers
    assert answer.headers["x-ratelimit-remaining-requests"] == "7"


async def test_a_stream_and_a_refusal_are_sealed_too(world: World, replay: Replay) -> None:
    """Whatever comes from the data plane has the same headers."""
    replay.headers = [("content-type", "text/event-stream"), *STEERING]
    replay.pieces = [b"data: " + ANSWER + b"\n\n", b"data: [DONE]\n\n"]
    sent = {"authorization": f"Bearer {world.key}"}
    stream = await world.http.post(CHAT_PATH, headers=sent, json={**CHAT, "stream": True})
    refused = await world.http.post(CHAT_PATH, json=CHAT)
    assert (stream.status_code, refused.status_code) == (200, 401)
    for answer in (stream, refused):
        assert {name: answer.headers[name] for name in SEALED} == SEALED
        assert "set-cookie" not in answer.headers


async def test_a_bearer_challenge_passes(world: World, replay: Replay) -> None:
    """Only challenges at which a browser asks for a password are dropped."""
    replay.status = 401
    replay.headers = [
        ("content-type", "application/json"),
        ("www-authenticate", 'Bearer error="invalid_token"'),
        ("www-authenticate", 'Bearer realm="x", NTLM'),
    ]
    answer = await world.http.post(CHAT_PATH, headers={"authorization": f"Bearer {world.key}"}, json=CHAT)
    assert answer.headers.get_list("www-authenticate") == ['Bearer error="invalid_token"']


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-dest": "document", "sec-fetch-mode": "navigate"},
        {"sec-fetch-dest": "iframe"},
        {"sec-fetch-dest": "script"},
        {"sec-fetch-dest": "serviceworker", "service-worker": "script"},
        {"sec-fetch-dest": "image"},
        {"sec-fetch-dest": "Style"},
        {"service-worker": "script"},
        {"sec-fetch-dest": "empty", "service-worker": "Script"},
    ],
)
@pytest.mark.parametrize("path", ["/proxy/openai/v1/models", "/proxy/none/v1/models"])
async def test_what_a_browser_would_show_or_run_is_refused(
    world: World, replay: Replay, headers: dict[str, str], path: str
) -> None:
    """With a good key too, and nothing reaches the provider."""
    replay.asked.clear()
    answer = await world.http.get(path, headers={"authorization": f"Bearer {world.key}", **headers})
    assert (answer.status_code, answer.headers["x-paig-error"]) == (403, "not-allowed")
    assert replay.asked == []


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-dest": "empty"}, {"sec-fetch-mode": "cors"}])
async def test_a_program_and_a_fetch_pass(world: World, headers: dict[str, str]) -> None:
    """Without the headers, as from programs; with those of `fetch`."""
    sent = {"authorization": f"Bearer {world.key}", **headers}
    assert (await world.http.get("/proxy/openai/v1/models", headers=sent)).status_code == 200


async def test_a_page_puts_no_key_in_the_query(world: World) -> None:
    """A program may, as Google's clients do; a page's address is in histories and referrers."""
    path = f"/proxy/google/v1beta/models?key={world.key}"
    assert (await world.http.get(path)).status_code == 200
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-dest": "empty", "x-goog-api-key": world.key},
        {"sec-fetch-user": "?1"},
    ):
        answer = await world.http.get(path, headers=headers)
        assert (answer.status_code, answer.headers["x-paig-error"]) == (403, "not-allowed")
        assert world.key not in answer.text


async def test_pages_of_named_origins_may_call(world: World) -> None:
    """The browser asks first; the answer, errors included, is then readable for that origin alone."""
    asking = {
        "origin": APP,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
        "access-control-request-private-network": "true",
    }
    asked = await world.http.options(CHAT_PATH, headers=asking)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, APP)
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert asked.headers["access-control-allow-headers"] == "authorization,content-type"
    assert asked.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in asked.headers
    sent = {"origin": APP, "sec-fetch-dest": "empty", "authorization": f"Bearer {world.key}"}
    for headers, status in ((sent, 200), ({**sent, "authorization": "Bearer wrong"}, 401)):
        answer = await world.http.post(CHAT_PATH, headers=headers, json=CHAT)
        assert answer.status_code == status
        assert answer.headers.get_list("access-control-allow-origin") == [APP]
        assert answer.headers["access-control-expose-headers"] == "*"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{APP}.evil", "http://app.example.com"])
async def test_other_pages_are_told_nothing(world: World, origin: str) -> None:
    """No preflight passes, and no answer is readable."""
    asking = {"origin": origin, "access-control-request-method": "POST"}
    asked = await world.http.options(CHAT_PATH, headers=asking)
    sent = {"origin": origin, "authorization": f"Bearer {world.key}"}
    answer = await world.http.post(CHAT_PATH, headers=sent, json=CHAT)
    assert asked.status_code == 401
    for told in (asked, answer):
        assert not [name for name in told.headers if name.startswith("access-control-")]
        assert told.headers["vary"] == "origin"


async def test_no_page_may_call_unless_named(replayed: World) -> None:
    """Without `cors_origins` there is nothing for any origin."""
    asking = {"origin": APP, "access-control-request-method": "POST"}
    asked = await replayed.http.options(CHAT_PATH, headers=asking)
    assert asked.status_code == 401
    assert not [name for name in asked.headers if name.startswith("access-control-")]
