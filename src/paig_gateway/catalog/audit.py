"""Reads the audit log: by any filter, newest first, or from an entry on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, or_, select

from paig_client.api.resources import AuditEntry
from paig_gateway.catalog.base import suggestion
from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.order import Kind, Order
from paig_gateway.database.tables import AuditRow, ProjectRow


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """A filter of changes; None means any.

    Attributes:
        actor: The maker; `admin:ada` also means each of that admin's tokens, such as `admin:ada/ci`.
        action: `create`, `update`, `delete` and so on.
        name: The object's name.
        project: A project's name or id: changes of it and of what belongs to it.
        since: The earliest time.
        until: The first moment that no longer counts.
        within: The ids of the projects whose changes are shown; None for all.
    """

    actor: str | None = None
    action: str | None = None
    kind: str | None = None
    name: str | None = None
    project: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    within: frozenset[str] | None = None


EVERY_CHANGE = AuditFilter()


AUDIT_SORTED: dict[str, Kind] = {"time": "number", **dict.fromkeys(("actor", "action", "kind", "name"), "text")}
"""The fields that changes can be sorted by."""


def newest(session: Session, which: AuditFilter, *, limit: int, before: str | None) -> list[AuditEntry]:
    """The changes made, newest first; `before` is the id of the last entry already seen."""
    query = select(AuditRow).where(*_conditions(session, which)).order_by(col(AuditRow.id).desc()).limit(limit)
    if before is not None:
        query = query.where(col(AuditRow.id) < before)
    return [_entry(row) for row in session.exec(query)]


def in_order(
    session: Session, which: AuditFilter, *, limit: int, cursor: str | None, sort: str
) -> tuple[list[AuditEntry], str | None]:
    """Changes sorted by one of `AUDIT_SORTED`, and the cursor of the next page.

    Raises:
        BadOrder: There is no such field, or the cursor belongs to another list.
    """
    order, table = Order.read(sort, cursor, AUDIT_SORTED), AuditRow.__table__  # type: ignore[attr-defined]
    connection = session.connection()
    query = sql_select(table).where(*_conditions(session, which)).limit(limit + 1)
    rows = connection.execute(order.of(query, table.c[order.field], table.c.time, table.c.id, connection.dialect)).all()
    items = [_entry(row) for row in rows[:limit]]
    return items, order.cursor(rows[limit - 1]) if len(rows) > limit else None


def unknown(session: Session, which: AuditFilter) -> list[tuple[str, str]]:
    """The names in a filter that no visible change has: the field, and a message with the nearest name."""
    wrong = []
    for field in ("actor", "action", "kind", "name"):
        if (wanted := getattr(which, field)) is None:
            continue
        column = col(getattr(AuditRow, field))
        shown = () if which.within is None else (_of(which.within),)
        known = set(session.exec(select(column).where(*shown).distinct().limit(10_000)))
        if field == "actor":
            known |= {actor.partition("/")[0] for actor in known}
        if wanted not in known:
            wrong.append((field, f"no change has the {field} '{wanted}'{suggestion(wanted, known)}"))
    return wrong


def since(session: Session, entry: str, *, limit: int) -> list[tuple[AuditEntry, frozenset[str]]]:
    """The changes after one, in order, each with the ids of the projects that it concerns."""
    query = select(AuditRow).where(col(AuditRow.id) > entry).order_by(col(AuditRow.id)).limit(limit)
    return [
        (_entry(row), frozenset(id for id in (row.project_id, row.old_project_id) if id)) for row in session.exec(query)
    ]


def _conditions(session: Session, which: AuditFilter) -> list[ColumnElement[bool]]:
    found = [
        col(getattr(AuditRow, name)) == value for name in ("action", "kind", "name") if (value := getattr(which, name))
    ]
    if which.actor is not None:
        actor = col(AuditRow.actor)
        found.append(or_(actor == which.actor, actor.startswith(f"{which.actor}/", autoescape=True)))
    if which.project is not None:
        named = session.exec(select(ProjectRow.id).where(ProjectRow.name == which.project)).all()
        found.append(_of({which.project, *named}))
    if which.within is not None:
        found.append(_of(which.within))
    if which.since is not None:
        found.append(col(AuditRow.time) >= milliseconds(which.since))
    if which.until is not None:
        found.append(col(AuditRow.time) < milliseconds(which.until))
    return found


def _of(projects: Iterable[str]) -> ColumnElement[bool]:
    ids = list(projects)
    return or_(col(AuditRow.project_id).in_(ids), col(AuditRow.old_project_id).in_(ids))


def _entry(row: Any) -> AuditEntry:
    fields = {name: getattr(row, name) for name in AuditEntry.model_fields}
    return AuditEntry.model_validate({**fields, "time": moment(row.time)})
