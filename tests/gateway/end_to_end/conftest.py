"""A real gateway on a real port, with a real SQLite file, in front of a provider that replays or simulates."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from paig_client.admin import AsyncAdminClient
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, ProviderSpec
from paig_client.api.vocabulary import Stored
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.config import Config, ServerSpec
from paig_gateway.config.model import BreakerSpec
from paig_gateway.database.engine import utc_now
from paig_gateway.providers.kinds import KINDS, base_url
from paig_gateway.server import running_gateway
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from paig_gateway.telemetry.settings import AlertsSpec, TelemetrySpec
from tests.gateway.end_to_end.replay import Replay, running_replay

UPSTREAM_KEY = "sk-upstream-0123456789"
ADMIN = "an-admin-token-for-tests-0123456789"


NO_BREAKER = ServerSpec(breaker=BreakerSpec(enabled=False))
"""For tests that have a provider fail again and again and look at each try; `test_breaker` looks at what follows."""


@dataclass
class World:
    """A gateway and how to speak to it."""

    store: OpenDatabase
    origin: str
    key: str
    http: httpx2.AsyncClient
    admin: AsyncAdminClient

    async def make_key(self, name: str, **limits: object) -> str:
        """A new key with limits; its secret."""
        spec = KeySpec(limits=LimitsSpec.model_validate(limits))
        return (await self.admin.keys.create(name, spec)).key


@pytest.fixture(scope="session")
def environment() -> Iterator[None]:
    """Secrets from the environment, so that no test touches a keyring."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAIG_SECRET_KEY", "a-secret-key-for-tests-0123456789")
        patch.setenv("PAIG_ADMIN_TOKEN", ADMIN)
        patch.delenv("PAIG_DATABASE_URL", raising=False)
        yield


class Time:
    """The gateway's clocks, put forward at will."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        """Monotonic seconds."""
        return time.monotonic() + self._ahead

    def now(self) -> datetime:
        """The present, in UTC."""
        return utc_now() + timedelta(seconds=self._ahead)

    def later(self, seconds: float) -> None:
        """So much later."""
        self._ahead += seconds


@asynccontextmanager
async def running_world(
    home: Path,
    providers: dict[str, ProviderSpec],
    server: ServerSpec | None = None,
    telemetry: TelemetrySpec | None = None,
    alerts: AlertsSpec | None = None,
    time: Time | None = None,
    stored: Stored | None = None,
) -> AsyncIterator[World]:
    """A gateway with those providers and one key without limits; `stored` is for objects made elsewhere."""
    store = OpenDatabase.open(home)
    for name, spec in providers.items():
        store.catalog.providers.create(name, spec, actor="test")
    key = store.catalog.keys.create("tester", KeySpec(stored=stored), actor="test").key
    async with AsyncExitStack() as stack:
        config = Config(
            server=server or ServerSpec(), telemetry=telemetry or TelemetrySpec(), alerts=alerts or AlertsSpec()
        )
        gateway = Gateway(store, config)
        if time is not None:
            gateway.now, gateway.clock = time.now, time
        origin = await stack.enter_async_context(running_gateway(gateway))
        http = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=origin, trust_env=False, verify=False, timeout=30)
        )
        admin = await stack.enter_async_context(AsyncAdminClient(origin, token=ADMIN, verify=False))
        yield World(store, origin, key, http, admin)


OWN_PATHS = {"snowflake": "/api/v2/cortex/v1", "openai-compatible": "/bin/content-type/application/json"}


def replayed_providers(base: str) -> dict[str, ProviderSpec]:
    """One provider of every kind, at the address that its own recordings were made at."""
    found = {}
    for kind in KINDS.values():
        own = base_url(kind, None, {})
        path = urlsplit(own).path if own else OWN_PATHS.get(kind.name, "")
        settings: dict[str, str] = {}  # the recordings name projects of their own
        found[kind.name] = ProviderSpec(
            kind=kind.name,
            base_url=base + path,
            credential=f"value:{UPSTREAM_KEY}",
            require_price=False,
            allow_unmetered=True,
            **settings,
        )
    return found


SIMULATED = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic",
    "google": "/google",
    "google-vertex": "/vertex",
    "groq": "/groq/openai/v1",
    "bedrock": "/bedrock",
    "mistral": "/mistral/v1",
}
MORE_SIMULATED = {"cohere": "/cohere", "xai": "/xai/v1"}


def simulated_providers(base: str, more: Mapping[str, str] | None = None) -> dict[str, ProviderSpec]:
    """The simulator's providers; `more` names further ones with their paths."""
    found = {}
    for name, path in {**SIMULATED, **(more or {})}.items():
        settings = {"project": "p"} if name == "google-vertex" else {}
        found[name] = ProviderSpec(kind=name, base_url=base + path, credential=f"value:{UPSTREAM_KEY}", **settings)
    return found


@pytest.fixture(scope="module")
async def replay() -> AsyncIterator[Replay]:
    """A provider that replays."""
    async with running_replay() as running:
        yield running


@pytest.fixture(scope="module")
async def replayed(environment: None, replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway in front of `replay`."""
    home = tmp_path_factory.mktemp("home")
    async with running_world(home, replayed_providers(replay.base), stored="shared") as world:
        yield world


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    """The simulated providers."""
    return Simulator()


@pytest.fixture(scope="module")
async def simulated(
    environment: None, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A gateway in front of `simulator`."""
    async with running_simulator(simulator) as base:
        home = tmp_path_factory.mktemp("home")
        async with running_world(home, simulated_providers(base)) as world:
            yield world


@pytest.fixture(scope="module")
async def everyone(
    environment: None, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A gateway in front of `simulator`, with all providers that it plays natively."""
    async with running_simulator(simulator) as base:
        home = tmp_path_factory.mktemp("home")
        async with running_world(home, simulated_providers(base, MORE_SIMULATED)) as world:
            yield world
