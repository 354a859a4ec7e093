"""Balances of limits. It blocks: call it in a thread."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, false, func, or_, select

from paig_client.api.limits import Unit, Window
from paig_client.api.resources import LimitStatus, MyLimit
from paig_client.api.vocabulary import OwnerKind
from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.limit_rows import limit_of, zone_of
from paig_gateway.domain.limits import PREFIX, Limit, Raise, in_force, window_end, window_start
from paig_gateway.domain.money import format_usd
from paig_gateway.ledger.forecast import TodaysSpend, reached_at
from paig_gateway.ledger.reports import owner_names
from paig_gateway.ledger.statements import TABLES

COUNTERS, LIMITS, NAMED, RAISES = (TABLES[name] for name in ("counters", "limits", "named_limits", "raises"))
_ZONE = (LIMITS.c.window, LIMITS.c.zone, LIMITS.c.old_zone, LIMITS.c.zone_since)

StatusT = TypeVar("StatusT", LimitStatus, MyLimit)


@dataclass(frozen=True, slots=True)
class LimitBalance:
    """A limit's balance in one of its windows; amounts as the ledger counts them.

    Attributes:
        limit_id: The limit's id, or the name of one member's counter.
        amount: The present amount of the limit; a raise is included.
        member: The counter's key, user, model or other value, if a named limit has one counter for each.
        window_start: Seconds since the epoch.
        raised_until: When it goes back to its own amount; None if it is not raised.
    """

    limit_id: str
    owner_kind: OwnerKind
    owner: str
    unit: Unit
    window: Window
    amount: int
    spent: int
    held: int
    window_start: int
    resets_at: datetime | None
    soft: bool
    member: str | None = None
    raised_until: datetime | None = None

    @classmethod
    def of(cls, limit: Limit, spent: int, held: int, now: datetime) -> LimitBalance:
        """A limit's balance, from its counter in the window of a moment."""
        [present] = in_force([limit], now)
        over = [one.until for one in limit.raises if one.until > now.timestamp() and one.amount > limit.amount]
        return cls(
            limit.id, "key" if limit.owner_kind == "run" else limit.owner_kind, limit.owner, limit.unit, limit.window,
            present.amount, spent, held, window_start(limit.window, now, limit.zone),
            window_end(limit.window, now, limit.zone), limit.soft, limit.member,
            moment(int(max(over) * 1000)) if over else None,
        )  # fmt: skip

    def show(self, amount: int) -> str:
        """An amount as people read it: dollars, or a count."""
        return format_usd(amount) if self.unit == "usd" else str(amount)

    def shown(self, spent_today: int | None, now: datetime) -> dict[str, Any]:
        return {
            "id": self.limit_id, "owner_kind": self.owner_kind, "owner": self.owner, "member": self.member,
            "unit": self.unit, "window": self.window, "amount": self.show(self.amount), "spent": self.show(self.spent),
            "held": self.show(self.held), "left": self.show(max(0, self.amount - self.spent - self.held)),
            "resets_at": self.resets_at, "soft": self.soft, "raised_until": self.raised_until,
            "reached_at": reached_at(
                self.unit, self.amount - self.spent, self.spent if self.window == "daily" else spent_today,
                self.resets_at, now,
            ),
        }  # fmt: skip


def current_balances(
    engine: Engine,
    now: datetime,
    *,
    percent: int = 0,
    owners: Collection[tuple[str, str]] = (),
) -> list[LimitBalance]:
    """Balances of limits in the window of `now`.

    Args:
        percent: Only limits of which at least this share is spent; rounding may include one that is slightly below.
        owners: Owners (kind and name) whose limits are included in any case.
    """
    with engine.connect() as connection:
        names = owner_names(connection)
        return list(_balances(connection, now, None, names, percent, owners))


