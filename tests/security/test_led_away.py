"""Providers that lead a client elsewhere, garble their answers, or send nothing but blank lines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateway.end_to_end.conftest import World, replayed_providers, running_world
from tests.gateway.end_to_end.replay import Replay
from tests.gateway.end_to_end.test_refusals import settled

pytestmark = pytest.mark.anyio

CHAT_PATH, MESSAGES_PATH = "/proxy/openai/v1/chat/completions", "/proxy/anthropic/v1/messages"
CHAT = {"model": "gpt-5-nano", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}
MESSAGES = {**CHAT, "model": "claude-haiku-4-5"}
JSON, SSE = [("content-type", "application/json")], [("content-type", "text/event-stream")]
USAGE = b'data: {"id":"c","model":"gpt-5-nano","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
async def world(environment: None, replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway before a provider that answers as it is told."""
    async with running_world(tmp_path_factory.mktemp("home"), replayed_providers(replay.base)) as running:
        yield running


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key"])
@pytest.mark.parametrize("status", [302, 307, 308])
@pytest.mark.parametrize("name", ["location", "operation-location"])
async def test_a_redirect_takes_no_key_elsewhere(
    world: World, replay: Replay, header: str, status: int, name: str
) -> None:
    """Clients send all their headers but `authorization` to whatever host a redirect names."""
    replay.status, replay.pieces, replay.cut = status, [b""], False
    key = f"Bearer {world.key}" if header == "authorization" else world.key
    sent = {header: key, "anthropic-version": "2023-06-01"}
    for place, passes in (
        ("https://evil.example/steal", header == "authorization"), ("//evil.example/", header == "authorization"),
        ("/\\evil.example/", header == "authorization"), ("/\t/evil.example/", header == "authorization"),
        ("/v1/messages/", True),
    ):  # fmt: skip
        replay.headers = [(name, place)]
        answer = await world.http.post(MESSAGES_PATH, headers=sent, json=MESSAGES, follow_redirects=False)
        assert (answer.status_code, name in answer.headers) == (status, passes), place


@pytest.mark.parametrize(
    ("headers", "piece", "stream"),
    [
        (JSON, b'{"id":"x","model":"gpt-5-nano","choices":[],"usage":{"prompt_tokens":NaN}}', False),
        (SSE, b'data: {"id":"c","model":"data: {"id":"c"}\n\n' + DONE, True),
    ],
)  # fmt: skip
async def test_a_garbled_answer_is_not_free(
    world: World, replay: Replay, headers: list[tuple[str, str]], piece: bytes, stream: bool
) -> None:
    """It was meant to be an answer, and what it cost cannot be read."""
    replay.status, replay.headers, replay.pieces, replay.cut = 200, headers, [piece], False
    sent = {"authorization": f"Bearer {world.key}"}
    answer = await world.http.post(CHAT_PATH, headers=sent, json={**CHAT, "stream": stream})
    row = await settled(world, answer.headers["x-paig-request-id"])
    assert (row.certainty, row.cost) == ("ceiling", row.reserved)


@pytest.mark.parametrize("flood", [b"\n", b"\n\n", b":\n\n", b"\r\n", b"id:\n\n"])
async def test_blank_lines_take_no_time(world: World, replay: Replay, flood: bytes) -> None:
    """Four megabytes of nothing are through before the client gives up, and the usage after them counts."""
    replay.status, replay.headers, replay.cut = 200, SSE, False
    replay.pieces = [*[flood * (250_000 // len(flood))] * 16, b"\n\n" + USAGE, DONE]
    sent = {"authorization": f"Bearer {world.key}"}
    answer = await world.http.post(CHAT_PATH, headers=sent, json={**CHAT, "stream": True})
    row = await settled(world, answer.headers["x-paig-request-id"])
    assert (row.certainty, row.usage["output_tokens"]) == ("exact", 5)
