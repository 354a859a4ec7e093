"""Limits that are made or deleted while their owner sends requests.

A new limit counts what its owner has already spent in the present window, and holds what its requests in flight may
still cost. This happens in the transaction that makes the limit, so that it never lacks its past.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, true, union, update
from sqlalchemy.dialects import postgresql, sqlite

from paig_client.api.limits import Window
from paig_client.api.vocabulary import OwnerKind
from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.tables import LimitRow
from paig_gateway.domain.limits import Limit, window_end
from paig_gateway.ledger.statements import TABLES
from paig_gateway.ledger.transitions import STEP_MS, LimitHold, counter_key

HOLDS, REQUESTS, ROLLUPS, COUNTERS, LIMITS = (
    TABLES[name] for name in ("holds", "requests", "rollups", "counters", "limits")
)
_OWNER_COLUMN = {"key": "key_id", "project": "project_id", "user": "user_id"}
_OWNERS = {"key": TABLES["keys"], "project": TABLES["projects"], "user": TABLES["users"]}
_DAY_MS = 86_400_000


def bind(connection: Connection, row: LimitRow, now: datetime) -> None:
    """Start a limit's counters with what its owner has spent, and what its requests in flight hold.

    A second call adds what was spent by requests that did not know of the limit yet. Limits on rates start at nothing:
    their minute is over soon.
    """
    if row.unit != "usd":
        return
    window = cast(Window, row.window)
    limit = Limit(row.id, cast(OwnerKind, row.owner_kind), row.owner_id, "usd", window, row.amount, row.soft)
    # Holds first, then rows, counters and rollups: each waits for transactions that settle, and then sees the result.
    held = {counter_key(limit, now)[1]: 0}
    open_ones = select(HOLDS.c.id, HOLDS.c.time, HOLDS.c.limits, HOLDS.c.reserved).where(_owned(row, HOLDS))
    open_ones = open_ones.order_by(HOLDS.c.id).with_for_update()
    for id, time, limits, reserved in connection.execute(open_ones).all():
        start = counter_key(limit, moment(time))[1]
        held.setdefault(start, 0)
        if all(known[0] != row.id for known in limits):
            mine: LimitHold = (row.id, start, 0 if row.soft else reserved, "usd")
            held[start] += mine[2]
            connection.execute(update(HOLDS).where(HOLDS.c.id == id).values(limits=[*limits, mine]))
    # Rows that may still be corrected know of the limit, too, so that it is corrected with them.
    unsure = select(REQUESTS.c.id, REQUESTS.c.time, REQUESTS.c.holds).order_by(REQUESTS.c.id).with_for_update()
    unsure = unsure.where(REQUESTS.c.state.in_(("swept", "pending")), _owned(row, REQUESTS))
    for id, time, limits in connection.execute(unsure).all():
        start = counter_key(limit, moment(time))[1]
        if start in held and all(known[0] != row.id for known in limits or ()):
            mine = (row.id, start, 0, "usd")
            connection.execute(update(REQUESTS).where(REQUESTS.c.id == id).values(holds=[*(limits or ()), mine]))
    for start, amount in sorted(held.items()):
        _hold(connection, row.id, start, amount)
    for start in held:
        this = (COUNTERS.c.limit_id == row.id) & (COUNTERS.c.window_start == start)
        connection.execute(update(COUNTERS).where(this).values(spent=_spent(connection, row, window, start)))


def drop(connection: Connection, row: LimitRow) -> None:
    """Remove a deleted limit's counters; requests in flight that hold some of it settle without it."""
    connection.execute(delete(COUNTERS).where(COUNTERS.c.limit_id == row.id))


def rebind(connection: Connection, rows: list[LimitRow], since: datetime, now: datetime) -> None:
    """Bind again the limits whose owners have sent requests since: not every node knew of the limit at once."""
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
        if still_there and (row.owner_kind, row.owner_id) in at_work:
            bind(connection, row, now)


def _owned(row: LimitRow, table: Table) -> ColumnElement[bool]:
    name = _OWNER_COLUMN.get(row.owner_kind)
    return true() if name is None else table.c[name] == row.owner_id


def _hold(connection: Connection, limit_id: str, start: int, amount: int) -> None:
    """Add to a counter's hold, and make the counter where there is none; it is locked afterwards."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    new = insert(COUNTERS).values(limit_id=limit_id, window_start=start, spent=0, held=amount)
    key = ["limit_id", "window_start"]
    connection.execute(new.on_conflict_do_update(index_elements=key, set_={"held": COUNTERS.c.held + amount}))


def _spent(connection: Connection, row: LimitRow, window: Window, start: int) -> int:
    """What the owner's finished requests of a window cost, from the rollups."""
    begin = start * 1000
    owners = _OWNERS.get(row.owner_kind)
    if owners is not None:  # nothing was spent before the owner was made
        made = connection.execute(select(owners.c.created_at).where(owners.c.id == row.owner_id)).scalar()
        begin = max(begin, (made or 0) // STEP_MS * STEP_MS - _DAY_MS)
    query = select(func.coalesce(func.sum(ROLLUPS.c.cost), 0)).where(ROLLUPS.c.start >= begin, _owned(row, ROLLUPS))
    end = window_end(window, moment(start * 1000))
    if end is not None:
        query = query.where(ROLLUPS.c.start < milliseconds(end))
    return int(connection.execute(query).scalar_one())
