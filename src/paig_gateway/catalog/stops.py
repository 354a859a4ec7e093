"""Stopped sessions: their requests are refused until the sessions are resumed."""

from __future__ import annotations

from sqlalchemy import delete, func
from sqlmodel import col, select

from paig_gateway.catalog.base import CatalogError, Edit
from paig_gateway.catalog.transactions import Transactions
from paig_gateway.database.tables import KeyRow, StoppedSessionRow

KEPT_MS = 90 * 24 * 3_600_000
"""How long a session stays stopped; after that, requests with its id pass again."""
MOST = 10_000
"""The most sessions that may be stopped at once."""


def stop(catalog: Transactions, key_id: str, session: str, *, actor: str) -> None:
    """Refuse a session's requests from now on.

    Raises:
        CatalogError: `conflict` if too many are stopped.
    """
    with catalog.edit(actor) as edit:
        at = col(StoppedSessionRow.stopped_at)
        edit.session.connection().execute(delete(StoppedSessionRow).where(at < edit.now - KEPT_MS))
        if edit.session.get(StoppedSessionRow, (key_id, session)) is not None:
            return
        if edit.session.exec(select(func.count()).select_from(StoppedSessionRow)).one() >= MOST:
            raise CatalogError("conflict", f"There are {MOST} stopped sessions: resume some of them first.")
        row = StoppedSessionRow(key_id=key_id, session=session, stopped_by=actor, stopped_at=edit.now)
        edit.session.add(row)
        _record(edit, "stop", key_id, session)


def resume(catalog: Transactions, key_id: str, session: str, *, actor: str) -> None:
    """Resume a session that was stopped."""
    with catalog.edit(actor) as edit:
        row = edit.session.get(StoppedSessionRow, (key_id, session))
        if row is not None:
            edit.session.delete(row)
            _record(edit, "resume", key_id, session)


def _record(edit: Edit, action: str, key_id: str, session: str) -> None:
    key = edit.session.get(KeyRow, key_id)
    named = {"key": key.name if key is not None else key_id}
    edit.record(action, "session", session, None, named, project_id=key.project_id if key is not None else None)
