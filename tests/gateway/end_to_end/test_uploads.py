"""Files of any size, through the whole gateway: bounded memory, back-pressure, owners, resumable uploads."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from paig_client.api.specs import ProviderSpec, RouteSpec
from paig_gateway.config import ServerSpec
from tests.gateway.end_to_end.conftest import World, running_world
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
PIECE = bytes(range(256)) * 256  # 64 KB
HEAD = b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
FILE = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
TAIL = b"\r\n--xyz--\r\n"


def resident() -> int:
    """The memory of this process, in which the gateway runs too, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Sink:
    """A provider that reads bodies piece by piece.

    Attributes:
        goes: It reads bodies as long as this is set.
        answers: What it answers, by method and path: status, headers, body.
        drop_after: It closes a connection after so many bytes of a body.
        size: Bytes of bodies that have come.
        digest: Of all of them.
        most_memory: The largest memory that was seen meanwhile.
        served: How many bodies came whole.
        heads: The requests' heads.
    """

    answers: Callable[[str, str, bytes], tuple[int, dict[str, str], bytes]] = lambda method, path, body: (
        200, {}, b'{"id":"file-1","object":"file"}'
    )  # fmt: skip
    drop_after: int | None = None
    base: str = ""
    goes: asyncio.Event = field(default_factory=asyncio.Event)
    size: int = 0
    digest: object = field(default_factory=hashlib.sha256)
    most_memory: int = 0
    served: int = 0
    heads: list[str] = field(default_factory=list)
    download: int = 0
    written: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.heads.append(head)
                body = bytearray()
                async for data in self._body(head.lower(), reader):
                    await self.goes.wait()
                    self.size += len(data)
                    self.digest.update(data)  # type: ignore[attr-defined]
                    self.most_memory = max(self.most_memory, resident())
                    if len(body) < MB:
                        body += data
                    if self.drop_after is not None and self.size > self.drop_after:
                        writer.transport.abort()
                        return
                self.served += 1
                method, path, _ = head.partition("\r\n")[0].split(" ")
                if self.download and method == "GET":
                    await self._download(writer)
                    continue
                status, headers, answer = self.answers(method, path, bytes(body))
                lines = [f"{name}: {value}" for name, value in {"content-type": "application/json", **headers}.items()]
                lines.append(f"content-length: {len(answer)}")
                writer.write(f"HTTP/1.1 {status} Sink\r\n".encode() + "\r\n".join([*lines, "", ""]).encode() + answer)
                await writer.drain()
        writer.close()

    async def _body(self, head: str, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        if "transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                yield await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
            return
        left = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
        while left:
            await self.goes.wait()
            data = await reader.read(min(left, 65536))
            if not data:
                raise ConnectionResetError
            left -= len(data)
            yield data

    async def _download(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n")
        writer.write(b"content-length: %d\r\n\r\n" % self.download)
        for _ in range(self.download // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()
            self.written += len(PIECE)
            self.most_memory = max(self.most_memory, resident())


@asynccontextmanager
async def running_sink(**more: object) -> AsyncIterator[Sink]:
    """A sink on a free port."""
    sink = Sink(**more)  # type: ignore[arg-type]
    sink.goes.set()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=65536)
    sink.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield sink


@pytest.fixture(scope="module")
async def second() -> AsyncIterator[Sink]:
    """Another account."""
    async with running_sink() as running:
        yield running


@pytest.fixture(scope="module")
async def sink() -> AsyncIterator[Sink]:
    """The account."""
    async with running_sink() as running:
        yield running


@pytest.fixture(scope="module")
async def world(
    environment: None, sink: Sink, second: Sink, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A gateway that passes uploads of 100 MB and holds bodies of 1 MB."""
    specs = {
        "openai": ProviderSpec(kind="openai", base_url=f"{sink.base}/v1", credential="value:a"),
        "second": ProviderSpec(kind="openai", base_url=f"{second.base}/v1", credential="value:b"),
        "nowhere": ProviderSpec(kind="openai", base_url="http://127.0.0.1:1/v1", credential="value:c"),
        "google": ProviderSpec(kind="google", base_url=sink.base, credential="value:d"),
    }
    server = ServerSpec(max_body_mb=1, max_upload_mb=100)
    async with running_world(tmp_path_factory.mktemp("home"), specs, server) as running:
        for name, first in (("falls", "openai"), ("refused", "nowhere")):
            both = {"members": [{"provider": first, "priority": 9}, {"provider": "second"}]}
            await running.admin.routes.create(name, RouteSpec.model_validate(both))
        yield running


@pytest.fixture(autouse=True)
def reset(request: pytest.FixtureRequest) -> None:
    """Each test counts anew."""
    for name in {"sink", "second"} & set(request.fixturenames):
        one: Sink = request.getfixturevalue(name)
        fresh = Sink()
        for attribute in ("answers", "drop_after", "size", "digest", "most_memory", "served", "heads", "download"):
            setattr(one, attribute, getattr(fresh, attribute))
        one.written = 0
        one.goes.set()


@asynccontextmanager
async def posting(
    world: World, path: str, length: int | None, content_type: str = "multipart/form-data; boundary=xyz"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A request whose head has gone."""
    parts = urlsplit(world.origin)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    writer.write(
        f"POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {world.key}\r\n"
        f"content-type: {content_type}\r\n{framing}\r\nconnection: close\r\n\r\n".encode()
    )
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]), headers, await reader.read()


async def test_a_large_file_passes_with_bounded_memory(world: World, sink: Sink) -> None:
    """64 MB: the same bytes arrive, and the process, client and provider included, never holds much of them."""
    pieces = 64 * MB // len(PIECE)
    expected = hashlib.sha256(HEAD + FILE)
    async with posting(world, "/proxy/openai/v1/files", len(HEAD + FILE + TAIL) + pieces * len(PIECE)) as (
        reader,
        writer,
    ):
        before = resident()
        writer.write(HEAD + FILE)
        for _ in range(pieces):
            writer.write(PIECE)
            expected.update(PIECE)
            await writer.drain()
        writer.write(TAIL)
        expected.update(TAIL)
        status, headers, body = await answer(reader)
    assert (status, json.loads(body)["id"]) == (200, "file-1")
    assert sink.digest.hexdigest() == expected.hexdigest()  # type: ignore[attr-defined]
    assert sink.most_memory - before < 24 * MB
    assert "content-length: " in sink.heads[0].lower()
    row = await world.admin.request(headers["x-paig-request-id"])
    assert (row.status, row.cost, row.format) == (200, Decimal(0), "files")
    listed = await world.http.get("/proxy/openai/v1/files/file-1", headers={"authorization": f"Bearer {world.key}"})
    assert listed.status_code == 200


async def test_a_provider_that_takes_it_slowly_makes_the_client_wait(world: World, sink: Sink) -> None:
    """What the client can send while the provider reads nothing is what the buffers on the way hold."""
    sink.goes.clear()
    pieces = 90 * MB // len(PIECE)
    async with posting(world, "/proxy/openai/v1/files", None) as (reader, writer):

        def write(data: bytes) -> None:
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))

        write(HEAD + FILE)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < pieces:
                write(PIECE)
                sent += 1
                async with asyncio.timeout(1):
                    await writer.drain()
        assert sent < pieces
        sink.goes.set()
        for _ in range(8):
            write(PIECE)
            await writer.drain()
        write(TAIL)
        writer.write(b"0\r\n\r\n")
        status, _, _ = await answer(reader)
    assert status == 200
    assert sink.size == len(HEAD + FILE + TAIL) + (sent + 8) * len(PIECE)
    assert "transfer-encoding: chunked" in sink.heads[0].lower()


