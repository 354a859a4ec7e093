"""What a first member sends that is no answer, or a refusal that another may make good: the next one is asked."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec
from paig_gateway.config.model import ServerSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import NO_BREAKER, World, running_world
from tests.gateway.end_to_end.replay import Replay, running_replay
from tests.gateway.end_to_end.test_failover import pytestmark as pytestmark
from tests.gateway.end_to_end.test_failover import tries, whole
from tests.gateway.end_to_end.test_refusals import settled
from tests.gateway.proxy.wire import OK, always, provider

JSON = [("content-type", "application/json")]
HTML = [("content-type", "text/html; charset=utf-8")]
ZIPPED = ("content-encoding", "gzip")
SSE = [("content-type", "text/event-stream")]
CHAT = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Tell me a story"}],
    "max_completion_tokens": 50,
}


@pytest.fixture(scope="module")
async def both(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, Replay]]:
    """A route whose first member says what it is told, and whose second one is well."""
    async with running_replay() as replay, running_simulator(Simulator()) as base:
        specs = {
            "first": ProviderSpec(kind="openai", base_url=f"{replay.base}/v1", credential="value:k"),
            "good": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:k"),
        }
        async with running_world(tmp_path_factory.mktemp("home"), specs, NO_BREAKER) as world:
            members = [MemberSpec(provider="first", priority=5), MemberSpec(provider="good")]
            await world.admin.routes.create("both", RouteSpec(members=members))
            yield world, replay


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, HTML, b"<!doctype html><title>Sign in</title>"),
        (200, JSON, b"<html>a firewall that lies about its type</html>"),
        (302, [("location", "https://login.example/"), *HTML], b""),
        (200, JSON, b""),
        (200, JSON, b'{"error":{"message":"The engine is overloaded","type":"engine_overloaded"}}'),
        (200, JSON, b'\n\n{"error":"internal"}'),
        (200, [*JSON, ZIPPED], gzip.compress(b'{"error":{"message":"The engine is overloaded"}}', mtime=0)),
        (200, [*HTML, ZIPPED], gzip.compress(b"<!doctype html><title>Sign in</title>", mtime=0)),
        (403, HTML, b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>"),
        (200, SSE, b""),
        (200, SSE, b": keep-alive\n\n: keep-alive\n\n"),
        (200, SSE, b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'),
        (404, JSON, b'{"error":{"message":"The model `gpt-4o-mini` does not exist","code":"model_not_found"}}'),
        (400, JSON, b'{"error":{"message":"unknown model: gpt-4o-mini"}}'),
        (413, JSON, b'{"error":{"message":"Request too large for gpt-4o-mini"}}'),
    ],
)
async def test_the_next_member_answers_and_nothing_is_charged(
    both: tuple[World, Replay], status: int, headers: Sequence[tuple[str, str]], body: bytes, stream: bool
) -> None:
    """The client gets the second member's answer; the first one's try costs nothing."""
    world, replay = both
    replay.status, replay.headers, replay.pieces = status, headers, [body]
    answer = await world.http.post(
        "/proxy/both/chat/completions",
        headers={"authorization": f"Bearer {world.key}"},
        json={**CHAT, "stream": stream},
    )
    assert whole(answer), answer.text
    row = await settled(world, answer.headers["x-paig-request-id"])
    assert [attempt.provider for attempt in row.attempts] == ["first", "good"]
    assert (row.attempts[0].cost, row.certainty, row.error) == (Decimal(0), "exact", None)


USAGE = b'"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}'
CHUNK = b'{"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"Once"}}]}'
LAST = b'{"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],' + USAGE
BODY = b'{"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"message":{"content":"Once"}}],' + USAGE


@pytest.mark.parametrize("headers", [JSON, SSE, [("content-type", "application/x-ndjson")]])
@pytest.mark.parametrize("body", [CHUNK + b"\n" + LAST + b"\n", b"[" + CHUNK + b"," + LAST + b"]", BODY])
async def test_an_answer_in_json_is_one_whatever_it_is_labelled(
    both: tuple[World, Replay], headers: Sequence[tuple[str, str]], body: bytes
) -> None:
    """Some servers send the chunks of a stream as lines of JSON, or a body as a stream: its usage is charged."""
    world, replay = both
    replay.status, replay.headers, replay.pieces = 200, headers, [b"\n", body[:50], body[50:]]
    for route in ("both", "first"):
        own = {"authorization": f"Bearer {world.key}"}
        path = f"/proxy/{route}/chat/completions"
        answer = await world.http.post(path, headers=own, json={**CHAT, "stream": True})
        assert answer.status_code == 200
        row = await settled(world, answer.headers["x-paig-request-id"])
        assert [attempt.provider for attempt in row.attempts] == ["first"]
        assert (row.cost, row.certainty) == (Decimal("0.0000045"), "exact")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (JSON, b'{"choices":[{"message":{"content":"Once upon'),
        ([*JSON, ZIPPED], gzip.compress(b'{"choices":[{"message":{"content":"Once upon a time"}}]}', mtime=0)[:-12]),
        ([*JSON, ZIPPED], b"no gzip at all"),
    ],
)
async def test_an_answer_that_breaks_off_is_charged_and_made_good(
    both: tuple[World, Replay], headers: Sequence[tuple[str, str]], body: bytes
) -> None:
    """The provider may have billed what it did not send to the end; the next member answers, if there is one."""
    world, replay = both
    replay.status, replay.headers, replay.pieces = 200, headers, [body]
    for route, tried in (("both", ["first", "good"]), ("first", ["first"])):
        own = {"authorization": f"Bearer {world.key}", "accept-encoding": "gzip"}
        path = f"/proxy/{route}/chat/completions"
        async with world.http.stream("POST", path, headers=own, json=CHAT) as answer:
            async for _ in answer.aiter_raw():
                pass
        row = await settled(world, answer.headers["x-paig-request-id"])
        assert [attempt.provider for attempt in row.attempts] == tried
        assert row.attempts[0].cost > 0
        assert row.certainty == "ceiling"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, HTML, b"<!doctype html><title>Sign in</title>"),
        (302, [("location", "https://login.example/"), *HTML], b""),
        (404, JSON, b'{"error":{"message":"The model `gpt-4o-mini` does not exist","code":"model_not_found"}}'),
    ],
)
async def test_without_another_member_the_providers_own_bytes_pass(
    both: tuple[World, Replay], status: int, headers: Sequence[tuple[str, str]], body: bytes
) -> None:
    """The only member's word is the client's, whatever it is, and free."""
    world, replay = both
    replay.status, replay.headers, replay.pieces = status, headers, [body]
    answer = await world.http.post(
        "/proxy/first/chat/completions", headers={"authorization": f"Bearer {world.key}"}, json=CHAT
    )
    assert (answer.status_code, answer.content) == (status, body)
    row = await settled(world, answer.headers["x-paig-request-id"])
    assert (row.cost, [attempt.provider for attempt in row.attempts]) == (Decimal(0), ["first"])


async def test_a_scope_that_the_credential_lacks_leaves_it_in_use(both: tuple[World, Replay]) -> None:
    """A 403 about one operation is not retried at another account, and other requests still go to the first member."""
    world, replay = both
    replay.status, replay.headers = 403, JSON
    replay.pieces = [b'{"error":{"message":"You have insufficient permissions. Missing scopes: model.request"}}']
    headers = {"authorization": f"Bearer {world.key}"}
    refused = await world.http.post("/proxy/both/chat/completions", headers=headers, json=CHAT)
    row = await settled(world, refused.headers["x-paig-request-id"])
    assert tries(row)[0] == ("first", 403)
    replay.status = 200
    replay.pieces = [b'{"choices":[{"index":0}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}']
    answer = await world.http.post("/proxy/both/chat/completions", headers=headers, json=CHAT)
    assert tries(await settled(world, answer.headers["x-paig-request-id"])) == [("first", 200)]


@pytest.mark.parametrize("by", ["server", "provider"])
async def test_a_provider_is_reached_through_the_proxy_that_is_set(environment: None, tmp_path: Path, by: str) -> None:
    """`upstream_proxy` of the server holds for every provider, a provider's own for it alone; `direct` for none."""
    async with provider(always(OK)) as proxy, provider(always(OK)) as served:
        everywhere = ServerSpec(upstream_proxy=proxy.url) if by == "server" else ServerSpec()
        specs = {
            "proxied": ProviderSpec(
                kind="openai",
                base_url="http://provider.example/v1",
                credential="value:k",
                upstream_proxy=None if by == "server" else proxy.url,
            ),
            "near": ProviderSpec(
                kind="openai", base_url=f"{served.url}/v1", credential="value:k", upstream_proxy="direct"
            ),
        }
        async with running_world(tmp_path, specs, everywhere) as world:
            for name in specs:
                answer = await world.http.post(
                    f"/proxy/{name}/chat/completions", headers={"authorization": f"Bearer {world.key}"}, json=CHAT
                )
                assert (answer.status_code, answer.content) == (200, b"ok")
    assert [request.target for request in proxy.requests] == ["http://provider.example/v1/chat/completions"]
    assert [request.target for request in served.requests] == ["/v1/chat/completions"]
