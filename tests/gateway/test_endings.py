"""`paig serve` as a process: how it ends, reloads, renews its certificate, and listens at two addresses."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import trustme

from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

KEY = "paig_key_of_a_test_0123456789"
CHUNK = b'data: {"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"hi "}}]}\n\n'
PROVIDER = """
[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
credential = "value:upstream"
[keys.tester]
secret = "env:TESTER"
limits = {{ daily = 1 }}
"""


@dataclass
class Serving:
    """A running `paig serve`."""

    process: asyncio.subprocess.Process
    greeting: list[str]
    home: Path
    config: Path
    _lines: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """Where it serves."""
        return self.greeting[0].split()[3]

    async def logs(self, text: str) -> None:
        """Wait until it logs that."""
        assert self.process.stderr is not None
        async with asyncio.timeout(60):
            while not self._lines or text not in self._lines[-1]:
                line = await self.process.stderr.readline()
                assert line, f"it ended without logging {text!r}"
                self._lines.append(line.decode())

    async def end(self) -> str:
        """Wait for its end; what it logged."""
        _, said = await self.process.communicate()
        return "".join(self._lines) + said.decode()


@asynccontextmanager
async def serving(home: Path, text: str, *arguments: str) -> AsyncIterator[Serving]:
    """`paig serve` with that configuration."""
    home.mkdir(exist_ok=True)  # noqa: ASYNC240
    config = home / "paig.toml"
    config.write_text(text)
    environment = {
        **os.environ,
        "PAIG_HOME": str(home),
        "PAIG_SECRET_KEY": "a-secret-key-for-tests-0123456789",
        "TESTER": KEY,
    }
    environment["PAIG_ADMIN_TOKEN"] = "admin-token-for-tests-0123456789"
    environment.pop("PAIG_DATABASE_URL", None)
    code = "import sys; from paig_client.cli import main; sys.argv[0] = 'paig'; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "serve", "--config", str(config), "--port", "0", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        greeting: list[str] = []
        while not greeting or not any(line.startswith(("Providers:", "Next:")) for line in greeting):
            line = (await process.stdout.readline()).decode()
            assert line, (await process.communicate())[1].decode()
            if line.startswith("paig serves") or greeting:
                greeting.append(line.rstrip())
        running = Serving(process, greeting, home, config)
        async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http:
            await until(lambda: answers(http, f"{running.origin}/readyz"))
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def answers(http: httpx2.AsyncClient, url: str) -> bool:
    """Whether that is answered with 200."""
    try:
        return (await http.get(url)).status_code == 200
    except httpx2.TransportError:
        return False


@asynccontextmanager
async def provider(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A provider on a free port that answers each connection's first request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or b"0"))
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A stream without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(CHUNK)
        await writer.drain()
        await asyncio.sleep(0.1)


BODY = {"model": "gpt-4o-mini", "stream": True, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
HEADERS = {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sigterm_drains_and_then_breaks_off(tmp_path: Path, workers: str) -> None:
    """Not ready at once, serving for the lame duck's time; what does not end is broken off and recorded so."""
    server = "[server]\nlame_duck = 5\nshutdown_seconds = 1\n"
    async with (
        provider(endless) as port,
        serving(tmp_path, server + PROVIDER.format(port=port), "--workers", workers) as running,
        httpx2.AsyncClient(base_url=running.origin, trust_env=False, timeout=60, headers=HEADERS) as http,
        http.stream("POST", "/proxy/openai/chat/completions", json=BODY) as stream,
    ):
        pieces = stream.aiter_raw()
        await anext(pieces)
        running.process.terminate()
        await until(lambda: unready(http))
        assert (await http.get("/healthz")).status_code == 200
        await until(lambda: closes(http))  # of several workers one is told after the other
        assert (await http.get("/proxy/openai/v1/nothing")).status_code == 400  # still taken, and answered
        with pytest.raises(httpx2.TransportError):
            async for _ in pieces:
                pass
        logged = await running.end()
    assert running.process.returncode == 0
    assert "Traceback" not in logged
    with closing(sqlite3.connect(tmp_path / "paig.db")) as connection:
        rows = connection.execute("SELECT error, certainty, cost FROM requests WHERE status = 200").fetchall()
    assert [(error, certainty) for error, certainty, _ in rows] == [("shutdown", "estimated")]
    assert rows[0][2] > 0


async def closes(http: httpx2.AsyncClient) -> bool:
    """Whether an answer ends its connection, so that no pool keeps it."""
    return (await http.get("/healthz")).headers.get("connection") == "close"


async def unready(http: httpx2.AsyncClient) -> bool:
    """Whether the gateway says that it is not ready."""
    return (await http.get("/readyz")).status_code == 503


async def test_sigterm_waits_for_what_ends_by_itself(tmp_path: Path) -> None:
    """An answer that ends within the time is whole."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for _ in range(10):
            writer.write(CHUNK)
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.write(b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\ndata: [DONE]\n\n')
        await writer.drain()

    async with (
        provider(slow) as port,
        serving(tmp_path, PROVIDER.format(port=port)) as running,
        httpx2.AsyncClient(base_url=running.origin, trust_env=False, timeout=60, headers=HEADERS) as http,
        http.stream("POST", "/proxy/openai/chat/completions", json=BODY) as stream,
    ):
        pieces = stream.aiter_raw()
        read = await anext(pieces)
        running.process.terminate()
        async for piece in pieces:
            read += piece
        assert read.endswith(b"data: [DONE]\n\n")
        assert "Traceback" not in await running.end()
    with closing(sqlite3.connect(tmp_path / "paig.db")) as connection:
        assert connection.execute("SELECT error, certainty FROM requests").fetchall() == [(None, "exact")]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sighup_reloads(tmp_path: Path, workers: str) -> None:
    """The file is applied again; a wrong one changes nothing; what needs a restart is named."""
    text = PROVIDER.format(port=1)
    admin = {"authorization": "Bearer admin-token-for-tests-0123456789"}
    async with (
        serving(tmp_path, text, "--workers", workers) as running,
        httpx2.AsyncClient(base_url=running.origin, trust_env=False, timeout=60, headers=admin) as http,
    ):

        async def projects() -> list[str]:
            found = (await http.get("/admin/v1/projects")).json()["items"]
            return [project["name"] for project in found]

        async def reloaded() -> bool:
            return await projects() == ["research"]

        running.config.write_text(text + "[projects.research]\nlimits = { daily = 3 }\n[server]\nlame_duck = 9\n")
        running.process.send_signal(signal.SIGHUP)
        await until(reloaded)
        running.config.write_text(text + "[projects.research]\nlimit = 3\n")
        running.process.send_signal(signal.SIGHUP)
        await running.logs("was not reloaded, and nothing changed")
        assert await projects() == ["research"]
        running.process.terminate()
        logged = await running.end()
    assert "[server] lame_duck changed: restart the gateway" in logged
    assert "was not reloaded, and nothing changed: paig.toml:10: projects.research.limit" in logged
    assert "Traceback" not in logged


async def test_a_certificate_is_renewed_without_a_restart(tmp_path: Path) -> None:
    """New connections get the new certificate; a pair of files that do not fit leaves the old one."""
    authority, certificate, key = trustme.CA(), tmp_path / "cert.pem", tmp_path / "key.pem"

    def issue(name: str) -> trustme.LeafCert:
        leaf = authority.issue_cert("127.0.0.1", common_name=name)
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return leaf

    issue("first").private_key_pem.write_to_path(str(key))
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def name(origin: str) -> str:
        host, port = origin.removeprefix("https://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        subject = writer.get_extra_info("peercert")["subject"]
        writer.close()
        return {key: value for part in subject for key, value in part}["commonName"]

    files = f'[server]\ntls_cert = "{certificate}"\ntls_key = "{key}"\n'
    async with serving(tmp_path / "home", files) as running:
        assert running.origin.startswith("https://")
        assert await name(running.origin) == "first"
        second = issue("second")
        await running.logs("Cannot load the changed TLS certificate")
        assert await name(running.origin) == "first"
        second.private_key_pem.write_to_path(str(key))

        async def renewed() -> bool:
            return await name(running.origin) == "second"

        await until(renewed)
        running.process.terminate()
        logged = await running.end()
    assert "Serving the renewed TLS certificate" in logged


async def test_unused_tls_connections_do_not_hold_up_the_end(tmp_path: Path) -> None:
    """A client that keeps a connection open and does not read it is not waited for as long as for a request."""
    async with serving(tmp_path / "home", "[server]\nshutdown_seconds = 100\n", "--tls") as running:
        host, port = running.origin.removeprefix("https://").split(":")
        context = ssl.create_default_context(cafile=running.home / "tls" / "ca-bundle.pem")

        def ask() -> ssl.SSLSocket:
            kept = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)
            kept.sendall(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n")
            assert kept.recv(12) == b"HTTP/1.1 200"
            return kept

        with await asyncio.to_thread(ask):
            running.process.terminate()
            async with asyncio.timeout(20):
                assert "Traceback" not in await running.end()


async def test_two_listeners(tmp_path: Path) -> None:
    """The data plane's address serves no admin API and no console, and the admin's no data plane."""
    async with serving(tmp_path, "[server]\nadmin_port = 0\n" + PROVIDER.format(port=1)) as running:
        said = next(line for line in running.greeting if line.startswith("The admin API"))
        admin = {"authorization": "Bearer admin-token-for-tests-0123456789"}
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:

            async def status(origin: str, path: str, headers: dict[str, str]) -> int:
                return (await http.get(origin + path, headers=headers)).status_code

            for path, headers, here, there in (
                ("/admin/v1/keys", admin, 404, 200),
                ("/admin/docs", {}, 404, 200),
                ("/metrics", {}, 404, 200),
                ("/proxy/openai/v1/nothing", HEADERS, 400, 404),
                ("/healthz", {}, 200, 200),
                ("/readyz", {}, 200, 200),
            ):
                assert await status(running.origin, path, headers) == here, path
                assert await status(said.split()[-1], path, headers) == there, path
        running.process.terminate()
        assert "Traceback" not in await running.end()


async def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    """Half a pair is an error of the configuration, in words."""
    with pytest.raises(AssertionError, match="tls_cert and tls_key belong together"):
        async with serving(tmp_path, '[server]\ntls_cert = "a.pem"\n'):
            pass
