"""Alerts: messages to a webhook when a limit runs out and when a provider fails.

Limits are read every few seconds, off the request path. The first node that sees a condition stores the alert, so that
it is sent once; any node repeats the delivery until the webhook has accepted it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import httpx2
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from paig_gateway.alerts import rows
from paig_gateway.alerts.conditions import Excess, LimitName, ModelName, RefusalWatch, Trouble, troubles
from paig_gateway.alerts.rows import Alert
from paig_gateway.cluster import health_rows
from paig_gateway.database.engine import in_thread
from paig_gateway.domain.money import format_usd
from paig_gateway.domain.route import ActiveProvider
from paig_gateway.ledger.balances import LimitBalance, current_balances
from paig_gateway.proxy.loops import Loop
from paig_gateway.secrets.attempts import Attempts
from paig_gateway.telemetry.metrics.registry import Sample
from paig_gateway.telemetry.otlp.transport import ExportResult, pause_of
from paig_gateway.telemetry.settings import AlertsSpec

CHECK_SECONDS = 5.0
LEDGER_DOWN_AFTER = timedelta(seconds=10)
"""How long the database may be unavailable before an alert is sent."""
POST_SECONDS = 10.0
AT_ONCE = 10
"""The most alerts delivered in one round; a round ends after a failure."""
MOST_REMEMBERED = 10_000

log = logging.getLogger(__name__)


class LedgerState(Protocol):
    """The parts of the ledger that alerts use."""

    @property
    def healthy(self) -> bool:
        """Whether the database accepts writes."""

    @property
    def last_error(self) -> str | None:
        """Why it does not."""

    set_aside: int


class Alerts:
    """Looks for conditions, stores alerts, and delivers them."""

    def __init__(
        self,
        spec: AlertsSpec,
        webhook: str,
        engine: Engine,
        refusals: RefusalWatch,
        providers: Callable[[], Mapping[str, ActiveProvider]],
        now: Callable[[], datetime],
        ledger: LedgerState | None = None,
        attempts: Attempts | None = None,
        loops: Callable[[], Sequence[Loop]] = tuple,
    ) -> None:
        """Send alerts to this webhook.

        Args:
            webhook: Its URL, which is a secret.
            refusals: Which limits refuse on this node.
            providers: The configured providers, by name.
            ledger: This node's ledger.
            attempts: Counts requests that this node refused for lack of permission.
            loops: The loops of agents that were seen on this node since the last look.
        """
        self._ledger = ledger
        self._attempts = attempts
        self._down_since: datetime | None = None
        self._told_down = False
        self._loops = loops
        self._spec = spec
        self._webhook = webhook
        self._engine = engine
        self._refusals = refusals
        self._providers = providers
        self._now = now
        self._raised: set[str] = set()
        self._troubled = False
        self._delivered = self._lost = 0

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        away = False
        with contextlib.suppress(SQLAlchemyError):
            await in_thread(rows.forget, self._engine, self._now())
        while True:
            refusing, unpriced = self._refusals.take(), self._refusals.take_unpriced()
            await self.watch_ledger()
            now, bursts = self._now(), self._attempts.take() if self._attempts else {}
            security = [guess_alert(what, where, count, now) for (what, where), count in bursts.items()]
            security += [excess_alert(excess, now) for excess in self._refusals.take_excesses()]
            security += [loop_alert(loop, now) for loop in self._loops()]
            try:
                await self.look(refusing, unpriced, security)
            except SQLAlchemyError as error:
                if not away:
                    log.warning("cannot read the limits for alerts; retrying: %s", error)
                away = True
            else:
                away = False
            await asyncio.sleep(CHECK_SECONDS)

    async def watch_ledger(self) -> None:
        """Alert when this node cannot record, and when it can again.

        Each node sends it at once, and not through the database, which is unavailable.
        """
        if self._ledger is None:
            return
        now, down = self._now(), not self._ledger.healthy
        self._down_since = (self._down_since or now) if down else None
        if down == self._told_down:
            return
        if down and self._down_since is not None and now - self._down_since < LEDGER_DOWN_AFTER:
            return
        if (await self._deliver(ledger_alert(down, self._ledger.last_error or "", now))).taken:
            self._told_down = down
            self._delivered += 1

    def samples(self) -> list[Sample]:
        """Results of the alerts that this process delivered or was the last to try."""
        return [
            ("paig_telemetry_exported_total", ("alerts",), self._delivered),
            ("paig_telemetry_dropped_total", ("alerts", "export"), self._lost),
        ]

    async def look(
        self,
        refusing: Iterable[LimitName] = (),
        unpriced: Iterable[ModelName] = (),
        security: Iterable[Alert] = (),
    ) -> None:
        """Create new alerts, and deliver those that are due.

        Raises:
            SQLAlchemyError: The database is unavailable.
        """
        await in_thread(self._raise, refusing, unpriced, security)
        for _ in range(AT_ONCE):
            alert = await in_thread(rows.due, self._engine, self._now())
            if alert is None:
                return
            verdict = await self._deliver(alert)
            if not verdict.taken:
                await in_thread(self._failed, alert, verdict.again or 0.0)
                return
            self._delivered += 1
            await in_thread(rows.delivered, self._engine, alert, self._now())

    def _raise(self, refusing: Iterable[LimitName], unpriced: Iterable[ModelName], security: Iterable[Alert]) -> None:
        now = self._now()
        found = [*self._of_limits(now, set(refusing)), *(provider_alert(trouble, now) for trouble in self._troubles())]
        found += [price_alert(provider, model, now) for provider, model in unpriced]
        if self._ledger is not None and self._ledger.set_aside:
            found.append(set_aside_alert(self._ledger.set_aside, now))
        found += security
        if fresh := [alert for alert in found if alert.id not in self._raised]:
            rows.raise_alerts(self._engine, fresh, now)
            if len(self._raised) > MOST_REMEMBERED:  # the database remembers
                self._raised.clear()
            self._raised |= {name for alert in fresh for name in (alert.id, *alert.covers)}

    def _failed(self, alert: Alert, wait: float) -> None:
        if not rows.failed(self._engine, alert, self._now(), wait=wait):
            self._lost += 1
            log.warning("an alert is given up after %d tries: %s", rows.MOST_TRIES, alert.payload.get("text"))

    def _of_limits(self, now: datetime, refusing: set[LimitName]) -> Iterator[Alert]:
        owners = {(kind, name) for kind, name, _, _ in refusing}
        for balance in current_balances(self._engine, now, percent=min(self._spec.thresholds), owners=owners):
            if balance.amount <= 0 or (balance.unit != "usd" and not self._spec.rates):
                continue
            full = (balance.owner_kind, balance.owner, balance.unit, balance.window) in refusing
            percent = max(100 if full else 0, balance.spent * 100 // balance.amount)
            # Only the highest threshold that is reached: a jump from 0 to 90 % is one alert, not two.
            if reached := max((at for at in self._spec.thresholds if at <= percent), default=None):
                lesser = tuple(_id(balance, at) for at in self._spec.thresholds if at < reached)
                yield replace(limit_alert(balance, reached, full, now), covers=lesser)

    def _troubles(self) -> list[Trouble]:
        if not self._spec.providers:
            return []
        return troubles((report for _, report in health_rows.read(self._engine)), self._providers())

    async def _deliver(self, alert: Alert) -> ExportResult:
        # Async, so that it can be cancelled when the process ends; a thread would wait for its answer.
        try:
            client = await asyncio.to_thread(httpx2.AsyncClient, timeout=POST_SECONDS, follow_redirects=False)
            async with asyncio.timeout(POST_SECONDS), client:
                answer = await client.post(self._webhook, json=dict(alert.payload))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            verdict = ExportResult(False, type(error).__name__)  # its text may show the URL, which is a secret
        else:
            wait = pause_of(answer.headers)
            verdict = ExportResult(answer.is_success, f"it answered {answer.status_code}", wait)
        if verdict.taken == self._troubled:
            self._troubled = not verdict.taken
            if self._troubled:
                log.warning("alerts cannot be delivered: %s", verdict.why)
            else:
                log.warning("alerts are delivered again")
        return verdict


def limit_alert(balance: LimitBalance, reached: int, full: bool, now: datetime) -> Alert:
    """Alert that a limit is used up to a threshold."""
    owner = (
        "The organisation" if balance.owner_kind == "organisation" else f"The {balance.owner_kind} '{balance.owner}'"
    )
    window = "per-minute" if balance.window == "minute" else balance.window
    spent, amount = balance.show(balance.spent), balance.show(balance.amount)
    of = f"${spent} of ${amount}" if balance.unit == "usd" else f"{spent} of {amount} {balance.unit}"
    resets = f"It resets at {_iso(balance.resets_at)}." if balance.resets_at else "It does not reset."
    what = (
        "has used up"
        if balance.spent >= balance.amount
        else "has no room left in"
        if full
        else f"has used {reached} % of"
    )
    refuses = " Requests are refused." if full else ""
    text = f"{owner} {what} its {window} limit: {of}.{refuses} {resets}"
    return Alert(
        _id(balance, reached),
        {
            "text": _escaped(text),
            "kind": "limit",
            "time": _iso(now),
            "threshold": reached,
            "owner_kind": balance.owner_kind,
            "owner": balance.owner,
            "unit": balance.unit,
            "window": balance.window,
            "amount": amount,
            "spent": spent,
            "resets_at": _iso(balance.resets_at) if balance.resets_at else None,
            "refuses": full,
        },
    )


def _id(balance: LimitBalance, reached: int) -> str:
    return f"{balance.limit_id}:{balance.window_start}:{balance.amount}:{reached}"


def provider_alert(trouble: Trouble, now: datetime) -> Alert:
    """Alert that a provider fails; at most one per hour."""
    failed, hour = trouble.failures.total(), now.replace(minute=0, second=0, microsecond=0)
    how = ", ".join(f"{reason} × {count}" for reason, count in trouble.failures.most_common(3))
    text = (
        f"The provider '{trouble.provider}' is in trouble: {failed} of {trouble.tries} tries failed in the last five "
        f"minutes ({how})." + (" It is left alone as far as others can answer." if trouble.state == "open" else "")
    )
    return Alert(
        f"provider:{trouble.provider}:{int(hour.timestamp())}",
        {
            "text": _escaped(text),
            "kind": "provider",
            "time": _iso(now),
            "provider": trouble.provider,
            "tries": trouble.tries,
            "failures": dict(trouble.failures),
            "state": trouble.state,
            "silent_until": _iso(hour + timedelta(hours=1)),
        },
    )


def price_alert(provider: str, model: str, now: datetime) -> Alert:
    """Alert that a model is refused because it has no price; at most one per day."""
    day = now.astimezone(UTC).date()
    text = (
        f"Requests for the model '{model}' at '{provider}' are refused: it has no price. Add a price or an alias to "
        "paig.toml, or set refresh_prices = true."
    )
    return Alert(
        f"no-price:{provider}:{model}:{day}",
        {"text": _escaped(text), "kind": "no-price", "time": _iso(now), "provider": provider, "model": model},
    )


def ledger_alert(down: bool, error: str, now: datetime) -> Alert:
    """Alert that the database refuses writes, or accepts them again."""
    node = socket.gethostname()
    why = f" ({error})" if error else ""
    text = (
        f"The gateway on {node} cannot record requests: its database is unavailable{why}. Until it is back, requests"
        " are refused, or pass unrecorded where on_ledger_down = allow."
        if down
        else f"The gateway on {node} records requests again: its database is available."
    )
    state = "down" if down else "up"
    return Alert("ledger", {"text": _escaped(text), "kind": "ledger", "time": _iso(now), "state": state, "host": node})


def set_aside_alert(count: int, now: datetime) -> Alert:
    """Alert that the database refused settlements; at most one per day and host."""
    node, day = socket.gethostname(), now.astimezone(UTC).date()
    text = (
        f"The gateway on {node} has charged {count} requests at their ceiling, because its database refused their"
        " settlement: the log says why, and set-aside files in PAIG_HOME have them."
    )
    return Alert(
        f"set-aside:{node}:{day}",
        {"text": _escaped(text), "kind": "set-aside", "time": _iso(now), "requests": count, "host": node},
    )


_ATTEMPTS: Mapping[str, str] = {
    "token": "wrong admin tokens",
    "key": "wrong gateway keys",
    "action": "changes without permission",
    "read": "reads without permission",
}


def guess_alert(what: str, address: str, count: int, now: datetime) -> Alert:
    """Alert that many attempts of one address were refused for lack of permission; at most one per hour.

    Args:
        what: The kind of attempt.
        address: The address that sent them.
        count: How many there were so far.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    text = f"{count} {_ATTEMPTS[what]} came from {address}. `paig audit` and the log say more."
    return Alert(
        f"security:{what}:{address}:{int(hour.timestamp())}",
        {
            "text": _escaped(text),
            "kind": "security",
            "time": _iso(now),
            "what": what,
            "address": address,
            "count": count,
            "silent_until": _iso(hour + timedelta(hours=1)),
        },
    )


