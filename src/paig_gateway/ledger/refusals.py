"""Requests that were refused before they got a row in the ledger: each is found by the id that its client got.

They cost nothing and move no limit, and strangers can cause any number of them. So they have their own table, only a
few are written at a time (the smaller part of them without a known key), and only the latest are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, tuple_

from paig_gateway.database.columns import milliseconds, text
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError
from paig_gateway.ledger.statements import TABLES

REFUSALS = TABLES["refusals"]
WRITTEN, WRITTEN_UNKNOWN = 100, 25
"""The most that wait for the next write, in all and of callers without a known key; further ones are dropped."""
WRITE_SECONDS = 0.25
KEPT, KEPT_FOR = 50_000, timedelta(days=7)
TEXT_LENGTH = 500
"""Characters that are kept of a path or a message."""


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """A request that was refused before it was read whole.

    Attributes:
        id: `x-paig-request-id`.
        caller: Its key; None if it had no known key.
        route: The route in its path; empty if there is none.
        format: The name of its API format; empty if it has none.
    """

    id: str
    time: datetime
    caller: Caller | None
    method: str
    path: str
    route: str
    format: str
    error: GatewayError

    def row(self) -> dict[str, object]:
        caller, error = self.caller, self.error
        details = {
            "code": error.code,
            "message": text(error.message[:TEXT_LENGTH]),
            "method": text(self.method[:20]),
            "path": text(self.path[:TEXT_LENGTH]),
        }
        request = {
            "key": caller.key if caller else "",
            "project": caller.project if caller else None,
            "user": caller.user if caller else None,
            "route": text(self.route[:100]),
            "format": self.format,
            "status": error.status,
            "error": error.code,
            "refusal": details,
        }
        project = (caller.project_id if caller else None) or ""
        return {"id": self.id, "time": milliseconds(self.time), "project_id": project, "request": request}


class RefusalBuffer:
    """Refused requests that are not written yet; belongs to one event loop."""

    def __init__(self) -> None:
        self.dropped = 0
        """The number that was not written, because there were too many at a time."""
        self._waiting: list[RefusedRequest] = []
        self._unknown = 0

    def add(self, refused: RefusedRequest) -> bool:
        """Add one for the next write; returns whether it is the first one waiting."""
        unknown = refused.caller is None
        if len(self._waiting) >= WRITTEN or (unknown and self._unknown >= WRITTEN_UNKNOWN):
            self.dropped += 1
            return False
        self._waiting.append(refused)
        self._unknown += unknown
        return len(self._waiting) == 1

    def take(self) -> list[RefusedRequest]:
        """Return the waiting ones, and forget them."""
        found, self._waiting, self._unknown = self._waiting, [], 0
        return found


def write(connection: Connection, refused: Sequence[RefusedRequest]) -> None:
    """Insert the rows of refused requests."""
    connection.execute(insert(REFUSALS), [one.row() for one in refused])


def prune(connection: Connection, now: datetime) -> None:
    """Remove rows that are too old or too many."""
    place = tuple_(REFUSALS.c.time, REFUSALS.c.id)
    newest = select(REFUSALS.c.time, REFUSALS.c.id).order_by(REFUSALS.c.time.desc(), REFUSALS.c.id.desc())
    last = connection.execute(newest.offset(KEPT - 1).limit(1)).one_or_none()
    if last is not None:
        connection.execute(delete(REFUSALS).where(place < (last.time, last.id)))
    connection.execute(delete(REFUSALS).where(REFUSALS.c.time < milliseconds(now - KEPT_FOR)))
