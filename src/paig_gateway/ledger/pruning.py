"""Removes counters of past windows, and requests older than the ledger keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, or_, select, tuple_

from paig_gateway.database.columns import milliseconds
from paig_gateway.domain.limits import PREFIX, window_start
from paig_gateway.ledger.statements import TABLES
from paig_gateway.ledger.stored_objects import keep_works

REQUESTS, COUNTERS, LIMITS, RUNS = (TABLES[name] for name in ("requests", "counters", "limits", "runs"))
ASKS, KEYS, USERS = (TABLES[name] for name in ("limit_requests", "keys", "users"))
PRUNE_ROWS = 250
"""How many rows are removed in one transaction, so that no request waits long."""


def prune_minutes(connection: Connection, now: datetime) -> None:
    """Remove counters that nothing holds: of rates after an hour, of named limits after 40 days."""
    rates = select(LIMITS.c.id).where(LIMITS.c.window == "minute")
    before = window_start("minute", now - timedelta(hours=1))
    old = (COUNTERS.c.window_start > 0, COUNTERS.c.window_start < before, COUNTERS.c.held == 0)
    connection.execute(delete(COUNTERS).where(*old, func.substr(COUNTERS.c.limit_id, 1, PREFIX).in_(rates)))
    # A named limit has a counter for each member, and the longest window is a month.
    long_over = int((now - timedelta(days=40)).timestamp())
    named = select(LIMITS.c.id).where(LIMITS.c.owner_kind == "limit")
    old = (COUNTERS.c.window_start > 0, COUNTERS.c.window_start < long_over, COUNTERS.c.held == 0)
    connection.execute(delete(COUNTERS).where(*old, func.substr(COUNTERS.c.limit_id, 1, PREFIX).in_(named)))


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose requests are meant, by name or id; those of a deleted key or user are found too.

    Attributes:
        key: Only this key's.
        user: Only this user's.
    """

    key: str | None = None
    user: str | None = None


ANYONE = Whose()

RowPosition = tuple[int, str]
"""A row's position in order of time: its time and id."""


def old_requests(
    connection: Connection, before: datetime, works_before: datetime, after: RowPosition | None, whose: Whose = ANYONE
) -> Sequence[RowPosition]:
    """Some finished requests from before a moment, starting at a position.

    Args:
        before: The moment.
        works_before: The same for those that name work at a provider: while they exist, fetching the work again is not
            charged again.
        after: The position.
        whose: Only those of a key or a user.
    """
    time, id = REQUESTS.c.time, REQUESTS.c.id
    works = or_(REQUESTS.c.work_id.is_(None), time < milliseconds(works_before))
    owners = [("key", whose.key), ("user", whose.user)]
    own = [or_(REQUESTS.c[name] == one, REQUESTS.c[f"{name}_id"] == one) for name, one in owners if one is not None]
    old = select(time, id).where(time < milliseconds(before), works, *own)
    if after is not None:
        old = old.where(tuple_(time, id) > after)
    return [(row.time, row.id) for row in connection.execute(old.order_by(time, id).limit(PRUNE_ROWS))]


def remove_requests(connection: Connection, ids: Sequence[str]) -> None:
    """Remove requests; rollups and counters keep what they cost, and stored objects their owners."""
    keep_works(connection, ids)
    connection.execute(delete(REQUESTS).where(REQUESTS.c.id.in_(ids)))


def remove_answered(connection: Connection, before: datetime, whose: Whose = ANYONE) -> None:
    """Remove requests for more of a limit that were answered before a moment."""
    keys = select(KEYS.c.id)
    owned = []
    if whose.key is not None:
        owned.append(or_(ASKS.c.key_id == whose.key, ASKS.c.key_id.in_(keys.where(KEYS.c.name == whose.key))))
    if whose.user is not None:
        named = KEYS.c.user_id.in_(select(USERS.c.id).where(USERS.c.name == whose.user))
        owned.append(ASKS.c.key_id.in_(keys.where(or_(KEYS.c.user_id == whose.user, named))))
    old = (ASKS.c.decided_at < milliseconds(before), *owned)
    connection.execute(delete(ASKS).where(*old))


def old_runs(
    connection: Connection, before: datetime, after: str, used_since: datetime | None = None
) -> tuple[Sequence[str], Sequence[str]]:
    """Some budgets of runs that began before a moment, in the order of their ids, after a given one.

    Args:
        before: The moment.
        after: The id.
        used_since: Only requests after this keep a budget; None if every request does.

    Returns:
        All of them, and those of runs without any request left.
    """
    id = RUNS.c.id
    old = select(id).where(RUNS.c.created_at < milliseconds(before), id > after).order_by(id).limit(PRUNE_ROWS)
    found = connection.execute(old).scalars().all()
    parts = [run.split(":", 2) for run in found]
    key_id, name = REQUESTS.c.key_id, REQUESTS.c.run
    used = select(key_id, name).where(key_id.in_({part[1] for part in parts}), name.in_({part[2] for part in parts}))
    if used_since is not None:
        used = used.where(REQUESTS.c.time >= milliseconds(used_since))
    in_use = {f"run:{row.key_id}:{row.run}" for row in connection.execute(used.distinct())} if found else set()
    return found, [run for run in found if run not in in_use]


def remove_runs(connection: Connection, ids: Sequence[str]) -> None:
    """Remove budgets of runs that hold nothing; a later run of that name begins with a full budget."""
    holding = select(COUNTERS.c.limit_id).where(COUNTERS.c.limit_id.in_(ids), COUNTERS.c.held != 0)
    kept = set(connection.execute(holding).scalars())
    gone = [run for run in ids if run not in kept]
    connection.execute(delete(COUNTERS).where(COUNTERS.c.limit_id.in_(gone)))
    connection.execute(delete(RUNS).where(RUNS.c.id.in_(gone)))
