"""Loads: requests over and over by wrk, and many slow streams at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from common import KEY
from servers import LOAD_CORE, UNCHECKED, Target, cpu_of, memory_of, pinned

SLOW_SECONDS = 5.0
"""How long the CPU of slow streams is measured."""

DONE = """
done = function(summary, latency, requests)
  io.write(string.format('{"requests":%d,"us":%d,"p50":%d,"p99":%d,"max":%d,"status":%d,"lost":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a load.

    Attributes:
        rate: Answers per second.
        p50: Milliseconds.
        p99: Milliseconds.
        cpu: Microseconds of CPU for each request; None where it is not known.
        errors: Answers of status 400 and above.
        lost: Requests without an answer.
    """

    rate: float
    p50: float
    p99: float
    cpu: float | None
    errors: int
    lost: int


def chat(size: int = 2000, *, stream: bool = False, image: int = 0) -> bytes:
    """A chat completion's request of about that many bytes, or with an image of so many."""
    content: object = "Tell me about it. " * (size // 20)
    if image:
        url = "data:image/png;base64," + "A" * image
        content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    body: dict[str, object] = {
        "model": "gpt-5",
        "messages": [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": content}],
        "max_completion_tokens": 500,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body).encode()


def run(
    target: Target, provider: str, body: bytes, connections: int, seconds: int, folder: Path, timeout: int = 30
) -> Measured:
    """Ask for a chat completion over and over on so many connections."""
    script = folder / "load.lua"
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}", **dict(target.headers)}
    route = f"/{provider}" if provider else ""
    lines = [
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value.format(name=route))}" for name, value in headers.items()
    ]
    (folder / "body").write_bytes(body)
    read = f'local file = io.open({json.dumps(str(folder / "body"))}, "rb"); wrk.body = file:read("*a"); file:close()'
    script.write_text("\n".join(['wrk.method = "POST"', *lines, read, DONE]))
    command = pinned(
        LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={timeout}s", "-s", str(script),
        target.url(provider),
    )  # fmt: skip
    before = cpu_of(target.pid) if target.pid else 0.0
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = cpu_of(target.pid) if target.pid else 0.0
    found = json.loads(done.stdout.strip().splitlines()[-1])
    count = max(found["requests"], 1)
    cpu = (after - before) / count * 1e6 if target.pid else None
    p50, p99 = found["p50"] / 1000, found["p99"] / 1000
    return Measured(count / found["us"] * 1e6, p50, p99, cpu, found["status"], found["lost"])


class SlowProvider(asyncio.Protocol):
    """Begins a stream for each request and sends an event each second, for as long as the connection stays."""

    EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.begun = False

    def data_received(self, data: bytes) -> None:
        """Begin to answer."""
        if not self.begun:
            self.begun = True
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            self.transport.write(head)
            self._send()

    def _send(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"%x\r\n%b\r\n" % (len(self.EVENT), self.EVENT))
            asyncio.get_running_loop().call_later(1.0, self._send)


async def slow_streams(target: Target, count: int) -> tuple[float, float]:
    """Kilobytes of the gateway's memory for each of so many streams at once, and µs of its CPU for each event."""
    assert target.pid is not None
    place = urlsplit(target.origin)
    body = chat(200, stream=True)
    request = (
        b"POST /proxy/slow/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (KEY.encode(), len(body), body)
    )
    writers: list[asyncio.StreamWriter] = []
    readers: list[asyncio.Task[None]] = []

    async def read(reader: asyncio.StreamReader, first: asyncio.Event) -> None:
        while await reader.read(65536):
            first.set()

    async def begin(number: int) -> None:
        for _ in range(number):
            secure = UNCHECKED if place.scheme == "https" else None
            reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=4096, ssl=secure)
            first = asyncio.Event()
            writer.write(request)
            writers.append(writer)
            readers.append(asyncio.ensure_future(read(reader, first)))
            async with asyncio.timeout(60):
                await first.wait()

    await asyncio.gather(*(begin(5) for _ in range(10)))  # what is made once is not counted
    before = memory_of(target.pid)
    await asyncio.gather(*(begin(count // 50) for _ in range(50)))
    await asyncio.sleep(3)
    found = (memory_of(target.pid) - before) / count / 1024
    used, began = cpu_of(target.pid), time.monotonic()
    await asyncio.sleep(SLOW_SECONDS)
    events = count * (time.monotonic() - began)  # each stream sends one a second
    each = (cpu_of(target.pid) - used) / events * 1e6
    for task in readers:
        task.cancel()
    for writer in writers:
        writer.close()
    await asyncio.sleep(1)
    return found, each


def endless_head(target: Target, size: int) -> int:
    """Send a stranger's header of so many bytes, as far as it is taken; returns the gateway's peak memory beyond."""
    assert target.pid is not None
    place, sent = urlsplit(target.origin), 0
    before = memory_of(target.pid)
    most = before
    address = place.hostname or "", place.port or 0
    with socket.create_connection(address, timeout=5) as client, contextlib.suppress(OSError):
        client.sendall(b"GET /proxy/openai/v1/models HTTP/1.1\r\nhost: x\r\nx-a: ")
        while sent < size:
            client.sendall(b"b" * 100_000)
            sent += 100_000
            if sent % 10_000_000 == 0:
                most = max(most, memory_of(target.pid))
    return max(most, memory_of(target.pid)) - before


@contextlib.contextmanager
def idle_strangers(target: Target, count: int) -> Iterator[None]:
    """So many connections that send nothing, or a third of them the beginning of a head."""
    place = urlsplit(target.origin)
    with ExitStack() as opened:
        for number in range(count):
            client = opened.enter_context(socket.create_connection((place.hostname or "", place.port or 0), timeout=5))
            if number % 3 == 0:
                client.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ")
        yield


def seconds_of(command: list[str], times: int) -> list[float]:
    """How long a command takes, several times; the first one, which fills caches, does not count."""
    found = []
    for _ in range(times + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - began)
    return found[1:]
