"""Which providers fail: a tally of tries over the last minutes, and which limits refuse."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from paig_gateway.domain.errors import GatewayError
from paig_gateway.plane.exchange import Exchange, Outcome
from paig_gateway.store.records import Reservation, Settlement

WINDOW_SECONDS = 300.0
SLOT_SECONDS = 10.0
LEAST_FAILURES = 5
"""Fewer failed tries in the window are no trouble."""
TROUBLE_SHARE = 0.5
"""Trouble begins where so much of the tries fails."""

_FAILED = frozenset({401, 403, 408, 429, 500, 502, 503, 504, 529})
"""A provider's statuses that are no fault of the client's request: its account, its limits, its health."""

LimitName = tuple[str, str, str, str]
"""A limit by owner's kind, owner, unit and window, as errors name it."""


@dataclass(slots=True)
class _Slot:
    began: float
    good: int = 0
    bad: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A provider of which much fails.

    Attributes:
        tries: In the last five minutes.
        failures: Of these, by status or failure.
    """

    provider: str
    tries: int
    failures: Counter[str]


class Tally:
    """A watcher that remembers what goes wrong, for the alerts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Count by this monotonic clock."""
        self._clock = clock
        self._slots: dict[str, deque[_Slot]] = {}
        self._refusing: set[LimitName] = set()

    def refused(self, request_id: str, error: GatewayError) -> None:
        """Remember a limit that is used up, whatever becomes of the requests in flight."""
        if error.code not in ("limit-exceeded", "rate-limited"):
            return
        said = error.details
        try:
            spent, needed, amount = (float(said[name] or 0) for name in ("spent", "needed", "amount"))
        except (KeyError, TypeError, ValueError):
            return
        if spent + needed > amount:
            owner_kind, owner, unit, window = (
                str(said.get(name)) for name in ("owner_kind", "owner", "unit", "window")
            )
            self._refusing.add((owner_kind, owner, unit, window))

    def started(self, exchange: Exchange, reservation: Reservation) -> None:
        """Only the end tells."""

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        """Count its tries."""
        for attempt in settlement.attempts:
            slots = self._slots.setdefault(str(attempt["provider"]), deque())
            now = self._clock()
            if not slots or now - slots[-1].began >= SLOT_SECONDS:
                slots.append(_Slot(now))
            status, error = attempt.get("status"), attempt.get("error")
            if error or status in _FAILED:
                slots[-1].bad[str(error or status)] += 1
            else:
                slots[-1].good += 1

    def take_refusing(self) -> set[LimitName]:
        """The limits that have refused since the last look."""
        found, self._refusing = self._refusing, set()
        return found

    def troubles(self) -> list[Trouble]:
        """The providers of which much fails now."""
        found, oldest = [], self._clock() - WINDOW_SECONDS
        for provider, slots in list(self._slots.items()):
            while slots and slots[0].began < oldest:
                slots.popleft()
            if not slots:
                del self._slots[provider]
                continue
            failures: Counter[str] = sum((slot.bad for slot in slots), Counter())
            failed = failures.total()
            tries = failed + sum(slot.good for slot in slots)
            if failed >= LEAST_FAILURES and failed >= tries * TROUBLE_SHARE:
                found.append(Trouble(provider, tries, failures))
        return found
