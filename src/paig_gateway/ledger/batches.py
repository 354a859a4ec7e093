"""Open batches: the requests that their holds are for, and the node that polls their provider.

A batch's row is written in the transaction that takes its hold away from its node, and removed once all is charged. The
node that polls the provider claims the row for a while; if the node dies, the claim ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, or_, select, update

from paig_gateway.database.columns import milliseconds, moment, text
from paig_gateway.database.upsert import insert_into
from paig_gateway.ledger.statements import TABLES

BATCHES, INPUTS, NODES, REQUESTS = (TABLES[name] for name in ("batches", "batch_inputs", "nodes", "requests"))
TAKEN = timedelta(minutes=2)
"""For how long a node has a batch to itself."""
INPUTS_KEPT = timedelta(days=31)
"""How long a file's lines are kept: OpenAI keeps files of batches for thirty days."""
AT_ONCE = 20
"""Batches that are looked at in one round."""


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch that is not charged yet.

    Attributes:
        id: The id of the request that made it, and of its hold.
        provider: The provider's name in the gateway.
        work_id: The batch's id there.
        format: The API format of the request that made it.
        path: The path of that request.
        credential: The id of the credential that it was made with.
        key_id: The key that made it.
        created_at: When; its prices are those of that moment.
        deadline: When lines without a result are charged at their ceiling.
        looks: How often the provider was polled.
    """

    id: str
    provider: str
    work_id: str
    format: str
    path: str
    credential: str
    key_id: str
    project_id: str | None
    created_at: datetime
    deadline: datetime
    looks: int = 0


_COLUMNS = [BATCHES.c[name] for name in OpenBatch.__slots__]


class KnownJobError(Exception):
    """An earlier request has made this job: the provider answers a repeated request with the same job."""


def begin(connection: Connection, batch: OpenBatch, look_at: datetime, lines: bytes | None) -> None:
    """Keep a batch, in the transaction that takes its hold away from its node.

    Raises:
        KnownJobError: The batch is kept already, or charged; nothing may be written.
    """
    if connection.dialect.name == "postgresql":
        from paig_gateway.ledger.postgres import WORK_LOCKS  # its driver is slow to import, and not needed with SQLite

        # Of two transactions with the same job the second waits here; SQLite has one writer at a time anyway.
        connection.exec_driver_sql(WORK_LOCKS, ([text(batch.work_id)],))
    for jobs in (BATCHES, REQUESTS):  # in this order, since a charged batch leaves the first for the second
        same = jobs.c.provider == batch.provider, jobs.c.work_id == text(batch.work_id)
        known = connection.execute(select(jobs.c.id).where(*same).limit(1)).scalar()
        if known == batch.id:
            return  # written by a transaction whose commit was not heard of
        if known is not None:
            raise KnownJobError
    values = {name: getattr(batch, name) for name in OpenBatch.__slots__}
    times = {"created_at": milliseconds(batch.created_at), "deadline": milliseconds(batch.deadline)}
    values |= {**times, "project_id": batch.project_id or "", "look_at": milliseconds(look_at), "lines": lines}
    connection.execute(insert(BATCHES).values({**values, "node": "", "until": 0}))


def due(engine: Engine, at: datetime) -> list[OpenBatch]:
    """Batches that are due and that no node polls."""
    query = select(*_COLUMNS).where(BATCHES.c.look_at <= milliseconds(at), _is_free(at))
    return _read(engine, query.order_by(BATCHES.c.look_at).limit(AT_ONCE))


def oldest(engine: Engine) -> datetime | None:
    """The time of the oldest batch that is not charged yet; the rows of its lines have that time."""
    with engine.connect() as connection:
        found: int | None = connection.execute(select(func.min(BATCHES.c.created_at))).scalar()
    return None if found is None else moment(found)


def _is_free(at: datetime) -> ColumnElement[bool]:
    return or_(BATCHES.c.until < milliseconds(at), BATCHES.c.node.not_in(select(NODES.c.id)))


def of_work(engine: Engine, providers: Sequence[str], work_id: str) -> list[OpenBatch]:
    """The batch of an id, or of a resource name that ends in it, at one of the providers; if it is not charged yet."""
    work = BATCHES.c.work_id
    same = or_(work == work_id, work.endswith(f"/{work_id}", autoescape=True))
    query = select(*_COLUMNS).where(same, BATCHES.c.provider.in_(providers))
    return _read(engine, query)


def of_caller(engine: Engine, providers: Sequence[str], key_id: str, project_id: str | None) -> list[OpenBatch]:
    """The latest batches of a key or its project at the providers that are not charged yet."""
    mine = BATCHES.c.key_id == key_id
    if project_id:
        mine = or_(mine, BATCHES.c.project_id == project_id)
    query = select(*_COLUMNS).where(mine, BATCHES.c.provider.in_(providers))
    return _read(engine, query.order_by(BATCHES.c.created_at.desc()).limit(AT_ONCE))


def take(engine: Engine, batch_id: str, node: str, at: datetime) -> bool:
    """Claim a batch for this node; returns False if a living node has claimed it, or it is charged."""
    row = BATCHES.c
    free = or_(_is_free(at), row.node == node)
    taken = update(BATCHES).where(row.id == batch_id, free).values(node=node, until=milliseconds(at + TAKEN))
    with engine.begin() as connection:
        return connection.execute(taken).rowcount == 1


def give_back(engine: Engine, batch_id: str, node: str, look_at: datetime) -> None:
    """Let any node look at a batch again, at that time."""
    values = {"node": "", "until": 0, "look_at": milliseconds(look_at), "looks": BATCHES.c.looks + 1}
    with engine.begin() as connection:
        connection.execute(update(BATCHES).where(BATCHES.c.id == batch_id, BATCHES.c.node == node).values(values))


def hurry(engine: Engine, batch_id: str, at: datetime) -> None:
    """Have a batch looked at soon, also if this process ends before."""
    row = BATCHES.c
    with engine.begin() as connection:
        connection.execute(
            update(BATCHES).where(row.id == batch_id, row.look_at > milliseconds(at)).values(look_at=milliseconds(at))
        )


def lines_of(engine: Engine, batch_id: str) -> bytes | None:
    """The lines of a batch; None if they are not known."""
    with engine.connect() as connection:
        return connection.execute(select(BATCHES.c.lines).where(BATCHES.c.id == batch_id)).scalar()


def held_for(engine: Engine, batch_id: str) -> int | None:
    """Nanodollars that were held for a batch when it was made; None where its hold is closed."""
    holds = TABLES["holds"].c
    with engine.connect() as connection:
        return connection.execute(select(holds.reserved).where(holds.id == batch_id)).scalar()


def end(engine: Engine, batch_id: str) -> None:
    """Remove a batch that is charged."""
    with engine.begin() as connection:
        connection.execute(delete(BATCHES).where(BATCHES.c.id == batch_id))


def keep_input(engine: Engine, provider: str, file_id: str, at: datetime, lines: bytes) -> None:
    """Store the lines of an uploaded file, in place of those of an earlier file with that id."""
    values = {"provider": provider, "id": file_id, "created_at": milliseconds(at), "lines": lines}
    old = INPUTS.c.created_at < milliseconds(at - INPUTS_KEPT)
    with engine.begin() as connection:
        new = {"created_at": values["created_at"], "lines": lines}
        kept = insert_into(connection, INPUTS).values(values)
        connection.execute(kept.on_conflict_do_update(index_elements=["provider", "id"], set_=new))
        connection.execute(delete(INPUTS).where(old))


def forget_input(engine: Engine, providers: Sequence[str], file_id: str) -> None:
    """Remove the lines of a file that is deleted, or replaced by one that was not read."""
    with engine.begin() as connection:
        connection.execute(delete(INPUTS).where(INPUTS.c.id == file_id, INPUTS.c.provider.in_(providers)))


def find_input(engine: Engine, providers: Sequence[str], file_id: str, since: datetime) -> tuple[str, bytes] | None:
    """The provider that has a file, and the file's lines; None if it was not read since then."""
    mine = INPUTS.c.id == file_id, INPUTS.c.provider.in_(providers), INPUTS.c.created_at >= milliseconds(since)
    query = select(INPUTS.c.provider, INPUTS.c.lines).where(*mine)
    with engine.connect() as connection:
        found = connection.execute(query).first()
    return None if found is None else (found[0], found[1])


def _read(engine: Engine, query: object) -> list[OpenBatch]:
    with engine.connect() as connection:
        rows = connection.execute(query).all()  # type: ignore[call-overload]
    return [
        OpenBatch(
            **{
                **row._asdict(),
                "project_id": row.project_id or None,
                "created_at": moment(row.created_at),
                "deadline": moment(row.deadline),
            }
        )
        for row in rows
    ]
