"""What the gateway costs: the same load through a bare pass-through and through paig, side by side in one run.

    python benchmarks/run.py [--seconds 5] [--connections 32]

Both servers and the upstream are processes of their own on loopback. The ratio is what to look at: the absolute figures
are those of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

HERE = Path(__file__).parent
KEY = "paig_benchmark_key"
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


def main() -> None:
    """Run every combination and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    upstream, bare, paig = free_port(), free_port(), free_port()
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = home / "paig.toml"
        config.write_text(CONFIG.format(upstream=upstream, inject="true"))
        stack.enter_context(process(str(HERE / "upstream.py"), str(upstream), port=upstream))
        command = "import sys; from paig_client.cli import main; main()"
        targets = {
            "bare": (
                bare,
                stack.enter_context(
                    process(str(HERE / "bare.py"), str(bare), f"http://127.0.0.1:{upstream}", port=bare)
                ),
                "/v1/chat/completions",
            ),
            "paig": (
                paig,
                stack.enter_context(
                    process(
                        *("-c", command, "serve", "--config", str(config), "--port", str(paig)),
                        port=paig,
                        PAIG_HOME=str(home),
                        PAIG_SECRET_KEY=SECRET,
                        PAIG_ADMIN_TOKEN=SECRET,
                        BENCH_KEY=KEY,
                    )
                ),
                "/proxy/openai/chat/completions",
            ),
        }
        print(f"{'':18}{'requests/s':>12}{'of bare':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}")
        for name, stream, connections in [
            ("whole bodies", False, options.connections),
            ("streams", True, options.connections),
            ("one caller", False, 1),
        ]:
            baseline = 0.0
            for target, (port, pid, path) in targets.items():
                uvloop.run(load(port, path, stream, connections, 1))
                before = cpu_seconds(pid)
                latencies = uvloop.run(load(port, path, stream, connections, options.seconds))
                cpu = (cpu_seconds(pid) - before) / len(latencies) * 1e6
                rate = len(latencies) / options.seconds
                baseline = baseline or rate
                p50, p99 = latencies[len(latencies) // 2] * 1e3, latencies[int(len(latencies) * 0.99)] * 1e3
                label = f"{name}, {target}"
                print(f"{label:18}{rate:12,.0f}{rate / baseline:9.2f}{p50:9.2f}{p99:9.2f}{cpu:9.0f}", flush=True)


if __name__ == "__main__":
    main()
