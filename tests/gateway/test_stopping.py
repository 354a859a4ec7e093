"""A node is stopped under load behind nginx: no client sees it."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.processes import CONFIG, KEY, Node, serving
from tests.gateway.end_to_end.waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx"),
]

FRONT = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream paig {{ server {going}; server {staying}; {keepalive} }}
    server {{
        listen 127.0.0.1:{port};
        proxy_buffering off; proxy_request_buffering off; proxy_http_version 1.1;
        proxy_next_upstream error timeout;
        proxy_set_header Connection "{connection}";
        location / {{ proxy_pass http://paig; }}
    }}
}}
"""


@pytest.mark.parametrize(
    ("keepalive", "connection"), [("keepalive 64;", ""), ("", "close")], ids=["kept connections", "new connections"]
)
async def test_no_request_is_lost(tmp_path: Path, postgres: Postgres, keepalive: str, connection: str) -> None:
    """Streams and whole answers, on connections that nginx keeps and on new ones."""
    database = postgres.fresh_database()
    config = tmp_path / "paig.toml"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with running_simulator(Simulator(keep=5)) as base:
        config.write_text(CONFIG.format(base=base, cap=100))
        async with (
            serving(tmp_path / "going", config, database) as going,
            serving(tmp_path / "staying", config, database) as staying,
        ):
            (tmp_path / "nginx.conf").write_text(
                FRONT.format(
                    folder=tmp_path,
                    going=going.origin.removeprefix("http://"),
                    staying=staying.origin.removeprefix("http://"),
                    keepalive=keepalive,
                    connection=connection,
                    port=port,
                )
            )
            front = await asyncio.create_subprocess_exec(
                "nginx", "-c", f"{tmp_path}/nginx.conf", "-e", f"{tmp_path}/error.log"
            )
            try:
                seen = await stopped_under_load(f"http://127.0.0.1:{port}", going)
            finally:
                front.terminate()
                await front.wait()
    assert set(seen) == {"200"}, (tmp_path / "error.log").read_text()


async def stopped_under_load(origin: str, going: Node) -> Counter[str]:
    """What twelve clients see while a node is stopped."""
    seen: Counter[str] = Counter()
    working = True
    async with httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60) as http:

        async def healthy() -> bool:
            with suppress(httpx2.TransportError):
                return (await http.get("/healthz")).status_code == 200
            return False

        async def client(number: int) -> None:
            stream = number % 3 == 0
            body = {
                "model": "gpt-4o-mini",
                "max_completion_tokens": 50,
                "stream": stream,
                "messages": [{"role": "user", "content": f"[sim:tokens=10] [sim:delay={0.02 * (number % 4)}]"}],
            }
            while working:
                try:
                    answer = await http.post(
                        "/proxy/openai/chat/completions", headers={"authorization": f"Bearer {KEY}"}, json=body
                    )
                except httpx2.TransportError as error:
                    seen[repr(error)] += 1
                    continue
                cut = stream and answer.status_code == 200 and not answer.text.endswith("[DONE]\n\n")
                seen["cut off" if cut else str(answer.status_code)] += 1

        await until(healthy)
        clients = [asyncio.create_task(client(number)) for number in range(12)]
        await until(lambda: seen.total() >= 100)
        going.process.terminate()
        await going.process.wait()
        ended = seen.total()
        await until(lambda: seen.total() >= ended + 50)
        working = False
        await asyncio.gather(*clients)
    return seen
