"""What the gateway costs, beside nginx, a bare Python proxy and, where wished for, rivals; all in one run.

    make bench ARGS='--only chat-32,stream --seconds 2 --repeats 3'
    make bench ARGS='--rivals'

Every server has a process of its own on loopback; where there are two cores, what is measured has one for itself, and
the load (wrk) and the provider (nginx) share the other. The targets of a workload are asked in turns, in each of
several rounds, and what counts is the ratio within a round: another program on the machine disturbs all of them alike.
The CPU time of each request stands beside every rate, as it is disturbed least. Writes benchmarks/RESULTS.md; the notes
at its end come from benchmarks/notes.md. Needs wrk and nginx (Debian: apt-get install wrk nginx-light).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import servers
from common import HERE, free_port
from loads import Measured, SlowProvider, chat, run, seconds_of, slow_streams
from servers import NO_TELEMETRY, Target

Open = Callable[[], AbstractContextManager[Target]]
ALL_TELEMETRY = 'metrics = true\nlog = "json"\nlog_requests = true'


@dataclass(slots=True)
class Bench:
    """One run of the benchmarks.

    Attributes:
        seconds: Of each measurement.
        repeats: Rounds.
        folder: For everything that is made.
        provider: The provider's port.
        small: A hundredth of everything there is to be much of: only to see that it works.
        missing: What could not be measured, and why.
        lines: The results, in Markdown.
    """

    seconds: int
    repeats: int
    rivals: bool
    folder: Path
    provider: int
    small: bool = False
    missing: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def sizes(self, *counts: int) -> tuple[int, ...]:
        """How much there is of something, from little to much."""
        return tuple(max(1, count // 100) for count in counts) if self.small else counts

    def say(self, *lines: str) -> None:
        """Add to the results, and show."""
        self.lines += lines
        print("\n".join(lines), flush=True)

    def paig(self, **settings: object) -> Open:
        """The gateway in those settings."""
        given: dict[str, object] = {"telemetry": NO_TELEMETRY, **settings}
        return lambda: servers.paig(self.folder, self.provider, **given)  # type: ignore[arg-type]

    def compare(
        self,
        title: str,
        targets: dict[str, Open],
        ask: Callable[[Target], Measured],
        *,
        against: str | None = None,
    ) -> None:
        """Measure targets in turns, and say how each stands to the first one, or to `against`."""
        found: dict[str, list[Measured]] = {name: [] for name in targets}
        with ExitStack() as stack:
            opened: dict[str, Target] = {}
            for name, open_target in targets.items():
                try:
                    opened[name] = stack.enter_context(open_target())
                except (SystemExit, OSError, ImportError, subprocess.CalledProcessError) as error:
                    lines = str(error).strip().splitlines()
                    self.missing.append(f"{title}, {name}: {' … '.join(dict.fromkeys((lines[0], lines[-1])))[:400]}")
            for number in range(self.repeats + 1):  # the first round warms up
                for name, target in list(opened.items()):
                    try:
                        measured = ask(target)
                    except subprocess.CalledProcessError as error:
                        self.missing.append(f"{title}, {name}: {(error.stderr or str(error)).strip()[-200:]}")
                        del opened[name]
                        continue
                    if number:
                        found[name].append(measured)
        self.table(title, {name: rows for name, rows in found.items() if rows}, against or next(iter(targets)))

    def table(self, title: str, found: dict[str, list[Measured]], against: str) -> None:
        """Say what was found: medians, and the ratios' spread over the rounds."""
        self.say(
            f"\n### {title}\n",
            f"| | requests/s | share of {against} | its spread | p50 ms | p99 ms | CPU µs | errors | lost |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        )
        for name, rows in found.items():
            share = spread = "–"
            if len(base := found.get(against, [])) == len(rows):
                shares = [row.rate / other.rate for row, other in zip(rows, base, strict=True)]
                share, spread = f"{_ratio(statistics.median(shares))}", f"{_ratio(min(shares))} … {_ratio(max(shares))}"
            cpu = [row.cpu for row in rows if row.cpu is not None]
            middle = {key: statistics.median(getattr(row, key) for row in rows) for key in ("rate", "p50", "p99")}
            errors, lost = sum(row.errors for row in rows), sum(row.lost for row in rows)
            self.say(
                f"| {name} | {middle['rate']:,.0f} | {share} | {spread} | {middle['p50']:.2f} | {middle['p99']:.2f} | "
                f"{f'{statistics.median(cpu):,.0f}' if cpu else '–'} | {errors} | {lost} |"
            )


def _ratio(share: float) -> str:
    return f"1/{1 / share:.1f}" if share < 0.67 else f"{share:.2f}"


def _against_all(bench: Bench) -> dict[str, Open]:
    targets: dict[str, Open] = {
        "nginx": lambda: servers.reverse_proxy(bench.folder, bench.provider),
        "bare Python": lambda: servers.bare(bench.provider),
        "paig": bench.paig(),
    }
    if bench.rivals:
        targets["Portkey"] = lambda: servers.portkey(bench.folder, bench.provider)
        targets["LiteLLM"] = lambda: servers.litellm(bench.folder, bench.provider)
    return targets


def _asks(bench: Bench, provider: str, body: bytes, connections: int) -> Callable[[Target], Measured]:
    return lambda target: run(target, provider, body, connections, bench.seconds, bench.folder)


def chat_at(connections: int) -> Callable[[Bench], None]:
    """A chat of 2 KB at so many connections."""

    def measure(bench: Bench) -> None:
        targets = _against_all(bench)
        if connections == 1:
            targets = {"direct": lambda: servers.direct(bench.provider), **targets}
            if Path("/dev/shm").is_dir():
                targets["paig, ledger in memory"] = bench.paig(home=Path(tempfile.mkdtemp(dir="/dev/shm")))
        title = f"2 KB chat, {connections} connection{'s' * (connections > 1)}"
        bench.compare(title, targets, _asks(bench, "", chat(), connections), against="nginx")

    return measure


def settings(bench: Bench) -> None:
    """The same chat at gateways in other settings."""
    with ExitStack() as stack:
        targets = {
            "nginx": lambda: servers.reverse_proxy(bench.folder, bench.provider),
            "paig, SQLite": bench.paig(),
            "paig, metrics and a line for each request": bench.paig(telemetry=ALL_TELEMETRY),
            "paig, 2 workers": bench.paig(workers=2),
        }
        try:
            database = stack.enter_context(servers.postgres(bench.folder))
            targets["paig, PostgreSQL"] = bench.paig(database=database)
        except Exception as error:  # whatever keeps a database from starting
            bench.missing.append(f"PostgreSQL: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
        bench.compare("2 KB chat, 32 connections, by settings", targets, _asks(bench, "", chat(), 32))


def stream(bench: Bench) -> None:
    """A stream of 200 events."""
    targets = {name: found for name, found in _against_all(bench).items() if name != "LiteLLM"}
    bench.compare("200-event stream, 32 connections", targets, _asks(bench, "stream", chat(stream=True), 32))


def sizes(bench: Bench) -> None:
    """A request with a large image, and a long answer."""
    targets = {name: found for name, found in _against_all(bench).items() if name in ("nginx", "bare Python", "paig")}
    bench.compare("6 MB image in the request, 4 connections", targets, _asks(bench, "", chat(image=6_000_000), 4))
    bench.compare("10 MB answer, 4 connections", targets, _asks(bench, "large", chat(), 4))


def failover(bench: Bench) -> None:
    """A member that refuses each request, before one that answers."""
    breaker = "breaker = { enabled = false }\nretries = { share = 1 }"
    targets = {"one member": bench.paig(), "the first refuses": bench.paig(server=breaker)}

    def ask(target: Target) -> Measured:
        provider = "failover" if target is refusing else ""
        return run(target, provider, chat(), 32, bench.seconds, bench.folder)

    refusing: Target | None = None
    inner = targets["the first refuses"]

    @contextlib.contextmanager
    def noted() -> Iterator[Target]:
        nonlocal refusing
        with inner() as refusing:
            yield refusing

    targets["the first refuses"] = noted
    bench.compare("A provider that refuses, 32 connections", targets, ask)


def limits(bench: Bench) -> None:
    """Limits that exist, besides the four that bind."""

    def more(count: int) -> str:
        return "".join(f"[users.u{number}]\nlimits = {{ daily = 1 }}\n" for number in range(count))

    targets = {
        f"{count:,} limit{'s' * (count > 1)}": bench.paig(more=more(count)) for count in bench.sizes(1, 100, 10_000)
    }
    bench.compare("By limits that exist, 32 connections", targets, _asks(bench, "", chat(), 32))


def rows(bench: Bench) -> None:
    """Rows that the ledger has."""
    from rows import fill

    def filled(count: int) -> Path:
        home = Path(tempfile.mkdtemp(dir=bench.folder))
        fill(home / "paig.db", count)
        return home

    targets = {f"{count:,} rows": bench.paig(home=filled(count)) for count in bench.sizes(1_000, 100_000, 1_000_000)}
    bench.compare("By rows of the ledger, 32 connections", targets, _asks(bench, "", chat(), 32))


def slow(bench: Bench) -> None:
    """Memory of streams that send an event each second."""

    async def measure(count: int) -> float:
        port = free_port()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(SlowProvider, "127.0.0.1", port, backlog=8192)
        async with server:
            opened = servers.paig(bench.folder, bench.provider, telemetry=NO_TELEMETRY, slow=port)
            target = await asyncio.to_thread(opened.__enter__)
            try:
                return await slow_streams(target, count)
            finally:
                await asyncio.to_thread(opened.__exit__, None, None, None)

    bench.say("\n### Slow streams\n", "| streams at once | KB of memory for each |", "|--:|--:|")
    for count in (100, 500) if bench.small else (1_000, 5_000):
        try:
            bench.say(f"| {count:,} | {asyncio.run(measure(count)):.1f} |")
        except (OSError, TimeoutError) as error:
            bench.missing.append(f"{count:,} slow streams: {type(error).__name__} {error}")


def start(bench: Bench) -> None:
    """From the start to ready, and of the command line."""
    ready, cpu = [], []
    for _ in range(bench.repeats + 1):  # the first one makes the bytecode
        began = time.perf_counter()
        with bench.paig()() as target:
            ready.append(time.perf_counter() - began)
            cpu.append(servers.cpu_of(target.pid) if target.pid else 0.0)
    bench.say("\n### Start\n", "| | median s | worst s |", "|---|--:|--:|")
    for name, found in (("to ready, with an empty database", ready[1:]), ("(its CPU until then)", cpu[1:])):
        bench.say(f"| `paig serve` {name} | {statistics.median(found):.2f} | {max(found):.2f} |")
    entry = "import sys; from paig_client.cli import main; main()"
    for name, command in (
        ("`paig --help`", [sys.executable, "-c", entry, "--help"]),
        ("`import paig_client`", [sys.executable, "-c", "import paig_client"]),
        ("(Python itself)", [sys.executable, "-c", "pass"]),
    ):
        taken = seconds_of(command, max(bench.repeats, 5))
        bench.say(f"| {name} | {statistics.median(taken):.2f} | {max(taken):.2f} |")


def overload(bench: Bench) -> None:
    """Four times as many requests at once as the gateway takes on."""
    bounds = "bounds = { requests = 64, queued = 64, queue_seconds = 1 }"
    found: dict[str, list[Measured]] = {"at capacity": [], "at 4 times capacity": []}
    with bench.paig(server=bounds)() as target:
        for number in range(bench.repeats + 1):
            for name, connections in (("at capacity", 64), ("at 4 times capacity", 512)):
                measured = run(target, "", chat(), connections, bench.seconds, bench.folder)
                if number:
                    found[name].append(measured)
    bench.table("Overload: 64 requests at once, 64 in the queue", found, "at capacity")
    bench.say("", "Errors are `overloaded` (503); p50 and p99 are of all answers, refusals included.")


def soak(bench: Bench) -> None:
    """Whether memory and descriptors stay flat over a long load: 100 times `--seconds`."""
    bench.say("\n### Soak, 32 connections\n", "| requests so far | MB | descriptors |", "|--:|--:|--:|")
    with bench.paig()() as target:
        assert target.pid is not None
        total = 0.0
        for _ in range(10):
            measured = run(target, "", chat(), 32, bench.seconds * 10, bench.folder)
            total += measured.rate * bench.seconds * 10
            descriptors = len(os.listdir(f"/proc/{target.pid}/fd"))
            bench.say(f"| {total:,.0f} | {servers.memory_of(target.pid) / 2**20:.0f} | {descriptors} |")


WORKLOADS: dict[str, Callable[[Bench], None]] = {
    "chat-1": chat_at(1),
    "chat-32": chat_at(32),
    "chat-256": chat_at(256),
    "settings": settings,
    "stream": stream,
    "sizes": sizes,
    "failover": failover,
    "limits": limits,
    "rows": rows,
    "slow": slow,
    "start": start,
    "overload": overload,
    "soak": soak,
}
ALL = [name for name in WORKLOADS if name != "soak"]


def machine() -> str:
    """What it was measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    revision = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(revision, capture_output=True, text=True, cwd=HERE).stdout.strip() or "unknown"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}; {os.cpu_count()} cores ({name}), {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}; {_version('wrk', '-v')}; "
        f"{_version('nginx', '-v')}. "
        f"Load of the machine at the start: {os.getloadavg()[0]:.1f}."
    )


def _version(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return " ".join((done.stdout + done.stderr).splitlines()[0].split()[:3])


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(ALL), help=f"some of: {', '.join(WORKLOADS)}")
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; medians are over these")
    parser.add_argument("--small", action="store_true", help="few limits, rows and streams: to see that it works")
    parser.add_argument("--rivals", action="store_true", help="install and measure Portkey (npm) and LiteLLM (PyPI)")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := [name for name in chosen if name not in WORKLOADS]:
        parser.error(f"unknown workload: {', '.join(unknown)}")
    if lacking := [tool for tool in ("wrk", "nginx") if shutil.which(tool) is None]:
        parser.error(f"{' and '.join(lacking)} not found: apt-get install wrk nginx-light")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server is left behind
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two connections for each slow stream
    with tempfile.TemporaryDirectory(prefix="paig-bench-") as scratch, ExitStack() as stack:
        folder, provider = Path(scratch), free_port()
        # Installed programs have their bytecode; a first run makes it here, wherever this one may not write.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        folder.chmod(0o755)  # nginx's worker is another user where it is started by root
        bench = Bench(options.seconds, options.repeats, options.rivals, folder, provider, options.small)
        stack.enter_context(servers.provider(folder, provider))
        began = time.monotonic()
        bench.say(
            "# Benchmarks\n",
            "Written by `make bench`; how it is measured: `benchmarks/run.py`.\n",
            machine(),
            f"{options.repeats} rounds of {options.seconds:g} s each; medians. paig: four limits bind a request, "
            "the ledger is SQLite with `synchronous=FULL` in the system's temporary folder, and telemetry is off, "
            "unless said otherwise.",
        )
        for name in chosen:
            WORKLOADS[name](bench)
            options.output.write_text("\n".join(bench.lines) + "\n")  # what there is, should the rest fail
        if not bench.rivals:
            bench.missing.append("Portkey and LiteLLM: measured with --rivals")
        bench.say("\n### Not measured\n", *(f"- {line}" for line in bench.missing))
        bench.say("", f"The whole run took {time.monotonic() - began:.0f} seconds.")
    notes = (HERE / "notes.md").read_text() if (HERE / "notes.md").exists() else ""
    options.output.write_text("\n".join(bench.lines) + "\n\n" + notes)


if __name__ == "__main__":
    main()
