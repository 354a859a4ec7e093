"""A ledger of a million rows: what its reports take.

    python benchmarks/rows.py [--rows 1000000]

Fills a SQLite database with finished requests through the ledger's own bookkeeper, then times each report, warm.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from paig_gateway.database.engine import migrate, open_engine, writing
from paig_gateway.database.tables import KeyRow
from paig_gateway.domain.caller import Caller
from paig_gateway.ledger import reports
from paig_gateway.ledger.balances import limit_balances
from paig_gateway.ledger.executor import BatchExecutor, ChargeRow
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.ledger.reports import charged_requests

START = datetime(2026, 8, 1, tzinfo=UTC)
DAYS, KEYS, BATCH = 90, 50, 2000
MODELS = ("gpt-5", "gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash")


def finished(number: int, rows: int, draw: random.Random) -> ChargeRow:
    """One finished request, at its place in the ninety days."""
    at = START + timedelta(days=DAYS) * number / rows
    key = draw.randrange(KEYS)
    caller = Caller(f"key_{key}", f"key-{key}", f"proj_{key % 5}", f"project-{key % 5}")
    id = f"req_{number:016x}"
    model = draw.choice(MODELS)
    request = Reservation(id, at, caller, (), "openai", model, "openai-chat", False, 0, 0, provider="openai")
    usage: dict[str, int | float] = {"input_tokens": 500, "output_tokens": draw.randrange(1000)}
    cost = draw.randrange(1, 10**7)
    return ChargeRow(request, Settlement(id, at, cost, "exact", usage=usage, price=f"openai/{model}", status=200))


def named_key(number: int) -> dict[str, object]:
    """A key as the catalogue has it."""
    own = {"id": f"key_{number}", "name": f"key-{number}", "hash": str(number), "hint": "paig_"}
    return {**own, "state": "active", "version": 1, "created_at": 0, "updated_at": 0}


def timed(name: str, work: Callable[[], object]) -> None:
    """Print what the second of two runs took."""
    work()
    began = time.perf_counter()
    work()
    print(f"{name:<46}{(time.perf_counter() - began) * 1000:10.1f} ms")


def write(books: BatchExecutor, rows: int) -> None:
    """Write so many finished requests."""
    draw = random.Random(1)
    for first in range(0, rows, BATCH):
        books.execute([finished(number, rows, draw) for number in range(first, min(first + BATCH, rows))])


def fill(path: Path, rows: int) -> None:
    """Make a database with so many finished requests."""
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    books = BatchExecutor(engine, "node_bench", lambda: START + timedelta(days=DAYS))
    books.start()
    write(books, rows)
    books.stop()
    engine.dispose()


def main() -> None:
    """Fill and measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    rows = options.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{Path(folder) / 'paig.db'}")
        migrate(engine)
        end = START + timedelta(days=DAYS)
        books = BatchExecutor(engine, "node_bench", lambda: end)
        books.start()
        with writing(engine) as connection:
            connection.execute(insert(KeyRow), [named_key(number) for number in range(KEYS)])
        began = time.perf_counter()
        write(books, rows)
        taken = time.perf_counter() - began
        print(f"{rows:,} rows written in {taken:.0f} s ({rows / taken:,.0f} a second)")
        everything = reports.Filter()
        month = reports.Filter(since=end - timedelta(days=30, minutes=7))
        timed("usage by model, all of it", lambda: reports.usage(engine, ["model"], everything))
        timed("usage by day and key, all of it", lambda: reports.usage(engine, ["day", "key"], everything))
        timed("usage by day, 30 days to the minute", lambda: reports.usage(engine, ["day"], month))
        named = reports.Filter(key="key-7")
        timed("usage of one key by name, all of it", lambda: reports.usage(engine, ["model"], named))
        timed("requests, first page", lambda: reports.list_requests(engine, everything))
        one = reports.Filter(key="key_7")
        timed("requests of one key, first page", lambda: reports.list_requests(engine, one))
        page = reports.list_requests(engine, everything, limit=1)
        timed("one request", lambda: reports.get_request(engine, page.items[0].id))
        place = reports.last_finished(engine)
        timed("the tail", lambda: reports.finished_since(engine, *place))
        timed("limits", lambda: limit_balances(engine, end))
        day = reports.Filter(since=end - timedelta(days=1))
        timed("a day's rows, one by one, as for reprice", lambda: sum(1 for _ in charged_requests(engine, day)))
        books.stop()
        engine.dispose()


if __name__ == "__main__":
    main()
