"""Limits that are created or deleted while their owner sends requests.

A new limit counts what its owner has already spent in the present window, and holds what its requests in flight may
still cost. This happens in the transaction that creates the limit, so its counter is complete from the start. A named
limit by tag or session counts only what is spent from then on, because totals have neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, func, or_, select, true, union, update

from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.limit_rows import limit_of, named_limit
from paig_gateway.database.tables import LimitRow
from paig_gateway.database.upsert import insert_into
from paig_gateway.domain.limits import PREFIX, Limit, window_end
from paig_gateway.domain.named_limits import LimitRule, Subject
from paig_gateway.ledger.statements import TABLES
from paig_gateway.ledger.transitions import STEP_MS, CounterKey, LimitHold, counter_key

HOLDS, REQUESTS, ROLLUPS, COUNTERS, LIMITS, NAMED = (
    TABLES[name] for name in ("holds", "requests", "rollups", "counters", "limits", "named_limits")
)
_OWNER_COLUMN = {"key": "key_id", "project": "project_id", "user": "user_id"}
_OWNERS = {"key": TABLES["keys"], "project": TABLES["projects"], "user": TABLES["users"]}
_KEY = ("limit_id", "window_start")
_DAY_MS = 86_400_000


def bind(connection: Connection, row: LimitRow, now: datetime) -> None:
    """Start a limit's counters with what its owner has spent, and what its requests in flight hold.

    A second call adds what was spent by requests that did not know of the limit yet. Limits on rates start at nothing:
    their minute is over soon.
    """
    if row.unit != "usd":
        return
    owner = _Named.read(connection, row) if row.owner_kind == "limit" else _Owned(row)
    if owner is None:
        return
    limit = limit_of(row)
    # Holds first, then rows, counters and rollups: each waits for transactions that settle, and then sees the result.
    open_ones = select(HOLDS).where(owner.within(HOLDS)).order_by(HOLDS.c.id).with_for_update()
    held: dict[CounterKey, int] = {}
    for found in connection.execute(open_ones).all():
        for one in owner.of(limit, found, found.request):
            key = counter_key(one, moment(found.time))
            held.setdefault(key, 0)
            if all(known[0] != one.id for known in found.limits):
                mine: LimitHold = (*key, 0 if row.soft else found.reserved, "usd")
                held[key] += mine[2]
                changed = update(HOLDS).where(HOLDS.c.id == found.id).values(limits=[*found.limits, mine])
                connection.execute(changed)
    starts = {counter_key(limit, now)[1], *(start for _, start in held)}
    keys = owner.counters(connection, limit, starts) | held.keys()
    # Rows that may still be corrected get the limit, too, so that corrections change it.
    unsure = select(REQUESTS).order_by(REQUESTS.c.id).with_for_update()
    unsure = unsure.where(REQUESTS.c.state.in_(("swept", "pending")), owner.within(REQUESTS))
    for found in connection.execute(unsure).all():
        for one in owner.of(limit, found, dict(found._mapping)):
            key = counter_key(one, moment(found.time))
            if key in keys and all(known[0] != one.id for known in found.holds or ()):
                mine = (*key, 0, "usd")
                changed = update(REQUESTS).where(REQUESTS.c.id == found.id)
                connection.execute(changed.values(holds=[*(found.holds or ()), mine]))
    for key in sorted(keys):
        _hold(connection, *key, held.get(key, 0))
    for (id, start), amount in owner.spent(connection, limit, starts).items():
        _spend(connection, id, start, amount)


def drop(connection: Connection, row: LimitRow) -> None:
    """Remove a deleted limit's counters; requests in flight that hold some of it settle without it."""
    members = func.substr(COUNTERS.c.limit_id, 1, PREFIX) == row.id
    connection.execute(delete(COUNTERS).where(or_(COUNTERS.c.limit_id == row.id, members)))


def rebind(connection: Connection, rows: list[LimitRow], since: datetime, now: datetime) -> None:
    """Bind limits again if their owners have sent requests since, because nodes learn of a limit one after another."""
    queries = [
        select(*(table.c[name] for name in _OWNER_COLUMN.values())).where(table.c.time >= milliseconds(since))
        for table in (HOLDS, REQUESTS)
    ]
    recent = connection.execute(union(*queries)).all()
    at_work = {(kind, owner[place]) for owner in recent for place, kind in enumerate(_OWNER_COLUMN)}
    if recent:
        at_work.add(("organisation", ""))
    for row in rows:
        still_there = connection.execute(select(LIMITS.c.id).where(LIMITS.c.id == row.id)).first() is not None
        named = row.owner_kind == "limit" and recent
        if still_there and (named or (row.owner_kind, row.owner_id) in at_work):
            bind(connection, row, now)


