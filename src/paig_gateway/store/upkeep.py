"""Forgetting: rates of minutes long past, and requests older than anyone wants to keep."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, exists, select

from paig_gateway.domain.limits import window_start
from paig_gateway.store.ledger_sql import TABLES
from paig_gateway.store.values import milliseconds

REQUESTS, COUNTERS, LIMITS, RUNS = (TABLES[name] for name in ("requests", "counters", "limits", "runs"))
PRUNE_ROWS = 1000
"""How many rows are removed in one transaction, so that nobody waits long."""


def prune_minutes(connection: Connection, now: datetime) -> None:
    """Remove the counters of rates whose minute ended more than an hour ago and that nothing holds any more."""
    rates = select(LIMITS.c.id).where(LIMITS.c.window == "minute")
    before = window_start("minute", now - timedelta(hours=1))
    old = (COUNTERS.c.window_start > 0, COUNTERS.c.window_start < before, COUNTERS.c.held == 0)
    connection.execute(delete(COUNTERS).where(*old, COUNTERS.c.limit_id.in_(rates)))


def prune_requests(connection: Connection, before: datetime) -> int:
    """Remove some finished requests that came before a moment; rollups and counters keep what they cost.

    Returns:
        How many went; fewer than `PRUNE_ROWS` when none are left.
    """
    old = select(REQUESTS.c.id).where(REQUESTS.c.time < milliseconds(before), REQUESTS.c.state != "open")
    ids = list(connection.execute(old.order_by(REQUESTS.c.time).limit(PRUNE_ROWS)).scalars())
    if ids:
        connection.execute(delete(REQUESTS).where(REQUESTS.c.id.in_(ids)))
    return len(ids)


def prune_runs(connection: Connection, before: datetime) -> int:
    """Remove the budgets of runs that began before a moment and hold nothing; a later run of that name begins anew.

    Returns:
        How many went; fewer than `PRUNE_ROWS` when none are left.
    """
    holding = exists().where(COUNTERS.c.limit_id == RUNS.c.id, COUNTERS.c.held != 0)
    old = select(RUNS.c.id).where(RUNS.c.created_at < milliseconds(before), ~holding)
    ids = list(connection.execute(old.limit(PRUNE_ROWS)).scalars())
    if ids:
        connection.execute(delete(COUNTERS).where(COUNTERS.c.limit_id.in_(ids)))
        connection.execute(delete(RUNS).where(RUNS.c.id.in_(ids)))
    return len(ids)
