"""Failing providers, by the reports of all nodes, and refusing limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from paig_client.api.vocabulary import BreakerState
from paig_gateway.cluster.health_rows import Report, best_state
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.route import ActiveProvider
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.routing.outcomes import Sums

LEAST_FAILURES = 5
"""Fewer failed tries in five minutes are ignored, unless they opened the breaker."""
TROUBLE_SHARE = 0.5
"""From this share of failed tries on, a provider is in trouble."""

MOST_UNPRICED = 100
"""The most models without a price that are remembered between two rounds: clients choose their names."""

MOST_REFUSING = 1_000
"""The most refusing limits that are remembered between two rounds: clients name the budgets of their runs."""

ModelName = tuple[str, str]
"""A model, by its provider and its requested name."""

LimitName = tuple[str, str, str, str]
"""A limit by owner's kind, owner, unit and window, as errors name it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A provider with many failures.

    Attributes:
        tries: In the last five minutes, on all nodes.
        failures: Of these, by status or failure.
        state: The state of its best credential's breaker.
    """

    provider: str
    tries: int
    failures: Counter[str]
    state: BreakerState = "closed"


@dataclass(frozen=True, slots=True)
class Excess:
    """An answer that stated far more than was held for it.

    Attributes:
        times: How many times as much.
    """

    request_id: str
    provider: str
    model: str
    times: int


class RefusalWatch:
    """Remembers, for the alerts, which limits refuse and which answers state implausibly much."""

    def __init__(self) -> None:
        self._refusing: set[LimitName] = set()
        self._unpriced: set[ModelName] = set()
        self._excesses: dict[str, Excess] = {}

    def refused(self, request_id: str, error: GatewayError) -> None:
        """Remember a limit that is used up, or a model that was refused because it has no price."""
        if error.code == "no-price" and error.details.get("provider") and error.details.get("model"):
            if len(self._unpriced) < MOST_UNPRICED:
                self._unpriced.add((str(error.details["provider"]), str(error.details["model"])))
            return
        if error.code not in ("limit-exceeded", "limit-too-small", "rate-limited"):
            return
        details = error.details
        try:
            spent, needed, amount = (float(details[name] or 0) for name in ("spent", "needed", "amount"))
        except (KeyError, TypeError, ValueError):
            return
        if spent + needed > amount:
            owner_kind, owner, unit, window = (
                str(details.get(name)) for name in ("owner_kind", "owner", "unit", "window")
            )
            if len(self._refusing) < MOST_REFUSING:
                self._refusing.add((owner_kind, owner, unit, window))

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        """Nothing is refused."""

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """Remember an answer that stated implausibly much; one for each provider is enough."""
        if outcome.excess is not None and settlement.provider is not None:
            found = Excess(exchange.id, settlement.provider, exchange.call.model[:200], outcome.excess)
            self._excesses.setdefault(settlement.provider, found)

    def take_excesses(self) -> list[Excess]:
        """The answers since the last round that stated implausibly much."""
        found, self._excesses = self._excesses, {}
        return list(found.values())

    def take(self) -> set[LimitName]:
        """The limits that have refused requests since the last round."""
        found, self._refusing = self._refusing, set()
        return found

    def take_unpriced(self) -> set[ModelName]:
        """The models without a price that were refused since the last round."""
        found, self._unpriced = self._unpriced, set()
        return found


def troubles(reports: Iterable[Report], providers: Mapping[str, ActiveProvider]) -> list[Trouble]:
    """The providers that fail often now, or have no usable credential.

    Args:
        providers: The configured providers, by name.
    """
    by_provider: dict[str, dict[str, list[Report]]] = {}
    for report in reports:
        by_provider.setdefault(report.provider, {}).setdefault(report.credential, []).append(report)
    found = []
    for name, by_credential in by_provider.items():
        if (provider := providers.get(name)) is None:
            continue
        sums = Sums.of(report.sums for reports in by_credential.values() for report in reports)
        failures = Counter(sums.failures)
        state = best_state(by_credential.get(credential.id, ()) for credential in provider.credentials)
        much = failures.total() >= LEAST_FAILURES and failures.total() >= sums.tries * TROUBLE_SHARE
        if failures and (much or state == "open"):
            found.append(Trouble(name, sums.tries, failures, state))
    return found
