"""Failover where there is little: room under a cap, and nothing in a stream yet but signs of life."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec, RouteTimeouts
from paig_gateway.config.model import Timeouts
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import NO_BREAKER, running_world
from tests.gateway.end_to_end.replay import running_replay
from tests.gateway.end_to_end.test_failover import pytestmark as pytestmark
from tests.gateway.end_to_end.test_failover import tries, whole
from tests.gateway.end_to_end.test_refusals import settled
from tests.gateway.proxy.wire import Connection, provider

ALIVE = 3.0
"""Seconds for which the provider says no more than that it lives."""


async def _lively(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A provider that sends a comment five times a second, then its answer."""
    await reader.readuntil(b"\r\n\r\n")
    with contextlib.suppress(ConnectionError):  # the gateway gives it up
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for _ in range(int(ALIVE * 5)):
            writer.write(b": PROCESSING\n\n")
            await writer.drain()
            await asyncio.sleep(0.2)
        writer.write(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n')
        await writer.drain()
    writer.close()


@asynccontextmanager
async def lively_provider() -> AsyncIterator[str]:
    """Its address."""
    server = await asyncio.start_server(_lively, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_signs_of_life_are_no_answer(environment: None, tmp_path: Path) -> None:
    """Comments wait until the `first_byte` deadline while another member is left; those of the last one go on."""
    async with lively_provider() as base:
        specs = {
            name: ProviderSpec(kind="openai", base_url=f"{base}/{name}/v1", credential="value:k")
            for name in ("first", "second")
        }
        async with running_world(tmp_path, specs) as world:
            members = [MemberSpec(provider="first", priority=5), MemberSpec(provider="second")]
            route = RouteSpec(members=members, timeouts=RouteTimeouts(first_byte=1))
            await world.admin.routes.create("both", route)
            body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
            headers = {"authorization": f"Bearer {world.key}"}
            began, came = time.monotonic(), []
            async with world.http.stream("POST", "/proxy/both/chat/completions", headers=headers, json=body) as answer:
                async for chunk in answer.aiter_raw():
                    came.append((time.monotonic() - began, chunk))
            row = await settled(world, answer.headers["x-paig-request-id"])
    assert [(attempt.provider, attempt.error) for attempt in row.attempts] == [
        ("first", "upstream-timeout"),
        ("second", None),
    ]
    assert came[0][0] < ALIVE  # The last member's comments go on at once.
    assert came[0][1].startswith(b": PROCESSING")
    assert b"[DONE]" in came[-1][1]


async def test_a_client_that_leaves_during_a_refusal(environment: None, tmp_path: Path) -> None:
    """The provider's connection is closed at once, although the refusal's body has not come."""
    refused, closed = asyncio.Event(), asyncio.Event()

    async def refuse(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 100\r\n\r\n")
        refused.set()
        await connection.gone()
        closed.set()

    async with provider(refuse) as served:
        spec = ProviderSpec(kind="openai", base_url=f"{served.url}/v1", credential="value:k", on_disconnect="cancel")
        async with running_world(tmp_path, {"slow": spec}) as world:
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
            headers = {"authorization": f"Bearer {world.key}"}
            asking = asyncio.ensure_future(world.http.post("/proxy/slow/chat/completions", headers=headers, json=body))
            await refused.wait()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await closed.wait()


async def test_a_cheaper_member_may_fit(environment: None, tmp_path: Path) -> None:
    """Where a cap has no room for the next member besides what was charged, it may have for the one after it."""
    async with running_simulator(Simulator()) as base:
        specs = {
            name: ProviderSpec(kind="openai", base_url=f"{base}/openai-{name}/v1", credential="value:k")
            for name in ("slow", "dear", "cheap")
        }
        server = NO_BREAKER.model_copy(update={"timeouts": Timeouts(connect=5, first_byte=1, idle=5, total=20)})
        async with running_world(tmp_path, specs, server) as world:
            members = [
                MemberSpec(provider="slow", priority=9),
                MemberSpec(provider="dear", priority=5, models={"gpt-4o-mini": "gpt-4o"}),
                MemberSpec(provider="cheap", models={"gpt-4o-mini": "gpt-4.1-nano"}),
            ]
            await world.admin.routes.create("three", RouteSpec(members=members))
            body = {
                "model": "gpt-4o-mini",
                "messages": [{"role": "user", "content": "[sim@openai-slow:delay=5] Hi"}],
                "max_completion_tokens": 50,
            }

            async def ask(key: str) -> tuple[bool, list[tuple[str, int | str | None]], Decimal]:
                headers = {"authorization": f"Bearer {key}"}
                answer = await world.http.post("/proxy/three/chat/completions", headers=headers, json=body)
                row = await settled(world, answer.headers["x-paig-request-id"])
                return whole(answer), tries(row), Decimal(row.reserved)

            good, tried, reserved = await ask(await world.make_key("wide", total=1))
            assert (good, tried) == (True, [("slow", "upstream-timeout"), ("dear", 200)])
            # One nanodollar too little for what was charged and the dear one.
            narrow = await world.make_key("narrow", total=str(reserved - Decimal("0.000000001")))
            good, tried, reserved_now = await ask(narrow)
            assert (good, tried) == (True, [("slow", "upstream-timeout"), ("cheap", 200)])
            assert reserved_now < reserved


async def test_a_model_named_in_a_form_has_its_name_at_the_member(environment: None, tmp_path: Path) -> None:
    """An edit of an image is asked of the member by the name that it is priced by; no other byte changes."""
    async with running_replay() as replay:
        replay.headers = [("content-type", "application/json")]
        replay.pieces = [b'{"data":[],"usage":{"input_tokens":1000,"output_tokens":1000,"total_tokens":2000}}']
        spec = ProviderSpec(kind="openai", base_url=f"{replay.base}/v1", credential="value:k")
        async with running_world(tmp_path, {"only": spec}) as world:
            members = [MemberSpec(provider="only", models={"gpt-image-1": "gpt-image-1-mini"})]
            await world.admin.routes.create("mapped", RouteSpec(members=members))
            sent = []
            for route in ("only", "mapped"):
                form = (
                    b'--abc\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-image-1\r\n--abc\r\n'
                    b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\ngpt-image-1\r\n--abc--\r\n'
                )
                headers = {
                    "authorization": f"Bearer {world.key}",
                    "content-type": "multipart/form-data; boundary=abc",
                }
                answer = await world.http.post(f"/proxy/{route}/images/edits", headers=headers, content=form)
                assert answer.status_code == 200, answer.text
                sent.append(replay.asked[-1].body)
            assert sent == [form, form.replace(b'"model"\r\n\r\ngpt-image-1', b'"model"\r\n\r\ngpt-image-1-mini')]
