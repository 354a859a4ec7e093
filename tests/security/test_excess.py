"""A provider that states far more usage than was held: marked, alerted, and bounded by what the model can do."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec
from paig_gateway.alerts import alerts
from paig_gateway.telemetry.settings import AlertsSpec
from tests.gateway.alerts.test_alerts import listening
from tests.gateway.end_to_end.conftest import replayed_providers, running_world
from tests.gateway.end_to_end.replay import Replay
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio
CHAT = {"model": "gpt-5-nano", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
MOST = Decimal("0.08")
"""US dollars: what gpt-5-nano costs for a full context window and its longest answer, and a little."""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "count"), [("gpt-5-nano", 10**9), ("gpt-5-pro", 10**6), ("gpt-5-nano", 3_000_000)])
async def test_what_cannot_be_is_not_charged(
    environment: None,
    replay: Replay,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    count: int,
    stream: bool,
) -> None:
    """A hostile answer under a cap of a dollar: it stays within the cap, and the operator hears of it."""
    monkeypatch.setattr(alerts, "CHECK_SECONDS", 0.05)
    usage = {"prompt_tokens": count, "completion_tokens": count, "total_tokens": 2 * count}
    body = json.dumps({"model": model, "choices": [], "usage": usage}).encode()
    replay.status, replay.cut = 200, False
    replay.headers = [("content-type", "text/event-stream" if stream else "application/json")]
    replay.pieces = [b"data: " + body + b"\n\n", b"data: [DONE]\n\n"] if stream else [body]
    with listening() as webhook:
        monkeypatch.setenv("WEBHOOK", webhook.url)
        async with running_world(
            tmp_path, replayed_providers(replay.base), alerts=AlertsSpec(webhook="env:WEBHOOK")
        ) as world:
            spec = KeySpec(limits=LimitsSpec.model_validate({"total": 1}))
            key = (await world.admin.keys.create("capped", spec)).key
            answer = await world.http.post(
                "/proxy/openai/v1/chat/completions",
                headers={"authorization": f"Bearer {key}"},
                json={**CHAT, "stream": stream},
            )
            assert answer.status_code == 200
            if not stream:
                assert Decimal(answer.headers["logfire-ai-gateway-cost"].removesuffix("USD")) <= MOST
            row = await world.admin.request(answer.headers["x-paig-request-id"])
            assert row.certainty == "estimated"
            assert (row.certainty_reason or "").startswith("excess: the provider states ")
            assert Decimal(row.reserved) <= Decimal(row.cost or 0) <= MOST
            assert row.usage is not None
            assert row.usage["output_tokens"] == count  # what it said is kept
            await until(lambda: bool(webhook.told))
            told = webhook.told[0]
            assert (told["kind"], told["what"], told["provider"]) == ("security", "excess", "openai")
            assert told["request"] == row.id
            text = (await world.http.get("/metrics")).text
            assert 'paig_cost_excess_total{provider="openai"} 1.0' in text
