"""What of WebSocket sessions is told elsewhere: events, `paig tail`, alerts, loops; and turns with a stored prompt."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from paig_client.admin import Event
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec
from paig_gateway.alerts import alerts
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.config import Config
from paig_gateway.config.model import SessionsSpec
from paig_gateway.server import running_gateway
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from paig_gateway.telemetry.settings import AlertsSpec
from tests.gateway.alerts.test_alerts import listening
from tests.gateway.end_to_end.conftest import ADMIN, World, running_world, simulated_providers
from tests.gateway.end_to_end.test_realtime import rows_of
from tests.gateway.end_to_end.test_socket_money import ITEM, answered, code_at_the_end
from tests.gateway.end_to_end.test_sockets import ask, socket, until_type
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio


async def paig(*arguments: str, origin: str) -> str:
    """A command's standard output."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "paig", *arguments,
        env={**os.environ, "PAIG_URL": origin, "PAIG_ADMIN_TOKEN": ADMIN, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()


async def test_each_turn_and_each_refusal_is_an_event(simulated: World) -> None:
    """The rows as the ledger has them, the session's name on each; that somebody stopped it is a change."""
    key = await simulated.make_key("ws-events", daily=20)
    told: list[Event] = []

    async def read() -> None:
        async with aclosing(simulated.admin.events()) as events:
            async for event in events:
                told.append(event)
                mine = [one for one in told if one.request is not None and one.request.key == "ws-events"]
                if len(mine) == 3 and any(one.change is not None and one.change.kind == "session" for one in told):
                    return

    reading = asyncio.create_task(read())
    try:
        changes = itertools.count(21)

        async def heard() -> bool:
            await simulated.admin.keys.update("ws-events", {"limits": {"daily": str(next(changes))}})
            return bool(told)

        await until(heard)  # what comes before the stream is open is not in it
        async with socket(simulated, key, "/proxy/openai/realtime?model=gpt-realtime") as connection:
            for _ in range(2):
                await connection.send(json.dumps({"type": "conversation.item.create", "item": ITEM}))
                await connection.send(json.dumps({"type": "response.create", "response": {"max_output_tokens": 40}}))
                assert (await until_type(connection, "response.done", "error"))["type"] == "response.done"
            [first, second] = await rows_of(simulated, "ws-events", 2)
            assert first.session is not None
            await simulated.admin.stop_session(first.session, key="ws-events")
            await connection.send(json.dumps({"type": "response.create"}))
            await until_type(connection, "error")
            assert await code_at_the_end(connection) == 1008
        await asyncio.wait_for(reading, 30)
    finally:
        reading.cancel()
    mine = [event.request for event in told if event.request is not None and event.request.key == "ws-events"]
    assert [(row.status, row.error, row.session) for row in mine] == [
        (101, None, first.session),
        (101, None, first.session),
        (429, "loop-stopped", first.session),
    ]
    assert mine[:2] == [first, second]
    changes = [one.change for one in told if one.change is not None and one.change.kind == "session"]
    assert [(change.action, change.name) for change in changes] == [("stop", first.session)]
    lines = (await paig("tail", "--no-follow", "--key", "ws-events", origin=simulated.origin)).splitlines()
    assert [[word in line for word in ("101", "429")] for line in lines] == [[True, False]] * 2 + [[False, True]]
    assert "loop-stopped" in lines[2]


async def test_alerts_tell_of_limits_that_sessions_reach(
    environment: None, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cap that ends a session is told of once, as one that refuses a request."""
    monkeypatch.setattr(alerts, "CHECK_SECONDS", 0.1)
    with listening() as webhook:
        monkeypatch.setenv("SOCKET_WEBHOOK", webhook.url)
        spec = AlertsSpec(webhook="env:SOCKET_WEBHOOK")
        async with (
            running_simulator(simulator) as base,
            running_world(tmp_path, simulated_providers(base), alerts=spec) as world,
        ):
            key = (await world.admin.keys.create("talks", KeySpec(limits=LimitsSpec(daily=Decimal("0.01"))))).key
            async with socket(world, key, "/proxy/openai/responses") as connection:
                while (event := await answered(connection, ask("Hello [sim:tokens=300]")))["type"] != "error":
                    pass
                assert event["status"] in (400, 402)
            async with asyncio.timeout(30):
                while not webhook.told:  # noqa: ASYNC110 another thread fills it
                    await asyncio.sleep(0.05)
    assert [one["kind"] for one in webhook.told] == ["limit"] * len(webhook.told)
    assert "The key 'talks'" in webhook.texts[0]


async def test_a_loop_of_equal_requests_is_stopped(environment: None, simulator: Simulator, tmp_path: Path) -> None:
    """With `stop_loops` the fourth equal request of a connection ends it; another request of the session passes."""
    store = OpenDatabase.open(tmp_path)
    async with running_simulator(simulator) as base:
        for name, spec in simulated_providers(base).items():
            store.catalog.providers.create(name, spec, actor="test")
        key = store.catalog.keys.create("tester", KeySpec(), actor="test").key
        gateway = Gateway(store, Config(sessions=SessionsSpec(loop_requests=4, stop_loops=True)))
        async with running_gateway(gateway) as origin:
            world: Any = type("Place", (), {"origin": origin})
            async with socket(world, key, "/proxy/openai/responses") as connection:
                for _ in range(3):
                    assert (await answered(connection, ask("The same")))["type"] == "response.completed"
                assert (await answered(connection, ask("Another")))["type"] == "response.completed"
                refused = await answered(connection, ask("The same"))
                assert (refused["status"], refused["error"]["code"]) == (429, "loop-stopped")
                assert await code_at_the_end(connection) == 1008


async def test_a_stored_prompt_is_held_for_as_large_as_it_may_be(simulated: World) -> None:
    """Its text is the provider's, so that the turn is held for the whole context; it costs what its usage says."""
    key = await simulated.make_key("ws-prompt", daily=50)
    async with socket(simulated, key, "/proxy/openai/realtime?model=gpt-realtime") as connection:
        for settings in ({}, {"prompt": {"id": "pmpt_123", "version": "2"}}):
            await connection.send(json.dumps({"type": "session.update", "session": {"type": "realtime", **settings}}))
            await connection.send(json.dumps({"type": "conversation.item.create", "item": ITEM}))
            await connection.send(json.dumps({"type": "response.create", "response": {"max_output_tokens": 40}}))
            assert (await until_type(connection, "response.done", "error"))["type"] == "response.done"
    plain, stored = await rows_of(simulated, "ws-prompt", 2)
    assert stored.reserved > plain.reserved > plain.cost
    assert stored.certainty == "exact"
    assert stored.cost < plain.reserved
    async with socket(simulated, key, "/proxy/openai/responses") as connection:
        done = await answered(connection, ask("Hello", prompt={"id": "pmpt_123"}))
    assert done["type"] == "response.completed", done
    row = (await rows_of(simulated, "ws-prompt", 3))[-1]
    assert (row.certainty, row.usage and row.usage["input_tokens"]) == (
        "exact",
        done["response"]["usage"]["input_tokens"],
    )
    assert row.reserved > Decimal("0.1")