async def test_a_client_that_reads_slowly_makes_the_provider_wait(world: World, sink: Sink) -> None:
    """A download of 64 MB: while the client reads nothing, the provider can write what the buffers hold; then all."""
    sink.answers = lambda method, path, body: (200, {}, b'{"id":"file-down"}')
    headers = {"authorization": f"Bearer {world.key}"}
    form = {"content-type": "multipart/form-data; boundary=xyz"}
    made = await world.http.post("/proxy/openai/v1/files", content=HEAD + TAIL[2:], headers={**headers, **form})
    assert made.status_code == 200, made.text
    sink.download, sink.most_memory = 64 * MB, 0
    before = resident()
    parts = urlsplit(world.origin)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=65536)
    writer.write(
        f"GET /proxy/openai/v1/files/file-down/content HTTP/1.1\r\nhost: gateway\r\n"
        f"authorization: Bearer {world.key}\r\nconnection: close\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    seen: list[int] = []

    async def waits() -> bool:
        seen.append(sink.written)
        await asyncio.sleep(0.3)
        return seen[-1] == sink.written > 0

    await until(waits)
    assert sink.written < 40 * MB
    size = 0
    while data := await reader.read(65536):
        size += len(data)
    writer.close()
    assert size == 64 * MB
    assert sink.most_memory - before < 24 * MB


async def test_no_other_member_after_the_first_byte(world: World, sink: Sink, second: Sink) -> None:
    """A provider that breaks off in the middle is told; one that cannot be reached is passed over."""
    sink.drop_after = 100_000
    async with posting(world, "/proxy/falls/v1/files", len(HEAD + FILE + TAIL) + 4 * len(PIECE)) as (reader, writer):
        writer.write(HEAD + FILE + 4 * PIECE + TAIL)
        status, headers, _ = await answer(reader)
    assert (status, headers["x-paig-error"]) == (502, "upstream-unreachable")
    assert second.heads == []
    async with posting(world, "/proxy/refused/v1/files", len(HEAD + FILE + TAIL) + 4 * len(PIECE)) as (reader, writer):
        writer.write(HEAD + FILE + 4 * PIECE + TAIL)
        status, _, _ = await answer(reader)
    assert (status, second.served) == (200, 1)


async def test_a_providers_own_refusal_passes(world: World, sink: Sink, second: Sink) -> None:
    """Also where another member could have been asked, had nothing gone yet."""
    sink.answers = lambda method, path, body: (503, {}, b'{"error":{"message":"busy"}}')
    async with posting(world, "/proxy/falls/v1/files", len(HEAD + TAIL[2:])) as (reader, writer):
        writer.write(HEAD + TAIL[2:])
        status, _, body = await answer(reader)
    assert (status, json.loads(body)["error"]["message"]) == (503, "busy")
    assert second.heads == []


async def test_bounds_are_told_apart(world: World, sink: Sink) -> None:
    """JSON has `max_body_mb`, an upload `max_upload_mb`, announced or not; the provider never gets it whole."""
    async with posting(world, "/proxy/openai/v1/files", 101 * MB) as (reader, _):
        status, headers, body = await answer(reader)
    assert (status, headers["x-paig-error"]) == (413, "body-too-large")
    assert b"max_upload_mb" in body
    async with posting(world, "/proxy/openai/v1/embeddings", 2 * MB, "application/json") as (reader, _):
        status, _, body = await answer(reader)
    assert status == 413
    assert b"max_body_mb" in body
    assert sink.served == 0


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/v1/files", HEAD + HEAD + TAIL[2:], "bad-request"),
        ("/v1/files", HEAD + FILE + b"--xyz inside" + TAIL, "bad-request"),
        ("/v1/files", HEAD + TAIL[2:] + b"more", "bad-request"),
        ("/v1/audio/voice_consents",
         b'--xyz\r\nContent-Disposition: form-data; name="file_id"\r\n\r\nfile-theirs\r\n--xyz--\r\n', "not-found"),
    ],
)  # fmt: skip
async def test_what_is_refused_never_reaches_the_provider_whole(
    world: World, sink: Sink, path: str, body: bytes, code: str
) -> None:
    """Forms with two readings, and ids of other owners' objects in a field."""
    headers = {"authorization": f"Bearer {world.key}", "content-type": "multipart/form-data; boundary=xyz"}
    refused = await world.http.post(f"/proxy/openai{path}", content=body, headers=headers)
    assert refused.headers.get("x-paig-error") == code, refused.text
    assert sink.served == 0
