"""Spans of a real gateway, as a minimal OTLP receiver gets them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from dirty_equals import IsFloat, IsPositiveInt, IsStr
from inline_snapshot import snapshot
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import Agent
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.models.instrumented import InstrumentationSettings

import paig_client
from paig_client.api.specs import ExportSpec, MemberSpec, ProviderSpec, RouteSpec, RouteTimeouts
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from paig_gateway.telemetry.settings import TelemetrySpec
from tests.gateway.end_to_end.conftest import UPSTREAM_KEY, World, running_world
from tests.gateway.telemetry.otlp import Receiver, attributes, over_grpc, over_http

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet_sockets")]

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLIENTS = f"00-{TRACE}-{PARENT}-01"


@asynccontextmanager
async def traced(home: Path, simulator: Simulator, **telemetry: Any) -> AsyncIterator[World]:
    """A gateway with those settings, in front of a simulator, a provider that is down, and a route over both."""
    async with running_simulator(simulator) as base:
        specs = {
            "openai": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential=f"value:{UPSTREAM_KEY}"),
            "down": ProviderSpec(kind="openai", base_url="http://127.0.0.1:9/v1", credential="value:c"),
            "anthropic": ProviderSpec(kind="anthropic", base_url=f"{base}/anthropic", credential="value:d"),
        }
        async with running_world(home, specs, telemetry=TelemetrySpec.model_validate(telemetry)) as world:
            members = [MemberSpec(provider="down", priority=2), MemberSpec(provider="openai", priority=1)]
            await world.admin.routes.create("fast", RouteSpec(members=members))
            yield world


async def ask(world: World, route: str = "openai", prompt: str = "Hi", key: str = "", **more: Any) -> Any:
    """One chat completion."""
    headers = {"authorization": f"Bearer {key or world.key}", **more.pop("headers", {})}
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": prompt}], "max_completion_tokens": 50, **more}
    return await world.http.post(f"/proxy/{route}/chat/completions", headers=headers, json=body)


def to(receiver: Receiver, **more: Any) -> dict[str, Any]:
    """Settings that export there."""
    return {"export": {"endpoint": receiver.url, **more}}


def shown(span: Span) -> dict[str, Any]:
    """A span without what differs from run to run."""
    kind, status = Span.SpanKind.Name(span.kind), Status.StatusCode.Name(span.status.code)
    return {"name": span.name, "kind": kind, "status": status, "attributes": attributes(span)}


async def test_the_spans_of_a_request(environment: None, tmp_path: Path) -> None:
    """A server span of the request in the client's trace, a client span of the try below it."""
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            tags = {"x-paig-tags": "customer=acme", "traceparent": CLIENTS}
            answer = await ask(world, headers=tags)
            row = await world.admin.request(answer.headers["x-paig-request-id"])
            server, attempt = await receiver.wait(2)
    assert row.trace_id == TRACE
    assert {server.trace_id.hex(), attempt.trace_id.hex()} == {TRACE}
    assert (server.parent_span_id.hex(), attempt.parent_span_id) == (PARENT, server.span_id)
    assert server.start_time_unix_nano <= attempt.start_time_unix_nano
    assert attempt.end_time_unix_nano <= server.end_time_unix_nano
    assert shown(server) == snapshot(
        {
            "name": "POST /proxy/openai",
            "kind": "SPAN_KIND_SERVER",
            "status": "STATUS_CODE_UNSET",
            "attributes": {
                "http.request.method": "POST",
                "http.route": "/proxy/{route}/{path}",
                "url.scheme": "http",
                "url.path": "/proxy/openai/chat/completions",
                "http.response.status_code": 200,
                "gen_ai.request.model": "gpt-5",
                "paig.request_id": answer.headers["x-paig-request-id"],
                "paig.route": "openai",
                "paig.format": "openai-chat",
                "paig.key": "tester",
                "paig.tag.customer": "acme",
                "paig.cost": "0.00023125",
                "paig.certainty": "exact",
                "paig.attempts": 1,
                "paig.gateway_seconds": IsFloat(gt=0),
            },
        }
    )
    assert shown(attempt) == snapshot(
        {
            "name": "chat gpt-5",
            "kind": "SPAN_KIND_CLIENT",
            "status": "STATUS_CODE_UNSET",
            "attributes": {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "paig.provider": "openai",
                "paig.attempt": 1,
                "paig.credential": IsStr(regex="[0-9a-f]{8}"),
                "gen_ai.request.model": "gpt-5",
                "gen_ai.request.max_tokens": 50,
                "server.address": "127.0.0.1",
                "server.port": IsPositiveInt(),
                "http.response.status_code": 200,
                "gen_ai.response.id": IsStr(regex="chatcmpl-.*"),
                "gen_ai.response.model": "gpt-5-2025-08-07",
                "gen_ai.response.finish_reasons": ["stop"],
                "gen_ai.usage.input_tokens": 1,
                "gen_ai.usage.output_tokens": 23,
                "gen_ai.usage.reasoning.output_tokens": 16,
                "operation.cost": 0.00023125,
            },
        }
    )
    assert attributes(attempt)["operation.cost"] == pytest.approx(float(row.cost))
    resource = receiver.traces[0].resource_spans[0].resource
    assert {a.key: a.value.string_value for a in resource.attributes} | {"service.instance.id": "?"} == snapshot(
        {
            "service.name": "paig",
            "service.version": IsStr(),
            "service.instance.id": "?",
        }
    )
    assert receiver.headers[0]["path"] == "/v1/traces"


