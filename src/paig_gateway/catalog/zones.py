"""Time zones of limits: a project's for its limits and its keys', the organisation's for all others.

A changed zone counts from the next window, so each row keeps the old one until then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import cast

from sqlmodel import Session, and_, col, or_, select

from paig_client.api.limits import Window
from paig_gateway.catalog.base import Edit
from paig_gateway.database.columns import moment
from paig_gateway.database.tables import KeyRow, LimitRow, MetaRow, ProjectRow
from paig_gateway.domain.limits import UTC_ZONE, Zone, window_end

ORGANISATION = "organisation"
"""The row of `meta` whose text is the organisation's settings."""


def of_organisation(session: Session) -> str:
    """The organisation's time zone."""
    row = session.get(MetaRow, ORGANISATION)
    found = json.loads(row.text) if row is not None and row.text else {}
    return str(found.get("timezone", UTC_ZONE.name))


def of(session: Session, owner_kind: str, owner_id: str) -> str:
    """The time zone of an owner's limits."""
    project: str | None = owner_id if owner_kind == "project" else None
    if owner_kind == "key":
        project = session.exec(select(KeyRow.project_id).where(KeyRow.id == owner_id)).first()
    row = session.get(ProjectRow, project) if project else None
    own = row.spec.get("timezone") if row is not None else None
    return own or of_organisation(session)


def follow(edit: Edit, owner_kind: str, owner_id: str) -> None:
    """Set the limits of a key, or of a project and its keys, to their present zone."""
    zone = of(edit.session, owner_kind, owner_id)
    kind, id = col(LimitRow.owner_kind), col(LimitRow.owner_id)
    owned = and_(kind == owner_kind, id == owner_id)
    if owner_kind == "project":
        keys = select(KeyRow.id).where(KeyRow.project_id == owner_id)
        owned = or_(owned, and_(kind == "key", id.in_(keys)))
    _change(edit, edit.session.exec(select(LimitRow).where(owned, LimitRow.zone != zone)), zone)


def follow_organisation(edit: Edit) -> None:
    """Set all limits without a project's zone to the organisation's."""
    zone = of_organisation(edit.session)
    apart = {row.id for row in edit.session.exec(select(ProjectRow)) if row.spec.get("timezone")}
    keys = edit.session.exec(select(KeyRow.id, col(KeyRow.project_id)).where(col(KeyRow.project_id).in_(apart)))
    kept = {("project", id) for id in apart} | {("key", id) for id, _ in keys}
    rows = edit.session.exec(select(LimitRow).where(LimitRow.zone != zone)).all()
    _change(edit, [row for row in rows if (row.owner_kind, row.owner_id) not in kept], zone)


def _change(edit: Edit, rows: Iterable[LimitRow], zone: str) -> None:
    now = moment(edit.now)
    for row in rows:
        present = _present(row, now)
        end = window_end(cast(Window, row.window), now, Zone(present))
        row.zone = zone
        if present == zone or end is None or row.window == "minute":
            row.old_zone, row.zone_since = None, 0
        else:
            row.old_zone, row.zone_since = present, int(end.timestamp())
        edit.session.add(row)
    edit.session.flush()


def _present(row: LimitRow, now: datetime) -> str:
    return row.old_zone if row.old_zone is not None and now.timestamp() < row.zone_since else row.zone