def excess_alert(excess: Excess, now: datetime) -> Alert:
    """Alert that an answer stated far more usage than was held for it; at most one per hour and provider."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    text = (
        f"The provider '{excess.provider}' stated {excess.times} times the cost that was held for the request "
        f"{excess.request_id} (model '{excess.model}'). What the model cannot do was not charged. Check the provider."
    )
    return Alert(
        f"security:excess:{excess.provider}:{int(hour.timestamp())}",
        {
            "text": _escaped(text),
            "kind": "security",
            "time": _iso(now),
            "what": "excess",
            "provider": excess.provider,
            "model": excess.model,
            "request": excess.request_id,
            "times": excess.times,
            "silent_until": _iso(hour + timedelta(hours=1)),
        },
    )


def loop_alert(loop: Loop, now: datetime) -> Alert:
    """Alert that a session is in a loop; at most one per hour."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    what = (
        f"sent the same request {loop.found} times"
        if loop.kind == "repeated"
        else f"spent ${format_usd(loop.found)} within a minute"
    )
    text = f"The session '{loop.session}' of the key '{loop.key}' {what}. `paig sessions stop` ends it."
    return Alert(
        f"loop:{loop.key_id}:{loop.session}:{loop.kind}:{int(hour.timestamp())}",
        {
            "text": _escaped(text),
            "kind": "loop",
            "time": _iso(now),
            "loop": loop.kind,
            "key": loop.key,
            "session": loop.session,
            "found": loop.found if loop.kind == "repeated" else format_usd(loop.found),
        },
    )


def _escaped(text: str) -> str:
    """Text without Slack's control sequences: `<!channel>` in a name would notify everyone."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
