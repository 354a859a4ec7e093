"""What WebSockets cost: round trips and turns per second, CPU a message, memory of an idle session.

    python benchmarks/sockets.py [--seconds 3] [--idle 1000]

paig stands beside a bare relay (the `websockets` library on both sides, nothing read) and the provider itself; each is
a process of its own. An echo is a message that costs nothing and its answer, 120 bytes each. A turn is a
`response.create`, which paig holds before it goes on and settles in SQLite afterwards, and its two events. CPU is that
of the process that is measured. Idle sessions are open, and silent; their memory is the growth of its resident set.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import CONFIG, KEY, SECRET, cpu_seconds, free_port, process
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

HERE = Path(__file__)
PATH = "/realtime?model=gpt-realtime"
ECHO = json.dumps({"type": "response.cancel", "filling": "x" * 75})
TURN = json.dumps({"type": "response.create", "response": {"max_output_tokens": 50, "output_modalities": ["text"]}})
USAGE = {
    "total_tokens": 30, "input_tokens": 10, "output_tokens": 20,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 0},
    "output_token_details": {"text_tokens": 20, "audio_tokens": 0},
}  # fmt: skip
CREATED = json.dumps({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}})
DONE = json.dumps({"type": "response.done", "response": {"id": "resp_1", "status": "completed", "usage": USAGE}})


async def provider(port: int) -> None:
    """Answer each message."""

    async def answer(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await socket.send('{"type":"session.created","session":{"turn_detection":null}}')
            async for message in socket:
                if message == TURN:
                    await socket.send(CREATED)
                    await socket.send(DONE)
                else:
                    await socket.send(message)

    async with serve(answer, "127.0.0.1", port, ping_interval=None, compression=None):
        await asyncio.get_running_loop().create_future()


async def relay(port: int, upstream: int) -> None:
    """Pass messages on, unread."""

    async def pump(source: ClientConnection | ServerConnection, sink: ClientConnection | ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in source:
                await sink.send(message)
        await sink.close()

    async def pass_on(client: ServerConnection) -> None:
        assert client.request is not None
        target = f"ws://127.0.0.1:{upstream}{client.request.path}"
        async with connect(target, proxy=None, ping_interval=None, compression=None) as server:
            await asyncio.gather(pump(client, server), pump(server, client))

    async with serve(pass_on, "127.0.0.1", port, ping_interval=None, compression=None):
        await asyncio.get_running_loop().create_future()


def opened(origin: str) -> connect:
    """A client's connection."""
    headers = {"authorization": f"Bearer {KEY}"}
    return connect(origin + PATH, additional_headers=headers, proxy=None, ping_interval=None, compression=None)


async def trips(origin: str, message: str, last: str, connections: int, seconds: float) -> list[float]:
    """Send a message and wait for its last answer, over and over; the seconds of each."""
    times: list[float] = []
    until = time.perf_counter() + seconds

    async def one() -> None:
        async with opened(origin) as socket:
            await socket.recv()
            while (began := time.perf_counter()) < until:
                await socket.send(message)
                while (answer := str(await socket.recv())) != last:
                    if '"error"' in answer:
                        raise SystemExit(answer)
                times.append(time.perf_counter() - began)

    await asyncio.gather(*(one() for _ in range(connections)))
    return times


async def idle(origin: str, pid: int, sessions: int) -> float:
    """Open so many sessions; kilobytes of the process for each."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):  # what the first ones load is not counted
            await (await stack.enter_async_context(opened(origin))).recv()
        before = resident(pid)
        for _ in range(sessions):
            await (await stack.enter_async_context(opened(origin))).recv()
        await asyncio.sleep(1)
        return (resident(pid) - before) / sessions


def resident(pid: int) -> float:
    """The resident set of a process, in kilobytes."""
    found = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return float(found.split()[1])


@contextlib.contextmanager
def targets() -> Iterator[dict[str, tuple[str, int]]]:
    """The provider, the bare relay and paig: where each is connected to, and its process."""
    ports = [free_port() for _ in range(3)]
    with tempfile.TemporaryDirectory(prefix="paig-bench-") as folder, contextlib.ExitStack() as stack:
        config = Path(folder) / "paig.toml"
        config.write_text(CONFIG.format(upstream=ports[0], inject="false"))
        start = stack.enter_context
        own = {"PAIG_HOME": folder, "PAIG_SECRET_KEY": SECRET, "PAIG_ADMIN_TOKEN": SECRET, "BENCH_KEY": KEY}
        entry = "import sys; sys.argv[0] = 'paig'; from paig_client.cli import main; main()"
        serve_paig = ("-c", entry, "serve", "--config", str(config), "--port", str(ports[2]))
        pids = [
            start(process(str(HERE), "--provider", str(ports[0]), port=ports[0])),
            start(process(str(HERE), "--relay", str(ports[1]), str(ports[0]), port=ports[1])),
            start(process(*serve_paig, port=ports[2], **own)),
        ]
        names, prefixes = ("the provider", "bare relay", "paig"), ("/v1", "/v1", "/proxy/openai/v1")
        yield {
            name: (f"ws://127.0.0.1:{port}{prefix}", pid)
            for name, port, prefix, pid in zip(names, ports, prefixes, pids, strict=True)
        }


async def measure(seconds: float, sessions: int) -> None:
    """Measure all of it and print a table."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; {seconds:g} s each\n")
    print("| | message | connections | per second | p50 | CPU each |\n|---|---|---|---|---|---|")
    with targets() as found:
        for name, (origin, pid) in found.items():
            for kind, message, last in (("echo", ECHO, ECHO), ("turn", TURN, DONE)):
                for connections in (1, 16):
                    before = cpu_seconds(pid)
                    times = await trips(origin, message, last, connections, seconds)
                    cpu = (cpu_seconds(pid) - before) / len(times) * 1e6
                    median = statistics.median(times) * 1000
                    rate = len(times) / seconds
                    print(
                        f"| {name} | {kind} | {connections} | {rate:,.0f} | {median:.2f} ms | {cpu:.0f} µs |",
                        flush=True,
                    )
        print(f"\n| | kilobytes of one of {sessions:,} idle sessions |\n|---|---|")
        for name, (origin, pid) in list(found.items())[1:]:
            print(f"| {name} | {await idle(origin, pid, sessions):.0f} |", flush=True)


def main() -> None:
    """Measure, or be one of the servers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--idle", type=int, default=1000, metavar="SESSIONS")
    parser.add_argument("--provider", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--relay", type=int, nargs=2, metavar=("PORT", "UPSTREAM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.provider:
        asyncio.run(provider(options.provider))
    elif options.relay:
        asyncio.run(relay(*options.relay))
    else:
        asyncio.run(measure(options.seconds, options.idle))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