async def test_a_stream_has_its_usage_after_its_end(environment: None, tmp_path: Path) -> None:
    """What only the end of a stream tells is on the span: usage, cost, finish reason, time to the first chunk."""
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            answer = await ask(world, stream=True)
            row = await world.admin.request(answer.headers["x-paig-request-id"])
            _, attempt = await receiver.wait(2)
    found = attributes(attempt)
    assert row.usage is not None
    assert found["gen_ai.usage.input_tokens"] == row.usage["input_tokens"]
    assert found["gen_ai.usage.output_tokens"] == row.usage["output_tokens"]
    assert found["operation.cost"] == pytest.approx(float(row.cost))
    assert found["gen_ai.request.stream"] is True
    assert 0 < found["gen_ai.response.time_to_first_chunk"] < 60


async def test_each_try_is_a_span(environment: None, tmp_path: Path) -> None:
    """A failover is two client spans; the one that failed says how, and has no usage."""
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            assert (await ask(world, "fast")).status_code == 200
            server, failed, good = await receiver.wait(3)
            refused = await ask(world, "down")
            assert refused.status_code == 502
            last = (await receiver.wait(5))[3:]
    assert failed.parent_span_id == good.parent_span_id == server.span_id
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert attributes(failed)["error.type"] == "upstream-unreachable"
    assert "gen_ai.usage.input_tokens" not in attributes(failed)
    assert attributes(server)["paig.attempts"] == 2
    assert [span.status.code for span in last] == [Status.STATUS_CODE_ERROR] * 2
    assert attributes(last[0])["http.response.status_code"] == 502


