"""What `paig init` writes works: each provider's key, taken from the environment, reaches that provider."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from paig_client.api.specs import ProviderSpec
from paig_client.cli.importers.environment import ADDRESSES, KEYS, from_environment
from paig_gateway.simulator import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import environment, running_world

__all__ = ["environment"]
pytestmark = pytest.mark.anyio

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 50}
CONTENTS = [{"role": "user", "parts": [{"text": "Hello"}]}]
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}], "inferenceConfig": {"maxTokens": 50}}
OWN = {
    "openai": ("/openai/v1", "chat/completions", {**CHAT, "max_completion_tokens": 50}),
    "anthropic": ("/anthropic", "v1/messages", {**CHAT, "model": "claude-sonnet-4-5"}),
    "google": ("/google", "v1beta/models/gemini-2.5-flash:generateContent", {"contents": CONTENTS}),
    "groq": ("/groq/openai/v1", "chat/completions", {**CHAT, "model": "openai/gpt-oss-120b"}),
    "openrouter": ("/openrouter/api/v1", "chat/completions", {**CHAT, "model": "openai/gpt-5"}),
    "mistral": ("/mistral", "v1/chat/completions", {**CHAT, "model": "mistral-small-latest"}),
    "azure": ("/azure", "openai/v1/chat/completions", CHAT),
    "bedrock": ("/bedrock", "model/amazon.nova-micro-v1:0/converse", CONVERSE),
}
"""By kind: the simulator's mount, and a request; all others speak OpenAI's API."""
NOT_CHAT = {"cohere", "voyageai"}


async def test_every_key_reaches_its_provider(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request to each route of the first configuration is answered, and carries the key of its own variable."""
    for kind, names in KEYS.items():
        monkeypatch.setenv(names[0], f"value-of-{kind}")
    for kind, names in ADDRESSES.items():
        monkeypatch.setenv(names[0], f"https://{kind}.example")
    drafted = from_environment(
        {name: f"value-of-{kind}" for kind, names in KEYS.items() for name in names[:1]}
        | {names[0]: f"https://{kind}.example" for kind, names in ADDRESSES.items()}
    ).providers
    simulator = Simulator(credentials=[f"value-of-{kind}" for kind in KEYS])
    async with running_simulator(simulator) as base:
        providers = {
            kind: ProviderSpec.model_validate(
                {**fields, "base_url": base + OWN.get(kind, (f"/{kind}/v1",))[0], "require_price": kind in OWN}
            )
            for kind, fields in drafted.items()
            if kind not in NOT_CHAT
        }
        async with (
            running_world(tmp_path / "home", providers) as world,
            httpx2.AsyncClient(
                base_url=f"{world.origin}/proxy", headers={"x-api-key": world.key}, trust_env=False, timeout=30
            ) as http,
        ):
            for kind in providers:
                _, path, body = OWN.get(kind, ("", "chat/completions", CHAT))
                answer = await http.post(f"{kind}/{path}", json=body)
                assert answer.status_code == 200, (kind, answer.text)
                sent = repr(simulator.requests[-1].headers)
                assert f"value-of-{kind}" in sent, kind
                assert world.key not in sent
    assert set(providers) | NOT_CHAT == set(KEYS)
