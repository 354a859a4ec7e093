"""What tests of telemetry share: a gateway in front of the simulator, and a reader of its metrics."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from paig_gateway.telemetry.otlp import exporter
from tests.gateway.end_to_end.conftest import World, environment

__all__ = ["environment"]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports don't wait for more to come, nor long before they are tried again."""
    monkeypatch.setattr(exporter, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(exporter, "PAUSES", (0.05, 0.1, 0.2))


Scraped = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(world: World) -> Scraped:
    """Every sample of `/metrics`, by name and labels."""
    response = await world.http.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(scraped: Scraped, name: str, **labels: str) -> float:
    """The sum of the samples of that name that have those labels."""
    wanted = set(labels.items())
    return sum(amount for (other, found), amount in scraped.items() if other == name and wanted <= found)


@dataclass
class Served:
    """`paig serve` in a process of its own.

    Attributes:
        log: Its standard error so far.
    """

    origin: str
    process: asyncio.subprocess.Process
    errors: Path

    @property
    def log(self) -> str:
        return self.errors.read_text("utf-8")


@asynccontextmanager
async def serving(
    home: Path, config: str, *options: str, stderr: int | None = None, **environment: str
) -> AsyncIterator[Served]:
    """`paig serve` with that configuration and those secrets, until the context ends; its log is whole then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    (home / "paig.toml").write_text(config, "utf-8")
    errors = home / "stderr"
    command = "import sys; from paig_client.cli import main; sys.argv[0] = 'paig'; main()"
    with errors.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-c",
                command,
                "serve",
                "--config",
                str(home / "paig.toml"),
                "--port",
                str(port),
                *options,
            ),
            env={**os.environ, "PAIG_HOME": str(home), **environment},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=file if stderr is None else stderr,
        )
    served = Served(f"http://127.0.0.1:{port}", process, errors)
    try:
        async with httpx2.AsyncClient(base_url=served.origin, trust_env=False) as http, asyncio.timeout(60):
            ready = False
            while not ready:
                await asyncio.sleep(0.05)
                assert process.returncode is None, served.log
                with suppress(httpx2.TransportError):
                    ready = (await http.get("/readyz")).status_code == 200
        yield served
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 60)
