"""Guessing at tokens and keys, and trying what is not permitted: seen, slowed down, alerted, in the audit log."""

from __future__ import annotations

import logging
from collections import Counter
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest

from paig_client.api.specs import AdminSpec, GrantSpec, KeySpec, ProviderSpec, TokenSpec
from paig_gateway.alerts import alerts
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.catalog.keys import HASHED
from paig_gateway.config import Config
from paig_gateway.secrets import attempts
from paig_gateway.secrets.attempts import FREE
from paig_gateway.server import running_gateway
from paig_gateway.telemetry.settings import AlertsSpec
from tests.gateway.alerts.test_alerts import listening
from tests.gateway.end_to_end.conftest import ADMIN
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio
OWNER = {"authorization": f"Bearer {ADMIN}"}
WEAK = "my-key-value"
REMEMBERED = f"/proxy/some/chat/completions?key={WEAK}"


async def metrics(http: httpx2.AsyncClient, kind: str) -> float:
    """How many attempts of a kind the metrics count."""
    text = (await http.get("/metrics")).text
    line = next(line for line in text.splitlines() if line.startswith(f'paig_security_refusals_total{{kind="{kind}"}}'))
    return float(line.rpartition(" ")[2])


async def test_guessing_is_seen_and_slowed_down(
    environment: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many wrong ones a few are looked at; the right ones pass all the while, unless they could be guessed."""
    monkeypatch.setattr(alerts, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(attempts, "FIRST_PAUSE", attempts.LONGEST_PAUSE)  # however slow the machine is
    store = OpenDatabase.open(tmp_path)
    strong = store.catalog.keys.create("strong", KeySpec(), actor="test").key
    some = ProviderSpec(kind="openai", base_url="http://127.0.0.1:9/v1", credential="value:k")
    store.catalog.providers.create("some", some, actor="test")
    store.catalog.keys.create("weak", KeySpec(secret=HASHED + sha256(WEAK.encode()).hexdigest()), actor="test")
    with listening() as webhook:
        monkeypatch.setenv("WEBHOOK", webhook.url)
        gateway = Gateway(store, Config(alerts=AlertsSpec(webhook="env:WEBHOOK")))
        async with (
            running_gateway(gateway) as origin,
            httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60) as http,
        ):
            with caplog.at_level(logging.WARNING):
                for _ in range(2):  # what is remembered of its head lets the weak one pass no more than others
                    passed = await http.post(REMEMBERED, json={})
                    assert passed.headers["x-paig-error"] == "bad-request"  # it is known, that is
                tokens = Counter[int]()
                keys = Counter[int]()
                for number in range(60):
                    wrong = {"authorization": f"Bearer guess{number}"}
                    told = await http.get("/admin/v1/whoami", headers=wrong)
                    tokens[told.status_code] += 1
                    answer = await http.get("/proxy/none/v1/models", headers=wrong)
                    keys[answer.status_code] += 1
                    assert f"guess{number}" not in told.text + answer.text
                assert told.json()["code"] == "rate-limited"
                assert int(told.headers["retry-after"]) >= 1
                assert answer.headers["x-paig-error"] == "rate-limited"
                assert answer.headers["x-should-retry"] == "false"
                assert (tokens[401], keys[401]) == (FREE["token"], FREE["key"])
                assert tokens[401] + tokens[429] == keys[401] + keys[429] == 60
                assert (await http.get("/admin/v1/whoami", headers=OWNER)).status_code == 200
                passed = await http.get("/proxy/none/v1/models", headers={"authorization": f"Bearer {strong}"})
                assert passed.headers["x-paig-error"] == "route-not-found"  # it is known, that is
                guessed = await http.get("/proxy/none/v1/models", headers={"authorization": f"Bearer {WEAK}"})
                assert guessed.status_code == 429
                assert (await http.post(REMEMBERED, json={})).headers["x-paig-error"] == "rate-limited"
                assert (await metrics(http, "token"), await metrics(http, "key")) == (60, 60)
                await until(lambda: len(webhook.told) >= 2)
            said = [record.getMessage() for record in caplog.records if "refused:" in record.getMessage()]
    assert sorted(line.partition(" from ")[0] for line in said) == [
        "refused: wrong admin tokens",
        "refused: wrong gateway keys",
    ]
    assert {alert["kind"] for alert in webhook.told} == {"security"}
    assert {alert["what"] for alert in webhook.told} == {"token", "key"}
    assert {alert["address"] for alert in webhook.told} == {"127.0.0.1"}
    store.engine.dispose()


async def test_refused_changes_are_in_the_audit_log_once_a_burst(environment: None, tmp_path: Path) -> None:
    """Entries have actor, action and address; refused reads are counted, and leave no entry."""
    store = OpenDatabase.open(tmp_path)
    viewer = store.catalog.admins.create("vic", AdminSpec(grants=[GrantSpec(role="viewer")]), actor="test")
    token = store.catalog.tokens.create("t", viewer.id, TokenSpec(), actor="test").token
    mine = {"authorization": f"Bearer {token}"}
    async with (
        running_gateway(Gateway(store)) as origin,
        httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60) as http,
    ):
        for _ in range(5):
            body = {"name": "evil", "grants": [{"role": "owner"}]}
            assert (await http.post("/admin/v1/admins", headers=mine, json=body)).status_code == 403
            assert (await http.get("/admin/v1/admins", headers=mine)).status_code == 403
        assert (await http.delete("/admin/v1/keys/none", headers=mine)).status_code == 403
        entries = (await http.get("/admin/v1/audit", headers=OWNER, params={"action": "refuse"})).json()["items"]
        assert [(entry["actor"], entry["kind"], entry["name"]) for entry in entries] == [
            ("admin:vic/t", "operation", "delete_key"),
            ("admin:vic/t", "operation", "create_admin"),
        ]
        assert entries[1]["after"]["path"] == "/admin/v1/admins"
        assert entries[1]["after"]["from"] == "127.0.0.1"
        assert "access:write" in entries[1]["after"]["detail"]
        assert (await metrics(http, "action"), await metrics(http, "read")) == (6, 5)
        assert store.catalog.verify_audit().problem is None
    store.engine.dispose()
