"""`paig serve` as a command: what it says, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from paig_client import own_gateway
from paig_gateway.app import OpenDatabase
from paig_gateway.config import Config, LedgerSpec
from paig_gateway.server import _announced, serve
from tests.gateway.databases import Postgres

TOKEN = "an-admin-token-for-tests-0123456789"


def command(home: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """`paig serve` with a home of its own."""
    code = "import sys; from paig_client.cli import main; sys.argv[0] = 'paig'; main()"
    environment = {
        **os.environ,
        "PAIG_HOME": str(home),
        "PAIG_SECRET_KEY": "secret-key-0123456789-abc",
        "PAIG_ADMIN_TOKEN": TOKEN,
    }
    environment.pop("PAIG_DATABASE_URL", None)
    return [sys.executable, "-c", code, "serve", *arguments], environment


@contextmanager
def started(arguments: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A running process, which is killed if the test fails: else the test would wait for its end without an end."""
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_free_port_is_found_and_said(tmp_path: Path, workers: str) -> None:
    """With port 0 the greeting names the port that it listens on; SIGTERM ends it in order."""
    arguments, environment = command(tmp_path, "--port", "0", "--workers", workers)
    with started(arguments, environment) as process:
        assert process.stdout is not None
        origin = process.stdout.readline().split()[3]
        with httpx2.Client(base_url=origin, trust_env=False, timeout=60) as http:
            assert http.get("/healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_readers_of_events_do_not_hold_it_up(tmp_path: Path, workers: str) -> None:
    """After the signal to end, it ends at once although a client follows the events; the stream ends with it."""
    arguments, environment = command(tmp_path, "--port", "0", "--workers", workers)
    with started(arguments, environment) as process:
        assert process.stdout is not None
        origin = process.stdout.readline().split()[3]
        headers = {"authorization": f"Bearer {TOKEN}"}
        with (
            httpx2.Client(base_url=origin, trust_env=False, timeout=60, headers=headers) as http,
            http.stream("GET", "/admin/v1/events") as answer,
        ):
            read = answer.iter_lines()
            assert "here come the events" in next(read)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=15)  # half of what requests are given to end
            assert [line for line in read if line and not line.startswith(":")] == []
    assert process.returncode == 0


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """It says so, and what to do, and ends with 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments, environment = command(tmp_path, "--port", str(port))
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    said = f"paig: cannot listen at 127.0.0.1 port {port}: Address already in use. See --host and --port.\n"
    assert done.stderr == said


@pytest.mark.parametrize(
    ("settings", "environ", "says"),
    [
        (
            "trust_env = true",
            {"HTTP_PROXY": "socks5://127.0.0.1:1"},
            "[server] trust_env: HTTP_PROXY: the proxy's scheme",
        ),
        (
            'tls_cert = "/nowhere.pem"\ntls_key = "/nowhere.key"',
            {},
            "[server] tls_cert: cannot read /nowhere.pem: No such file or directory",
        ),
        (f'tls_cert = "{__file__}"\ntls_key = "{__file__}"', {}, "[server] tls_cert, tls_key: "),
        ('upstream_ca = "/nowhere.pem"', {}, "[server] upstream_ca: cannot read certificates"),
    ],
)
def test_a_way_to_the_providers_that_cannot_be(
    tmp_path: Path, settings: str, environ: dict[str, str], says: str
) -> None:
    """It is said in one line, before anything is applied or served."""
    config = tmp_path / "paig.toml"
    config.write_text(f"[server]\n{settings}\n[projects.p]\n")
    arguments, environment = command(tmp_path, "--port", "0", "--config", str(config))
    done = subprocess.run(arguments, env={**environment, **environ}, capture_output=True, text=True, timeout=60)
    [line] = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert line.startswith(f"paig: {says}")
    assert not (tmp_path / "paig.db").exists()


def test_a_host_that_is_not_ours(tmp_path: Path) -> None:
    """An address of another machine is refused in words."""
    arguments, environment = command(tmp_path, "--host", "192.0.2.1", "--port", "0")
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("paig: cannot listen at 192.0.2.1 port 0: ")


@pytest.mark.parametrize("verbose", [False, True])
def test_an_unexpected_error_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    """Whatever keeps the gateway from starting; the rest of it is shown where that is asked for."""

    def broken(*_: object, **__: object) -> OpenDatabase:
        raise RuntimeError("the flux\nis out of order")

    monkeypatch.setattr(OpenDatabase, "open", broken)
    assert serve(port=0, verbose=verbose) == 1
    *rest, last = capsys.readouterr().err.splitlines()
    assert last.startswith("paig: Cannot start: RuntimeError: the flux is out of order.")
    assert ("--verbose" in last) is not verbose
    assert bool(rest) is verbose


def test_a_worker_opens_so_many_connections(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as the setting says, and one for the ledger."""
    monkeypatch.setenv("PAIG_DATABASE_URL", postgres.fresh_database())
    monkeypatch.setenv("PAIG_SECRET_KEY", "secret-key-0123456789-abc")
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    store = OpenDatabase.open(tmp_path, Config(ledger=LedgerSpec(connections=2)))
    with ExitStack() as opened:
        for _ in range(2):
            opened.enter_context(store.engine.connect())
        store.engine.pool._timeout = 0.1  # type: ignore[attr-defined]  # instead of thirty seconds
        with pytest.raises(PoolTimeout):
            store.engine.connect()
    store.engine.dispose()


def test_gateways_with_the_same_process_id_announce_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own file: in containers that share the home folder, every gateway is process 1."""
    monkeypatch.setenv("PAIG_HOME", str(tmp_path))
    with _announced(tmp_path, "http://10.0.0.1:8787"):
        with _announced(tmp_path, "http://10.0.0.2:8787"):
            assert {one.url: one.pid for one in own_gateway.gateways()} == {
                "http://10.0.0.1:8787": os.getpid(),
                "http://10.0.0.2:8787": os.getpid(),
            }
        assert own_gateway.running() == ["http://10.0.0.1:8787"]
    assert own_gateway.running() == []
