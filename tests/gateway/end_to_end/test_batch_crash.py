"""Nodes killed while a batch is at work, or while its lines are charged: each line is charged once."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from paig_client.api.resources import LimitStatus
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.processes import KEY, Node, every_row, serving
from tests.gateway.end_to_end.test_crash import provider
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

HEADERS = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """None for the SQLite file of the gateway's home."""
    if request.param == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server.fresh_database()


def lines(count: int) -> bytes:
    """A file of a batch in which every fifth line fails."""
    found = []
    for number in range(count):
        prompt = "Hi [sim:status=500]" if number % 5 == 0 else "Hi"
        body = {"model": "gpt-4o-mini", "max_completion_tokens": 50, "messages": [{"role": "user", "content": prompt}]}
        one = {"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        found.append(json.dumps(one).encode())
    return b"\n".join(found)


async def make(node: Node, count: int) -> dict[str, Any]:
    """Upload a file and make a batch of it."""
    form, files = {"purpose": "batch"}, {"file": ("in.jsonl", lines(count))}
    file = (await node.http.post("/proxy/openai/files", headers=HEADERS, data=form, files=files)).json()["id"]
    body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    answer = await node.http.post("/proxy/openai/batches", headers=HEADERS, json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def poll(node: Node, id: str) -> dict[str, Any]:
    """Look at a batch until it has ended."""
    while True:
        found: dict[str, Any] = (await node.http.get(f"/proxy/openai/batches/{id}", headers=HEADERS)).json()
        if found["status"] == "completed":
            return found


async def fetch(node: Node, file: str) -> int:
    """Fetch results; how many."""
    found = await node.http.get(f"/proxy/openai/files/{file}/content", headers=HEADERS)
    return len(found.text.splitlines())


async def limit(node: Node) -> LimitStatus:
    """The one limit."""
    [found] = await node.admin.limits()
    return found


async def check(node: Node, count: int) -> None:
    """Each line has one row, failures cost nothing, and nothing is held any more."""

    async def charged() -> bool:
        return Decimal((await limit(node)).held) == 0

    await until(charged, seconds=60)
    rows = await every_row(node.admin)
    of_lines = [row for row in rows if "custom_id" in row.tags]
    assert Counter(row.tags["custom_id"] for row in of_lines) == {f"r-{number}": 1 for number in range(count)}
    answered = [row for row in of_lines if Decimal(row.cost) > 0]
    assert len(answered) == count - len(range(0, count, 5))
    assert {row.certainty for row in of_lines} == {"exact"}
    assert len({row.cost for row in answered}) == 1
    assert sum(Decimal(row.cost) for row in rows) == Decimal((await limit(node)).spent)
    usage = (await node.admin.usage(by=["key"])).items
    assert sum(Decimal(one.cost) for one in usage) == Decimal((await limit(node)).spent)


@pytest.mark.parametrize("count", [250, pytest.param(1000, marks=pytest.mark.slow)])
async def test_killed_while_lines_are_charged(tmp_path: Path, database: str | None, count: int) -> None:
    """The hold outlives its node, and the next one goes on where the lines stopped; nothing is charged twice."""
    async with provider(tmp_path) as (_, config):
        async with serving(tmp_path, config, database) as node:
            batch = await make(node, count)
            held = (await limit(node)).held
            assert Decimal(held) > 0
            node.process.kill()
            await node.process.wait()
        async with serving(tmp_path, config, database, die="after-lines") as node:
            assert (await limit(node)).held == held
            try:
                found = await poll(node, batch["id"])
                await fetch(node, found["output_file_id"])
            except httpx2.TransportError:
                pass  # it may die before the client has its answer
            assert await node.process.wait() == -9
        async with serving(tmp_path, config, database) as node:
            rows = await every_row(node.admin)
            assert 0 < len([row for row in rows if "custom_id" in row.tags]) <= count
            found = await poll(node, batch["id"])
            for _ in range(2):
                assert await fetch(node, found["output_file_id"]) == count - len(range(0, count, 5))
            await check(node, count)


async def test_two_nodes_look_at_once(tmp_path: Path, database: str | None) -> None:
    """Clients of two nodes see the end at the same moment: one of them charges, or both do, each line once."""
    async with (
        provider(tmp_path) as (_, config),
        serving(tmp_path, config, database) as one,
        serving(tmp_path, config, database) as other,
    ):
        batch = await make(one, 250)
        await poll(one, batch["id"])
        await asyncio.gather(*(poll(node, batch["id"]) for node in (one, other) * 5))
        await check(other, 250)


JOB = {
    "jobName": "nightly",
    "roleArn": "arn:aws:iam::123456789012:role/batch",
    "modelId": "amazon.nova-lite-v1:0",
    "clientRequestToken": "one-token",
    "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://requests/in.jsonl"}},
    "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://results/out/"}},
}


@asynccontextmanager
async def bedrock(home: Path, count: int) -> AsyncIterator[Path]:
    """A simulated Bedrock, whose bucket has the requests, and a configuration that names it."""
    async with provider(home) as (simulator, config):
        found = []
        for number in range(count):
            prompt = "Hi [sim:status=400]" if number % 5 == 0 else "Hi"
            body = {"messages": [{"role": "user", "content": [{"text": prompt}]}], "inferenceConfig": {"maxTokens": 50}}
            found.append(json.dumps({"recordId": f"r-{number}", "modelInput": body}).encode())
        simulator.buckets.put("s3://requests/in.jsonl", b"\n".join(found))
        base = re.findall('base_url = "(.*)/openai/v1"', config.read_text())[0]
        more = f'''
[providers.bedrock]
kind = "bedrock"
base_url = "{base}/bedrock"
storage_url = "{base}/s3"
credential = "value:AKIAIOSFODNN7EXAMPLE:secret"
'''
        config.write_text(config.read_text() + more)
        yield config


async def start_job(node: Node) -> str:
    """Create the job; its short id."""
    answer = await node.http.post("/proxy/bedrock/model-invocation-job", headers=HEADERS, json=JOB)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["jobArn"]).rpartition("/")[2]


async def poll_job(node: Node, id: str) -> None:
    """Look at the job until it has ended."""
    status = ""
    while status != "Completed":
        status = (await node.http.get(f"/proxy/bedrock/model-invocation-job/{id}", headers=HEADERS)).json()["status"]


async def test_a_bucket_batch_of_two_nodes(tmp_path: Path, database: str | None) -> None:
    """The same token at two nodes at once makes one job; one node dies while it charges, the other one goes on."""
    count = 210
    async with bedrock(tmp_path, count) as config, serving(tmp_path, config, database) as other:
        async with serving(tmp_path, config, database, die="after-lines") as node:
            ids = set(await asyncio.gather(*(start_job(one) for one in (node, other) * 3)))
            assert len(ids) == 1
            id = ids.pop()

            async def one_hold() -> bool:
                rows = await every_row(other.admin)
                return len(rows) == 6 and [row.state for row in rows].count("open") == 1

            await until(one_hold)
            with suppress(httpx2.TransportError):  # it may die before the client has its answer
                await poll_job(node, id)
            assert await node.process.wait() == -9
        await asyncio.gather(*(poll_job(other, id) for _ in range(3)))
        await check(other, count)
        assert await start_job(other) == id
        await check(other, count)
