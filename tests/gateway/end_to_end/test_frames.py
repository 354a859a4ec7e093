"""What passes through a session is what was sent: messages, fragments, pings, close codes; and what is too much."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from paig_client.api.specs import ProviderSpec, RouteSpec
from paig_gateway.config import ServerSpec
from tests.gateway.end_to_end.conftest import World, running_world
from tests.gateway.end_to_end.test_realtime import url
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio


@dataclass
class Provider:
    """A provider that records what comes, and does what a message says."""

    got: list[str | bytes] = field(default_factory=list)
    closed: list[tuple[int | None, str | None]] = field(default_factory=list)
    extensions: list[str] = field(default_factory=list)

    async def __call__(self, socket: ServerConnection) -> None:
        """Serve one connection."""
        self.extensions = [extension.name for extension in socket.protocol.extensions]
        await socket.send(json.dumps({"type": "session.created", "session": {"turn_detection": None}}))
        try:
            async for message in socket:
                self.got.append(message)
                asked = json.loads(message)
                if (code := asked.get("close")) is not None:
                    await socket.close(code, "as asked")
                elif "fragments" in asked:
                    await socket.send(iter(asked["fragments"]))
                elif "ping" in asked:
                    await (await socket.ping(asked["ping"]))
                    await socket.send("the pong came")
                elif "flood" in asked:
                    for _ in range(asked["flood"]):
                        await socket.send("x" * 100_000)
        except ConnectionClosed:
            pass
        self.closed.append((socket.close_code, socket.close_reason))


@asynccontextmanager
async def recorded(home: Path, provider: Provider, server: ServerSpec | None = None) -> AsyncIterator[World]:
    """A gateway in front of such a provider, and of one that is not there."""
    async with serve(provider, "127.0.0.1", 0, ping_interval=None, max_size=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        own = {"kind": "openai", "credential": "value:upstream", "require_price": False}
        providers = {
            "openai": ProviderSpec(base_url=f"http://127.0.0.1:{port}/v1", **own),
            "away": ProviderSpec(base_url="http://127.0.0.1:9/v1", **own),
        }
        async with running_world(home, providers, server) as world:
            yield world


def client(world: World, route: str = "openai", **options: Any) -> Any:
    """A client of the gateway."""
    headers = {"authorization": f"Bearer {world.key}"}
    path = f"/proxy/{route}/realtime?model=gpt-realtime"
    return connect(url(world, path), additional_headers=headers, proxy=None, ping_interval=None, **options)


def cancel(**more: Any) -> str:
    """A message that costs nothing."""
    return json.dumps({"type": "response.cancel", **more})


async def test_messages_fragments_and_pings_pass_as_they_are(environment: None, tmp_path: Path) -> None:
    """Byte for byte, in both directions, in order; a ping is answered by the other end."""
    provider = Provider()
    odd = ' { "type" :"response.cancel",\n "x":"ü\\u00fc"}  '
    async with recorded(tmp_path, provider) as world, client(world) as socket:
        assert "session.created" in str(await socket.recv())
        await socket.send(odd)
        await socket.send(iter([cancel()[:10], cancel()[10:]]))
        await socket.send(cancel(fragments=["one ", "two ", "three"]))
        assert [piece async for piece in socket.recv_streaming()] == ["one ", "two ", "three", ""]
        await socket.send(cancel(ping="hello"))
        assert await socket.recv() == "the pong came"
        await (await socket.ping("are you there"))
        assert provider.extensions == ["permessage-deflate"]
        assert [extension.name for extension in socket.protocol.extensions] == ["permessage-deflate"]
        await socket.close(4001, "done here")
        await until(lambda: bool(provider.closed))
    assert provider.got[:2] == [odd, cancel()]
    assert provider.closed == [(4001, "done here")]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
async def test_the_providers_close_passes(environment: None, tmp_path: Path, code: int) -> None:
    """With its code and its reason."""
    async with recorded(tmp_path, Provider()) as world, client(world, compression=None) as socket:
        await socket.recv()
        await socket.send(cancel(close=code))
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, "as asked")


async def test_bounds_of_a_session(environment: None, tmp_path: Path) -> None:
    """A message that is too large closes with 1009, and silence with 1001."""
    cases = (({"message_mb": 1}, [cancel(x="x" * 2_000_000)], 1009), ({"idle_seconds": 1.5}, [], 1001))
    for number, (bounds, sent, code) in enumerate(cases):
        server = ServerSpec.model_validate({"websockets": bounds})
        provider = Provider()
        async with recorded(tmp_path / str(number), provider, server) as world:
            async with client(world, compression=None) as socket:
                await socket.recv()
                for message in sent:
                    await socket.send(message)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == code
            await until(lambda provider=provider: len(provider.closed) == 1)


async def test_a_slow_client_holds_the_provider_back(environment: None, tmp_path: Path) -> None:
    """What the client does not read is not read from the provider, and all of it arrives in the end."""
    async with recorded(tmp_path, Provider()) as world, client(world, max_queue=1, compression=None) as socket:
        await socket.recv()
        await socket.send(cancel(flood=300))
        await asyncio.sleep(0.2)
        for _ in range(300):
            assert await socket.recv() == "x" * 100_000


async def test_another_member_is_connected_where_one_is_away(environment: None, tmp_path: Path) -> None:
    """Before the upgrade is accepted, a route fails over as for any request."""
    provider = Provider()
    async with recorded(tmp_path, provider) as world:
        members = [{"provider": "away", "priority": 2}, {"provider": "openai", "priority": 1}]
        await world.admin.routes.create("both", RouteSpec.model_validate({"members": members}))
        async with client(world, "both") as socket:
            await socket.recv()
        request_id = socket.response.headers["x-paig-request-id"]
        await until(lambda: bool(provider.closed))
        async with asyncio.timeout(20):
            while not (rows := (await world.admin.requests()).items):
                await asyncio.sleep(0.05)
                assert provider.closed
    assert [(row.id, row.provider) for row in rows] == [(request_id, "openai")]
