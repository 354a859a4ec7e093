"""What public bug reports taught about billing: each case through a real gateway, before a provider of its own.

A case is a file in `data`: a route, a request, what the provider answers, and what must come of it, with the report
that it is taken from and why the value is right. Names and texts are made up; the shapes are real. `{"@repeat": text,
"times": n}` and `{"@join": [...]}` stand for long texts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from paig_client.schema import ProviderSpec
from paig_gateway.providers.kinds import KINDS, base_url
from tests.gateway.end_to_end.conftest import UPSTREAM_KEY, World, running_world
from tests.recordings import unspliced

pytestmark = pytest.mark.anyio

FILES = sorted((Path(__file__).parent / "data").glob("*.json"))
CASES: list[dict[str, Any]] = [json.loads(path.read_text("utf-8")) for path in FILES]


def expand(value: Any) -> Any:
    """A value with its long texts written out."""
    if isinstance(value, dict):
        if "@repeat" in value:
            return value["@repeat"] * value["times"]
        if "@join" in value:
            return "".join(expand(part) for part in value["@join"])
        return {name: expand(part) for name, part in value.items()}
    return [expand(part) for part in value] if isinstance(value, list) else value


def raw(value: Any) -> bytes:
    """A body's bytes."""
    return value.encode() if isinstance(value, str) else json.dumps(value, separators=(",", ":")).encode()


@dataclass
class CaseProvider:
    """Answers each request as the case at hand says."""

    upstream: dict[str, Any] = field(default_factory=dict)
    base: str = ""
    path: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.path = head.split(b" ", 2)[1].decode("ascii")
                head = head.lower()
                length = re.search(rb"content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if not await self._answer(writer, body):
                    writer.transport.abort()
                    return
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, asked: bytes) -> bool:
        """Write an answer; whether it came to its end."""
        up = self.upstream
        status, headers, whole = up.get("status", 200), up.get("headers", {}), up.get("body")
        if "refuse_if" in up and up["refuse_if"].encode() in asked:
            status, headers, whole = up["refuse_status"], {"content-type": "application/json"}, up["refuse_body"]
        lines = [f"HTTP/1.1 {status} Case", *(f"{name}: {value}" for name, value in headers.items())]
        if whole is not None or "chunks" not in up:
            data = raw(whole if whole is not None else "")
            writer.write("\r\n".join([*lines, f"content-length: {len(data)}", "", ""]).encode() + data)
            await writer.drain()
            return True
        writer.write("\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode())
        for chunk in up["chunks"]:
            if isinstance(chunk, dict) and chunk.get("abort"):
                await writer.drain()
                await asyncio.sleep(0.05)  # what was written arrives before the connection breaks
                return False
            data = raw(chunk)
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def sent(self) -> bytes:
        """What the client must get."""
        chunks = self.upstream.get("chunks")
        if chunks is None:
            return raw(self.upstream.get("body", ""))
        return b"".join(raw(chunk) for chunk in chunks if not isinstance(chunk, dict))


def providers(base: str) -> dict[str, ProviderSpec]:
    """One provider of every kind that a case asks for, at the path that it has in the world."""
    found = {}
    for name in sorted({case["route"] for case in CASES}):
        kind = KINDS[name]
        own = base_url(kind, None, {})
        path = urlsplit(own).path if own else "/v1" if name == "openai-compatible" else ""
        settings = {"project": "p", "location": "global"} if name == "google-vertex" else {}
        url = f"{base}/{name}{path}"
        found[name] = ProviderSpec(kind=name, base_url=url, credential=f"value:{UPSTREAM_KEY}", **settings)
    return found


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[CaseProvider]:
    """The provider of all cases."""
    found = CaseProvider()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, limit=2**24)
    found.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield found


@pytest.fixture(scope="module")
async def world(
    environment: None, provider: CaseProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A gateway in front of it."""
    async with running_world(tmp_path_factory.mktemp("cases"), providers(provider.base), stored="shared") as running:
        yield running


async def send(world: World, case: dict[str, Any]) -> tuple[int, bytes, str]:
    """Send a case's request; status, body and the request's id."""
    asked = case["request"]
    headers = {"authorization": f"Bearer {world.key}", "content-type": "application/json", **asked["headers"]}
    data, url = b"", f"/proxy/{case['route']}{asked['path']}"
    content = raw(asked["body_text"] if "body_text" in asked else asked["body"])
    async with world.http.stream(asked["method"], url, headers=headers, content=content) as response:
        with contextlib.suppress(httpx2.HTTPError):  # cases that break off
            async for chunk in response.aiter_raw():
                data += chunk
        return response.status_code, data, response.headers["x-paig-request-id"]


@pytest.mark.parametrize("case", CASES, ids=[case["slug"] for case in CASES])
async def test_case(case: dict[str, Any], provider: CaseProvider, world: World) -> None:
    """What the case costs, counts and says is what the report says that it should."""
    case = expand(case)
    provider.upstream = case["upstream"]
    status, data, request_id = await send(world, case)
    row = await world.admin.request(request_id)
    expected = case["expected"]
    assert status == expected.get("status", case["upstream"].get("status", 200))
    if expected.get("bytes", True):
        assert unspliced(data) == provider.sent()
    if "cost" in expected:
        assert Decimal(row.cost) == Decimal(expected["cost"])
    assert Decimal(row.cost) >= Decimal(expected.get("min_cost", "0"))
    assert Decimal(row.cost) <= Decimal(expected.get("max_cost", "1000"))
    usage = row.usage or {}
    assert {name: usage.get(name) for name in expected.get("usage", {})} == expected.get("usage", {})
    if "certainty" in expected:
        assert row.certainty == expected["certainty"]
    assert row.certainty != expected.get("certainty_not")
    if "upstream_path" in expected:
        assert provider.path == expected["upstream_path"]
    if case.get("kind") == "K9" and row.reserved:
        assert Decimal(row.cost) <= Decimal(row.reserved)
    assert bool(row.certainty_reason) == (row.certainty not in (None, "exact"))
