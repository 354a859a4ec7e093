"""Requests and what became of them, for tests of the ledger; and the sums that must always agree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

from sqlalchemy import Connection, Engine, text

from paig_client.api.limits import Unit, Window
from paig_client.api.vocabulary import Certainty, OwnerKind
from paig_gateway.database.engine import writing
from paig_gateway.database.tables import LimitRow
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import Limit, window_end, window_start
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.pricing.usage import Usage

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
"""A Monday."""
_numbers = count(1)


class Clock:
    """Time that stands still until told otherwise."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def limit(
    id: str,
    amount: int,
    *,
    window: Window = "daily",
    unit: Unit = "usd",
    owner_kind: OwnerKind = "key",
    owner: str = "ci",
    soft: bool = False,
) -> Limit:
    """A limit, by default on the key's dollars of a day."""
    return Limit(id, owner_kind, owner, unit, window, amount, soft)


def reservation(
    *limits: Limit,
    ceiling: int = 1000,
    tokens: int = 100,
    time: datetime = NOON,
    key: str = "ci",
    id: str | None = None,
    **more: Any,
) -> Reservation:
    """A request of the key `ci` (id `key_ci`) in the project `lab` of the user `ada`."""
    caller = Caller(f"key_{key}", key, "proj_lab", "lab", "user_ada", "ada", limits=limits)
    fields: dict[str, Any] = {"route": "openai", "model": "gpt-5", "format": "openai-chat", "stream": False, **more}
    return Reservation(
        id=id or f"req_{next(_numbers):08d}", time=time, caller=caller, limits=limits, ceiling=ceiling, tokens=tokens,
        **fields,
    )  # fmt: skip


def settlement(
    of: Reservation | str,
    cost: int = 400,
    *,
    certainty: Certainty = "exact",
    usage: Usage | None = None,
    status: int | None = 200,
    **more: Any,
) -> Settlement:
    """The end of a request."""
    id = of if isinstance(of, str) else of.id
    return Settlement(id, NOON, cost, certainty, usage, status=status, **more)


def used(input_tokens: int = 0, output_tokens: int = 0, **more: int) -> Usage:
    """Usage of so many tokens."""
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, **more}


@dataclass(frozen=True)
class Totals:
    """A counter's two sums."""

    spent: int
    held: int


def counters(engine: Engine) -> dict[tuple[str, int], Totals]:
    """All counters that are not zero."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT limit_id, window_start, spent, held FROM counters"))
        return {(id, start): Totals(spent, held) for id, start, spent, held in rows if spent or held}


def totals(engine: Engine, limit: Limit, at: datetime = NOON) -> Totals:
    """A limit's counter in the window of a moment."""
    return counters(engine).get((limit.id, window_start(limit.window, at)), Totals(0, 0))


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return when something has come true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it comes true in a database
            await asyncio.sleep(0.01)


def row(engine: Engine, id: str) -> Mapping[str, Any]:
    """A request as it is stored: its finished row, or its hold in the same shape, with the state `open`."""
    [found] = [found for found in rows(engine) if found["id"] == id]
    return found


def rows(engine: Engine) -> list[Mapping[str, Any]]:
    """All requests, as `row` shows them."""
    with engine.connect() as connection:
        finished = [dict(found) for found in connection.execute(text("SELECT * FROM requests")).mappings()]
        holds = [dict(found) for found in connection.execute(text("SELECT * FROM holds")).mappings()]
    shown = [
        {**document(hold["request"]), **hold, "holds": hold["limits"], "state": "open", "cost": None} for hold in holds
    ]
    return sorted(finished + shown, key=lambda found: str(found["id"]))


def document(value: Any) -> Any:
    """A stored JSON document, which SQLite gives as text."""
    return json.loads(value) if isinstance(value, str) else value


ROLLUP_SUMS = "sum(requests), sum(errors), sum(input_tokens), sum(output_tokens), sum(cost)"


def rollup_sums(engine: Engine) -> tuple[int, ...]:
    """Requests, errors, input and output tokens, cost: of all rollups together."""
    with engine.connect() as connection:
        sums = connection.execute(text(f"SELECT {ROLLUP_SUMS} FROM rollups")).one()
        return tuple(int(value or 0) for value in sums)


def window_of(limit: Limit, at: datetime) -> tuple[int, datetime | None]:
    """Start and end of the window that a moment falls in."""
    return window_start(limit.window, at), window_end(limit.window, at)


async def bind_limit(ledger: Ledger, engine: Engine, limit: Limit, owner_id: str) -> None:
    """Make a limit as the catalogue does: it begins with what its owner has spent and holds."""
    await _write(engine, lambda connection: ledger.limit_created(connection, _row(limit, owner_id)))


async def drop_limit(ledger: Ledger, engine: Engine, limit: Limit) -> None:
    """Remove a limit as the catalogue does."""
    await _write(engine, lambda connection: ledger.limit_removed(connection, _row(limit, "")))


async def _write(engine: Engine, change: Callable[[Connection], None]) -> None:
    def write() -> None:
        with writing(engine) as connection:
            change(connection)

    await asyncio.to_thread(write)


def _row(limit: Limit, owner_id: str) -> LimitRow:
    return LimitRow(
        id=limit.id,
        owner_kind=limit.owner_kind,
        owner_id=owner_id,
        unit=limit.unit,
        window=limit.window,
        amount=limit.amount,
        soft=limit.soft,
        zone=limit.zone.name,
        old_zone=limit.zone.old,
        zone_since=limit.zone.since,
    )
