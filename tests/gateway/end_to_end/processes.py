"""Gateways in processes of their own, so that they can be several on one database, and be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from paig_client.admin import AsyncAdminClient
from paig_client.api.resources import Request
from tests.gateway.end_to_end.conftest import ADMIN

ROOT = Path(__file__).parents[3]
KEY = "paig_shared_key_0123456789"
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{base}/openai/v1"
credential = "value:upstream"

[keys.shared]
secret = "env:SHARED_KEY"
limits = {{ daily = {cap} }}
"""


@dataclass
class Node:
    """A running `paig serve`."""

    process: asyncio.subprocess.Process
    origin: str
    http: httpx2.AsyncClient
    admin: AsyncAdminClient

    async def ask(self, prompt: str, *, stream: bool = False, most: int = 200) -> int | None:
        """One chat completion; its status, or None where the connection broke."""
        try:
            response = await self.http.post(
                "/proxy/openai/chat/completions",
                headers={"authorization": f"Bearer {KEY}"},
                json={
                    "model": "gpt-4o-mini",
                    "max_completion_tokens": most,
                    "stream": stream,
                    "messages": [{"role": "user", "content": prompt}],
                },
            )
        except httpx2.TransportError:
            return None
        return response.status_code


@asynccontextmanager
async def serving(home: Path, config: Path, database: str | None = None, die: str = "") -> AsyncIterator[Node]:
    """`paig serve` in a process of its own; `die` names the step of a request at which it kills itself."""
    environment = {
        **os.environ,
        "PAIG_HOME": str(home),
        "PAIG_SECRET_KEY": "a-secret-key-for-tests-0123456789",
        "PAIG_ADMIN_TOKEN": ADMIN,
        "SHARED_KEY": KEY,
    }
    if database:
        environment["PAIG_DATABASE_URL"] = database
    else:
        environment.pop("PAIG_DATABASE_URL", None)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.gateway.end_to_end.mortal", die, "serve", "--config", str(config), "--port", "0"),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = b""
        while not said.startswith(b"paig serves at "):
            said = await process.stdout.readline()
            assert said, "the gateway ended before it served"
        origin = said.decode().split()[3]
        async with (
            httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60) as http,
            AsyncAdminClient(origin, token=ADMIN) as admin,
        ):
            while True:
                try:
                    if (await http.get("/readyz")).status_code == 200:
                        break
                except httpx2.TransportError:
                    assert process.returncode is None, "the gateway ended"
                await asyncio.sleep(0.05)
            yield Node(process, origin, http, admin)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


async def every_row(admin: AsyncAdminClient, key: str | None = None) -> list[Request]:
    """The whole ledger, page by page."""
    rows: list[Request] = []
    cursor: str | None = None
    while True:
        page = await admin.requests(key=key, limit=500, cursor=cursor)
        rows += page.items
        if (cursor := page.next_cursor) is None:
            return rows