async def test_each_try_says_with_what_and_for_how_much(environment: None, tmp_path: Path) -> None:
    """Row and trace have the same of every try: provider, model there, credential, status or error, times and cost."""
    slow = "[sim@openai:delay=20] Hi"
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            base = (await world.admin.providers.get("openai")).base_url.replace("/openai/", "/openai-2/")
            spec = ProviderSpec(kind="openai", base_url=base, credentials=["value:two-1", "value:two-2"])
            ids = {one.id for one in (await world.admin.providers.create("two", spec)).credentials}
            members = [
                MemberSpec(provider="openai", priority=1),
                MemberSpec(provider="two", models={"gpt-5": "gpt-5-mini"}),
            ]
            route = RouteSpec(members=members, timeouts=RouteTimeouts(first_byte=1))
            await world.admin.routes.create("pair", route)
            answer = await ask(world, "pair", slow)
            assert answer.status_code == 200
            row = await world.admin.request(answer.headers["x-paig-request-id"])
            server, *spans = await receiver.wait(3)
    assert [
        (attempt.provider, attempt.model, attempt.status, attempt.error, attempt.cost == Decimal(0))
        for attempt in row.attempts
    ] == [("openai", "gpt-5", None, "upstream-timeout", False), ("two", "gpt-5-mini", 200, None, False)]
    assert row.attempts[1].credential in ids
    assert sum(Decimal(attempt.cost) for attempt in row.attempts) == Decimal(row.cost)
    assert attributes(server)["paig.cost"] == f"{row.cost:f}"
    for attempt, span in zip(row.attempts, spans, strict=True):
        found = attributes(span)
        assert (found["paig.provider"], found["gen_ai.request.model"]) == (attempt.provider, attempt.model)
        assert found["paig.credential"] == attempt.credential
        assert found.get("http.response.status_code") == attempt.status
        assert found.get("error.type") == attempt.error
        assert found["operation.cost"] == pytest.approx(float(attempt.cost))
        assert (span.start_time_unix_nano - server.start_time_unix_nano) / 1e6 == pytest.approx(attempt.began_ms, abs=1)
    took = (spans[0].end_time_unix_nano - spans[0].start_time_unix_nano) / 1e6
    assert took == pytest.approx(row.attempts[0].ms, abs=1)


async def test_a_refusal_is_a_span_without_tries(environment: None, tmp_path: Path) -> None:
    """What a limit refused is in the trace too, with the code."""
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            poor = await world.make_key("poor", daily=0)
            assert (await ask(world, key=poor)).status_code == 400
            (span,) = await receiver.wait(1)
    assert attributes(span)["error.type"] == "limit-too-small"
    assert attributes(span)["http.response.status_code"] == 400


async def test_grpc_and_tokens(environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTLP over gRPC brings the same spans; the token and headers that the settings refer to go along."""
    monkeypatch.setenv("OTLP_TOKEN", "the-otlp-token")
    monkeypatch.setenv("TEAM", "the-team-key")
    secrets = {"token": "env:OTLP_TOKEN", "headers": {"X-Team": "env:TEAM"}}
    with over_grpc() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver, to="otlp-grpc", **secrets)) as world:
            assert (await ask(world)).status_code == 200
            assert [span.name for span in await receiver.wait(2)] == ["POST /proxy/openai", "chat gpt-5"]
    assert receiver.headers[0]["authorization"] == "Bearer the-otlp-token"
    assert receiver.headers[0]["x-team"] == "the-team-key"


async def test_logfire_gets_its_write_token(environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logfire wants the write token bare, and is reached over HTTP."""
    monkeypatch.setenv("LOGFIRE_TOKEN", "pylf_v1_us_0123456789abcdefghij")
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver, to="logfire", token="env:LOGFIRE_TOKEN")) as world:
            assert (await ask(world)).status_code == 200
            await receiver.wait(2)
    assert receiver.headers[0]["authorization"] == "pylf_v1_us_0123456789abcdefghij"


async def test_one_trace_from_the_agent_to_the_provider(environment: None, tmp_path: Path) -> None:
    """The agent's span, the gateway's, the try's: each the parent of the next, and the provider is told of the last."""
    simulator, kept = Simulator(), InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with over_http() as receiver:
        async with traced(tmp_path, simulator, **to(receiver)) as world:
            model = paig_client.gateway_model("openai-chat:gpt-5", api_key=world.key, base_url=f"{world.origin}/proxy")
            told = Instrumentation(settings=InstrumentationSettings(tracer_provider=provider))
            agent = Agent(model, capabilities=[told])
            async with agent:
                await agent.run("Hi")
            server, attempt = await receiver.wait(2)
    agents = {span.context.span_id: span for span in kept.get_finished_spans()}
    above = agents[int.from_bytes(server.parent_span_id)]
    assert above.name == "chat gpt-5"
    assert int.from_bytes(server.trace_id) == above.context.trace_id
    received = simulator.requests[-1]
    assert received.header("traceparent") == f"00-{attempt.trace_id.hex()}-{attempt.span_id.hex()}-03"


