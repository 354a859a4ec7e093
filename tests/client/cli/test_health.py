"""`paig providers health` against a real gateway."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from paig_client.api.resources import CredentialHealth, NodeBreaker, ProviderHealth, ToldWait
from paig_client.cli.objects import rows
from tests.client.cli.conftest import Paig
from tests.client.real import Real

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FIGURES: dict[str, Any] = {"tries": 200, "ok_share": 0.985, "p95_ms": 3104.2, "throttled": 1, "failures": {"503": 3}}
NONE: dict[str, Any] = {"tries": 0, "ok_share": None, "p95_ms": None, "throttled": 0, "failures": {}}


def credential(id: str, state: str, *nodes: str, **more: Any) -> CredentialHealth:
    """A credential in that state, on nodes in those."""
    said = {"since": NOW, "until": None, "reason": None}
    breakers = [NodeBreaker.model_validate({**said, "node": "n", "state": node, "own": True}) for node in nodes]
    told = {**said, "waits": [], "last_error": None, "last_error_at": None, **FIGURES, **more}
    return CredentialHealth.model_validate({"credential": id, "state": state, "nodes": breakers, **told})


def test_a_row_says_how_and_why() -> None:
    """One row for a provider, and one for each of several credentials; until when is left to the clock."""
    soon = datetime.now(UTC) + timedelta(days=2, hours=4, minutes=30)
    wait = ToldWait(model="gpt-5", until=soon, reason="429")
    found = [
        ProviderHealth(
            provider="anthropic", state="closed", credentials=[credential("a", "closed", p95_ms=23.4)], **FIGURES
        ),
        ProviderHealth(
            provider="bedrock",
            state="open",
            credentials=[credential("b", "open", "open", "closed", reason="503", until=soon)],
            **FIGURES,
        ),
        ProviderHealth(
            provider="openai",
            state="closed",
            credentials=[
                credential("c", "closed", "closed"),
                credential("d", "cooling", "cooling", waits=[wait], **NONE),
            ],
            **FIGURES,
        ),
    ]
    figures = ["98.5%", "3.1s", "1", "200"]
    assert list(rows(found)) == [
        ["anthropic", "", "● closed", "98.5%", "23ms", "1", "200", ""],
        ["bedrock", "", "✕ open", *figures, "503, in 2d 4h, 1 of 2 nodes"],
        ["openai", "", "● closed", *figures, ""],
        ["", "c", "● closed", *figures, ""],
        ["", "d", "■ cooling", "–", "–", "0", "0", "gpt-5: 429, in 2d 4h"],
    ]


def test_what_a_real_gateway_says(paig: Paig, real: Real, url: str) -> None:
    """A provider that was told to wait is shown so, with the model and the status; JSON has it all."""
    assert paig("providers", "health", "nobody", "--url", url).code == 1
    key = real.make_key("health")
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "[sim:status=429] [sim:retry_after=60] Hi"}],
    }
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx2.post(
        f"{url}/proxy/openai/chat/completions", json=body, headers=headers, trust_env=False, timeout=60
    )
    assert answer.status_code == 429
    deadline = time.monotonic() + 30
    while "cooling" not in (ran := paig("providers", "health", "openai", "--url", url)).out:
        assert time.monotonic() < deadline, ran.out
    assert "gpt-4o-mini: 429, in " in ran.out
    [found] = json.loads(paig("providers", "health", "openai", "--json", "--url", url).out)
    assert (found["state"], found["credentials"][0]["waits"][0]["model"]) == ("cooling", "gpt-4o-mini")
