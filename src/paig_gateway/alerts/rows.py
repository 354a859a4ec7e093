"""The stored alerts: each is raised once, by the first node that sees its condition, and delivered by any node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, select, text, update
from sqlmodel import col

from paig_gateway.database.columns import milliseconds
from paig_gateway.database.engine import writing
from paig_gateway.database.tables import AlertRow

LEASE_SECONDS = 30.0
"""How long a node may take to deliver an alert before another node tries."""
PAUSES = (5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds until the next try after each failure; the last one repeats."""
MOST_TRIES = 24
MOST_LOOKED_AT = 10
"""The number of due alerts among which a node looks for one that no other node has taken."""
KEPT = timedelta(days=400)
"""How long an alert is remembered, and so not raised again."""

_INSERT = text(
    "INSERT INTO alerts (id, payload, created_at, next_try_at, tries, delivered_at) "
    "VALUES (:id, :payload, :now, :now, 0, :delivered) ON CONFLICT (id) DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert to deliver.

    Attributes:
        id: The same for the same condition on every node.
        payload: The message for the webhook.
        covers: The ids of lesser alerts that are not sent once this one is.
    """

    id: str
    payload: Mapping[str, object]
    covers: tuple[str, ...] = ()


def raise_alerts(engine: Engine, alerts: list[Alert], now: datetime) -> None:
    """Remember alerts; an alert that was raised before, here or by another node, is unchanged."""
    at = milliseconds(now)
    with writing(engine) as connection:
        for alert in alerts:
            payload = json.dumps(dict(alert.payload))
            connection.execute(_INSERT, {"id": alert.id, "payload": payload, "now": at, "delivered": None})
            for lesser in alert.covers:
                connection.execute(_INSERT, {"id": lesser, "payload": "{}", "now": at, "delivered": at})


def due(engine: Engine, now: datetime) -> Alert | None:
    """The first alert to deliver now; no other node gets it until `LEASE_SECONDS` are over."""
    waiting = (
        select(col(AlertRow.id), col(AlertRow.payload), col(AlertRow.tries))
        .where(col(AlertRow.delivered_at).is_(None), col(AlertRow.next_try_at) <= milliseconds(now))
        .where(col(AlertRow.tries) < MOST_TRIES)
        .order_by(col(AlertRow.created_at), col(AlertRow.id))
        .limit(MOST_LOOKED_AT)
    )
    with engine.connect() as connection:
        rows = connection.execute(waiting).all()
    lease = milliseconds(now + timedelta(seconds=LEASE_SECONDS))
    for row in rows:  # another node may take some of them first
        mine = (
            update(AlertRow)
            .where(col(AlertRow.id) == row.id, col(AlertRow.tries) == row.tries)
            .where(col(AlertRow.delivered_at).is_(None))
            .values(tries=row.tries + 1, next_try_at=lease)
        )
        with writing(engine) as connection:
            if connection.execute(mine).rowcount == 1:
                return Alert(row.id, row.payload)
    return None


def delivered(engine: Engine, alert: Alert, now: datetime) -> None:
    """Note that an alert has arrived."""
    with writing(engine) as connection:
        connection.execute(update(AlertRow).where(col(AlertRow.id) == alert.id).values(delivered_at=milliseconds(now)))


def failed(engine: Engine, alert: Alert, now: datetime, *, wait: float = 0.0) -> bool:
    """Schedule another try of a failed delivery.

    Args:
        alert: The alert that could not be delivered.
        wait: The least seconds to wait that the webhook states.

    Returns:
        Whether there will be another try.
    """
    with writing(engine) as connection:
        tries: int = connection.execute(select(col(AlertRow.tries)).where(col(AlertRow.id) == alert.id)).scalar_one()
        pause = timedelta(seconds=max(PAUSES[min(tries, len(PAUSES)) - 1], min(wait, PAUSES[-1])))
        connection.execute(
            update(AlertRow).where(col(AlertRow.id) == alert.id).values(next_try_at=milliseconds(now + pause))
        )
    return tries < MOST_TRIES


def forget(engine: Engine, now: datetime) -> None:
    """Remove alerts that are too old to matter."""
    with writing(engine) as connection:
        connection.execute(delete(AlertRow).where(col(AlertRow.created_at) < milliseconds(now - KEPT)))