class _Owned:
    """The requests of the owner of a limit."""

    def __init__(self, row: LimitRow) -> None:
        self._row = row

    def within(self, table: Table) -> ColumnElement[bool]:
        name = _OWNER_COLUMN.get(self._row.owner_kind)
        return true() if name is None else table.c[name] == self._row.owner_id

    def of(self, limit: Limit, row: Any, request: Mapping[str, Any]) -> tuple[Limit, ...]:
        """The counters of the limit that a request moves."""
        return (limit,)

    def counters(self, connection: Connection, limit: Limit, starts: Set[int]) -> Set[CounterKey]:
        """The counters that it has, in the windows that begin then."""
        return {(limit.id, start) for start in starts}

    def spent(self, connection: Connection, limit: Limit, starts: Set[int]) -> dict[CounterKey, int]:
        """What its finished requests cost in the windows that begin then, from the rollups."""
        found: dict[CounterKey, int] = {}
        for start in starts:
            begin, end = _bounds(limit, start)
            owners = _OWNERS.get(self._row.owner_kind)
            if owners is not None:  # nothing was spent before the owner was made
                made = connection.execute(select(owners.c.created_at).where(owners.c.id == self._row.owner_id)).scalar()
                begin = max(begin, (made or 0) // STEP_MS * STEP_MS - _DAY_MS)
            sums = select(func.coalesce(func.sum(ROLLUPS.c.cost), 0)).where(ROLLUPS.c.start >= begin)
            sums = sums.where(self.within(ROLLUPS))
            if end is not None:
                sums = sums.where(ROLLUPS.c.start < end)
            found[limit.id, start] = int(connection.execute(sums).scalar_one())
        return found


class _Named:
    """The requests that a named limit matches."""

    def __init__(self, named: LimitRule, names: Mapping[str, Mapping[str, str]]) -> None:
        self._named = named
        self._names = names

    @classmethod
    def read(cls, connection: Connection, row: LimitRow) -> _Named | None:
        """The named limit that owns a limit; None if it is gone."""
        found = connection.execute(select(NAMED.c.name, NAMED.c.spec).where(NAMED.c.id == row.owner_id)).first()
        if found is None:
            return None
        names = {
            kind: {one.id: one.name for one in connection.execute(select(table.c.id, table.c.name))}
            for kind, table in _OWNERS.items()
        }
        return cls(named_limit(found.name, found.spec, (limit_of(row),)), names)

    def within(self, table: Table) -> ColumnElement[bool]:
        return true()

    def of(self, limit: Limit, row: Any, request: Mapping[str, Any]) -> tuple[Limit, ...]:
        subject = self._subject(
            row, request["route"], request.get("provider"), request["model"], request.get("tags"),
            request.get("session"),
        )  # fmt: skip
        return self._named.bind(subject) if self._named.matches(subject) else ()

    def counters(self, connection: Connection, limit: Limit, starts: Set[int]) -> Set[CounterKey]:
        return self.spent(connection, limit, starts).keys()

    def spent(self, connection: Connection, limit: Limit, starts: Set[int]) -> dict[CounterKey, int]:
        found: dict[CounterKey, int] = {}
        if not self._named.is_in_totals:
            return found
        groups = [ROLLUPS.c[name] for name in ("key_id", "project_id", "user_id", "route", "provider", "model")]
        for start in starts:
            begin, end = _bounds(limit, start)
            sums = select(*groups, func.sum(ROLLUPS.c.cost).label("cost")).where(ROLLUPS.c.start >= begin)
            if end is not None:
                sums = sums.where(ROLLUPS.c.start < end)
            for row in connection.execute(sums.group_by(*groups)).all():
                subject = self._subject(row, row.route, row.provider or None, row.model)
                for one in self._named.bind(subject) if self._named.matches(subject) else ():
                    found[one.id, start] = found.get((one.id, start), 0) + int(row.cost)
        return found

    def _subject(
        self, row: Any, route: str, provider: str | None, model: str,
        tags: Mapping[str, str] | None = None, session: str | None = None,
    ) -> Subject:  # fmt: skip
        def owner(kind: str, id: str) -> tuple[str, str]:
            return id, self._names[kind].get(id, id)

        return Subject(
            owner("key", row.key_id),
            owner("user", row.user_id) if row.user_id else None,
            owner("project", row.project_id) if row.project_id else None,
            route, provider, (model,), tags or {}, session,
        )  # fmt: skip


def _bounds(limit: Limit, start: int) -> tuple[int, int | None]:
    """A window's beginning and end, in milliseconds since the epoch."""
    end = window_end(limit.window, moment(start * 1000), limit.zone)
    return start * 1000, None if end is None else milliseconds(end)


def _hold(connection: Connection, limit_id: str, start: int, amount: int) -> None:
    """Add to a counter's hold, and make the counter if there is none; it is locked afterwards."""
    new = insert_into(connection, COUNTERS).values(limit_id=limit_id, window_start=start, spent=0, held=amount)
    connection.execute(new.on_conflict_do_update(index_elements=_KEY, set_={"held": COUNTERS.c.held + amount}))


def _spend(connection: Connection, limit_id: str, start: int, amount: int) -> None:
    """Set a counter's spent amount; the counter is created if necessary."""
    new = insert_into(connection, COUNTERS).values(limit_id=limit_id, window_start=start, spent=amount, held=0)
    connection.execute(new.on_conflict_do_update(index_elements=_KEY, set_={"spent": amount}))
