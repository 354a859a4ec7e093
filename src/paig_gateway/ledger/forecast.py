"""When a limit is used up at today's pace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select

from paig_client.api.limits import Unit
from paig_gateway.database.columns import milliseconds
from paig_gateway.database.limit_rows import named_limit
from paig_gateway.domain.limits import window_start
from paig_gateway.domain.named_limits import LimitRule, Subject, member_of
from paig_gateway.ledger.reports import owner_names
from paig_gateway.ledger.statements import TABLES

ROLLUPS, NAMED = TABLES["rollups"], TABLES["named_limits"]
MAX_FORECAST = timedelta(days=366)
"""A limit that is reached later than that is not forecast."""
GROUPS = ("key_id", "project_id", "user_id", "route", "provider", "model")


class TodaysSpend:
    """The spend since midnight UTC by owner, in nanodollars."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        since = milliseconds(datetime.fromtimestamp(window_start("daily", now), UTC))
        groups = [ROLLUPS.c[name] for name in GROUPS]
        read = select(*groups, func.sum(ROLLUPS.c.cost).label("cost")).where(ROLLUPS.c.start >= since)
        names = owner_names(connection)
        named = [named_limit(row.name, row.spec, ()) for row in connection.execute(select(NAMED))]
        self._untold = {one.name for one in named if not one.is_in_totals}
        self._sums: dict[tuple[str, str, str | None], int] = {}
        for row in connection.execute(read.group_by(*groups)):
            ids = {"key": row.key_id, "project": row.project_id, "user": row.user_id}
            owners = {kind: (id, names[kind].get(id, id)) if id else None for kind, id in ids.items()}
            self._add("organisation", "organisation", None, row.cost)
            for kind, owner in owners.items():
                if owner is not None:
                    self._add(kind, owner[1], None, row.cost)
            key = owners["key"] or ("", "")
            subject = Subject(key, owners["user"], owners["project"], row.route, row.provider or None, (row.model,))
            for one in named:
                if one.is_in_totals and one.matches(subject):
                    self._add("limit", one.name, _member(one, subject), row.cost)

    def of(self, owner_kind: str, owner: str, member: str | None = None) -> int | None:
        """Today's spend of an owner, or of one member of a named limit; None if totals do not have it."""
        if owner_kind == "limit" and owner in self._untold:
            return None
        return self._sums.get((owner_kind, owner, member), 0)

    def _add(self, owner_kind: str, owner: str, member: str | None, cost: int) -> None:
        place = owner_kind, owner, member
        self._sums[place] = self._sums.get(place, 0) + int(cost)


def reached_at(
    unit: Unit, left: int, spent_today: int | None, resets_at: datetime | None, now: datetime
) -> datetime | None:
    """When a limit is used up at today's pace; None if its window ends before, or nothing was spent today.

    Args:
        unit: Its unit; only money is forecast.
        left: The unspent rest, in nanodollars.
        spent_today: What its owner has spent since midnight, in nanodollars; None if that is not known.
        resets_at: When its window ends.
    """
    seconds = (now - datetime.fromtimestamp(window_start("daily", now), UTC)).total_seconds()
    if unit != "usd" or not spent_today or spent_today < 0 or seconds <= 0:
        return None
    needed = max(0, left) * seconds / spent_today
    if needed > MAX_FORECAST.total_seconds():
        return None
    at = now + timedelta(seconds=needed)
    return None if resets_at is not None and at >= resets_at else at


def _member(named: LimitRule, subject: Subject) -> str | None:
    return None if named.per is None else member_of(named.per, subject)[1]
