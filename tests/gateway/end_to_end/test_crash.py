"""`kill -9` with requests in flight: after a restart each has one row, and none is free."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from paig_client.admin import AsyncAdminClient
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator

pytestmark = pytest.mark.anyio

CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{base}/openai/v1"
credential = "value:upstream"

[keys.crash]
secret = "env:CRASH_KEY"
limits = {{ daily = 100 }}
"""


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def serving(home: Path, config: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """`paig serve` in a process of its own."""
    environment = {
        **os.environ,
        "PAIG_HOME": str(home),
        "PAIG_SECRET_KEY": "crash",
        "PAIG_ADMIN_TOKEN": "crash",
        "CRASH_KEY": "paig_crash_key_0123456789",
    }
    command = "import sys; from paig_client.cli import main; sys.argv[0] = 'paig'; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", command, "serve", "--config", str(config), "--port", str(port)),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx2.AsyncClient(trust_env=False) as http:
            for _ in range(400):
                try:
                    if (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                        break
                except httpx2.TransportError:
                    assert process.returncode is None, "the gateway ended"
                await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def test_kill_nine_with_50_requests_in_flight(tmp_path: Path) -> None:
    """Every request that was dispatched has one row after the restart, charged at its ceiling."""
    simulator = Simulator()
    async with running_simulator(simulator) as base:
        config, port = tmp_path / "paig.toml", free_port()
        config.write_text(CONFIG.format(base=base))
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=30, limits=httpx2.Limits(max_connections=100)) as http,
            serving(tmp_path, config, port) as process,
        ):

            async def ask(number: int) -> int | None:
                prompt = (
                    f"[sim:delay=20] {number}" if number % 2 else f"[sim:tokens=500] [sim:chunk_delay=0.1] {number}"
                )
                try:
                    response = await http.post(
                        f"http://127.0.0.1:{port}/proxy/openai/chat/completions",
                        headers={"authorization": "Bearer paig_crash_key_0123456789"},
                        json={
                            "model": "gpt-4o-mini",
                            "max_completion_tokens": 500,
                            "stream": number % 2 == 0,
                            "messages": [{"role": "user", "content": prompt}],
                        },
                    )
                except httpx2.TransportError:
                    return None
                return response.status_code

            asked = [asyncio.create_task(ask(number)) for number in range(50)]
            for _ in range(1000):
                if len(simulator.requests) == 50:
                    break
                await asyncio.sleep(0.02)
            process.kill()
            await process.wait()
            assert await asyncio.gather(*asked) == [None] * 50

        with sqlite3.connect(tmp_path / "paig.db") as database:
            assert database.execute("select count(*) from requests where state = 'open'").fetchone() == (50,)

        async with (
            serving(tmp_path, config, port),
            AsyncAdminClient(f"http://127.0.0.1:{port}", token="crash") as admin,
        ):
            rows = (await admin.requests(limit=500)).items
            [limit] = await admin.limits()
    assert Counter((row.state, row.certainty) for row in rows) == {("settled", "ceiling"): 50}
    assert len({row.id for row in rows}) == 50
    assert all(Decimal(row.cost) == Decimal(row.reserved) > 0 for row in rows)
    assert sum(Decimal(row.cost) for row in rows) == Decimal(limit.spent)
    assert Decimal(limit.held) == 0
