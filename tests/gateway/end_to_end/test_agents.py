"""Sixty-four agents of four kinds on one small cap: it is never overrun, and nearly all of it is of use."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.processes import KEY, Node, every_row, serving

pytestmark = pytest.mark.anyio

CAP = Decimal(2)
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{base}/openai/v1"
credential = "value:upstream"
[providers.anthropic]
kind = "anthropic"
base_url = "{base}/anthropic"
credential = "value:upstream"
[providers.google]
kind = "google"
base_url = "{base}/google"
credential = "value:upstream"
[keys.shared]
secret = "env:SHARED_KEY"
when_tight = "lower"
limits = {{ total = {cap} }}
"""
STORY = "[sim:tokens=400] Tell me a story. "
TOOLS = "x" * 200_000
"""What a coding agent sends along with each request."""
KINDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "gpt-5 without a maximum": (
        "/proxy/openai/v1/chat/completions", {"model": "gpt-5", "messages": [{"role": "user", "content": STORY}]},
    ),
    "claude with 64,000": (
        "/proxy/anthropic/v1/messages",
        {
            "model": "claude-sonnet-4-5", "max_tokens": 64_000, "messages": [{"role": "user", "content": STORY}],
        },
    ),
    "gemini": (
        "/proxy/google/v1beta/models/gemini-2.5-flash:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": STORY}]}]},
    ),
    "codex with 200 KB": (
        "/proxy/openai/v1/responses",
        {
            "model": "gpt-5-mini", "instructions": TOOLS, "input": [{"role": "user", "content": STORY}],
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("database", ["sqlite, 1 node", "postgresql, 3 nodes"])
async def test_agents_share_a_cap(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> None:
    """Each goes on until it is told that trying again is no use."""
    url = None
    if database.startswith("postgresql"):
        server: Postgres = request.getfixturevalue("postgres")
        url = server.fresh_database()
    config = tmp_path / "paig.toml"
    async with running_simulator(Simulator(keep=20_000)) as base, AsyncExitStack() as stack:
        config.write_text(CONFIG.format(base=base, cap=CAP))
        nodes = [await stack.enter_async_context(serving(tmp_path, config, url)) for _ in range(3 if url else 1)]
        agents = [
            asyncio.create_task(_work(nodes[number % len(nodes)], kind)) for kind in KINDS for number in range(16)
        ]
        statuses: Counter[tuple[str, int]] = Counter()
        for kind, counted in zip(
            (kind for kind in KINDS for _ in range(16)), await asyncio.gather(*agents), strict=True
        ):
            statuses.update({(kind, status): count for status, count in counted.items()})
        [limit] = await nodes[0].admin.limits()
        spent = Decimal(limit.spent)
        assert Decimal(limit.held) == 0
        assert Decimal("0.95") * CAP <= spent <= CAP, (spent, statuses)
        assert {status for _, status in statuses} <= {200, 400, 402}, statuses
        assert all(statuses[kind, 200] for kind in KINDS), statuses
        rows = await every_row(nodes[-1].admin)
        assert sum(Decimal(row.cost) for row in rows) == spent


async def _work(node: Node, kind: str) -> Counter[int]:
    """Send one request after another; the statuses of those that were not told to try again."""
    path, body = KINDS[kind]
    found: Counter[int] = Counter()
    content = json.dumps(body).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    while True:
        answer: httpx2.Response = await node.http.post(path, headers=headers, content=content, timeout=60)
        if "retry-after" in answer.headers:
            await asyncio.sleep(min(1.0, float(answer.headers["retry-after"])))
            continue
        found[answer.status_code] += 1
        if answer.status_code != 200:
            return found
