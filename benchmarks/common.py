"""What the benchmarks share: processes on free ports, their CPU time, and a load of a few connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
KEY = "paig_benchmark_key_0123456789"
SECRET = "a-secret-for-benchmarks-0123456789"
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:{upstream}/v1"
credential = "value:none"
inject_cost = {inject}
[projects.bench]
limits = {{ monthly = 1000000 }}
[keys.bench]
secret = "env:BENCH_KEY"
project = "bench"
limits = {{ daily = 100000, total = 1000000 }}
"""


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def process(*command: str, port: int, **environment: str) -> Iterator[int]:
    """A server process; its pid once it listens."""
    running = subprocess.Popen([sys.executable, *command], env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if running.poll() is not None:
                raise SystemExit(f"{command[0]} ended with {running.returncode}")
            time.sleep(0.05)
        yield running.pid
    finally:
        running.terminate()
        running.wait()


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(port: int, path: str, stream: bool, connections: int, seconds: float) -> list[float]:
    """Ask over and over on so many connections; the latency of each answer, in seconds."""
    flag = b',"stream":true,"stream_options":{"include_usage":true}' if stream else b""
    body = b'{"model":"gpt-5","messages":[{"role":"user","content":"Hi"}],"max_completion_tokens":50' + flag + b"}"
    request = (
        b"POST %s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (path.encode(), KEY.encode(), len(body), body)
    )
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < until:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b" 200 " not in head[:20]:
                raise SystemExit(f"unexpected answer: {head!r}")
            if b"chunked" in head:
                await reader.readuntil(b"\r\n0\r\n\r\n")
            else:
                at = head.index(b"content-length:")
                await reader.readexactly(int(head[at + 15 :].split(b"\r\n", 1)[0]))
            latencies.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(worker() for _ in range(connections)))
    return sorted(latencies)
