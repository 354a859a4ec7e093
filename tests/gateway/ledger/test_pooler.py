"""Nodes that reach PostgreSQL through pgbouncer in transaction mode: several on few server connections."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from paig_gateway.database.engine import migrate, open_engine
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.reports import Filter, list_requests, usage
from tests.gateway.databases import Postgres
from tests.gateway.ledger.books import NOON, Clock, Totals, limit, reservation, settlement, totals

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/usr/sbin/pgbouncer").exists(), reason="pgbouncer is not installed"),
]


@pytest.fixture
def pooled(postgres: Postgres, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A fresh database's URL through a pooler with three server connections, and its own."""
    direct = postgres.new_database()
    folder = Path(parse_qs(urlsplit(direct).query)["host"][0])
    private = folder.stat().st_mode  # the server does not start again in a folder that others can read
    home = Path(os.path.realpath(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (home / "users.txt").write_text('"postgres" ""\n')
    (home / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={folder} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = any\nauth_file = {home}/users.txt\npool_mode = transaction\n"
        f"default_pool_size = 3\nserver_round_robin = 1\nlogfile = {home}/log\npidfile = {home}/pid\n"
    )
    command = ["/usr/sbin/pgbouncer", str(home / "pgbouncer.ini")]
    if os.getuid() == 0:  # it refuses to run as root
        owner = pwd.getpwnam("postgres")
        for path in (home, *home.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        for path in (*home.parents[:-2], *folder.parents[:-2]):
            path.chmod(path.stat().st_mode | 0o11)
        folder.chmod(0o777)
        command[1:1] = ["-u", "postgres"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    name = urlsplit(direct).path.strip("/")
    url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/{name}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(url.replace("+psycopg", "")).close()
                break
            except psycopg.OperationalError:
                assert process.poll() is None, (home / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield url, direct
    finally:
        process.terminate()
        process.wait()
        folder.chmod(private)


async def test_four_nodes_behind_a_pooler(pooled: tuple[str, str]) -> None:
    """Everything is settled, all sums agree, and no setting is left behind for other applications."""
    url, direct = pooled
    engines = [open_engine(url) for _ in range(4)]
    for engine in engines:
        migrate(engine)
    ledgers = [Ledger(engine, node_id=f"node_{n}", clock=Clock()) for n, engine in enumerate(engines)]
    for ledger in ledgers:
        await ledger.start()
    cap = limit("cap", 10**6)

    async def serve(ledger: Ledger) -> None:
        for _ in range(25):
            request = reservation(cap)
            await ledger.reserve(request)
            await ledger.settle(settlement(request, 400))

    await asyncio.gather(*(serve(ledger) for ledger in ledgers for _ in range(4)))
    assert totals(engines[0], cap) == Totals(spent=160_000, held=0)
    assert usage(engines[0], [], Filter(since=NOON)).total.requests == 400
    assert len(list_requests(engines[0], Filter(), limit=1000).items) == 400
    assert all(ledger.healthy for ledger in ledgers)
    for _ in range(3):
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            shown = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in ("enable_seqscan", "jit")]
        with psycopg.connect(direct.replace("+psycopg", "")) as connection:
            own = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in ("enable_seqscan", "jit")]
        assert shown == own
    for ledger in ledgers:
        await ledger.stop()
    for engine in engines:
        engine.dispose()
