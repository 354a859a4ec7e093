"""pydantic-ai's realtime models through the gateway: rows right to the token, tools and attribution included."""

from __future__ import annotations

import pytest
from pydantic_ai import Agent
from pydantic_ai.realtime import RealtimeTurnCompleteEvent, infer_realtime_model

from paig_client import session, tags
from paig_client.attribution import headers
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.test_realtime import rows_of, sdk

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet_sockets")]


async def test_pydantic_ais_realtime_agent(simulated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of its own gateway models; two turns are two rows."""
    key = await simulated.make_key("pydantic-realtime", daily=20)
    monkeypatch.setenv("PYDANTIC_AI_GATEWAY_API_KEY", key)
    monkeypatch.setenv("PYDANTIC_AI_GATEWAY_BASE_URL", f"{simulated.origin}/proxy")
    agent = Agent(instructions="Be brief.")
    turns = 0
    async with agent.realtime(infer_realtime_model("gateway/openai:gpt-realtime")).session() as talk:
        await talk.send("Hello")
        async for event in talk:
            if isinstance(event, RealtimeTurnCompleteEvent):
                turns += 1
                if turns == 2:
                    break
                await talk.send("And again")
        usage = talk.usage
    rows = [row for row in await rows_of(simulated, "pydantic-realtime", 2) if row.certainty]
    assert [(row.model, row.certainty, row.format) for row in rows] == [
        ("gpt-realtime", "exact", "openai-realtime")
    ] * 2
    assert sum(row.usage["input_tokens"] for row in rows) == usage.input_tokens
    assert sum(row.usage["output_tokens"] for row in rows) == usage.output_tokens


async def test_attribution_of_a_connection_holds_for_its_turns(simulated: World) -> None:
    """With the headers that the client's page gives to a handshake."""
    key = await simulated.make_key("attributed")
    with tags(customer="acme"), session("call-8"):
        async with (
            sdk(simulated, key) as client,
            client.realtime.connect(model="gpt-realtime", extra_headers=headers()) as connection,
        ):
            for _ in range(2):
                await connection.response.create(response={"output_modalities": ["text"], "max_output_tokens": 20})
                async for event in connection:
                    if event.type == "response.done":
                        break
    rows = await rows_of(simulated, "attributed", 2)
    assert [(row.session, row.tags) for row in rows] == [("call-8", {"customer": "acme"})] * 2
