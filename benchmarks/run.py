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
import math
import os
import platform
import resource
import shutil
import signal
import ssl
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
from first_byte import PAUSE, Asker, reservations
from loads import Measured, SlowProvider, chat, endless_head, idle_strangers, run, seconds_of, slow_streams
from servers import NO_TELEMETRY, Certificate, Target

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
        secure: Its port over TLS.
        certificate: Its certificate, and that of a gateway that serves TLS.
        small: A hundredth of everything there is to be much of: only to see that it works.
        missing: What could not be measured, and why.
        lines: The results, in Markdown.
    """

    seconds: int
    repeats: int
    rivals: bool
    folder: Path
    provider: int
    secure: int
    certificate: Certificate
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
        repeats: int = 0,
    ) -> dict[str, list[Measured]]:
        """Measure targets in turns, and say how each stands to the first one, or to `against`.

        Returns:
            What was measured, by target.
        """
        found: dict[str, list[Measured]] = {name: [] for name in targets}
        with ExitStack() as stack:
            opened: dict[str, Target] = {}
            for name, open_target in targets.items():
                try:
                    opened[name] = stack.enter_context(open_target())
                except (SystemExit, OSError, ImportError, subprocess.CalledProcessError) as error:
                    lines = str(error).strip().splitlines()
                    self.missing.append(f"{title}, {name}: {' … '.join(dict.fromkeys((lines[0], lines[-1])))[:400]}")
            for number in range((repeats or self.repeats) + 1):  # the first round warms up
                for name, target in list(opened.items()):
                    try:
                        measured = ask(target)
                    except subprocess.CalledProcessError as error:
                        self.missing.append(f"{title}, {name}: {(error.stderr or str(error)).strip()[-200:]}")
                        del opened[name]
                        continue
                    if number:
                        found[name].append(measured)
        measured_all = {name: rows for name, rows in found.items() if rows}
        self.table(title, measured_all, against or next(iter(targets)))
        return measured_all

    def judge(self, aim: str, held: bool) -> None:
        """Say whether an aim is reached."""
        self.say(f"- {'reached' if held else '**missed**'}: {aim}")

    def judge_flat(self, what: str, few: list[Measured], many: list[Measured]) -> None:
        """Say whether rate and CPU differ by a tenth at most."""
        rate = statistics.median(other.rate / one.rate for one, other in zip(few, many, strict=True))
        cpu = statistics.median((other.cpu or 0) / (one.cpu or 1) for one, other in zip(few, many, strict=True))
        self.say("")
        self.judge(f"{what}: {rate:.2f} of the rate (at least 0.90)", rate >= 0.9)
        self.judge(f"{what}: {cpu:.2f} of the CPU (at most 1.10)", cpu <= 1.1)

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
    found = bench.compare("By limits that exist, 32 connections", targets, _asks(bench, "", chat(), 32))
    few, *_, many = found.values()
    bench.judge_flat("from the fewest to the most limits", few, many)


def rows(bench: Bench) -> None:
    """Rows that the ledger has; all gateways are alive at once, and asked in turns."""
    from rows import fill

    def filled(count: int) -> Path:
        home = Path(tempfile.mkdtemp(dir=bench.folder))
        fill(home / "paig.db", count)
        return home

    sizes = bench.sizes(1_000, 10_000, 100_000, 1_000_000)
    targets = {f"{count:,} rows": bench.paig(home=filled(count)) for count in sizes}
    rounds = max(bench.repeats, 7)
    found = bench.compare(
        "By rows of the ledger, 32 connections", targets, _asks(bench, "", chat(), 32), repeats=rounds
    )
    few, *_, many = found.values()
    bench.judge_flat("from the fewest to the most rows", few, many)


def slow(bench: Bench) -> None:
    """Memory and CPU of streams that send an event each second: plain, and with TLS on either side."""

    async def measure(count: int, server: str, scheme: str) -> tuple[float, float]:
        port = free_port()
        loop = asyncio.get_running_loop()
        secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        secure.load_cert_chain(bench.certificate.chain, bench.certificate.key)
        context = secure if scheme == "https" else None
        async with await loop.create_server(SlowProvider, "127.0.0.1", port, backlog=8192, ssl=context):
            settings = bench.paig(slow=port, server=server, scheme=scheme)
            opened = settings()
            target = await asyncio.to_thread(opened.__enter__)
            try:
                return await slow_streams(target, count)
            finally:
                await asyncio.to_thread(opened.__exit__, None, None, None)

    bench.say(
        "\n### Slow streams, an event each second\n",
        "| | streams at once | KB of memory for each | CPU µs for each event |",
        "|---|--:|--:|--:|",
    )
    few, many = (100, 500) if bench.small else (1_000, 5_000)
    plain: dict[int, float] = {}
    for name, count, server, scheme in (
        ("without TLS", few, "", "http"),
        ("without TLS", many, "", "http"),
        ("TLS to the provider", few, bench.certificate.upstream, "https"),
        ("TLS to the clients", few, bench.certificate.listener, "http"),
    ):
        try:
            memory, cpu = asyncio.run(measure(count, server, scheme))
        except (OSError, TimeoutError) as error:
            bench.missing.append(f"{count:,} slow streams, {name}: {type(error).__name__} {error}")
            continue
        bench.say(f"| {name} | {count:,} | {memory:.1f} | {cpu:.0f} |")
        if server == "":
            plain[count] = memory
    bench.say("")
    for count, memory in plain.items():
        bench.judge(f"{count:,} slow streams without TLS: {memory:.1f} KB each (at most 40)", memory <= 40)


def tls(bench: Bench) -> None:
    """Rates with TLS on either side; connections are kept, so handshakes do not count."""
    own = bench.certificate
    targets = {
        "without TLS": bench.paig(),
        "TLS to the provider": lambda: servers.paig(
            bench.folder, bench.secure, telemetry=NO_TELEMETRY, server=own.upstream, scheme="https"
        ),
        "TLS to the clients": bench.paig(server=own.listener),
    }
    bench.compare("2 KB chat, 32 connections, with TLS", targets, _asks(bench, "", chat(), 32))


def first_byte(bench: Bench) -> None:
    """The first byte of a stream at one connection, and one durable reservation."""
    count = 20 if bench.small else 200
    home = Path(tempfile.mkdtemp(dir=bench.folder))
    targets: dict[str, Open] = {
        "direct": lambda: servers.direct(bench.provider),
        "nginx": lambda: servers.reverse_proxy(bench.folder, bench.provider),
        "paig": bench.paig(),
    }
    found: dict[str, list[float]] = {name: [] for name in (*targets, "one durable reservation")}
    with ExitStack() as stack:
        askers = {
            name: Asker(stack.enter_context(opened()), "stream", chat(stream=True)) for name, opened in targets.items()
        }
        for number in range(bench.repeats + 1):
            for name, asker in askers.items():
                taken = []
                for _ in range(count):
                    taken.append(asker.ask())
                    time.sleep(PAUSE)
                found[name].append(statistics.median(taken))
            place = home / str(number)
            place.mkdir()
            found["one durable reservation"].append(statistics.median(reservations(place, count)))
        for asker in askers.values():
            asker.close()
    bench.say("\n### First byte of a stream, 1 connection\n", "| | p50 ms | its spread |", "|---|--:|--:|")
    middle = {}
    for name, all_rounds in found.items():
        rounds = all_rounds[1:]
        middle[name] = statistics.median(rounds)
        bench.say(f"| {name} | {middle[name]:.2f} | {min(rounds):.2f} … {max(rounds):.2f} |")
    beyond = middle["paig"] - middle["direct"] - middle["one durable reservation"]
    bench.say("")
    if beyond < 0:  # the gateway makes one such reservation itself, so other programs were writing to the disk
        bench.say("- not judged: a reservation alone took longer than all of the gateway's work: the disk was busy")
        bench.missing.append("first byte of a stream beside a reservation: other programs kept the disk busy")
    else:
        bench.judge(f"added beyond one durable reservation: {beyond:.2f} ms (at most 0.25)", beyond <= 0.25)


def strangers(bench: Bench) -> None:
    """What strangers without a key cost: an endless header, and idle connections beside a client with a key."""
    count = 150 if bench.small else 1_500
    size = 6_000_000 if bench.small else 60_000_000
    with bench.paig()() as target:
        run(target, "", chat(), 32, bench.seconds, bench.folder)  # what is allocated once
        endless_head(target, size)
        extra = max(endless_head(target, size) for _ in range(3)) / 2**20
        found: dict[str, list[Measured]] = {"alone": [], f"beside {count:,} idle strangers": []}
        for number in range(bench.repeats + 1):
            for name, idle in zip(found, (0, count), strict=True):
                with idle_strangers(target, idle):
                    measured = run(target, "", chat(), 32, bench.seconds, bench.folder)
                if number:
                    found[name].append(measured)
    bench.table("Strangers, 32 connections of a client with a key", found, "alone")
    bench.say("")
    bench.judge(f"{size // 10**6} MB of a stranger's header cost {extra:.2f} MB of memory (less than 1)", extra < 1)
    lost = sum(row.lost + row.errors for row in found[f"beside {count:,} idle strangers"])
    bench.judge(f"{count:,} idle strangers keep nobody out: {lost} requests failed beside them", lost == 0)


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
    """Whether memory and descriptors stay flat over 500,000 requests."""
    wanted = 5_000 if bench.small else 500_000
    parts = 10
    bench.say("\n### Soak, 32 connections\n", "| requests so far | MB | descriptors |", "|--:|--:|--:|")
    with bench.paig()() as target:
        assert target.pid is not None
        total, rate = 0.0, run(target, "", chat(), 32, bench.seconds, bench.folder).rate
        found: list[tuple[float, int]] = []
        while total < wanted:
            seconds = max(1, math.ceil(wanted / parts / rate))
            rate = run(target, "", chat(), 32, seconds, bench.folder).rate
            total += rate * seconds
            time.sleep(1)  # wrk's connections are closed by then
            found.append((servers.memory_of(target.pid) / 2**20, len(os.listdir(f"/proc/{target.pid}/fd"))))
            bench.say(f"| {total:,.0f} | {found[-1][0]:.0f} | {found[-1][1]} |")
    # By the second part caches are full, and the log of the database has its length.
    early, late = found[min(1, len(found) - 1)], found[-1]
    bench.say("")
    bench.judge(
        f"memory is flat: {late[0] / early[0]:.2f} of what it was at the second part", late[0] <= early[0] * 1.1
    )
    bench.judge(f"descriptors are flat: {late[1] - early[1]:+d}", late[1] <= early[1] + 5)


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
    "tls": tls,
    "first-byte": first_byte,
    "strangers": strangers,
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
        folder, provider, secure = Path(scratch), free_port(), free_port()
        # Installed programs have their bytecode; a first run makes it here, wherever this one may not write.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        folder.chmod(0o755)  # nginx's worker is another user where it is started by root
        certificate = Certificate.make(folder)
        bench = Bench(
            options.seconds, options.repeats, options.rivals, folder, provider, secure, certificate, options.small
        )
        stack.enter_context(servers.provider(folder, provider, (secure, certificate)))
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
