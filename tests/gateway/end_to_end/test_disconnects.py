"""A client that leaves in mid-stream does not leave the bill behind: the upstream is drained, the row is exact."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from paig_gateway.config import ServerSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import World, running_world, simulated_providers
from tests.gateway.end_to_end.test_refusals import settled

pytestmark = pytest.mark.anyio

TALK = "[sim:tokens=60] [sim:chunk_delay=0.005] Tell me a long story"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0"
GEMINI = {"contents": [{"role": "user", "parts": [{"text": TALK}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": TALK}]}]}
CHAT = {"messages": [{"role": "user", "content": TALK}], "stream": True}
INVOKE = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": TALK}],
}

STREAMS = [
    ("/openai/v1/chat/completions", {**CHAT, "model": "gpt-4o-mini"}),
    ("/openai/v1/responses", {"model": "gpt-4o-mini", "input": TALK, "stream": True}),
    ("/anthropic/v1/messages", {**CHAT, "model": "claude-sonnet-4-5", "max_tokens": 200}),
    ("/google/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", GEMINI),
    ("/google/v1beta/models/gemini-2.5-flash:streamGenerateContent", GEMINI),
    ("/google-vertex/v1beta1/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse", GEMINI),
    ("/groq/openai/v1/chat/completions", {**CHAT, "model": "llama-3.3-70b-versatile"}),
    (f"/bedrock/model/{CLAUDE}/converse-stream", CONVERSE),
    (f"/bedrock/model/{CLAUDE}/invoke-with-response-stream", INVOKE),
]


async def leave_early(world: World, path: str, body: Any, pause: float = 0.1) -> str:
    """Read a little of the answer, then hang up; the request's id."""
    at = urlsplit(world.origin)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    content = json.dumps(body).encode()
    head = (
        f"POST /proxy{path} HTTP/1.1\r\nhost: {at.netloc}\r\nauthorization: Bearer {world.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    writer.write(head.encode() + content)
    answer = await reader.readuntil(b"\r\n\r\n")
    # A few events in, so that there is something to count.
    await reader.readuntil(b"\r\n")
    await asyncio.sleep(pause)
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return next(line.split(": ")[1] for line in answer.decode().split("\r\n") if line.startswith("x-paig-request-id: "))


@pytest.mark.parametrize(("path", "body"), STREAMS, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_client_that_leaves_is_billed_for_all(simulated: World, path: str, body: Any) -> None:
    """The row holds the provider's true usage of the whole answer, labelled exact."""
    row = await settled(simulated, await leave_early(simulated, path, body))
    assert row.certainty == "exact"
    assert row.usage["output_tokens"] == 60


async def test_draining_is_bounded_by_time(environment: None, tmp_path: Path) -> None:
    """After `drain_seconds` the upstream is hung up on, and what had come is charged as an estimate."""
    async with running_simulator(Simulator()) as base:
        server = ServerSpec(drain_seconds=0.5)
        async with running_world(tmp_path, simulated_providers(base), server) as world:
            prompt = "[sim:tokens=200] [sim:chunk_delay=0.5] Tell me a story"
            long = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": prompt}]}
            row = await settled(world, await leave_early(world, "/openai/v1/chat/completions", long, 1.2))
    assert (row.certainty, row.error) == ("estimated", "client-gone")
    assert row.usage["output_tokens"] > 0


async def test_with_the_policy_cancel_the_upstream_is_hung_up_on(simulated: World, simulator: Simulator) -> None:
    """Where the provider's policy is `cancel`, generation stops, and what had come is charged as an estimate."""
    spec = await simulated.admin.providers.get("openai")
    await simulated.admin.providers.update("openai", {"on_disconnect": "cancel"})
    assert spec.kind == "openai"
    long = {**CHAT, "model": "gpt-4o-mini"}
    long["messages"] = [{"role": "user", "content": "[sim:tokens=200] [sim:chunk_delay=0.5] Tell me a story"}]
    try:
        row = await settled(simulated, await leave_early(simulated, "/openai/v1/chat/completions", long, 1.2))
    finally:
        await simulated.admin.providers.update("openai", {"on_disconnect": "drain"})
    assert (row.certainty, row.error) == ("estimated", "client-gone")
    assert row.usage["output_tokens"] > 0
    assert row.ms_total < 3000
