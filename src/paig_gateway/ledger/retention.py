"""Removes old requests a few at a time, so that the ledger's writer is never busy for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from paig_gateway.database.engine import in_thread
from paig_gateway.ledger import batches, nodes, pruning, stored_objects
from paig_gateway.ledger.writer import Task

log = logging.getLogger(__name__)

LOOK_SECONDS = 3600.0
"""Between two searches for something to remove."""
PAUSE_SECONDS = 0.1
"""Between two transactions in the background."""
WORKS_KEPT = timedelta(days=31)
"""How long rows that name work at a provider are kept, and the owners of a response's items: OpenAI keeps responses
for thirty days."""

RUNS_KEPT = timedelta(days=90)
"""How long the budget of a run is kept after its last request; a later run of the same name has a new budget."""

Perform = Callable[[Task], Awaitable[object]]
"""Has the ledger's writer execute a function."""


async def prune(
    engine: Engine,
    perform: Perform,
    before: datetime,
    now: datetime,
    pause: float = 0.0,
    whose: pruning.Whose = pruning.ANYONE,
) -> int:
    """Remove requests that finished before a moment, ended runs' budgets, and answered requests for more.

    Args:
        engine: The ledger's database, to be read.
        perform: The ledger's writer.
        pause: Seconds between two transactions.
        whose: Only those of a key or a user.

    Returns:
        How many requests were removed.
    """
    pruned, place, given = 0, None, before
    # The row of a batch's line shows that it is charged, so it is needed until all lines are.
    oldest = await in_thread(batches.oldest, engine)
    before = before if oldest is None else min(before, oldest)
    works_before = min(before, now - WORKS_KEPT)
    while found := await in_thread(_read_requests, engine, before, works_before, place, whose):
        await perform(partial(pruning.remove_requests, ids=[id for _, id in found]))
        pruned, place = pruned + len(found), found[-1]
        await asyncio.sleep(pause)
    await _prune_runs(engine, perform, before, pause)
    await perform(partial(pruning.remove_answered, before=given, whose=whose))
    return pruned


async def _prune_objects(engine: Engine, perform: Perform, before: datetime, pause: float) -> None:
    while found := await in_thread(stored_objects.passing, engine, before, pruning.PRUNE_ROWS):
        await perform(partial(stored_objects.remove, objects=found))
        await asyncio.sleep(pause)


async def _prune_runs(
    engine: Engine, perform: Perform, before: datetime, pause: float, used_since: datetime | None = None
) -> None:
    last = ""
    while (runs := await in_thread(_read_runs, engine, before, last, used_since))[0]:
        await perform(partial(pruning.remove_runs, ids=runs[1]))
        last = runs[0][-1]
        await asyncio.sleep(pause)


async def keep(engine: Engine, perform: Perform, node_id: str, days: int | None, clock: Callable[[], datetime]) -> None:
    """Remove requests that are older than `days` whole days (UTC), and budgets of runs that have ended.

    Owners of short-lived objects are removed, too. This repeats until the task is cancelled, on one of the nodes. With
    None for days, requests stay for ever.
    """
    while True:
        try:
            if await in_thread(_is_first, engine, node_id):
                now = clock()
                ended = now - RUNS_KEPT
                await _prune_runs(engine, perform, ended, PAUSE_SECONDS, used_since=ended)
                await _prune_objects(engine, perform, now - WORKS_KEPT, PAUSE_SECONDS)
                if days is not None:
                    before = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
                    if count := await prune(engine, perform, before, now, PAUSE_SECONDS):
                        log.info("removed %d requests from before %s", count, before.date())
        except SQLAlchemyError as error:
            log.warning("old requests could not be removed, trying again later: %s", type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)


def _is_first(engine: Engine, node_id: str) -> bool:
    with engine.connect() as connection:
        return min(nodes.known(connection), default=node_id) == node_id


def _read_requests(
    engine: Engine,
    before: datetime,
    works_before: datetime,
    after: pruning.RowPosition | None,
    whose: pruning.Whose,
) -> list[pruning.RowPosition]:
    with engine.connect() as connection:
        return list(pruning.old_requests(connection, before, works_before, after, whose))


def _read_runs(
    engine: Engine, before: datetime, after: str, used_since: datetime | None
) -> tuple[list[str], list[str]]:
    with engine.connect() as connection:
        found, idle = pruning.old_runs(connection, before, after, used_since)
    return list(found), list(idle)
