"""Alerts: a webhook hears of each limit and each failing provider once, on whatever node, whatever its own health."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from dirty_equals import IsStr
from inline_snapshot import snapshot

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, ProviderSpec
from paig_client.api.vocabulary import BreakerState
from paig_gateway.alerts import alerts as module
from paig_gateway.alerts import rows as store
from paig_gateway.alerts.alerts import Alerts, loop_alert
from paig_gateway.alerts.conditions import MOST_REFUSING, RefusalWatch, Trouble, troubles
from paig_gateway.cluster.health_rows import Report
from paig_gateway.database.engine import utc_now
from paig_gateway.domain.errors import GatewayError, LimitRefused
from paig_gateway.domain.limits import Limit
from paig_gateway.domain.money import parse_usd
from paig_gateway.domain.route import ActiveProvider, Credential
from paig_gateway.proxy.loops import Loop
from paig_gateway.routing.outcomes import Sums
from paig_gateway.simulator.serve import running_simulator
from paig_gateway.telemetry.otlp.transport import ExportResult
from paig_gateway.telemetry.settings import AlertsSpec
from tests.gateway.admin.harness import Gateway, running
from tests.gateway.conftest import url
from tests.gateway.end_to_end.agents import STEPS, play
from tests.gateway.end_to_end.conftest import running_world
from tests.gateway.telemetry.otlp import no_backend

__all__ = ["url"]
ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
pytestmark = pytest.mark.anyio


@dataclass
class Webhook:
    """What a webhook was told; it answers with the next of `statuses`, then with 200.

    Attributes:
        wait: The `Retry-After` of what is not 200.
        asked: How often it was called.
    """

    url: str = ""
    wait: str = ""
    asked: int = 0
    told: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [alert["text"] for alert in self.told]


@contextmanager
def listening(*statuses: int) -> Iterator[Webhook]:
    """A webhook on loopback."""
    webhook = Webhook(statuses=list(statuses))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status = webhook.statuses.pop(0) if webhook.statuses else 200
            webhook.asked += 1
            if status == 200:
                webhook.told.append(body)
            self.send_response(status)
            if status != 200 and webhook.wait:
                self.send_header("retry-after", webhook.wait)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    webhook.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/secret"
    try:
        yield webhook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Clock:
    """A present that moves when told."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now

    def later(self, **more: float) -> None:
        self.now += timedelta(**more)


def looking(
    gateway: Gateway, webhook: Webhook, clock: Clock, *, ledger: LedgerState | None = None, **spec: Any
) -> Alerts:
    """A node's alerts on that database."""
    return Alerts(
        AlertsSpec.model_validate(spec),
        webhook.url,
        gateway.engine,
        RefusalWatch(),
        gateway.services.directory.providers,
        clock,
        ledger,
    )


def key(gateway: Gateway, name: str, **limits: object) -> None:
    """A key with limits, known to the directory."""
    gateway.catalog.keys.create(name, KeySpec(limits=LimitsSpec.model_validate(limits)), actor="test")
    gateway.services.directory.refresh()


def spend(gateway: Gateway, name: str, usd: str) -> None:
    """A finished request of that cost."""
    gateway.finish(name, cost=parse_usd(usd))


async def test_each_threshold_is_told_once_in_a_window(tmp_path: Path, url: str) -> None:
    """At 50, 80 and 100 % one message each, whichever of two nodes looks, and again only for the next window."""
    clock = Clock()
    with running(tmp_path, url=url) as gateway, listening() as webhook:
        key(gateway, "ci", daily=10)
        nodes = [looking(gateway, webhook, clock) for _ in range(2)]
        for cost in ("4", "1", "2", "1.5", "1.5"):
            spend(gateway, "ci", cost)
            for node in (*nodes, *nodes):
                await node.look()
        assert [alert["threshold"] for alert in webhook.told] == [50, 80, 100]
        clock.later(days=1)
        for node in nodes:
            await node.look()
    assert len(webhook.told) == 3
    assert webhook.told[1] == snapshot(
        {
            "text": "The key 'ci' has used 80 % of its daily limit: $8.5 of $10. "
            f"It resets at {webhook.told[1]['resets_at']}.",
            "kind": "limit",
            "time": IsStr(regex=ISO),
            "threshold": 80,
            "owner_kind": "key",
            "owner": "ci",
            "unit": "usd",
            "window": "daily",
            "amount": "10",
            "spent": "8.5",
            "resets_at": IsStr(regex=ISO),
            "refuses": False,
        }
    )


