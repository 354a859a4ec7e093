"""The server of `paig tui --web` at a real gateway, and a browser's side of it without a browser."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import SSLContext

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from paig_gateway.simulator.serve import running_simulator
from paig_tui.web.app import WebTerminal
from paig_tui.web.child import Opening
from paig_tui.web.login import BrowserLogins
from paig_tui.web.serve import Tls, listen, origin_of, serving
from tests.gateway.end_to_end.conftest import ADMIN, World, environment, running_world, simulated_providers

__all__ = ["environment"]
PATIENCE = 60.0
"""Seconds until something that must happen is taken not to."""


@dataclass
class Clock:
    """A clock that is set forward by hand."""

    now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **time: float) -> None:
        """Let time pass."""
        self.now += timedelta(**time)


@dataclass
class Terminal:
    """A terminal as its page has it."""

    socket: ClientConnection
    screen: str = ""
    said: list[dict[str, str]] = field(default_factory=list)
    code: int | None = None

    async def read(self, condition: Callable[[], bool]) -> None:
        """Take what comes until the condition holds; the end makes it hold."""
        async with asyncio.timeout(PATIENCE):
            while not condition() and self.code is None:
                try:
                    message = await self.socket.recv()
                except ConnectionClosed as closed:
                    self.code = closed.rcvd.code if closed.rcvd else 1006
                    return
                if isinstance(message, bytes):
                    self.screen += message.decode()
                else:
                    self.said.append(json.loads(message))

    async def sees(self, *words: str) -> None:
        """Wait until all of it was shown since the last time."""
        await self.read(lambda: all(word in self.shown for word in words))
        assert self.code is None, f"closed with {self.code}, shown: {self.shown[-2000:]}"
        self.screen = ""

    @property
    def shown(self) -> str:
        """What was shown, without what moves the cursor and colours."""
        return re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))", "", self.screen)

    async def closed(self) -> int:
        """Wait for the end; its code."""
        await self.read(lambda: False)
        assert self.code is not None
        return self.code

    async def press(self, keys: str) -> None:
        """Type."""
        await self.socket.send(keys.encode())


@dataclass
class Visitor:
    """A browser without a window.

    Attributes:
        origin: The server's address.
        http: Keeps the cookie.
        proof: What the page keeps.
        trust: For https.
    """

    origin: str
    http: httpx2.AsyncClient
    proof: str = ""
    trust: SSLContext | None = None

    async def post(self, path: str, **options: object) -> httpx2.Response:
        """What a page of the server's own posts."""
        return await self.http.post(path, **{"headers": {"origin": self.origin}, **options})

    async def log_in(self, token: str) -> httpx2.Response:
        """Open a link; the cookie and the proof are kept."""
        answer = await self.post("/login", content=token)
        if answer.status_code == 200:
            self.proof = answer.json()["proof"]
        return answer

    @property
    def cookie(self) -> str:
        """The header that a browser sends."""
        return "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())

    @asynccontextmanager
    async def socket(self, **headers: str | None) -> AsyncIterator[ClientConnection]:
        """A WebSocket as the page opens it; headers may differ, or be left out."""
        sent = {"origin": self.origin, "cookie": self.cookie, **headers}
        url = f"{self.origin.replace('http', 'ws', 1)}/terminal"
        given = {name: value for name, value in sent.items() if value is not None and name != "host"}
        trust = self.trust if url.startswith("wss:") else None
        async with connect(url, additional_headers=given, proxy=None, max_size=None, ssl=trust) as socket:
            yield socket

    @asynccontextmanager
    async def terminal(self, columns: int = 100, rows: int = 30) -> AsyncIterator[Terminal]:
        """A terminal of the browser that logged in."""
        async with self.socket() as socket:
            await socket.send(json.dumps({"proof": self.proof, "size": [columns, rows]}))
            yield Terminal(socket)


@dataclass
class Site(Visitor):
    """A visitor of the server, and the lines that the server printed."""

    app: WebTerminal = field(kw_only=True)
    logins: BrowserLogins = field(kw_only=True)
    clock: Clock = field(kw_only=True)
    told: list[str] = field(kw_only=True)

    async def enter(self) -> None:
        """Log in with a new link."""
        assert (await self.log_in(self.logins.link())).status_code == 200


@asynccontextmanager
async def site_at(
    url: str, *, read_only: bool = False, tls: Tls | None = None, trust: SSLContext | None = None
) -> AsyncIterator[Site]:
    """A server for the gateway at an address."""
    clock, told = Clock(), list[str]()
    logins = BrowserLogins(clock)
    listener = listen("127.0.0.1", 0)
    origin = origin_of("127.0.0.1", listener.getsockname()[1], tls=tls is not None)
    app = WebTerminal(origin, Opening(url, ADMIN, "prod", read_only), logins, told.append)
    browser = httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=30, verify=trust or True)
    async with serving(app, listener, tls), browser as http:
        yield Site(origin, http, trust=trust, app=app, logins=logins, clock=clock, told=told)


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway in front of simulated providers, for all tests of a file."""
    home = tmp_path_factory.mktemp("home")
    async with running_simulator() as base, running_world(home, simulated_providers(base)) as running:
        yield running


@pytest.fixture
async def site(world: World) -> AsyncIterator[Site]:
    """A server at a real gateway."""
    async with site_at(world.origin) as running:
        yield running


@pytest.fixture
async def entrance() -> AsyncIterator[Site]:
    """A server whose terminals would find no gateway: for what is settled before there is one."""
    async with site_at("http://127.0.0.1:9") as running:
        yield running


def children(pid: int) -> list[int]:
    """The processes that a process started and that still are."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def readable(pid: int) -> str:
    """What other programs can read of a process: its command line and its environment."""
    return "".join(Path(f"/proc/{pid}/{name}").read_text("utf-8", "replace") for name in ("cmdline", "environ"))


def alive(pid: int) -> bool:
    """Whether there is such a process, if only as a zombie."""
    return Path(f"/proc/{pid}").exists()


async def gone(pid: int) -> None:
    """Wait until there is no such process, not even a zombie."""
    for _ in range(int(PATIENCE / 0.02)):
        if not alive(pid):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"process {pid} is still there")
