"""Limits: a cap on what an owner may spend, send or use within a window of time.

Windows are those of the contract: a UTC minute, UTC day, Monday-to-Sunday week, calendar month, or for ever. A window
is named by the moment it starts, in whole seconds since the epoch, which is what the ledger's counters are keyed by.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from paig_client.api.limits import Unit, Window
from paig_client.api.vocabulary import OwnerKind


@dataclass(frozen=True, slots=True)
class Limit:
    """A cap that binds a request.

    Attributes:
        id: The counter's name in the ledger; it outlives a key's secret, so rotation resets nothing.
        owner_kind: What kind of owner the cap is on.
        owner: The owner's name, for messages.
        unit: What is counted: nanodollars, requests or tokens.
        window: Over which time it is counted.
        amount: The cap, in nanodollars, requests or tokens.
        soft: Refuse only once `spent >= amount`; nothing is reserved against it.
    """

    id: str
    owner_kind: OwnerKind
    owner: str
    unit: Unit
    window: Window
    amount: int
    soft: bool = False

    @property
    def is_rate(self) -> bool:
        """Whether a refusal is about pace (429) and not about money (402)."""
        return self.unit != "usd"


@dataclass(frozen=True, slots=True)
class Balance:
    """A limit's counter in its present window, in the limit's unit.

    Attributes:
        limit: The limit.
        spent: What was charged.
        held: What requests in flight hold.
    """

    limit: Limit
    spent: int
    held: int

    @property
    def left(self) -> int:
        """What neither is spent nor held; below 0 where a cap was overrun or lowered."""
        return self.limit.amount - self.spent - self.held


def window_start(window: Window, at: datetime) -> int:
    """The start of the window that `at` falls in, in seconds since the epoch; 0 for `total`."""
    match window:
        case "total":
            return 0
        case "minute":
            return int(at.timestamp()) // 60 * 60
        case "daily":
            return int(_midnight(at).timestamp())
        case "weekly":
            return int((_midnight(at) - timedelta(days=at.weekday())).timestamp())
        case "monthly":
            return int(_midnight(at).replace(day=1).timestamp())


def window_end(window: Window, at: datetime) -> datetime | None:
    """When the window that `at` falls in ends and its counter starts again; None for `total`."""
    if window == "total":
        return None
    start = datetime.fromtimestamp(window_start(window, at), UTC)
    match window:
        case "minute":
            return start + timedelta(minutes=1)
        case "daily":
            return start + timedelta(days=1)
        case "weekly":
            return start + timedelta(days=7)
        case "monthly":
            return (start + timedelta(days=32)).replace(day=1)


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