async def test_jumping_over_thresholds_alerts_for_the_highest(tmp_path: Path) -> None:
    """One request that takes 90 % is one message; a limit that is raised begins again."""
    clock = Clock()
    with running(tmp_path) as gateway, listening() as webhook:
        key(gateway, "ci", total=10)
        node = looking(gateway, webhook, clock)
        spend(gateway, "ci", "9")
        await node.look()
        await node.look()
        assert [alert["threshold"] for alert in webhook.told] == [80]
        gateway.catalog.keys.update("ci", {"limits": {"total": 18}}, actor="test")
        await node.look()
        await node.look()
    assert [(alert["threshold"], alert["amount"]) for alert in webhook.told] == [(80, "10"), (50, "18")]


async def test_after_a_refusal_nothing_lesser_is_told(tmp_path: Path, url: str) -> None:
    """A limit with no room left, though half of it is unspent, is told of as full, on no node as half spent after."""
    clock = Clock()
    with running(tmp_path, url=url) as gateway, listening() as webhook:
        key(gateway, "ci", daily=10)
        refusing, other = (looking(gateway, webhook, clock) for _ in range(2))
        spend(gateway, "ci", "6")
        await refusing.look(refusing=[("key", "ci", "usd", "daily")])
        for node in (refusing, other):
            await node.look()
    assert [(alert["threshold"], alert["refuses"]) for alert in webhook.told] == [(100, True)]


async def test_the_organisations_limit_is_told_of_too(tmp_path: Path, url: str) -> None:
    """A limit above all projects, which has no name, is told of when it is spent and when it refuses."""
    clock = Clock()
    with running(tmp_path, url=url) as gateway, listening() as webhook:
        gateway.catalog.organisation.update({"limits": {"monthly": 10}}, actor="test")
        key(gateway, "ci", daily=100)
        node = looking(gateway, webhook, clock)
        spend(gateway, "ci", "5")
        await node.look()
        await node.look(refusing=[("organisation", "organisation", "usd", "monthly")])
    assert [(alert["threshold"], alert["owner_kind"], alert["refuses"]) for alert in webhook.told] == [
        (50, "organisation", False),
        (100, "organisation", True),
    ]
    assert webhook.texts[1].startswith("The organisation has no room left in its monthly limit: $5 of $10.")


async def test_limits_per_minute_are_told_of_only_if_wished(tmp_path: Path) -> None:
    """Rates fill up all the time; `rates` asks for them."""
    clock = Clock()
    with running(tmp_path) as gateway, listening() as webhook:
        key(gateway, "ci", requests_per_minute=1)
        spend(gateway, "ci", "0.1")
        clock.now = gateway.client().requests().items[0].time
        await looking(gateway, webhook, clock).look()
        assert webhook.told == []
        await looking(gateway, webhook, clock, rates=True).look()
    assert [alert["threshold"] for alert in webhook.told] == [100]


