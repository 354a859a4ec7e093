"""Loops of agents' sessions that any process saw, for the screens: the latest of each kind and session.

A process writes what it saw every few seconds, and before its admin API answers. Clients choose the ids of sessions, so
only a limited number is kept, for a limited time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine, delete, select, text, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from paig_client.api.resources import SessionLoop
from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.engine import in_thread, writing
from paig_gateway.database.tables import SessionLoopRow
from paig_gateway.domain.money import format_usd

KEPT, MOST = timedelta(days=30), 10_000
"""How long a loop is kept, and how many are kept at most."""
EVERY = 2.0
"""Seconds between two writes."""
MOST_WAITING = 1000
"""Loops that wait while the database is unavailable."""

_UPSERT = text(
    "INSERT INTO session_loops (key_id, session, kind, found, seen_at) VALUES (:key_id, :session, :kind, :found, :now) "
    "ON CONFLICT (key_id, session, kind) DO UPDATE SET found = excluded.found, seen_at = excluded.seen_at"
)


class SeenLoop(Protocol):
    """The fields of a loop that are recorded."""

    @property
    def kind(self) -> str: ...

    @property
    def key_id(self) -> str: ...

    @property
    def session(self) -> str: ...

    @property
    def found(self) -> int: ...


LoopT = TypeVar("LoopT", bound=SeenLoop)


def record(engine: Engine, loops: Iterable[SeenLoop], now: datetime) -> None:
    """Record loops, and remove those that are too old or too many."""
    table = SessionLoopRow
    with writing(engine) as connection:
        for one in loops:
            values = {"key_id": one.key_id, "session": one.session, "kind": one.kind, "found": one.found}
            connection.execute(_UPSERT, {**values, "now": milliseconds(now)})
        connection.execute(delete(table).where(col(table.seen_at) < milliseconds(now - KEPT)))
        last = select(col(table.seen_at)).order_by(col(table.seen_at).desc()).offset(MOST).limit(1)
        if (edge := connection.execute(last).scalar()) is not None:
            connection.execute(delete(table).where(col(table.seen_at) <= edge))


def loops_of(connection: Connection, places: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], SessionLoop]:
    """The latest loop of each session, by its key's id and its own."""
    table, found = SessionLoopRow, {}
    if places:
        query = select(col(table.key_id), col(table.session), col(table.kind), col(table.found), col(table.seen_at))
        query = query.where(tuple_(col(table.key_id), col(table.session)).in_(places)).order_by(col(table.seen_at))
        for key_id, session, kind, count, seen in connection.execute(query):
            amount = {"requests": count} if kind == "repeated" else {"spent": format_usd(count)}
            found[key_id, session] = SessionLoop.model_validate({"kind": kind, "at": moment(seen), **amount})
    return found


class LoopLog(Generic[LoopT]):
    """Records the loops that one process saw, and passes them on to its alerts. For one event loop.

    Args:
        look: Returns the loops since the last call.
    """

    def __init__(self, look: Callable[[], Sequence[LoopT]], engine: Engine, now: Callable[[], datetime]) -> None:
        self._look = look
        self._engine = engine
        self._now = now
        self._waiting: list[LoopT] = []
        self._for_alerts: list[LoopT] = []

    def take(self) -> Sequence[LoopT]:
        self._see()
        found, self._for_alerts = self._for_alerts, []
        return found

    def _see(self) -> None:
        seen = self._look()
        self._waiting = [*self._waiting, *seen][-MOST_WAITING:]
        self._for_alerts = [*self._for_alerts, *seen][-MOST_WAITING:]

    async def note(self) -> None:
        """Record the loops that are not recorded yet.

        Raises:
            SQLAlchemyError: The database is unavailable; it is noted later.
        """
        self._see()
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            await in_thread(record, self._engine, waiting, self._now())
        except SQLAlchemyError:
            self._waiting = [*waiting, *self._waiting][-MOST_WAITING:]
            raise

    async def run(self) -> None:
        """Record loops every few seconds until cancelled; the ledger reports when the database is unavailable."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.note()
            except SQLAlchemyError:
                continue
