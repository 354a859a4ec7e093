"""The rows by which nodes share the states of their breakers: each node writes its own and reads all.

A row is valid as long as its node is among the nodes. Changes of state are stored separately, in the order of commits,
for the streams of events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select
from sqlalchemy import text as sql
from sqlmodel import col

from paig_client.api.vocabulary import BreakerState
from paig_gateway.database.columns import milliseconds, moment, text
from paig_gateway.database.engine import writing
from paig_gateway.database.tables import BreakerChangeRow, BreakerRow, NodeRow
from paig_gateway.routing.outcomes import Sums

WORSE: tuple[BreakerState, ...] = ("closed", "half-open", "cooling", "open")
"""From the best to the worst."""
LONGEST_MODEL = 200
"""Characters of a model's name that are kept: clients choose it."""
KEPT_CHANGES = 1000
_COUNTER = sql(
    "INSERT INTO meta (name, value) VALUES ('breaker_changes', :count) "
    "ON CONFLICT (name) DO UPDATE SET value = meta.value + :count RETURNING value"
)
"""The lock is held until the commit, so that numbers are in the order of commits."""


@dataclass(frozen=True, slots=True)
class ReportedWait:
    """A model that a credential must wait for; `own` if the node itself got the answer."""

    model: str
    since: datetime
    until: datetime
    reason: str
    own: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """A node's report of a credential.

    Attributes:
        own: Whether the node saw the failures itself, or was told by another node.
        until: When its rest ends; None if it does not rest, or waits only for some models.
        waits: The models that it must wait for.
        sums: The results of the tries of five minutes.
        ok_at: When the provider last gave it a successful answer.
    """

    provider: str
    credential: str
    state: BreakerState
    since: datetime
    own: bool = True
    until: datetime | None = None
    reason: str | None = None
    waits: tuple[ReportedWait, ...] = ()
    sums: Sums = field(default_factory=Sums)
    last_error: str | None = None
    last_error_at: datetime | None = None
    ok_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of a breaker's state.

    Attributes:
        id: Its number among all changes; 0 before it is written.
    """

    time: datetime
    node_id: str
    provider: str
    credential: str
    before: BreakerState
    state: BreakerState
    until: datetime | None = None
    reason: str | None = None
    id: int = 0


def publish(
    engine: Engine,
    node_id: str,
    reports: Iterable[Report],
    changes: Sequence[StateChange] = (),
    gone: Iterable[tuple[str, str]] = (),
) -> None:
    """Write a node's reports, in one transaction.

    Args:
        reports: Rows that are new or have changed.
        changes: The changes since the last time.
        gone: Provider and credential of the rows to remove.
    """
    table = BreakerRow
    with writing(engine) as connection:
        for provider, credential in [*gone, *((report.provider, report.credential) for report in reports)]:
            mine = col(table.node_id) == node_id, col(table.provider) == provider, col(table.credential) == credential
            connection.execute(delete(table).where(*mine))
        if rows := [_row(node_id, report) for report in reports]:
            connection.execute(insert(table), rows)
        # Rows of nodes that no longer exist are removed by any node.
        connection.execute(delete(table).where(col(table.node_id).not_in(select(col(NodeRow.id)))))
        if changes:
            _write_changes(connection, changes)


def read(engine: Engine) -> list[tuple[str, Report]]:
    """The health that each living node reports, by node id."""
    rows = select(BreakerRow).where(col(BreakerRow.node_id).in_(select(col(NodeRow.id))))
    with engine.connect() as connection:
        return [(row.node_id, _report(row._asdict())) for row in connection.execute(rows)]


def forget(engine: Engine, node_id: str) -> None:
    """Remove a node's rows when it ends."""
    with writing(engine) as connection:
        connection.execute(delete(BreakerRow).where(col(BreakerRow.node_id) == node_id))


def best_state(credentials: Iterable[Iterable[Report]]) -> BreakerState:
    """A provider's state: that of its best credential; for each credential the worst state of all nodes counts."""
    worst = (max((WORSE.index(one.state) for one in reports), default=0) for reports in credentials)
    return WORSE[min(worst, default=0)]


def last_change(engine: Engine) -> int:
    """The number of the last change; 0 if there was none."""
    with engine.connect() as connection:
        return connection.execute(select(func.max(col(BreakerChangeRow.id)))).scalar() or 0


def changes_since(engine: Engine, number: int, *, limit: int) -> list[StateChange]:
    """The changes after one, in order."""
    later = select(BreakerChangeRow).where(col(BreakerChangeRow.id) > number).order_by(col(BreakerChangeRow.id))
    with engine.connect() as connection:
        return [
            StateChange(
                moment(row.time), row.node_id, row.provider, row.credential, row.before, row.state,
                None if row.until is None else moment(row.until), row.reason, row.id,
            )
            for row in connection.execute(later.limit(limit))
        ]  # fmt: skip


def _write_changes(connection: Connection, changes: Sequence[StateChange]) -> None:
    last: int = connection.execute(_COUNTER, {"count": len(changes)}).scalar_one()
    rows = [
        {
            "id": last - len(changes) + 1 + number,
            "time": milliseconds(change.time),
            "node_id": change.node_id,
            "provider": change.provider,
            "credential": change.credential,
            "before": change.before,
            "state": change.state,
            "until": _milliseconds(change.until),
            "reason": change.reason,
        }
        for number, change in enumerate(changes)
    ]
    connection.execute(insert(BreakerChangeRow), rows)
    connection.execute(delete(BreakerChangeRow).where(col(BreakerChangeRow.id) <= last - KEPT_CHANGES))


def _row(node_id: str, report: Report) -> dict[str, Any]:
    sums = report.sums
    return {
        "node_id": node_id,
        "provider": report.provider,
        "credential": report.credential,
        "state": report.state,
        "own": report.own,
        "since": milliseconds(report.since),
        "until": _milliseconds(report.until),
        "reason": report.reason,
        "waits": [_wait(wait) for wait in report.waits],
        "sums": {
            "good": sums.ok,
            "throttled": sums.rate_limited,
            "bad": dict(sums.failures),
            "times": {str(step): count for step, count in sums.times.items()},
            "good_at": _milliseconds(report.ok_at),
        },
        "last_error": report.last_error,
        "last_error_at": _milliseconds(report.last_error_at),
    }


def _wait(wait: ReportedWait) -> list[object]:
    model = text(wait.model[:LONGEST_MODEL])
    return [model, milliseconds(wait.since), milliseconds(wait.until), wait.reason, wait.own]


def _report(row: Mapping[str, Any]) -> Report:
    sums = row["sums"]
    return Report(
        provider=row["provider"],
        credential=row["credential"],
        state=row["state"],
        since=moment(row["since"]),
        own=row["own"],
        until=_moment(row["until"]),
        reason=row["reason"],
        waits=tuple(
            ReportedWait(model, moment(since), moment(until), reason, own)
            for model, since, until, reason, own in row["waits"]
        ),
        sums=Sums(
            sums["good"], sums["throttled"], sums["bad"], {int(step): count for step, count in sums["times"].items()}
        ),
        last_error=row["last_error"],
        last_error_at=_moment(row["last_error_at"]),
        ok_at=_moment(sums.get("good_at")),
    )


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else milliseconds(at)


def _moment(at: int | None) -> datetime | None:
    return None if at is None else moment(at)
