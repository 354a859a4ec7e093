"""Limits: a cap on what an owner may spend, send or use within a window of time.

Windows are those of the contract: a minute, day, Monday-to-Sunday week, calendar month, or for ever; days, weeks and
months begin at midnight in the limit's time zone. A window is named by the moment it starts, in whole seconds since the
epoch, which is what the ledger's counters are keyed by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from paig_client.api.limits import Unit, Window
from paig_client.api.vocabulary import OwnerKind


@dataclass(frozen=True, slots=True)
class Zone:
    """The time zone that a limit's windows begin in.

    Attributes:
        name: Its IANA name.
        old: The zone before, whose window is finished first; None if it was never changed.
        since: From when on the new one counts, in seconds since the epoch: the end of the old one's window.
    """

    name: str = "UTC"
    old: str | None = None
    since: int = 0

    def at(self, moment: datetime) -> ZoneInfo:
        return ZoneInfo(self.old if self.old is not None and moment.timestamp() < self.since else self.name)


UTC_ZONE = Zone()


@dataclass(frozen=True, slots=True)
class Raise:
    """A limit's larger amount for a while, as `paig limits raise` sets it.

    Attributes:
        amount: The cap, in the limit's unit, while it is raised.
        until: When that ends, in seconds since the epoch.
        member: The one member of a named limit that it is for; None for all.
    """

    amount: int
    until: float
    member: str | None = None


PREFIX = 20
"""Characters of a stored limit's id. A counter of one member of a named limit has an id that goes on after that."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A cap that binds a request.

    Attributes:
        id: The counter's name in the ledger; it outlives a key's secret, so rotation resets nothing.
        owner_kind: What kind of owner the cap is on.
        owner: The owner's name, for messages.
        unit: Its unit: nanodollars, requests or tokens.
        window: Over which time it is counted.
        amount: The cap, in nanodollars, requests or tokens.
        soft: Refuse only once `spent >= amount`; nothing is reserved against it.
        zone: Where its days, weeks and months begin.
        member: The member whose counter it is, if a named limit has one for each.
        per: What a named limit has a counter for each of, for messages.
        max_members: The most counters that such a limit may have in a window; None for other limits.
        raises: Its larger amounts for a while; see `in_force`.
    """

    id: str
    owner_kind: OwnerKind
    owner: str
    unit: Unit
    window: Window
    amount: int
    soft: bool = False
    zone: Zone = UTC_ZONE
    member: str | None = None
    per: str | None = None
    max_members: int | None = None
    raises: tuple[Raise, ...] = ()

    @property
    def is_rate(self) -> bool:
        """Whether a refusal is about pace (429) and not about money (402)."""
        return self.unit != "usd"


@dataclass(frozen=True, slots=True)
class Balance:
    """A limit's counter in its present window, in the limit's unit.

    Attributes:
        spent: The charged amount.
        held: The amount that requests in flight hold.
    """

    limit: Limit
    spent: int
    held: int

    @property
    def left(self) -> int:
        """What neither is spent nor held; below 0 if a cap was overrun or lowered."""
        return self.limit.amount - self.spent - self.held


def in_force(limits: Iterable[Limit], at: datetime) -> tuple[Limit, ...]:
    """The limits with their amounts at a moment; raises are included."""
    return tuple(_raised(limit, at.timestamp()) if limit.raises else limit for limit in limits)


def _raised(limit: Limit, at: float) -> Limit:
    amounts = [raised.amount for raised in limit.raises if at < raised.until]
    return replace(limit, amount=max(limit.amount, *amounts)) if amounts else limit


def member_id(limit_id: str, member: str) -> str:
    """The counter's name of one member of a named limit."""
    return f"{limit_id}/{member}"


def window_start(window: Window, at: datetime, zone: Zone = UTC_ZONE) -> int:
    """The start of the window that `at` falls in, in seconds since the epoch; 0 for `total`."""
    match window:
        case "total":
            return 0
        case "minute":
            return int(at.timestamp()) // 60 * 60
    return int(_first_day(window, at, zone.at(at)).timestamp())


def window_end(window: Window, at: datetime, zone: Zone = UTC_ZONE) -> datetime | None:
    """When the window that `at` falls in ends and its counter starts again; None for `total`."""
    match window:
        case "total":
            return None
        case "minute":
            return datetime.fromtimestamp(window_start(window, at) + 60, UTC)
    first = _first_day(window, at, zone.at(at))
    if window == "monthly":
        last = (first + timedelta(days=32)).replace(day=1)
    else:
        last = first + timedelta(days=1 if window == "daily" else 7)
    return last.astimezone(UTC)


def _first_day(window: Window, at: datetime, zone: ZoneInfo) -> datetime:
    """The midnight at which a day, week or month began. Adding days to it stays at midnight when clocks change."""
    midnight = at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if window == "weekly":
        return midnight - timedelta(days=midnight.weekday())
    return midnight.replace(day=1) if window == "monthly" else midnight
