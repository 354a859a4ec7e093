"""The fault matrix of sessions: which end is gone at which moment, how the ends are closed, and what the turn costs."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from paig_client.api.specs import ProviderSpec
from paig_gateway.config import ServerSpec
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import Reservation
from paig_gateway.proxy.sockets import money
from tests.gateway.end_to_end.conftest import World, running_world
from tests.gateway.end_to_end.test_realtime import rows_of, url
from tests.gateway.end_to_end.test_sockets import until_type
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

USAGE = {
    "total_tokens": 30,
    "input_tokens": 10,
    "output_tokens": 20,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 0},
    "output_token_details": {"text_tokens": 20, "audio_tokens": 0},
}
COST = Decimal(10 * 4 + 20 * 16) / 1_000_000
MOMENTS = ("response.create", "response.created", "response.output_text.delta", "response.done")


@dataclass
class Provider:
    """A provider that does, at a moment of a turn, what the turn's metadata say."""

    closed: dict[str, int | None] = field(default_factory=dict)
    proceed: dict[str, asyncio.Event] = field(default_factory=dict)

    async def __call__(self, socket: ServerConnection) -> None:
        """Serve one connection."""
        name = ""
        try:
            await socket.send(json.dumps({"type": "session.created", "session": {"turn_detection": None}}))
            async for message in socket:
                asked = json.loads(message)
                meta = asked["response"].get("metadata", {})
                name = meta.get("case", name)
                await self._turn(socket, asked, meta)
        except ConnectionClosed:
            pass
        await socket.wait_closed()
        self.closed[name] = socket.close_code

    async def _turn(self, socket: ServerConnection, asked: dict[str, Any], meta: dict[str, str]) -> None:
        for moment in MOMENTS:
            response: dict[str, Any] = {"id": "resp_1", "status": "in_progress", "usage": None}
            if moment == "response.done":
                response |= {"status": "completed", "usage": USAGE}
            if moment != "response.create":
                await socket.send(
                    json.dumps({"type": moment, "response": response, "delta": "Hi", "response_id": "resp_1"})
                )
            if meta.get("at") != moment:
                continue
            match meta["do"]:
                case "drop":
                    socket.transport.abort()
                    return
                case "close" | "close-normally":
                    await socket.close(1011 if meta["do"] == "close" else 1000, "as asked")
                    return
                case "refuse":
                    error = {"type": "server_error", "event_id": asked["event_id"], "message": "no"}
                    await socket.send(json.dumps({"type": "error", "error": error}))
                    return
                case "fail":
                    error = {"type": "server_error", "message": "no"}
                    response |= {"status": "failed", "status_details": {"type": "failed", "error": error}}
                    await socket.send(json.dumps({"type": "response.done", "response": response}))
                    return
                case "flood":
                    await socket.send("x" * 1_100_000)
                case "wait":
                    await self.proceed.setdefault(meta["case"], asyncio.Event()).wait()
                case "hang":
                    await socket.wait_closed()
                    return


@pytest.fixture(scope="module")
def provider() -> Provider:
    """The provider of all cases."""
    return Provider()