def _balances(
    connection: Connection,
    now: datetime,
    within: frozenset[str] | None,
    names: Mapping[str, Mapping[str, str]],
    percent: int = 0,
    owners: Collection[tuple[str, str]] = (),
) -> Iterator[LimitBalance]:
    begun = _begun(connection, now)
    own = LIMITS.outerjoin(COUNTERS, and_(COUNTERS.c.limit_id == LIMITS.c.id, begun))
    of_member = and_(func.substr(COUNTERS.c.limit_id, 1, PREFIX) == LIMITS.c.id, COUNTERS.c.limit_id != LIMITS.c.id)
    members = LIMITS.join(COUNTERS, and_(LIMITS.c.owner_kind == "limit", of_member, begun))
    found: list[Any] = []
    for counted in (own, members):
        wanted = select(LIMITS, COUNTERS.c.limit_id, COUNTERS.c.spent, COUNTERS.c.held).select_from(counted)
        wanted = _of_projects(wanted, within)
        if percent:
            # Divided first: amounts are large, and the product must not be larger than the database counts.
            enough = COUNTERS.c.spent >= LIMITS.c.amount // 100 * percent
            named = [id for kind, known in names.items() for id, name in known.items() if (kind, name) in owners]
            nameless = {kind for kind, _ in owners} - names.keys()  # the organisation, and named limits
            wanted = wanted.where(or_(enough, LIMITS.c.owner_id.in_(named), LIMITS.c.owner_kind.in_(nameless)))
        order = (LIMITS.c.owner_kind, LIMITS.c.owner_id, LIMITS.c.id, COUNTERS.c.limit_id)
        found += connection.execute(wanted.order_by(*order)).all()
    apart = {row.id for row in found if row.limit_id is not None and row.limit_id != row.id}
    per = {row.id: (row.name, row.spec.get("per")) for row in connection.execute(select(NAMED))}
    raises = _raises(connection, now)
    for row in found:
        if row.id in apart and (row.limit_id is None or row.limit_id == row.id):
            continue  # each of its members is shown instead
        owner = names.get(row.owner_kind, {}).get(row.owner_id, row.owner_kind)
        if row.owner_kind == "limit":
            owner = per.get(row.owner_id, (row.owner_id, None))[0]
        limit = limit_of(row, owner)
        if row.limit_id is not None and row.limit_id != row.id:
            id = row.limit_id[PREFIX + 1 :]
            limit = replace(limit, id=row.limit_id, member=_member(per[row.owner_id][1], id, names))
        own_raises = [*raises.get(row.id, ()), *(raises.get(limit.id, ()) if limit.id != row.id else ())]
        yield LimitBalance.of(replace(limit, raises=tuple(own_raises)), row.spent or 0, row.held or 0, now)


def balances_of(engine: Engine, limits: Sequence[Limit], now: datetime) -> list[LimitBalance]:
    """Balances of these limits in the window of `now`, in their order."""
    wanted = {(limit.id, window_start(limit.window, now, limit.zone)) for limit in limits}
    read = select(COUNTERS.c.limit_id, COUNTERS.c.window_start, COUNTERS.c.spent, COUNTERS.c.held)
    with engine.connect() as connection:
        rows = connection.execute(read.where(COUNTERS.c.limit_id.in_({id for id, _ in wanted}))).all()
    counted = {(row.limit_id, row.window_start): (row.spent, row.held) for row in rows}
    return [
        LimitBalance.of(limit, *counted.get((limit.id, window_start(limit.window, now, limit.zone)), (0, 0)), now)
        for limit in limits
    ]


def limit_balances(engine: Engine, now: datetime, within: frozenset[str] | None = None) -> list[LimitStatus]:
    """The limits of these projects (by id) and of their keys, or all, as the admin API shows them."""
    with engine.connect() as connection:
        found = list(_balances(connection, now, within, owner_names(connection)))
    return shown_balances(engine, found, now, LimitStatus)


def shown_balances(
    engine: Engine, balances: Sequence[LimitBalance], now: datetime, status: type[StatusT]
) -> list[StatusT]:
    """Balances as the admin API (`LimitStatus`) or `/me` (`MyLimit`) shows them, with forecasts by today's spend."""
    with engine.connect() as connection:
        today = TodaysSpend(connection, now)
    return [status.model_validate(one.shown(today.of(one.owner_kind, one.owner, one.member), now)) for one in balances]


def _begun(connection: Connection, now: datetime) -> ColumnElement[bool]:
    """Counters of present windows: those of one length begin together, if in the same time zone."""
    kinds = connection.execute(select(*_ZONE).distinct()).all()
    return or_(false(), *(and_(_is_of(kind), COUNTERS.c.window_start == _start(kind, now)) for kind in kinds))


def _is_of(kind: Any) -> ColumnElement[bool]:
    values = zip(_ZONE, kind, strict=True)
    return and_(*(column.is_(None) if value is None else column == value for column, value in values))


def _start(kind: Any, now: datetime) -> int:
    return window_start(kind.window, now, zone_of(kind))


def _of_projects(wanted: Select[Any], within: frozenset[str] | None) -> Select[Any]:
    if within is None:
        return wanted
    keys = TABLES["keys"]
    of_project = and_(LIMITS.c.owner_kind == "project", LIMITS.c.owner_id.in_(within))
    owned = select(keys.c.id).where(keys.c.project_id.in_(within))
    return wanted.where(or_(of_project, and_(LIMITS.c.owner_kind == "key", LIMITS.c.owner_id.in_(owned))))


def _raises(connection: Connection, now: datetime) -> dict[str, list[Raise]]:
    found: dict[str, list[Raise]] = {}
    for row in connection.execute(select(RAISES).where(RAISES.c.until > milliseconds(now))):
        found.setdefault(row.limit_id, []).append(Raise(row.amount, row.until / 1000))
    return found


def _member(per: str | None, id: str, names: Mapping[str, Mapping[str, str]]) -> str:
    if per in ("key", "user", "project"):
        return names.get(per, {}).get(id, id)
    return id.partition(":")[2] if per == "session" else id
