"""White space that a provider sends before a body, to keep the connection alive."""

from __future__ import annotations

import asyncio
from pathlib import Path

from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec, RouteTimeouts
from tests.gateway.end_to_end.conftest import NO_BREAKER, running_world
from tests.gateway.end_to_end.replay import running_replay
from tests.gateway.end_to_end.test_failover import pytestmark as pytestmark
from tests.gateway.end_to_end.test_failover import tries
from tests.gateway.end_to_end.test_refusals import settled

ANSWER = b'{"choices":[{"index":0}],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}'
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 50}


async def test_where_no_other_member_is_left_they_go_on_at_once(environment: None, tmp_path: Path) -> None:
    """The client sees them while the body is still to come; the cost stands in the body alone."""
    async with running_replay() as replay:
        replay.headers, replay.pieces = [("content-type", "application/json")], [b"\n", b" \n", ANSWER]
        replay.gate = asyncio.Event()
        spec = ProviderSpec(kind="openai", base_url=f"{replay.base}/v1", credential="value:k")
        async with running_world(tmp_path, {"only": spec}) as world:
            headers, seen = {"authorization": f"Bearer {world.key}"}, b""
            async with world.http.stream("POST", "/proxy/only/chat/completions", headers=headers, json=CHAT) as answer:
                async for piece in answer.aiter_raw():
                    seen += piece
                    if seen == b"\n \n":
                        replay.gate.set()
            row = await settled(world, answer.headers["x-paig-request-id"])
    assert seen.startswith(b'\n \n{"choices":[{"index":0}],"usage":{"prompt_tokens":10')
    assert b'"logfire_ai_gateway":{"cost":' in seen
    assert "logfire-ai-gateway-cost" not in answer.headers
    assert (row.certainty, row.usage and row.usage["output_tokens"]) == ("exact", 20)


async def test_while_another_member_is_left_they_wait_until_the_deadline(environment: None, tmp_path: Path) -> None:
    """A member that sends nothing but white space until `first_byte` is given up for the next one."""
    async with running_replay() as lively, running_replay() as well:
        lively.headers = well.headers = [("content-type", "application/json")]
        lively.pieces, lively.gate, well.pieces = [b"\n", ANSWER], asyncio.Event(), [ANSWER]
        specs = {
            name: ProviderSpec(kind="openai", base_url=f"{replay.base}/v1", credential="value:k")
            for name, replay in (("lively", lively), ("well", well))
        }
        async with running_world(tmp_path, specs, NO_BREAKER) as world:
            members = [MemberSpec(provider="lively", priority=5), MemberSpec(provider="well")]
            route = RouteSpec(members=members, timeouts=RouteTimeouts(first_byte=1))
            await world.admin.routes.create("both", route)
            headers = {"authorization": f"Bearer {world.key}"}
            answer = await world.http.post("/proxy/both/chat/completions", headers=headers, json=CHAT)
            assert answer.content.startswith(b'{"choices"')
            assert "logfire-ai-gateway-cost" in answer.headers
            row = await settled(world, answer.headers["x-paig-request-id"])
            lively.gate.set()
    assert tries(row) == [("lively", "upstream-timeout"), ("well", 200)]
