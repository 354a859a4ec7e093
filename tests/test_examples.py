"""The examples run as they stand, against a gateway in front of a simulated provider."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import ADMIN, World, environment, running_world, simulated_providers

__all__ = ["environment"]
pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway in front of simulated providers."""
    home = tmp_path_factory.mktemp("home")
    async with running_simulator() as base, running_world(home, simulated_providers(base)) as running:
        yield running


def variables(world: World, key: str) -> dict[str, str]:
    """The environment that `paig run` would set, and an administrator's."""
    return {
        **os.environ,
        "PAIG_URL": world.origin,
        "PAIG_ADMIN_TOKEN": ADMIN,
        "PYDANTIC_AI_GATEWAY_API_KEY": key,
        "PYDANTIC_AI_GATEWAY_BASE_URL": f"{world.origin}/proxy",
    }


async def run(world: World, *arguments: str, key: str | None = None) -> str:
    """What a Python program prints; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments), env=variables(world, key or world.key), stdout=-1, stderr=-1
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def test_agent_with_budget(world: World) -> None:
    """The agent answers, and its requests are in the ledger under its tag."""
    printed = await run(world, str(EXAMPLES / "agent_with_budget.py"))
    assert "USD" in printed
    assert "Stopped" not in printed
    rows = (await world.admin.requests(limit=10)).items
    assert [row.tags for row in rows if row.tags.get("job") == "example"]


async def test_agent_with_budget_says_when_it_is_stopped(world: World) -> None:
    """With a key that has next to nothing left, the example says so and ends well."""
    poor = await world.make_key("poor", daily="0.000001", soft=False)
    assert "Stopped" in await run(world, str(EXAMPLES / "agent_with_budget.py"), key=poor)


async def test_each_customer_has_a_cap(world: World) -> None:
    """A customer's first question makes their key; beyond the cap the service answers 402."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), "customer_caps:app"),
        env=variables(world, world.key),
    )
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http:
            for _ in range(1200):
                with contextlib.suppress(httpx2.TransportError):
                    if (await http.get("/openapi.json")).status_code == 200:
                        break
                await asyncio.sleep(0.05)
            ask = {"text": "Which city is the capital of France?"}
            answer = await http.post("/customers/acme/questions", json=ask)
            assert (answer.status_code, bool(answer.json()["answer"])) == (200, True)
            key = await world.admin.keys.get("customer-acme")
            assert key.limits.daily is not None
            await world.admin.keys.update("customer-acme", {"limits": {"daily": "0.0001"}})
            answer = await http.post("/customers/acme/questions", json=ask)
            assert answer.status_code == 402
            assert "Your budget for today is used up" in answer.text
    finally:
        served.terminate()
        await served.wait()


async def test_showback_notebook(world: World) -> None:
    """The notebook's cells run one after the other and print the projects' costs."""
    await run(world, str(EXAMPLES / "agent_with_budget.py"))
    cells = json.loads((EXAMPLES / "showback.ipynb").read_text("utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert "USD" in await run(world, "-c", code)
