"""A limit that comes or goes while its owner is at work.

A new limit counts what its owner has spent in the present window already, and holds what its requests in flight may
still cost. Both run in the transaction that makes or removes the limit, so that it never stands without its past.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, true, update
from sqlalchemy.dialects import postgresql, sqlite

from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.tables import LimitRow
from paig_gateway.domain.limits import Limit, OwnerKind, Window, window_end
from paig_gateway.ledger.statements import TABLES
from paig_gateway.ledger.transitions import HOUR_MS, Hold, counter_key

REQUESTS, ROLLUPS, COUNTERS, LIMITS = (TABLES[name] for name in ("requests", "rollups", "counters", "limits"))
_OWNER_COLUMN = {"key": "key_id", "project": "project_id", "user": "user_id"}
_OWNERS = {"key": TABLES["keys"], "project": TABLES["projects"], "user": TABLES["users"]}
_DAY_MS = 24 * HOUR_MS


def bind(connection: Connection, row: LimitRow, now: datetime) -> None:
    """Let a limit's counters begin with what its owner has spent, and hold what its requests in flight hold.

    A second time brings the counters up to what was spent by requests that did not know of the limit yet. Limits on
    rates begin at nothing: their minute is over soon.
    """
    if row.unit != "usd":
        return
    window = cast(Window, row.window)
    limit = Limit(row.id, cast(OwnerKind, row.owner_kind), row.owner_id, "usd", window, row.amount, row.soft)
    # Rows first, then counters, then rollups: each waits for those who are settling, and then sees what they settled.
    # Rows that are charged by guess take notice of the limit, too: when they are corrected, it is corrected with them.
    columns = (REQUESTS.c.id, REQUESTS.c.time, REQUESTS.c.state, REQUESTS.c.holds, REQUESTS.c.reserved)
    unsure = select(*columns).where(REQUESTS.c.state.in_(("open", "swept", "pending")), _owned(row, REQUESTS))
    rows = [
        (id, counter_key(limit, moment(time))[1], state, holds or [], reserved)
        for id, time, state, holds, reserved in connection.execute(unsure.order_by(REQUESTS.c.id).with_for_update())
    ]
    held = {counter_key(limit, now)[1]: 0, **{start: 0 for _, start, state, _, _ in rows if state == "open"}}
    for id, start, state, holds, reserved in rows:
        if start in held and all(hold[0] != row.id for hold in holds):
            amount = reserved if state == "open" and not row.soft else 0
            held[start] += amount
            mine: Hold = (row.id, start, amount, "usd")
            connection.execute(update(REQUESTS).where(REQUESTS.c.id == id).values(holds=[*holds, mine]))
    for start, amount in sorted(held.items()):
        _hold(connection, row.id, start, amount)
    for start in held:
        this = (COUNTERS.c.limit_id == row.id) & (COUNTERS.c.window_start == start)
        connection.execute(update(COUNTERS).where(this).values(spent=_spent(connection, row, window, start)))


def drop(connection: Connection, row: LimitRow) -> None:
    """Remove a limit's counters; requests in flight that hold some of it settle without it."""
    connection.execute(delete(COUNTERS).where(COUNTERS.c.limit_id == row.id))


def rebind(connection: Connection, rows: list[LimitRow], since: datetime, now: datetime) -> None:
    """Bind limits once more whose owners sent requests since: not every node knew of the limit at once."""
    columns = [REQUESTS.c[name] for name in _OWNER_COLUMN.values()]
    recent = connection.execute(select(*columns).where(REQUESTS.c.time >= milliseconds(since)).distinct()).all()
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
    """Add to a counter's hold, making it where there is none; either way it is locked afterwards."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    new = insert(COUNTERS).values(limit_id=limit_id, window_start=start, spent=0, held=amount)
    key = ["limit_id", "window_start"]
    connection.execute(new.on_conflict_do_update(index_elements=key, set_={"held": COUNTERS.c.held + amount}))


def _spent(connection: Connection, row: LimitRow, window: Window, start: int) -> int:
    """What the owner's finished requests of a window cost, from the rollups, which are exact by the hour."""
    begin = start * 1000
    owners = _OWNERS.get(row.owner_kind)
    if owners is not None:  # nothing was spent before the owner was made, and hours are what rollups are found by
        made = connection.execute(select(owners.c.created_at).where(owners.c.id == row.owner_id)).scalar()
        begin = max(begin, (made or 0) // HOUR_MS * HOUR_MS - _DAY_MS)
    query = select(func.coalesce(func.sum(ROLLUPS.c.cost), 0)).where(ROLLUPS.c.hour >= begin, _owned(row, ROLLUPS))
    end = window_end(window, moment(start * 1000))
    if end is not None:
        query = query.where(ROLLUPS.c.hour < milliseconds(end))
    return int(connection.execute(query).scalar_one())
