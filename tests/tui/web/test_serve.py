"""The command: which addresses it takes, what it prints, which keys it knows, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from paig_client.cli.app import app
from paig_gateway.secrets.local_ca import local_certificate
from paig_tui.web.serve import AddressRefused, Tls, origin_of
from tests.gateway.end_to_end.conftest import ADMIN, World
from tests.tui.web.conftest import Site, Visitor, children, gone, readable, site_at

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/login#([\w-]+)\s")


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({"host": "127.0.0.1"}, "http://127.0.0.1:8788"),
        ({"host": "::1"}, "http://[::1]:8788"),
        ({"host": "gw.internal", "tls": True}, "https://gw.internal:8788"),
        ({"host": "10.0.0.5", "tls": True}, "https://10.0.0.5:8788"),
        ({"host": "127.0.0.1", "public_url": "https://Paig.example/"}, "https://paig.example"),
        ({"host": "0.0.0.0", "public_url": "https://paig.example:444"}, "https://paig.example:444"),
        ({"host": "0.0.0.0", "public_url": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000"),
    ],
)
def test_addresses_for_browsers(given: dict[str, str | bool], origin: str) -> None:
    """Loopback may be http; anything else is https, by ourselves or by a proxy in front."""
    assert origin_of(**{"port": 8788, **given}) == origin  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"host": "10.0.0.5"}, "use ssh -L 8788:127.0.0.1:8788"),
        ({"host": "gw.internal"}, "serve https with --tls"),
        ({"host": "0.0.0.0"}, "and a browser needs one"),
        ({"host": "0.0.0.0", "tls": True}, "and a browser needs one"),
        ({"host": "127.0.0.1", "public_url": "http://paig.example"}, "would show keys"),
        ({"host": "127.0.0.1", "public_url": "https://paig.example/tui"}, "must end with the host"),
        ({"host": "127.0.0.1", "public_url": "https://me:secret@paig.example"}, "has no user"),
        ({"host": "127.0.0.1", "public_url": "ftp://paig.example"}, "is not a valid address for browsers"),
    ],
)
def test_addresses_that_browsers_must_not_be_sent_to(given: dict[str, str | bool], said: str) -> None:
    """What would show keys to a network, or work for no browser, is refused with the way out."""
    with pytest.raises(AddressRefused, match=re.escape(said)):
        origin_of(**{"port": 8788, **given})  # type: ignore[arg-type]


def test_command_refuses_what_it_cannot_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network address in the clear, a taken port and options without --web are refused in a line."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", ADMIN)
    run = CliRunner().invoke(app, ["tui", "--web", "--host", "0.0.0.0"])
    assert (run.exit_code, run.stderr[:14]) == (2, "paig: 0.0.0.0 ")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = CliRunner().invoke(app, ["tui", "--web", "--port", str(taken.getsockname()[1])])
    assert run.exit_code == 1
    assert "Address already in use. See --port." in run.stderr
    run = CliRunner().invoke(app, ["tui", "--port", "8788"])
    assert run.exit_code == 2
    assert "--web" in run.output


@contextmanager
def command(world: World, home: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`paig tui --web` in a terminal: the process, and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("paig"), "tui", "--web", "--port", "0", "--url", world.origin],
        env={**os.environ, "PAIG_HOME": str(home), "PAIG_ADMIN_TOKEN": ADMIN},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def reads(terminal: int, pattern: str) -> re.Match[str]:
    """Wait until the command printed this."""
    text = ""
    for _ in range(1200):
        with contextlib.suppress(BlockingIOError, OSError):
            text += os.read(terminal, 65536).decode()
        if match := re.search(pattern, text):
            return match
        time.sleep(0.05)
    raise AssertionError(f"never came: {pattern}\n{text}")


@pytest.mark.anyio
async def test_command_in_a_terminal(world: World, tmp_path: Path) -> None:
    """It prints a link, another at Enter, logs browsers out at x; killed, it takes its terminals along."""
    with command(world, tmp_path) as (process, keys):
        first = reads(keys, LINK.pattern)
        os.write(keys, b"\n")
        link = reads(keys, LINK.pattern)
        origin = link[1]
        assert first[2] != link[2]
        async with httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60) as http:
            visitor = Visitor(origin, http)
            assert (await visitor.log_in(first[2])).status_code == 403
            reads(keys, "a link was refused")
            assert (await visitor.log_in(link[2])).status_code == 200
            reads(keys, "logged in: 127.0.0.1, python-httpx2")
            async with visitor.terminal() as page:
                await page.sees("● live")
                os.write(keys, b"x\n")
                reads(keys, "logged out: 1 browser")
                assert await page.closed() == 4001
            assert (await http.get("/")).status_code == 401

            os.write(keys, b"\n")
            await visitor.log_in(reads(keys, LINK.pattern)[2])
            async with visitor.terminal() as page:
                await page.sees("● live")
                [child] = children(process.pid)
                assert ADMIN not in readable(child)
                process.kill()
                process.wait()
                await gone(child)


def test_command_stops_in_good_order(world: World, tmp_path: Path) -> None:
    """Told to end, by the system or because its terminal was closed, it ends as at Ctrl+C and frees the port."""
    for told in (signal.SIGTERM, signal.SIGHUP):
        with command(world, tmp_path) as (process, keys):
            port = int(reads(keys, LINK.pattern)[1].rpartition(":")[2])
            process.send_signal(told)
            assert process.wait(timeout=60) == 0
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.anyio
async def test_https_with_the_own_authority(world: World, tmp_path: Path) -> None:
    """With a certificate the cookie is for https alone, and terminals work over it."""
    made = local_certificate(tmp_path, "127.0.0.1", name="web")
    assert sorted(file.name for file in (tmp_path / "tls").iterdir()) == [
        *("ca-bundle.pem", "ca.key", "ca.pem", "web-by-name.pem", "web.key", "web.pem")
    ]
    tls = Tls(made.certificate, made.key)
    assert re.fullmatch("([0-9A-F]{2}:){31}[0-9A-F]{2}", tls.fingerprint)
    trust = ssl.create_default_context(cafile=made.bundle)
    async with site_at(world.origin, tls=tls, trust=trust) as site:
        answer = await site.log_in(site.logins.link())
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name.startswith("__Host-paig-tui-")
        assert rest.endswith("; Secure")
        async with site.terminal() as page:
            await page.sees("● live")


@pytest.mark.anyio
async def test_idle_connections_do_not_block_others(entrance: Site) -> None:
    """Strangers hold as many connections as they like: the owner comes in, and idle ones are closed."""
    host, port = "127.0.0.1", int(entrance.origin.rpartition(":")[2])
    opened = [await asyncio.open_connection(host, port) for _ in range(100)]
    try:
        for _, writer in opened[-20:]:
            writer.write(b"GET / HTT")  # begun, and never ended
        assert (await entrance.http.get("/login")).status_code == 200
        first, _ = opened[0]
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionError):
                assert await first.read() == b""
    finally:
        for _, writer in opened:
            writer.close()
