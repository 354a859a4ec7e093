"""What a request costs the nodes and the database, with one to three nodes on one PostgreSQL.

    python benchmarks/nodes.py [--seconds 5] [--repeats 3] [--connections 16]

All nodes, the database, the provider and the load share this machine's cores, so rates say nothing; the CPU of each
request does. Four limits bind every request, and all nodes share them. Afterwards what the limits have counted is
compared with what the requests have cost. Needs wrk and nginx (Debian: apt-get install wrk nginx-light).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import servers
from common import free_port
from loads import chat, run

NO_TELEMETRY = "metrics = false"


def postmaster(folder: Path) -> int:
    """The process id of the database's server, whose children serve its connections."""
    return int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def main() -> None:
    """Measure one, two and three nodes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--connections", type=int, default=16, help="of each node")
    given = options.parse_args()
    print("| nodes | requests | CPU of a node µs | CPU of PostgreSQL µs | transactions a request | counted = cost |")
    print("|--:|--:|--:|--:|--:|---|")
    for count in (1, 2, 3):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder.chmod(0o755)
            provider = free_port()
            stack.enter_context(servers.provider(folder, provider))
            url = stack.enter_context(servers.postgres(folder))
            nodes = [
                stack.enter_context(servers.paig(folder, provider, database=url, telemetry=NO_TELEMETRY))
                for _ in range(count)
            ]
            database = stack.enter_context(psycopg.connect(url.replace("+psycopg", ""), autocommit=True))
            places = [folder / f"load-{number}" for number in range(count)]
            for place in places:
                place.mkdir()
            pool = stack.enter_context(ThreadPoolExecutor(count))
            found: list[tuple[int, float, float, float]] = []
            for number in range(given.repeats + 1):  # the first round warms up
                before = servers.cpu_of(postmaster(folder)), commits(database), requests(database)
                done = list(
                    pool.map(
                        lambda pair: run(pair[0], "", chat(), given.connections, given.seconds, pair[1]),
                        zip(nodes, places, strict=True),
                    )
                )
                served = requests(database) - before[2]
                cpu = (servers.cpu_of(postmaster(folder)) - before[0]) / served * 1e6
                if number:
                    node = statistics.mean(one.cpu or 0.0 for one in done)
                    found.append((served, node, cpu, (commits(database) - before[1]) / served))
                if any(one.errors or one.lost for one in done):
                    raise SystemExit(f"requests failed: {done}")
            served, node, cpu, each = (statistics.median(column) for column in zip(*found, strict=True))
            figures = f"{served:,.0f} | {node:,.0f} | {cpu:,.0f} | {each:.2f}"
            print(f"| {count} | {figures} | {agreed(database)} |", flush=True)


def commits(database: psycopg.Connection[tuple[object, ...]]) -> int:
    """Transactions that the database has committed."""
    database.execute("SELECT pg_stat_force_next_flush()")
    return _number(database, "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")


def requests(database: psycopg.Connection[tuple[object, ...]]) -> int:
    """Rows of the ledger."""
    return _number(database, "SELECT count(*) FROM requests")


def agreed(database: psycopg.Connection[tuple[object, ...]]) -> str:
    """Whether the counter of each limit is the sum of the rows' costs, once the last requests are settled."""
    until = time.monotonic() + 10
    while _number(database, "SELECT count(*) FROM holds") and time.monotonic() < until:
        time.sleep(0.1)
    cost = _number(database, "SELECT coalesce(sum(cost), 0) FROM requests")
    counters = database.execute("SELECT spent, held FROM counters").fetchall()
    return "yes" if counters and all(row == (cost, 0) for row in counters) else f"no: {cost}, {counters}"


def _number(database: psycopg.Connection[tuple[object, ...]], query: str) -> int:
    found = database.execute(query.encode()).fetchone()
    assert found is not None
    return int(str(found[0]))


if __name__ == "__main__":
    main()