@pytest.mark.parametrize(
    ("settings", "cases"),
    [
        pytest.param(
            {},
            [
                ({"traceparent": CLIENTS}, (CLIENTS, None)),
                ({"traceparent": CLIENTS, "tracestate": "a=1"}, (CLIENTS, "a=1")),
                ({"tracestate": "a=1"}, (None, None)),
                ({"traceparent": "00-zz-zz-01"}, (None, None)),
                ({}, (None, None)),
            ],
            id="the client's own passes, and nothing is made up",
        ),
        pytest.param({"propagate": False}, [({"traceparent": CLIENTS}, (None, None))], id="unless it is not to"),
    ],
)
async def test_what_the_provider_is_told_without_traces(
    environment: None,
    tmp_path: Path,
    settings: dict[str, Any],
    cases: list[tuple[dict[str, str], tuple[str | None, str | None]]],
) -> None:
    """A gateway that exports nothing leaves a client's trace as it is, and on the ledger's row."""
    simulator = Simulator()
    async with traced(tmp_path, simulator, **settings) as world:
        for sent, received in cases:
            answer = await ask(world, headers=dict(sent))
            row = await world.admin.request(answer.headers["x-paig-request-id"])
            last = simulator.requests[-1]
            assert (last.header("traceparent"), last.header("tracestate")) == received
            assert row.trace_id == (TRACE if sent.get("traceparent") == CLIENTS else None)


NO_TRACEPARENT = {
    "version 00 with more": [f"00-{TRACE}-{PARENT}-01-more"],
    "no version": [f"ff-{TRACE}-{PARENT}-01"],
    "upper case": [f"00-{TRACE.upper()}-{PARENT}-01"],
    "no trace": [f"00-{'0' * 32}-{PARENT}-01"],
    "no parent": [f"00-{TRACE}-{'0' * 16}-01"],
    "no flags": [f"00-{TRACE}-{PARENT}"],
    "empty": [""],
    "twice": [CLIENTS, CLIENTS],
}


async def test_a_wrong_traceparent_begins_no_trace(environment: None, tmp_path: Path) -> None:
    """The trace begins at the gateway then, and a trace state without a trace is dropped."""
    simulator = Simulator()
    with over_http() as receiver:
        async with traced(tmp_path, simulator, **to(receiver)) as world:
            for number, (why, sent) in enumerate(NO_TRACEPARENT.items()):
                body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 50}
                pairs = [*(("traceparent", value) for value in sent), ("tracestate", "a=1")]
                headers = [("authorization", f"Bearer {world.key}"), *pairs]
                answer = await world.http.post("/proxy/openai/chat/completions", headers=headers, json=body)
                assert answer.status_code == 200
                server, attempt = (await receiver.wait(2 * number + 2))[-2:]
                assert server.parent_span_id == b"", why
                assert server.trace_id.hex() != TRACE, why
                last = simulator.requests[-1]
                assert last.header("traceparent") == f"00-{server.trace_id.hex()}-{attempt.span_id.hex()}-01"
                assert last.header("tracestate") is None


async def test_a_traces_state_goes_on_with_it(environment: None, tmp_path: Path) -> None:
    """`tracestate`, in however many lines, goes to the provider and onto the spans; so does the flag of a random id."""
    simulator = Simulator()
    with over_http() as receiver:
        async with traced(tmp_path, simulator, **to(receiver)) as world:
            for number, parent in enumerate((f"00-{TRACE}-{PARENT}-03", f"cc-{TRACE}-{PARENT}-03-what-is-yet-to-come")):
                body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 50}
                headers = [
                    ("authorization", f"Bearer {world.key}"),
                    ("traceparent", parent),
                    ("tracestate", "a=1"),
                    ("tracestate", "b=2,c=3"),
                ]
                await world.http.post("/proxy/openai/chat/completions", headers=headers, json=body)
                server, attempt = (await receiver.wait(2 * number + 2))[-2:]
                last = simulator.requests[-1]
                assert last.header("traceparent") == f"00-{TRACE}-{attempt.span_id.hex()}-03"
                assert last.header("tracestate") == "a=1,b=2,c=3"
                assert {server.trace_state, attempt.trace_state} == {"a=1,b=2,c=3"}
                assert server.flags == 0x301, "recorded; its parent is known to be somewhere else"
                assert attempt.flags == 0x101