@pytest.fixture(scope="module")
async def world(
    environment: None, provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A gateway whose sessions are soon idle, in front of that provider; `impatient` reads nothing on."""
    async with serve(provider, "127.0.0.1", 0, ping_interval=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        own: dict[str, Any] = {"kind": "openai", "base_url": f"http://127.0.0.1:{port}/v1", "credential": "value:x"}
        specs = {"openai": ProviderSpec(**own), "impatient": ProviderSpec(on_disconnect="cancel", **own)}
        server = ServerSpec.model_validate({"websockets": {"idle_seconds": 4, "message_mb": 1}})
        async with running_world(tmp_path_factory.mktemp("home"), specs, server) as world:
            yield world


Charged = Literal["usage", "ceiling", "nothing"]


@dataclass(frozen=True)
class Case:
    """One cell of the matrix.

    Attributes:
        by: Whose doing it is.
        at: After which event of the turn.
        do: What happens.
        charged: What the turn costs.
        error: What its row says.
        client: The close code that the client gets; None if the session continues, or the client left.
        provider: The close code that the provider gets; None if it left.
        route: The route.
    """

    by: Literal["provider", "client", "gateway"]
    at: str
    do: str
    charged: Charged
    error: str | None
    client: int | None = None
    provider: int | None = None
    route: str = "openai"


ASKED, CREATED, SPEAKING, DONE = MOMENTS
CASES = [
    *(Case("provider", at, "drop", "ceiling", "upstream-lost", client=1011) for at in (ASKED, CREATED, SPEAKING)),
    *(Case("provider", at, "close", "ceiling", "upstream-closed", client=1011) for at in (ASKED, CREATED, SPEAKING)),
    Case("provider", SPEAKING, "close-normally", "ceiling", "upstream-closed", client=1000),
    Case("provider", DONE, "drop", "usage", None, client=1011),
    Case("provider", DONE, "close", "usage", None, client=1011),
    Case("provider", ASKED, "refuse", "nothing", "server_error"),
    Case("provider", CREATED, "fail", "nothing", "server_error"),
    Case("provider", CREATED, "flood", "ceiling", "upstream-closed", client=1009, provider=1009),
    *(Case("client", at, "drop", "usage", None, provider=1001) for at in (ASKED, CREATED, SPEAKING)),
    *(Case("client", at, "close", "usage", None, provider=1000) for at in (ASKED, CREATED, SPEAKING)),
    Case("client", CREATED, "drop", "ceiling", "client-gone", provider=1001, route="impatient"),
    Case("client", CREATED, "flood", "usage", None, client=1009, provider=1009),
    Case("gateway", CREATED, "hang", "ceiling", "session-idle", client=1001, provider=1000),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.by}-{case.at}-{case.do}-{case.route}")
async def test_fault_matrix(world: World, provider: Provider, case: Case) -> None:
    """Each cell: one row, its cost and error, the close codes on both sides, nothing left held."""
    name = f"{case.by}-{case.at}-{case.do}-{case.route}"
    key = await world.make_key(name, daily=20)
    path = url(world, f"/proxy/{case.route}/realtime?model=gpt-realtime")
    meta = {"case": name, "at": case.at, "do": "wait" if case.by == "client" else case.do}
    message = {"type": "response.create", "event_id": "mine", "response": {"max_output_tokens": 50, "metadata": meta}}
    headers = {"authorization": f"Bearer {key}"}
    async with connect(path, additional_headers=headers, proxy=None, ping_interval=None) as socket:
        await socket.send(json.dumps(message))
        if case.by == "client":
            await until(lambda: name in provider.proceed)
            if case.do == "drop":
                socket.transport.abort()
            elif case.do == "close":
                await socket.close(1000)
            else:
                await socket.send("x" * 1_100_000)
            if case.client is None:
                await asyncio.sleep(0.1)  # the gateway is to hear of it first; the row is the same if it does not
            provider.proceed[name].set()
        if case.client is not None:
            with pytest.raises(ConnectionClosed):
                await until_type(socket, "never")
            assert socket.close_code == case.client
        elif case.by == "provider":
            await until_type(socket, "error", "response.done")
            meta["at"] = "never"
            await socket.send(json.dumps(message))
            assert (await until_type(socket, "response.done"))["response"]["usage"] == USAGE
    rows = await rows_of(world, name, 2 if case.client is None and case.by == "provider" else 1)
    row = rows[0]
    expected = {"usage": COST, "ceiling": Decimal(row.reserved), "nothing": Decimal(0)}
    assert (Decimal(row.cost), row.error) == (expected[case.charged], case.error)
    assert row.certainty == ("ceiling" if case.charged == "ceiling" else "exact")
    [limit] = [limit for limit in await world.admin.limits() if limit.owner == name]
    assert (Decimal(limit.held), Decimal(limit.spent)) == (0, sum(Decimal(one.cost) for one in rows))
    if case.provider is not None:
        await until(lambda: name in provider.closed)
        assert provider.closed[name] == case.provider


async def talk_on(socket: Any) -> None:
    """One turn after the other, as long as it lasts."""
    while True:
        await socket.send(json.dumps({"type": "response.create", "response": {"max_output_tokens": 50}}))
        await until_type(socket, "response.done")


async def test_a_session_has_an_end(environment: None, tmp_path: Any, provider: Provider) -> None:
    """However busy it is, after `total_seconds` it is closed, with 1001."""
    async with serve(provider, "127.0.0.1", 0, ping_interval=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        spec = ProviderSpec(kind="openai", base_url=f"http://127.0.0.1:{port}/v1", credential="value:x")
        server = ServerSpec.model_validate({"websockets": {"total_seconds": 1}})
        async with running_world(tmp_path, {"openai": spec}, server) as world:
            path = url(world, "/proxy/openai/realtime?model=gpt-realtime")
            headers = {"authorization": f"Bearer {world.key}"}
            async with connect(path, additional_headers=headers, proxy=None) as socket:
                with pytest.raises(ConnectionClosed):
                    await talk_on(socket)
                assert socket.close_code == 1001


async def test_a_provider_waits_for_the_ledger(
    environment: None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ends turns faster than they can be held is not read, so nothing piles up; then all are charged."""
    turns, filling = 60, "x" * 500_000
    recorded = asyncio.Event()
    stalled: list[bool] = []
    reserve = Ledger.reserve

    async def slowly(ledger: Ledger, reservation: Reservation, *, wait: float = 0.0) -> None:
        await recorded.wait()
        await reserve(ledger, reservation, wait=wait)

    async def flood(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "session.created", "session": {"turn_detection": None}}))
        try:
            for number in range(turns):
                response = {"id": f"resp_{number}", "status": "in_progress", "usage": None}
                await socket.send(json.dumps({"type": "response.created", "response": response}))
                response |= {"status": "completed", "usage": USAGE}
                done = json.dumps({"type": "response.done", "response": response, "filling": filling})
                sending = asyncio.create_task(socket.send(done))
                await asyncio.wait({sending}, timeout=1.0)
                if not sending.done():
                    stalled.append(True)
                    recorded.set()
                await sending
        except ConnectionClosed:
            pass
        recorded.set()
        await socket.wait_closed()

    monkeypatch.setattr(money, "MOST_EARLY", 1_000_000)
    monkeypatch.setattr(Ledger, "reserve", slowly)
    async with serve(flood, "127.0.0.1", 0, ping_interval=None, compression=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        spec = ProviderSpec(kind="openai", base_url=f"http://127.0.0.1:{port}/v1", credential="value:x")
        async with running_world(tmp_path, {"openai": spec}) as world:
            key = await world.make_key("flooded", daily=20)
            path = url(world, "/proxy/openai/realtime?model=gpt-realtime")
            headers = {"authorization": f"Bearer {key}"}
            async with connect(path, additional_headers=headers, proxy=None, ping_interval=None) as socket:
                for _ in range(turns):
                    await until_type(socket, "response.done")
                rows = await rows_of(world, "flooded", turns)
    assert stalled, "the provider was read on"
    assert {Decimal(row.cost) for row in rows} == {COST}


def recording(protocol: Any, taken: list[tuple[Opcode, bool, bytes]], sent: list[tuple[Opcode, bool, bytes]]) -> None:
    """Note each frame that one end takes in and sends out, close frames aside."""
    receive, send = protocol.recv_frame, protocol.send_frame

    def note(into: list[tuple[Opcode, bool, bytes]], frame: Frame) -> None:
        if frame.opcode is not Opcode.CLOSE:
            into.append((frame.opcode, frame.fin, bytes(frame.data)))

    def recv_frame(frame: Frame) -> None:
        note(taken, frame)
        receive(frame)

    def send_frame(frame: Frame) -> None:
        note(sent, frame)
        send(frame)

    protocol.recv_frame, protocol.send_frame = recv_frame, send_frame


async def read_on(socket: Any) -> None:
    """Take in what comes, until the session ends."""
    async for _ in socket:
        pass


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_the_frames_of_one_end_are_those_of_the_other(
    environment: None, tmp_path: Any, compression: str | None
) -> None:
    """A recording of both ends: kinds, fragments and bytes of 200 messages, pings between them, in order, both ways."""
    at_provider: list[tuple[Opcode, bool, bytes]] = []
    by_provider: list[tuple[Opcode, bool, bytes]] = []
    seen = asyncio.Event()

    async def echo(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "session.created", "session": {"turn_detection": None}}))
        recording(socket.protocol, at_provider, by_provider)
        try:
            async for message in socket:
                half = len(message) // 2
                await socket.send(iter([message[:half], message[half:]]) if half % 3 == 0 else message)
                if isinstance(message, str) and "last" in message:
                    seen.set()
        except ConnectionClosed:
            pass

    draw = random.Random(20)
    async with serve(echo, "127.0.0.1", 0, ping_interval=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        spec = ProviderSpec(kind="openai", base_url=f"http://127.0.0.1:{port}/v1", credential="value:x")
        async with running_world(tmp_path, {"openai": spec}) as world:
            taken: list[tuple[Opcode, bool, bytes]] = []
            sent: list[tuple[Opcode, bool, bytes]] = []
            path = url(world, "/proxy/openai/realtime?model=gpt-realtime")
            headers = {"authorization": f"Bearer {world.key}"}
            async with connect(
                path, additional_headers=headers, proxy=None, ping_interval=None, compression=compression
            ) as socket:
                await socket.recv()
                recording(socket.protocol, taken, sent)
                reading = asyncio.create_task(read_on(socket))  # unread messages would hold the pongs back
                for number in range(200):
                    filling = "".join(
                        draw.choices("abcé\\n ", k=draw.choice([0, 5, 130, 70_000 if number % 50 == 0 else 9]))
                    )
                    text = json.dumps({"type": "response.cancel", "n": number, "x": filling}, ensure_ascii=False)
                    message: str | bytes = text if draw.random() < 0.7 else text.encode()
                    cut = draw.randrange(len(message))
                    await socket.send(iter([message[:cut], message[cut:]]) if draw.random() < 0.3 else message)
                    if number % 20 == 0:
                        await (await socket.ping(f"ping {number}"))
                await socket.send(json.dumps({"type": "response.cancel", "x": "last"}))
                await seen.wait()
                await until(lambda: len(taken) >= len(by_provider))
            await reading
    # A pong answers the other end's ping, and so stands where that end sent it.
    pings = (Opcode.PING, Opcode.PONG)
    for one, other in ((sent, at_provider), (by_provider, taken)):
        assert [frame for frame in one if frame[0] not in pings] == [frame for frame in other if frame[0] not in pings]
        assert [frame for frame in one if frame[0] in pings] == [frame for frame in other if frame[0] in pings]
    assert sum(not frame[1] for frame in sent) > 20
    assert sum(frame[0] is Opcode.PING for frame in sent) == 10
