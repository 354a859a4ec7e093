"""What is told of a session over a WebSocket: a span for each turn, and metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from websockets.asyncio.client import connect

from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.test_realtime import rows_of, url
from tests.gateway.end_to_end.test_sockets import until_type
from tests.gateway.end_to_end.waiting import until
from tests.gateway.telemetry.otlp import attributes, over_http
from tests.gateway.telemetry.test_traces import CLIENTS, PARENT, TRACE, to, traced

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("known", [True, False])
async def test_each_turn_is_a_span_of_one_trace(environment: None, tmp_path: Path, known: bool) -> None:
    """In the client's trace, or in one that begins with the session; metrics count the session."""
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            headers = {"authorization": f"Bearer {world.key}", "x-paig-session": "call-7"}
            headers |= {"traceparent": CLIENTS} if known else {}
            path = url(world, "/proxy/openai/realtime?model=gpt-realtime")
            async with connect(path, additional_headers=headers, proxy=None) as connection:
                for _ in range(2):
                    await connection.send(json.dumps({"type": "response.create", "response": {"max_output_tokens": 9}}))
                    await until_type(connection, "response.done")
            rows = await rows_of(world, "tester", 2)
            spans = await receiver.wait(4)
            await until(lambda: is_counted(world))
    servers = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    tries = [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert len(servers) == len(tries) == 2
    [trace_id] = {span.trace_id.hex() for span in spans}
    assert (trace_id == TRACE) is known
    assert {span.parent_span_id.hex() for span in servers} == {PARENT if known else ""}
    assert {span.parent_span_id for span in tries} == {span.span_id for span in servers}
    assert {row.trace_id for row in rows} == {trace_id}
    for span in servers:
        found = attributes(span)
        assert (span.name, span.status.code) == ("GET /proxy/openai", Status.STATUS_CODE_UNSET)
        assert (found["http.response.status_code"], found["paig.session"]) == (101, "call-7")
        assert found["paig.format"] == "openai-realtime"
    assert {attributes(span)["paig.request_id"] for span in servers} == {row.id for row in rows}
    assert [span.name for span in tries] == ["chat gpt-realtime"] * 2
    assert all(attributes(span)["gen_ai.usage.output_tokens"] > 0 for span in tries)


async def is_counted(world: World) -> bool:
    """Whether the metrics know of the session that ended."""
    lines = (await world.http.get("/metrics")).text.splitlines()
    return any(line.startswith("paig_websockets_ended_total{") and 'end="client-gone"' in line for line in lines)