async def test_a_webhook_that_fails_is_tried_again_with_growing_pauses(
    tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost while the webhook is down; the log says so once, without the address."""
    clock = Clock()
    with running(tmp_path, url=url) as gateway, listening(503, 404) as webhook:
        key(gateway, "ci", daily=1)
        spend(gateway, "ci", "0.6")
        node = looking(gateway, webhook, clock)
        await node.look()
        await node.look()  # too early: nothing is sent
        assert webhook.statuses == [404]
        clock.later(seconds=6)
        await node.look()
        clock.later(seconds=6)
        await node.look()  # the second pause is longer
        assert (webhook.statuses, webhook.told) == ([], [])
        clock.later(seconds=10)
        await looking(gateway, webhook, clock).look()  # another node may deliver it
        await node.look()
    assert len(webhook.told) == 1
    told = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert told[0] == "alerts cannot be delivered: it answered 503"
    assert len(told) <= 2
    assert "/services/" not in caplog.text


async def test_an_alert_whose_node_died_is_delivered_by_another(tmp_path: Path) -> None:
    """What one node took on and never delivered is due again after the lease."""
    clock = Clock()
    with running(tmp_path) as gateway, listening() as webhook:
        key(gateway, "ci", daily=1)
        spend(gateway, "ci", "0.6")
        dying = looking(gateway, webhook, clock)
        dying._deliver = _die  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="died"):
            await dying.look()
        other = looking(gateway, webhook, clock)
        await other.look()
        assert webhook.told == []
        clock.later(seconds=31)
        await other.look()
    assert len(webhook.told) == 1


async def _die(alert: object) -> ExportResult:
    raise RuntimeError("died")


async def test_a_webhook_that_asks_for_time_gets_it(tmp_path: Path) -> None:
    """`Retry-After` counts where it is longer than the next pause; after a failure no other alert is tried at once."""
    clock = Clock()
    with running(tmp_path) as gateway, listening(429) as webhook:
        webhook.wait = "120"
        for name in ("a", "b", "c"):
            key(gateway, name, daily=1)
            spend(gateway, name, "0.6")
        node = looking(gateway, webhook, clock)
        await node.look()
        assert webhook.asked == 1
        clock.later(seconds=100)
        await node.look()
        assert len(webhook.told) == 2
        clock.later(seconds=21)
        await node.look()
        await node.look()
    assert sorted(alert["owner"] for alert in webhook.told) == ["a", "b", "c"]


async def test_an_alert_is_given_up_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After the last try that failed it is lost: the log says what was not told, a metric counts it."""
    monkeypatch.setattr(store, "MOST_TRIES", 2)
    clock = Clock()
    with running(tmp_path) as gateway, listening(500, 500) as webhook:
        key(gateway, "ci", daily=1)
        spend(gateway, "ci", "0.6")
        node = looking(gateway, webhook, clock)
        for _ in range(4):
            await node.look()
            clock.later(hours=2)
        assert webhook.asked == 2
        key(gateway, "other", total=1)
        spend(gateway, "other", "1")
        await node.look()
    assert node.samples() == [
        ("paig_telemetry_exported_total", ("alerts",), 1),
        ("paig_telemetry_dropped_total", ("alerts", "export"), 1),
    ]
    assert "an alert is given up after 2 tries: The key 'ci' has used 50 % of its daily limit" in caplog.text


async def test_a_webhook_that_never_answers_delays_no_request(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it hangs requests are answered, and the gateway ends without waiting for it."""
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.05)
    async with no_backend() as url, running_simulator() as base:
        monkeypatch.setenv("WEBHOOK", f"{url}/services/secret")
        good = ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:a")
        async with running_world(tmp_path, {"openai": good}, alerts=AlertsSpec(webhook="env:WEBHOOK")) as world:
            poor = await world.make_key("poor", total="0.000001")
            body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 50}
            for key, status in ((poor, 400), (world.key, 200)) * 10:
                headers = {"authorization": f"Bearer {key}"}
                answer = await world.http.post("/proxy/openai/chat/completions", headers=headers, json=body)
                assert answer.status_code == status
                await asyncio.sleep(0.05)
            began = time.monotonic()
        assert time.monotonic() - began < module.POST_SECONDS / 2


def test_refusing_limits_take_bounded_memory() -> None:
    """Clients name the budgets of their runs, so there may be any number of them."""
    watch, noon = RefusalWatch(), datetime(2026, 11, 23, 12, tzinfo=UTC)
    for number in range(MOST_REFUSING + 500):
        used_up = Limit(f"run:k:{number}", "run", f"run-{number}", "usd", "total", 10)
        watch.refused("req_1", LimitRefused(used_up, spent=10, held=0, needed=1, resets_at=None, now=noon))
    assert len(watch.take()) == MOST_REFUSING
    assert watch.take() == set()


def test_a_name_is_nothing_but_a_name() -> None:
    """In Slack, `<!channel>` calls everybody and `<http://…|…>` is a link; a key of that name is neither."""
    trouble = Trouble("<!channel> & co", 6, Counter({"500": 6}))
    alert = module.provider_alert(trouble, utc_now())
    assert "The provider '&lt;!channel&gt; &amp; co' is in trouble" in str(alert.payload["text"])
    assert alert.payload["provider"] == "<!channel> & co"


async def test_a_gateway_tells_of_limits_and_providers(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit that refuses is told of as used up, and a provider that fails with how it fails."""
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.1)
    with listening() as webhook:
        monkeypatch.setenv("WEBHOOK", webhook.url)
        async with running_simulator() as base:
            good = ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:a")
            bad = ProviderSpec(kind="openai", base_url="http://127.0.0.1:9/v1", credential="value:b")
            spec = AlertsSpec(webhook="env:WEBHOOK")
            async with running_world(tmp_path, {"openai": good, "down": bad}, alerts=spec) as world:
                poor = await world.make_key("poor", total="0.000001")

                async def ask(route: str, key: str) -> int:
                    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
                    headers = {"authorization": f"Bearer {key}"}
                    return (
                        await world.http.post(f"/proxy/{route}/chat/completions", headers=headers, json=body)
                    ).status_code

                assert await ask("openai", poor) == 400
                assert [await ask("down", world.key) for _ in range(5)] == [502] * 5
                assert await ask("openai", world.key) == 200
                async with asyncio.timeout(30):
                    while len(webhook.told) < 2:
                        await asyncio.sleep(0.05)
                        assert await ask("openai", poor) == 400
                await asyncio.sleep(0.5)
    limit = next(alert for alert in webhook.told if alert["kind"] == "limit")
    provider = next(alert for alert in webhook.told if alert["kind"] == "provider")
    assert (limit["text"], limit["refuses"]) == snapshot(
        (
            "The key 'poor' has no room left in its total limit: $0 of $0.000001. Requests are refused. "
            "It does not reset.",
            True,
        )
    )
    assert provider == snapshot(
        {
            "text": "The provider 'down' is in trouble: 5 of 5 tries failed in the last five minutes "
            "(upstream-unreachable × 5). It is left alone as far as others can answer.",
            "kind": "provider",
            "time": IsStr(regex=ISO),
            "provider": "down",
            "tries": 5,
            "failures": {"upstream-unreachable": 5},
            "state": "open",
            "silent_until": IsStr(regex=ISO),
        }
    )
    assert len(webhook.told) == 2


def test_the_hour_after_a_provider_is_told_of_again() -> None:
    """A trouble that lasts is told of once an hour."""
    noon = datetime(2026, 11, 23, 12, 5, tzinfo=UTC)
    trouble = Trouble("openai", 6, Counter({"500": 6}))
    ids = [module.provider_alert(trouble, noon + timedelta(minutes=minutes)).id for minutes in (0, 50, 60)]
    assert ids[0] == ids[1] != ids[2]


def test_what_makes_a_trouble() -> None:
    """Half of the tries over all nodes, or no credential left; not a share that retries make good, nor one bad key."""
    now = utc_now()
    keys = Credential("a", "x"), Credential("b", "y")
    providers = {
        name: ActiveProvider(name, "openai", "http://x", keys) for name in ("half", "tenth", "down", "one-key")
    }

    def told(provider: str, credential: str, state: BreakerState, good: int, bad: int) -> Report:
        return Report(provider, credential, state, now, sums=Sums(good, 0, {"500": bad} if bad else {}))

    found = troubles(
        [
            *[told("half", "a", "closed", 2, 3), told("half", "a", "closed", 2, 2)],
            *[told("tenth", "a", "closed", 900, 100)],
            *[told("down", "a", "open", 900, 3), told("down", "b", "open", 900, 3), told("down", "b", "closed", 1, 0)],
            *[told("one-key", "a", "open", 900, 50), told("one-key", "b", "closed", 900, 0)],
            *[told("gone", "a", "open", 0, 9)],
        ],
        providers,
    )
    assert [(trouble.provider, trouble.tries, trouble.failures.total(), trouble.state) for trouble in found] == [
        ("half", 9, 5, "closed"),
        ("down", 1807, 6, "open"),
    ]


async def test_a_model_without_a_price_is_told_once_a_day(tmp_path: Path, url: str) -> None:
    """Whichever node refuses it, an alert names the model and the provider; the next day it is told again."""
    clock = Clock()
    refusals = RefusalWatch()
    details: dict[str, Any] = {"model": "new-model", "provider": "openai"}
    refusals.refused("req_1", GatewayError("no-price", "no price", details=details))
    refusals.refused("req_2", GatewayError("no-price", "an endpoint without a model"))
    unpriced = refusals.take_unpriced()
    assert (unpriced, refusals.take_unpriced()) == ({("openai", "new-model")}, set())
    with running(tmp_path, url=url) as gateway, listening() as webhook:
        for node in [looking(gateway, webhook, clock) for _ in range(2)]:
            await node.look((), unpriced)
        clock.later(days=1)
        await looking(gateway, webhook, clock).look((), unpriced)
    assert [(alert["kind"], alert["provider"], alert["model"]) for alert in webhook.told] == [
        ("no-price", "openai", "new-model")
    ] * 2


@dataclass
class LedgerState:
    """How a ledger is."""

    healthy: bool = True
    last_error: str | None = None
    set_aside: int = 0


async def test_a_ledger_that_is_away_and_back_is_told(tmp_path: Path) -> None:
    """Once each, when it has been away for a while; delivery does not need the database, and is tried again."""
    clock, state = Clock(), LedgerState()
    with listening(503) as webhook, running(tmp_path) as gateway:
        looks = looking(gateway, webhook, clock, ledger=state)
        await looks.watch_ledger()
        state.healthy, state.last_error = False, "connection <refused>"
        await looks.watch_ledger()
        assert webhook.asked == 0, "a moment is no outage"
        clock.later(seconds=11)
        await looks.watch_ledger()
        assert (webhook.asked, webhook.told) == (1, [])
        for _ in range(3):
            await looks.watch_ledger()
        state.healthy = True
        for _ in range(3):
            await looks.watch_ledger()
    assert [(told["kind"], told["state"]) for told in webhook.told] == [("ledger", "down"), ("ledger", "up")]
    assert "database is unavailable (connection &lt;refused&gt;)" in webhook.texts[0]


async def test_settlements_that_were_set_aside_are_told(tmp_path: Path) -> None:
    """Once a day."""
    clock, state = Clock(), LedgerState(set_aside=2)
    with listening() as webhook, running(tmp_path) as gateway:
        looks = looking(gateway, webhook, clock, ledger=state)
        await looks.look()
        await looks.look()
    assert [told["requests"] for told in webhook.told if told["kind"] == "set-aside"] == [2]


def test_a_loop_is_told_once_an_hour() -> None:
    """What the session does, whose key it has, and what ends it."""
    at = datetime(2026, 11, 23, 14, 27, 48, tzinfo=UTC)
    alert = loop_alert(Loop("repeated", "key_1", "ci", "s<1>", 20), at)
    assert alert.payload == snapshot(
        {
            "text": (
                "The session 's&lt;1&gt;' of the key 'ci' sent the same request 20 times. `paig sessions stop` ends it."
            ),
            "kind": "loop",
            "time": "2026-11-23T14:27:48Z",
            "loop": "repeated",
            "key": "ci",
            "session": "s<1>",
            "found": 20,
        }
    )
    assert alert.id == loop_alert(Loop("repeated", "key_1", "ci", "s<1>", 40), at + timedelta(minutes=30)).id
    spending = loop_alert(Loop("spending", "key_1", "ci", "s", 5_500_000_000), at)
    assert "spent $5.5 within a minute" in str(spending.payload["text"])


async def test_the_webhook_hears_of_loops(environment: None, tmp_path: Path) -> None:
    """From the data plane to the webhook: an agent that sends one request again and again."""
    with listening() as webhook:
        async with running_simulator() as base:
            simulated = ProviderSpec(kind="anthropic", base_url=f"{base}/anthropic", credential="value:x")
            spec = AlertsSpec(webhook="env:LOOP_WEBHOOK")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LOOP_WEBHOOK", webhook.url)
                patch.setattr(module, "CHECK_SECONDS", 0.05)
                async with running_world(tmp_path, {"anthropic": simulated}, alerts=spec) as world:
                    await play(world.http, world.key, "round", [STEPS[0]] * 20)
                    while not webhook.texts:  # noqa: ASYNC110 another thread fills it
                        await asyncio.sleep(0.05)
    assert webhook.texts == [
        "The session 'round' of the key 'tester' sent the same request 20 times. `paig sessions stop` ends it."
    ]
