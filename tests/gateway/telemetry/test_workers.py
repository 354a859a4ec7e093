"""Several worker processes of one node: scraped they are one, pushed each speaks for itself."""

from __future__ import annotations

import asyncio
import os
import signal
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from paig_client.admin import AdminError, AsyncAdminClient
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.telemetry.conftest import serving
from tests.gateway.telemetry.otlp import Receiver, over_http, until

pytestmark = pytest.mark.anyio

CONFIG = """
[telemetry]
export_metrics = {{ endpoint = "{receiver}" }}
export_metrics_seconds = 1

[providers.openai]
kind = "openai"
base_url = "{base}/openai/v1"
credential = "value:upstream"

[keys.many]
secret = "env:MANY_KEY"
"""
KEY = "paig_many_key_0123456789"
BODY = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 50}
REQUESTS = 24


async def test_the_numbers_of_several_workers(tmp_path: Path) -> None:
    """`/metrics` adds all up, whichever is asked, and no counter falls; over OTLP each is an instance of its own."""
    secrets = {
        "PAIG_SECRET_KEY": "secret-key-0123456789-abc",
        "PAIG_ADMIN_TOKEN": "token-0123456789-abcdefgh",
        "MANY_KEY": KEY,
    }
    with over_http() as receiver:
        async with running_simulator() as base:
            config = CONFIG.format(base=base, receiver=receiver.url)
            async with (
                serving(tmp_path, config, "--workers", "2", **secrets) as served,
                # Each request on a connection of its own, so that both workers get some.
                httpx2.AsyncClient(
                    base_url=served.origin, headers={"connection": "close"}, trust_env=False, verify=False, timeout=30
                ) as http,
            ):
                await scraped_as_one(http)
                await until(lambda: sum(counts[-1] for counts, _ in by_instance(receiver).values()) == REQUESTS)
    instances = by_instance(receiver)
    assert len(instances) == 2
    assert sum(counts[-1] for counts, _ in instances.values()) == REQUESTS
    for counts, began in instances.values():
        assert counts == sorted(counts)
        assert len(began) <= 1
    assert served.log == "", "a gateway in good health says nothing"


async def scraped_as_one(http: httpx2.AsyncClient) -> None:
    """Send the requests, and scrape after each."""

    async def scraped(name: str) -> float:
        try:
            response = await http.get("/metrics")
        except httpx2.TransportError:  # it is still beginning
            return 0
        families = text_string_to_metric_families(response.text if response.status_code == 200 else "")
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    counts = [0.0]
    async with asyncio.timeout(60):
        workers = 0.0
        while workers < 2:
            await asyncio.sleep(0.1)
            workers = await scraped("paig_workers")
        for _ in range(REQUESTS):
            headers = {"authorization": f"Bearer {KEY}"}
            answer = await http.post("/proxy/openai/chat/completions", json=BODY, headers=headers)
            assert answer.status_code == 200
            counts.append(await scraped("paig_requests_total"))
        while counts[-1] < REQUESTS:
            await asyncio.sleep(0.1)
            counts.append(await scraped("paig_requests_total"))
    assert counts == sorted(counts)
    assert counts[-1] == REQUESTS


def by_instance(receiver: Receiver) -> dict[str, tuple[list[int], set[int]]]:
    """By `service.instance.id`: the requests counted in each push, and when the counting began."""
    found: dict[str, tuple[list[int], set[int]]] = {}
    for export in list(receiver.metrics):
        for resource in export.resource_metrics:
            named = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            counts, began = found.setdefault(named["service.instance.id"], ([], set()))
            points = [
                point
                for scope in resource.scope_metrics
                for metric in scope.metrics
                if metric.name == "paig.requests"
                for point in metric.sum.data_points
            ]
            counts.append(sum(point.as_int for point in points))
            began |= {point.start_time_unix_nano for point in points}
    return found


SLOW = {**BODY, "messages": [{"role": "user", "content": "[sim:delay=20] Hi"}]}


@pytest.mark.slow
async def test_the_numbers_agree_with_the_ledger_after_a_worker_was_killed(tmp_path: Path) -> None:
    """What it finished just before, and what is charged in its place; and what it held is gone from the gauges."""
    secrets = {
        "PAIG_SECRET_KEY": "secret-key-0123456789-abc",
        "PAIG_ADMIN_TOKEN": "token-0123456789-abcdefgh",
        "MANY_KEY": KEY,
    }
    config = CONFIG.partition("[telemetry]")[0] + "[providers" + CONFIG.partition("[providers")[2]
    async with (
        running_simulator() as base,
        serving(tmp_path, config.format(base=base), "--workers", "2", **secrets) as served,
        httpx2.AsyncClient(
            base_url=served.origin, headers={"connection": "close"}, trust_env=False, verify=False, timeout=60
        ) as http,
        AsyncAdminClient(served.origin, token=secrets["PAIG_ADMIN_TOKEN"], verify=False) as admin,
    ):
        headers = {"authorization": f"Bearer {KEY}"}

        async def ask(body: object) -> int | None:
            try:
                answer = await http.post("/proxy/openai/chat/completions", json=body, headers=headers)
            except httpx2.TransportError:
                return None
            return answer.status_code

        async def scraped(name: str) -> float:
            try:
                text = (await http.get("/metrics")).text
            except httpx2.TransportError:
                return -1
            families = text_string_to_metric_families(text)
            return sum(sample.value for family in families for sample in family.samples if sample.name == name)

        async def until_scraped(name: str, wanted: float) -> None:
            async with asyncio.timeout(60):
                while (found := await scraped(name)) != pytest.approx(wanted, rel=1e-9):
                    await asyncio.sleep(0.2)
                    assert found <= wanted or name in GAUGES, (name, found, wanted)

        await until_scraped("paig_workers", 2)
        slow = [asyncio.create_task(ask(SLOW)) for _ in range(8)]
        await until_scraped("paig_requests_in_flight", 8)
        for _ in range(12):
            assert await ask(BODY) == 200
        os.kill(workers_of(served.process.pid)[0], signal.SIGKILL)
        done = await asyncio.gather(*slow)
        killed = done.count(None)
        async with asyncio.timeout(90):
            while True:
                try:
                    rows = (await admin.requests(limit=100)).items
                except AdminError:
                    rows = []
                if len(rows) == 20 and all(row.state == "settled" for row in rows):
                    break
                await asyncio.sleep(0.3)
        # An answer may have reached its client before it was settled: that request too is charged at its ceiling.
        assert sum(row.error == "node-lost" for row in rows) >= killed
        await until_scraped("paig_requests_total", 20)
        await until_scraped("paig_cost_dollars_total", float(sum(Decimal(row.cost) for row in rows)))
        await until_scraped("paig_requests_in_flight", 0)
        await until_scraped("paig_reserved_dollars", 0)
        await until_scraped("paig_workers", 2)


def workers_of(pid: int) -> list[int]:
    """The process ids of a gateway's workers."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


GAUGES = {"paig_workers", "paig_requests_in_flight", "paig_reserved_dollars"}
