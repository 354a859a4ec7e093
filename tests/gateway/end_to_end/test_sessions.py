"""Sessions of coding agents at a whole gateway: recorded without any code, shown as trees, stopped."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from paig_client.admin import AsyncAdminClient, Invalid, NotFound
from paig_client.api.specs import KeySpec
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.catalog import CatalogError, stops
from paig_gateway.config import Config
from paig_gateway.config.model import SessionsSpec
from paig_gateway.server import running_gateway
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.agents import DIGGER, SCOUT, SESSION, STEPS, TESTER, play
from tests.gateway.end_to_end.conftest import ADMIN, World, simulated_providers

pytestmark = pytest.mark.anyio


async def test_a_session_of_claude_code_becomes_a_tree(simulated: World, simulator: Simulator) -> None:
    """Nothing but its own headers says which agent spent what; none of the ids goes upstream."""
    key = await simulated.make_key("coder")
    simulator.requests.clear()
    answers = await play(simulated.http, key)
    assert [answer.status_code for answer in answers] == [200] * len(STEPS)
    found = await simulated.admin.session(SESSION, key="coder")
    assert [(agent.id, agent.name, agent.depth) for agent in found.tree] == [
        (None, None, 0),
        (SCOUT, "Explore", 1),
        (DIGGER, "Explore", 2),
        (TESTER, "Test", 1),
    ]
    main, scout, digger, tester = found.tree
    assert (main.requests, scout.requests, digger.requests, tester.requests) == (2, 2, 1, 1)
    assert tester.models == ["claude-haiku-4-5"]
    assert Decimal(digger.cost) > Decimal(scout.cost) > Decimal(main.cost) > 0
    assert Decimal(scout.total_cost) == Decimal(scout.cost) + Decimal(digger.cost)
    [usage] = (await simulated.admin.usage(key="coder")).items
    assert Decimal(main.total_cost) == Decimal(found.cost) == Decimal(usage.cost)
    rows = (await simulated.admin.requests(key="coder", where={"session": SESSION})).items
    assert {row.agent for row in rows} == {None, SCOUT, DIGGER, TESTER}
    assert not any(request.header("x-claude-code-session-id") for request in simulator.requests)


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        (
            "/proxy/openai/responses",
            {"session-id": "codex-1", "thread-id": "codex-2", "x-codex-parent-thread-id": "codex-1"},
            {"model": "gpt-5", "input": "[sim:tokens=9] hi", "max_output_tokens": 64, "prompt_cache_key": "codex-1"},
        ),
        (
            "/proxy/openai/chat/completions",
            {"x-session-id": "codex-2", "x-session-affinity": "codex-2", "x-parent-session-id": "codex-1"},
            {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 64},
        ),
        (
            "/proxy/anthropic/v1/messages",
            {"x-paig-session": "codex-1", "x-paig-agent": "codex-2"},
            {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 64},
        ),
    ],
    ids=["codex", "opencode", "ours"],
)
async def test_the_ids_of_other_clients_are_known(
    simulated: World, simulator: Simulator, path: str, headers: dict[str, str], body: dict[str, object]
) -> None:
    key = await simulated.make_key(f"agent-{len(path)}")
    answer = await simulated.http.post(path, headers={"authorization": f"Bearer {key}", **headers}, json=body)
    assert answer.status_code == 200, answer.text
    row = await simulated.admin.request(answer.headers["x-paig-request-id"])
    assert (row.session, row.agent, row.agent_parent) == ("codex-1", "codex-2", None)


async def test_a_session_is_stopped_and_let_go_on(simulated: World, simulator: Simulator) -> None:
    """Its further requests are refused for good, those of other sessions and of the same id of another key are not."""
    mine, other = await simulated.make_key("stopped"), await simulated.make_key("not-stopped")
    for key in (mine, other):
        await play(simulated.http, key, "run/away", STEPS[:2])
    with pytest.raises(Invalid, match="several keys"):
        await simulated.admin.stop_session("run/away")
    with pytest.raises(NotFound):
        await simulated.admin.stop_session("unknown")
    found = await simulated.admin.stop_session("run/away", key="stopped")
    assert found.stopped_by == "token:admin"
    [refused] = await play(simulated.http, mine, "run/away", STEPS[2:3])
    assert (refused.status_code, refused.headers["x-paig-error"]) == (429, "loop-stopped")
    assert refused.headers["x-should-retry"] == "false"
    assert "was stopped by token:admin" in refused.json()["error"]["message"]
    [row] = (await simulated.admin.requests(key="stopped", status=429)).items
    assert row.refusal is not None
    assert row.refusal["session"] == "run/away"
    for key, session in ((other, "run/away"), (mine, "another")):
        assert [answer.status_code for answer in await play(simulated.http, key, session, STEPS[2:3])] == [200]
    assert [one.stopped_by for one in await simulated.admin.sessions(key="stopped")] == [None, "token:admin"]
    await simulated.admin.resume_session("run/away", key="stopped")
    assert [answer.status_code for answer in await play(simulated.http, mine, "run/away", STEPS[2:3])] == [200]
    actions = [(entry.action, entry.name) for entry in await simulated.admin.audit(kind="session")]
    assert actions == [("resume", "run/away"), ("stop", "run/away")]


async def test_loops_are_refused_where_the_operator_wants_that(
    environment: None, simulator: Simulator, tmp_path: Path
) -> None:
    """By default nothing is refused; with `stop_loops` the same request over and over is, and no other."""
    store = OpenDatabase.open(tmp_path)
    async with running_simulator(simulator) as base:
        for name, spec in simulated_providers(base).items():
            store.catalog.providers.create(name, spec, actor="test")
        key = store.catalog.keys.create("tester", KeySpec(), actor="test").key
        gateway = Gateway(store, Config(sessions=SessionsSpec(loop_requests=4, stop_loops=True)))
        async with (
            running_gateway(gateway) as origin,
            httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=30) as http,
        ):
            statuses = [answer.status_code for answer in await play(http, key, "loop", [STEPS[0]] * 5)]
            assert statuses == [200, 200, 200, 429, 429]
            async with AsyncAdminClient(origin, token=ADMIN) as admin:
                found = await admin.session("loop")
                assert found.loop is not None
                assert (found.loop.kind, found.loop.requests, found.last_error) == ("repeated", 4, "loop-stopped")
                assert [one.loop for one in await admin.sessions()] == [found.loop]
            assert [answer.status_code for answer in await play(http, key, "loop", STEPS[1:2])] == [200]
            assert [answer.status_code for answer in await play(http, key, "other", [STEPS[0]] * 3)] == [200] * 3


def test_stopped_sessions_are_bounded_in_number(
    monkeypatch: pytest.MonkeyPatch, environment: None, tmp_path: Path
) -> None:
    """No more sessions are stopped at once than the gateway keeps in memory."""
    monkeypatch.setattr(stops, "MOST", 3)
    store = OpenDatabase.open(tmp_path)
    for number in range(3):
        stops.stop(store.catalog, "key_x", f"s{number}", actor="test")
    stops.stop(store.catalog, "key_x", "s1", actor="test")
    with pytest.raises(CatalogError, match="3 stopped sessions"):
        stops.stop(store.catalog, "key_x", "s3", actor="test")
    stops.resume(store.catalog, "key_x", "s1", actor="test")
    stops.stop(store.catalog, "key_x", "s3", actor="test")