async def test_a_client_may_decide_that_nothing_is_recorded(environment: None, tmp_path: Path) -> None:
    """A trace that is not sampled stays so; one that begins here is sampled as the settings have it."""
    simulator = Simulator()
    with over_http() as receiver:
        async with traced(tmp_path, simulator, **to(receiver), sample=0) as world:
            await ask(world, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
            assert simulator.requests[-1].header("traceparent") == f"00-{TRACE}-{PARENT}-00"
            await ask(world)
            await ask(world, headers={"traceparent": CLIENTS})
            spans = await receiver.wait(2)
    assert len(receiver.spans) == len(spans) == 2


async def test_content_is_recorded_only_if_wished(environment: None, tmp_path: Path) -> None:
    """By default no span has a word of it; with `content` both sides are there, but secrets and own patterns."""
    prompt = "My card is 1234-5678 and my key is paig_0123456789abcdefghij"
    with over_http() as receiver:
        async with traced(tmp_path / "off", Simulator(), **to(receiver)) as world:
            for stream in (False, True):
                assert (await ask(world, prompt=prompt, stream=stream)).status_code == 200
            assert not [name for span in await receiver.wait(4) for name in attributes(span) if "messages" in name]
        told = {"content": True, "redact": [r"\d{4}-\d{4}"]}
        async with traced(tmp_path / "on", Simulator(), **to(receiver), **told) as world:
            for stream in (False, True):
                assert (await ask(world, prompt=prompt, stream=stream)).status_code == 200
            tries = [attributes(span) for span in await receiver.wait(8)][5::2]
    hidden = '[{"role": "user", "parts": [{"type": "text", "content": "My card is [hidden] and my key is [hidden]"}]}]'
    answered = r'\[{"role": "assistant", "parts": \[{"type": "text", "content": "\w'
    assert [found["gen_ai.input.messages"] for found in tries] == [hidden] * 2
    assert all(re.match(answered, found["gen_ai.output.messages"]) for found in tries)


def test_what_exports_need_is_not_imported_without_them() -> None:
    """Nothing of OpenTelemetry is loaded with the gateway but its API, which FastAPI needs."""
    late = ("opentelemetry.sdk", "opentelemetry.proto", "google.protobuf", "grpc")
    command = f"import sys, paig_gateway.server; sys.exit(any(name.startswith({late}) for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_a_missing_library_is_told_at_the_start(tmp_path: Path) -> None:
    """Where exports are wished for and the extra is not installed, the start says what to install."""
    (tmp_path / "paig.toml").write_text('[telemetry]\nexport = { endpoint = "http://127.0.0.1:4318" }\n')
    without = "import sys; sys.modules['opentelemetry.proto'] = None"
    command = f"{without}; from paig_client.cli import main; sys.argv[0] = 'paig'; main()"
    ran = subprocess.run(
        [sys.executable, "-c", command, "serve", "--config", str(tmp_path / "paig.toml"), "--port", "0"],
        env={
            "PAIG_HOME": str(tmp_path),
            "PAIG_SECRET_KEY": "secret-key-0123456789-abc",
            "PAIG_ADMIN_TOKEN": "token-0123456789-abcdefgh",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr == snapshot(
        '[telemetry] export needs OpenTelemetry\'s protocol, which is not installed: pip install "paig[telemetry]"\n'
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": "otlp-http"},
        {"to": "logfire"},
        {"endpoint": "localhost:4318"},
        {"endpoint": "http://user:pw@localhost:4318"},
        {"endpoint": "http://localhost:4318", "token": "the-token-itself"},
    ],
)
def test_wrong_exports_are_refused(wrong: dict[str, str]) -> None:
    """An export without an address, or with a secret written into it, is an error."""
    with pytest.raises(ValueError, match="1 validation error"):
        ExportSpec.model_validate(wrong)
