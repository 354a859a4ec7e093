"""What failover costs, and whether anybody notices.

    python benchmarks/failover.py [--requests 10000] [--connections 16] [--no-breaker]

A route whose first member fails a fifth of its requests, beside one whose members are well, in turns in one run; each
route gets so many requests. Then the ledger is held against the books of the simulated providers: what was charged for
the tries that were answered is what the providers counted, and what was given up after it was sent is charged at its
ceiling. Ends with status 1 if a client saw an error or the sums differ. Without its breaker the first member is asked
for every request, else it is left alone now and then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import uvloop
from common import HERE, KEY, SECRET, free_port, process

from paig_gateway.pricing.price import PriceBook

MODEL = "gpt-4o-mini"
CONFIG = """
[server]
breaker = {{ enabled = {breaker} }}
[providers.flaky]
kind = "openai"
base_url = "http://127.0.0.1:{upstream}/openai-flaky/v1"
credential = "value:none"
[providers.well]
kind = "openai"
base_url = "http://127.0.0.1:{upstream}/openai-well/v1"
credential = "value:none"
[providers.spare]
kind = "openai"
base_url = "http://127.0.0.1:{upstream}/openai-spare/v1"
credential = "value:none"
[routes.failing]
members = [{{ provider = "flaky", priority = 1 }}, {{ provider = "well" }}]
timeouts = {{ first_byte = 0.5 }}
[routes.healthy]
members = [{{ provider = "spare", priority = 1 }}, {{ provider = "well" }}]
timeouts = {{ first_byte = 0.5 }}
[keys.bench]
secret = "env:BENCH_KEY"
limits = {{ total = 1000000 }}
"""
TURN = 500
"""Requests of one route before the other has its turn."""


class Seen:
    """What clients saw of a route."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.errors: Counter[str] = Counter()

    def quantile(self, share: float) -> float:
        """In milliseconds."""
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e3


async def ask(port: int, route: str, requests: int, connections: int, seen: Seen) -> None:
    """So many requests on so many connections, every other one streamed."""
    numbers = iter(range(requests))

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            flag = b',"stream":true' if number % 2 else b""
            body = b'{"model":"%s","messages":[{"role":"user","content":"Tell me"}],"max_completion_tokens":30%s}' % (
                MODEL.encode(),
                flag,
            )
            began = time.perf_counter()
            writer.write(
                b"POST /proxy/%s/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n"
                b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                % (route.encode(), KEY.encode(), len(body), body)
            )
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"chunked" in head:
                answer = await reader.readuntil(b"\r\n0\r\n\r\n")
            else:
                at = head.index(b"content-length:")
                answer = await reader.readexactly(int(head[at + 15 :].split(b"\r\n", 1)[0]))
            seen.seconds.append(time.perf_counter() - began)
            if b" 200 " not in head[:20]:
                seen.errors[head.split(b"\r\n")[0].decode()] += 1
            elif b'"error"' in answer or (flag and b"[DONE]" not in answer):
                seen.errors["a stream that fails"] += 1
        writer.close()

    await asyncio.gather(*(worker() for _ in range(connections)))


def fetch(url: str) -> Any:
    """A JSON document."""
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {SECRET}"})
    return json.load(urllib.request.urlopen(request))


def rows(origin: str) -> Iterator[dict[str, Any]]:
    """Every row of the ledger."""
    cursor = ""
    while True:
        page = fetch(f"{origin}/admin/v1/requests?limit=1000{cursor}")
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"


def check_money(origin: str, upstream: int) -> bool:
    """Hold the ledger against the providers' books, and print both."""
    price = PriceBook().find("openai", MODEL)
    assert price is not None
    books = Decimal(0)
    for served in fetch(f"http://127.0.0.1:{upstream}/sim/served").values():
        counts = {"input_tokens": served["input_tokens"], "output_tokens": served["output_tokens"]}
        books += Decimal(price.cost(counts, datetime.now(UTC))) / 10**9
    tries: Counter[str] = Counter()
    total = answered = given_up = Decimal(0)
    ceilings: dict[bool, set[Decimal]] = {True: set(), False: set()}
    late: Counter[bool] = Counter()
    for row in rows(origin):
        total += Decimal(row["cost"])
        if sum(Decimal(attempt["cost"]) for attempt in row["attempts"]) != Decimal(row["cost"]):
            print(f"row {row['id']} costs something else than its tries")
            return False
        if len(row["attempts"]) == 1:
            ceilings[row["stream"]].add(Decimal(row["reserved"]))
        for attempt in row["attempts"]:
            outcome = str(attempt["error"] or attempt["status"])
            tries[f"{attempt['provider']}: {outcome}"] += 1
            if outcome == "upstream-timeout":
                given_up += Decimal(attempt["cost"])
                late[row["stream"]] += 1
            else:
                answered += Decimal(attempt["cost"])
    if any(len(found) != 1 for found in ceilings.values()):
        print(f"equal requests were held for at different ceilings: {ceilings}")
        return False
    expected = sum((count * max(ceilings[stream]) for stream, count in late.items()), Decimal(0))
    [limit] = [found for found in fetch(f"{origin}/admin/v1/limits")["items"] if found["owner"] == "bench"]
    print("\n".join(f"  {count:6} {name}" for name, count in sorted(tries.items())))
    print(f"tries that were answered: charged ${answered}, the providers' books say ${books}")
    print(f"given up after they were sent: {late.total()}, charged ${given_up}, their ceilings are ${expected}")
    print(f"all rows: ${total}, the key's counter: ${limit['spent']}, held: ${limit['held']}")
    return answered == books and given_up == expected and total == Decimal(limit["spent"]) == answered + given_up


def main() -> None:
    """Ask in turns, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--no-breaker", action="store_true")
    options = parser.parse_args()
    upstream, paig = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = home / "paig.toml"
        config.write_text(CONFIG.format(upstream=upstream, breaker="false" if options.no_breaker else "true"))
        stack.enter_context(process(str(HERE / "flaky.py"), str(upstream), port=upstream))
        command = "import sys; from paig_client.cli import main; main()"
        serve = ("-c", command, "serve", "--config", str(config), "--port", str(paig))
        secrets = {"PAIG_SECRET_KEY": SECRET, "PAIG_ADMIN_TOKEN": SECRET, "BENCH_KEY": KEY}
        stack.enter_context(process(*serve, port=paig, PAIG_HOME=str(home), **secrets))
        for route in ("healthy", "failing"):
            uvloop.run(ask(paig, route, 100, options.connections, Seen()))
        routes = {"healthy": Seen(), "failing": Seen()}
        for _ in range(0, options.requests, TURN):
            for route, seen in routes.items():
                uvloop.run(ask(paig, route, TURN, options.connections, seen))
        print(f"{'route':10}{'requests':>10}{'errors':>8}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}")
        for route, seen in routes.items():
            figures = "".join(f"{seen.quantile(share):9.2f}" for share in (0.5, 0.9, 0.99))
            print(f"{route:10}{len(seen.seconds):10,}{seen.errors.total():8}{figures}")
        added = routes["failing"].quantile(0.5) - routes["healthy"].quantile(0.5)
        print(f"added p50: {added:.2f} ms")
        errors = sum((seen.errors for seen in routes.values()), Counter[str]())
        print("".join(f"  {count} {what}\n" for what, count in errors.items()), end="")
        right = check_money(f"http://127.0.0.1:{paig}", upstream)
    if errors or not right:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
