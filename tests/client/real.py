"""A real gateway in front of the provider simulator, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from paig_client.admin import AdminClient
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, ProviderSpec
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import ADMIN, UPSTREAM_KEY, running_world, simulated_providers

COMPATIBLE = ("xai", "deepseek", "cerebras", "together", "fireworks", "ollama", "heroku", "ovhcloud", "crusoe", "zai")
"""Kinds that the simulator plays as any OpenAI-compatible server."""


@dataclass
class Real:
    """A gateway, and how to administer it."""

    root: str
    admin: AdminClient

    def make_key(self, name: str, **limits: object) -> str:
        """A new key with limits; its secret."""
        return self.admin.keys.create(name, KeySpec(limits=LimitsSpec.model_validate(limits))).key


def providers(base: str) -> dict[str, ProviderSpec]:
    """One provider for each kind that the simulator can play."""
    credential = f"value:{UPSTREAM_KEY}"
    return {
        **simulated_providers(base),
        "openrouter": ProviderSpec(kind="openrouter", base_url=f"{base}/openrouter/api/v1", credential=credential),
        "azure": ProviderSpec(kind="azure", base_url=f"{base}/azure", credential=credential),
        "huggingface": ProviderSpec(
            kind="huggingface", base_url=f"{base}/huggingface", credential=credential, require_price=False
        ),
        **{
            kind: ProviderSpec(kind=kind, base_url=f"{base}/{kind}/v1", credential=credential, require_price=False)
            for kind in COMPATIBLE
        },
    }


@contextmanager
def running_real(home: Path) -> Iterator[Real]:
    """Run one for as long as the context lasts."""
    started, stop, found = threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        loop.append(asyncio.get_running_loop())
        async with running_simulator() as base, running_world(home, providers(base)) as world:
            found.append(world.origin)
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            started.set()

    loop: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=run, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAIG_SECRET_KEY", "test-secret-key")
        patch.setenv("PAIG_ADMIN_TOKEN", ADMIN)
        patch.delenv("PAIG_DATABASE_URL", raising=False)
        thread.start()
        started.wait(30)
    assert found, "the gateway did not start"
    with AdminClient(found[0], token=ADMIN) as admin:
        yield Real(found[0], admin)
    loop[0].call_soon_threadsafe(stop.set)
    thread.join(30)
