"""What the gateway adds to the first byte of a stream, beside what one durable reservation takes.

    python benchmarks/first_byte.py FOLDER COUNT

prints, in milliseconds, how long each of so many reservations takes in a process that does nothing else: four limits,
SQLite in that folder with `synchronous=FULL`, one after the other. The workload `first-byte` of `run.py` asks a stream
of the provider and of the gateway in turns, on one connection, and subtracts.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from common import HERE, KEY
from servers import GATEWAY_CORE, Target, pinned

from paig_client.api.limits import Window
from paig_gateway.database.engine import migrate, open_engine
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import Limit
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import Reservation, Settlement

WARM = 200
"""Reservations before those that count: by then the log of the database is used over again, and need not grow. A commit
to a file that grows takes several times as long, and the gateway's does not grow any more when it is asked."""
PAUSE = 0.002
"""Seconds between two requests, in which the last one's settlement is written."""


class Asker:
    """Asks for a stream over and over on one connection, and reads each to its end.

    Args:
        target: Whom to ask.
        provider: The part of the path that names the provider.
        body: The request's body.
    """

    def __init__(self, target: Target, provider: str, body: bytes) -> None:
        place = urlsplit(target.url(provider))
        self._socket = socket.create_connection((place.hostname or "", place.port or 0), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = (
            b"POST %s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%s" % (place.path.encode(), KEY.encode(), len(body), body)
        )

    def ask(self) -> float:
        """Milliseconds from the request to the first byte of the answer's body."""
        began = time.perf_counter()
        self._socket.sendall(self._request)
        answer = b""
        while not (head := answer.partition(b"\r\n\r\n"))[2]:
            answer += self._read()
        taken = (time.perf_counter() - began) * 1000
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(answer[:500].decode())
        ends = b"0\r\n\r\n" if b"chunked" in head[0].lower() else b"data: [DONE]\n\n"
        while not answer.endswith(ends):
            answer += self._read()
        return taken

    def _read(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise SystemExit("the connection ended within an answer")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def reservations(folder: Path, count: int) -> list[float]:
    """Milliseconds of each of so many durable reservations, in a process on the gateway's core."""
    command = pinned(GATEWAY_CORE, sys.executable, str(HERE / "first_byte.py"), str(folder), str(count))
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(one) for one in json.loads(found)]


async def _reserve(folder: Path, count: int) -> list[float]:
    engine = open_engine(f"sqlite:///{folder / 'reservations.db'}")
    migrate(engine)
    ledger = Ledger(engine, node_id="node_bench")
    await ledger.start()
    windows: tuple[Window, ...] = ("day", "week", "month", "total")
    limits = tuple(Limit(f"lim_bench_{window}", "key", "bench", "usd", window, 10**15) for window in windows)
    caller = Caller("key_bench", "bench", "proj_bench", "bench", limits=limits)
    taken = []
    for number in range(WARM + count):
        now = datetime.now(UTC)
        id = f"req_{time.time_ns():016x}"
        request = Reservation(id, now, caller, limits, "openai", "gpt-5", "openai-chat", True, 10**7, 10**4)
        began = time.perf_counter()
        await ledger.reserve(request)
        if number >= WARM:
            taken.append((time.perf_counter() - began) * 1000)
        ledger.settle_soon(Settlement(id, now, 10**6, "exact", usage={"input_tokens": 420, "output_tokens": 180}))
        await asyncio.sleep(PAUSE)
    await ledger.stop()
    engine.dispose()
    return taken


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_reserve(Path(sys.argv[1]), int(sys.argv[2])))))
