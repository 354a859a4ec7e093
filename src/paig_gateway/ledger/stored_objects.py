"""Owners of the objects that providers store: which key and project made which object.

Work that a ledger row names (`work_id`: a stored response, an interaction) belongs to the row's key. Everything else
has a row of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, literal, or_, select, union_all
from sqlalchemy.sql.selectable import CompoundSelect
from sqlmodel import col

from paig_gateway.database.columns import milliseconds
from paig_gateway.database.tables import KeyRow, ProjectRow, RequestRow, StoredObjectRow
from paig_gateway.database.upsert import insert_into

LONGEST = 512
"""The most characters of an id that is stored."""

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class ProviderObject:
    """One object at a provider.

    Attributes:
        provider: The provider's name in the gateway.
        kind: Its kind: `file`, `vector-store`.
        key_id: The key that made it; empty if it was given to a project.
        project_id: The project of that key at that time, or None.
    """

    provider: str
    id: str
    kind: str
    key_id: str
    project_id: str | None


def find(engine: Engine, ids: Sequence[str]) -> list[ProviderObject]:
    """The objects that have one of these ids, at whichever provider.

    Raises:
        SQLAlchemyError: The database cannot be read.
    """
    found: list[ProviderObject] = []
    row, work = StoredObjectRow, RequestRow
    with engine.connect() as connection:
        for some in _batches(ids):
            own = select(col(row.provider), col(row.id), col(row.kind), col(row.key_id), col(row.project_id))
            works = select(
                col(work.provider), col(work.work_id), literal("response"), col(work.key_id), col(work.project_id)
            )
            both: CompoundSelect[Any] = union_all(
                own.where(col(row.id).in_(some)),
                works.where(col(work.work_id).in_(some), col(work.provider).is_not(None)),
            )
            for one in connection.execute(both):
                found.append(ProviderObject(one[0], one[1], one[2], one[3], one[4] or None))
    return found


def _batches(ids: Sequence[str]) -> list[list[str]]:
    return [list(ids[place : place + _AT_ONCE]) for place in range(0, len(ids), _AT_ONCE)]


@dataclass(frozen=True, slots=True)
class Owned:
    """A stored object with its owner's names.

    Attributes:
        key: The name of the key that made it, its id where that is deleted; None if it was given to a project.
        project: The project's name, or its id likewise.
        at: Since when it is known, in milliseconds.
    """

    object: ProviderObject
    key: str | None
    project: str | None
    at: int


@dataclass(frozen=True, slots=True)
class StoredObjectFilter:
    """A filter of stored objects: by provider, kind, key and project; None means any.

    Attributes:
        within: The ids of the projects that may be shown; None for all.
    """

    provider: str | None = None
    kind: str | None = None
    key: str | None = None
    project: str | None = None
    within: frozenset[str] | None = None


def owned(engine: Engine, wanted: StoredObjectFilter, limit: int, after: tuple[str, str] | None = None) -> list[Owned]:
    """Stored objects by provider and id, without the work that ledger rows name.

    Args:
        limit: How many at most.
        after: The provider and the id of the last object of the page before.
    """
    row, key, project = StoredObjectRow, KeyRow, ProjectRow
    query = (
        select(
            col(row.provider), col(row.id), col(row.kind), col(row.key_id), col(row.project_id), col(row.created_at),
            col(key.name), col(project.name),
        )
        .outerjoin(key, col(key.id) == col(row.key_id))
        .outerjoin(project, col(project.id) == col(row.project_id))
        .order_by(col(row.provider), col(row.id))
        .limit(limit)
    )  # fmt: skip
    for column, value in ((row.provider, wanted.provider), (row.kind, wanted.kind)):
        if value is not None:
            query = query.where(col(column) == value)
    if wanted.key is not None:
        query = query.where(or_(col(key.name) == wanted.key, col(row.key_id) == wanted.key))
    if wanted.project is not None:
        query = query.where(or_(col(project.name) == wanted.project, col(row.project_id) == wanted.project))
    if wanted.within is not None:
        query = query.where(col(row.project_id).in_(wanted.within))
    if after is not None:
        provider, id = after
        later = and_(col(row.provider) == provider, col(row.id) > id)
        query = query.where(or_(col(row.provider) > provider, later))
    with engine.connect() as connection:
        return [
            Owned(
                ProviderObject(one[0], one[1], one[2], one[3], one[4] or None),
                one[6] or one[3] or None,
                one[7] or one[4] or None,
                one[5],
            )
            for one in connection.execute(query)
        ]


def save(engine: Engine, objects: Sequence[ProviderObject], at: datetime) -> int:
    """Record the owner of these objects; an object that has an owner keeps it. Returns how many are new.

    Raises:
        SQLAlchemyError: The database cannot be written.
    """
    with engine.begin() as connection:
        return _save(connection, objects, milliseconds(at))


def _save(connection: Connection, objects: Sequence[ProviderObject], at: int) -> int:
    values = [
        {
            "provider": one.provider,
            "id": one.id,
            "kind": one.kind,
            "key_id": one.key_id,
            "project_id": one.project_id or "",
            "created_at": at,
        }
        for one in objects
        if len(one.id) <= LONGEST
    ]
    statement = insert_into(connection, StoredObjectRow).on_conflict_do_nothing()
    # One row a statement, because the number of new rows is known only for single rows.
    return sum(connection.execute(statement, one).rowcount for one in values)


def forget(engine: Engine, provider: str, id: str) -> None:
    """Remove the record of a deleted object.

    Raises:
        SQLAlchemyError: The database cannot be written.
    """
    row = StoredObjectRow
    with engine.begin() as connection:
        connection.execute(delete(row).where(col(row.provider) == provider, col(row.id) == id))


PASSING = ("item", "upload-session")
"""Kinds of short-lived objects: their owners are removed after a while."""


def passing(engine: Engine, before: datetime, limit: int) -> list[tuple[str, str]]:
    """Some short-lived objects that were made before a moment: their providers and ids."""
    row = StoredObjectRow
    old = select(col(row.provider), col(row.id)).where(
        col(row.kind).in_(PASSING), col(row.created_at) < milliseconds(before)
    )
    with engine.connect() as connection:
        return [(one[0], one[1]) for one in connection.execute(old.limit(limit))]


def remove(connection: Connection, objects: Sequence[tuple[str, str]]) -> None:
    """Remove the owners of some objects, by provider and id."""
    row = StoredObjectRow
    for provider in {provider for provider, _ in objects}:
        ids = [id for other, id in objects if other == provider]
        connection.execute(delete(row).where(col(row.provider) == provider, col(row.id).in_(ids)))


def keep_works(connection: Connection, ids: Sequence[str]) -> None:
    """Keep the owners of the work that ledger rows name, as these rows are about to be removed."""
    work = RequestRow
    named = select(col(work.provider), col(work.work_id), col(work.key_id), col(work.project_id), col(work.time)).where(
        col(work.id).in_(ids), col(work.work_id).is_not(None), col(work.provider).is_not(None)
    )
    for row in connection.execute(named).all():
        made = ProviderObject(str(row.provider), str(row.work_id), "response", row.key_id, row.project_id or None)
        _save(connection, [made], row.time)
