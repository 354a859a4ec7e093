"""The developer's morning with the command line: with the key alone, and a session's tree with its budget."""

from __future__ import annotations

import json
from decimal import Decimal

import httpx2
import pytest

from paig_client.api.specs import MatchSpec, NamedLimitSpec
from tests.client.cli.conftest import Paig
from tests.client.real import Real
from tests.gateway.end_to_end.agents import STEPS, Step

SESSION = "5d1b7c62-0f0e-4a7e-9c55-2f6d0f3f1c9b"


def send(real: Real, key: str, step: Step) -> int:
    """One request of an agent; its status."""
    with httpx2.Client(base_url=real.root, trust_env=False, timeout=60) as http:
        headers = {"x-api-key": key, **step.headers(SESSION)}
        return http.post("/proxy/anthropic/v1/messages", headers=headers, json=step.body()).status_code


def test_the_morning(paig: Paig, real: Real, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What did I spend, on what, how much is left, give me more; the administrator sees the same tree."""
    key = real.make_key("morning", daily=5)
    spec = NamedLimitSpec(match=MatchSpec(key="morning"), per="session", total=Decimal("0.035"))
    real.admin.named_limits.create("agents", spec)
    statuses = [send(real, key, step) for step in STEPS]
    assert (statuses[0], statuses[-1]) == (200, 402)
    at = ("--url", url)

    # On what? The tree of the session's agents, and where its budget stands.
    tree = paig("sessions", "show", SESSION, *at).out
    assert "├─ Explore" in tree
    assert "│  └─ Explore" in tree
    limits = paig("limits", "list", "--of", "limit:agents", *at).out
    assert f"limit agents ({SESSION})" in limits.replace("\n", "")
    more = ("--window", "total", "--member", SESSION, "--until", "1h", "--why", "let it finish")
    assert paig("limits", "raise", "limit:agents", "1", *more, *at).code == 0
    assert SESSION in paig("limits", "raises", *at).out
    assert send(real, key, STEPS[-1]) == 200
    real.admin.named_limits.delete("agents")

    # With the key alone: what did I spend, and how much is left?
    monkeypatch.delenv("PAIG_ADMIN_TOKEN", raising=False)
    monkeypatch.setenv("PYDANTIC_AI_GATEWAY_API_KEY", key)
    me = json.loads(paig("usage", "--json", *at).out)
    assert Decimal(me["spent_today"]) > Decimal("0.005")
    assert me["limits"][0]["amount"] == "5"
    shown = paig("usage", *at).out
    assert "spent today" in shown
    assert "daily" in shown

    # Give me more.
    assert "Asked" in paig("limits", "ask", "9", "--why", "a long refactoring", *at).err
    [asked] = [one for one in real.admin.limit_requests() if one.key == "morning"]
    assert (asked.amount, asked.why) == (Decimal(9), "a long refactoring")
