"""A gateway without its data plane: admin app, ledger, directory and catalogue, served over HTTP on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx2
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from paig_client.admin import AdminClient
from paig_client.api.vocabulary import Certainty
from paig_gateway.admin.app import admin_app
from paig_gateway.admin.services import AdminServices
from paig_gateway.catalog import Catalog, LimitHooks, References
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.database.engine import migrate, open_engine, utc_now
from paig_gateway.domain.caller import Caller
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.pricing.price import PriceBook
from paig_gateway.providers.auth import Authenticator
from paig_gateway.proxy.provider_client import ProviderClient
from paig_gateway.proxy.upstream import Upstream
from paig_gateway.routing.deadlines import Timeouts
from tests.gateway.catalogs import VAULT, sqlite_url

TOKEN = "the admin token of the tests"
T = TypeVar("T")
_numbers = count(1)


@dataclass
class Gateway:
    """A running one."""

    url: str
    app: FastAPI
    services: AdminServices
    ledger: Ledger
    loop: asyncio.AbstractEventLoop
    folder: Path
    """Where its SQLite file is."""
    database: str
    """The database's URL, for another node."""
    clients: list[AdminClient] = field(default_factory=list)

    @property
    def catalog(self) -> Catalog:
        return self.services.catalog

    @property
    def engine(self) -> Engine:
        return self.services.engine

    def client(self, token: str = TOKEN) -> AdminClient:
        """A typed client, closed with the gateway."""
        client = AdminClient(self.url, token=token, verify=False)
        self.clients.append(client)
        return client

    def http(self, token: str | None = TOKEN) -> httpx2.Client:
        """A plain client of the API, for what the typed one never sends."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx2.Client(
            base_url=f"{self.url}/admin/v1", headers=headers, trust_env=False, verify=False, timeout=20
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def reserve(self, key: str, *, model: str = "gpt-5", ceiling: int = 1_000_000) -> Reservation:
        """A request that is let through and not finished."""
        caller = self.caller(key)
        reservation = Reservation(
            id=f"req_{next(_numbers):08d}{uuid4().hex[:8]}",
            time=utc_now(),
            caller=caller,
            limits=caller.limits,
            route="openai",
            model=model,
            format="openai-chat",
            stream=False,
            ceiling=ceiling,
            tokens=2000,
            provider="openai",
        )
        self.run(self.ledger.reserve(reservation))
        return reservation

    def finish(
        self,
        key: str,
        *,
        model: str = "gpt-5",
        cost: int = 500_000,
        status: int = 200,
        error: str | None = None,
        certainty: Certainty = "exact",
    ) -> str:
        """A request from beginning to end; answers its id."""
        reservation = self.reserve(key, model=model, ceiling=max(cost, 1))
        usage = {"input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 0, "cache_write_tokens": 0}
        settlement = Settlement(
            reservation.id, utc_now(), cost, certainty, usage=dict(usage), raw_usage={"prompt_tokens": 100},
            price="openai/gpt-5", provider="openai", status=status, error=error, ms_total=12.5,
        )  # fmt: skip
        self.run(self.ledger.settle(settlement))
        return reservation.id

    def caller(self, key: str) -> Caller:
        """The key of that name as the data plane sees it."""
        return next(caller for caller in self.services.directory.snapshot.callers.values() if caller.key == key)


@contextmanager
def running(
    folder: Path,
    *,
    url: str | None = None,
    clock: Callable[[], datetime] = utc_now,
    change: Callable[[AdminServices], AdminServices] = lambda services: services,
    refreshed: bool = False,
) -> Iterator[Gateway]:
    """A gateway on a free port, on a database in `folder` (or at `url`, which it may share with others).

    Args:
        folder: Where the SQLite file goes.
        url: Another database instead.
        clock: The catalogue's and the admin API's present.
        change: Puts other services in the place of the real ones.
        refreshed: Whether the directory looks for changes by itself, as in a whole gateway.
    """
    url = url or sqlite_url(folder)
    engine = open_engine(url)
    migrate(engine)
    node_id = f"node_{uuid4().hex[:8]}"
    ledger = Ledger(engine, node_id=node_id)
    hooks = LimitHooks(created=ledger.limit_created, removed=ledger.limit_removed)
    catalog = Catalog(engine, VAULT, hooks=hooks, clock=clock)
    directory = Directory(engine, VAULT, References(environ={}))
    directory.refresh()

    # Nothing listens behind this proxy, so no request leaves the machine.
    upstream = Upstream(timeouts=Timeouts(), proxy="http://127.0.0.1:1")

    services = change(
        AdminServices(
            engine=engine,
            catalog=catalog,
            ledger=ledger,
            directory=directory,
            admin_token=TOKEN,
            prices=PriceSources(PriceBook(), directory.own_prices),
            client=ProviderClient(upstream, Authenticator()),
            clock=clock,
            node_id=node_id,
            started_at=datetime(2026, 11, 23, 8, 0, tzinfo=UTC),
            version="0.1.0",
        )
    )
    app = admin_app(services)
    # Named as TCP, so that the event loop turns off the delay of small packets (40 ms for each answer).
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5))
        ready = threading.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            loops.append(asyncio.get_running_loop())
            await ledger.start()
            async with upstream:
                refresher = asyncio.ensure_future(directory.run()) if refreshed else None
                serving = asyncio.ensure_future(server.serve([listener]))
                while not server.started:  # noqa: ASYNC110 uvicorn tells in no other way
                    await asyncio.sleep(0.005)
                ready.set()
                await serving
                if refresher is not None:
                    refresher.cancel()
            await ledger.stop()

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        try:
            assert ready.wait(20), "the server did not start"
            origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
            gateway = Gateway(origin, app, services, ledger, loops[0], folder, url)
            yield gateway
            for client in gateway.clients:
                client.close()
        finally:
            if loops and ready.is_set():
                loops[0].call_soon_threadsafe(app.state.events.close)
            server.should_exit = True
            thread.join(20)
            engine.dispose()
    assert not thread.is_alive(), "the server did not stop"
