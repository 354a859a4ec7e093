"""Where limits stand. It blocks: call it in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import Engine, and_, or_, select

from paig_client.schema import LimitStatus, OwnerKind
from paig_gateway.domain.limits import Unit, Window, window_end, window_start
from paig_gateway.domain.money import format_usd
from paig_gateway.store.ledger_sql import TABLES
from paig_gateway.store.reports import owner_names

COUNTERS, LIMITS = (TABLES[name] for name in ("counters", "limits"))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a limit stands in one of its windows; amounts as the ledger counts them.

    Attributes:
        window_start: Seconds since the epoch.
    """

    limit_id: str
    owner_kind: OwnerKind
    owner: str
    unit: Unit
    window: Window
    amount: int
    spent: int
    held: int
    window_start: int
    resets_at: datetime | None
    soft: bool

    def show(self, amount: int) -> str:
        """An amount as people read it: dollars, or a count."""
        return format_usd(amount) if self.unit == "usd" else str(amount)


def standings(engine: Engine, now: datetime, within: frozenset[str] | None = None) -> list[Standing]:
    """Every limit, or those of some projects (by id) and their keys, and where each stands in `now`'s window."""
    limits_of = select(LIMITS).order_by(LIMITS.c.owner_kind, LIMITS.c.owner_id, LIMITS.c.id)
    if within is not None:
        keys = TABLES["keys"]
        of_project = and_(LIMITS.c.owner_kind == "project", LIMITS.c.owner_id.in_(within))
        owned = select(keys.c.id).where(keys.c.project_id.in_(within))
        limits_of = limits_of.where(or_(of_project, and_(LIMITS.c.owner_kind == "key", LIMITS.c.owner_id.in_(owned))))
    with engine.connect() as connection:
        names = owner_names(connection)
        limits = connection.execute(limits_of).all()
        starts = {row.id: window_start(cast(Window, row.window), now) for row in limits}
        recent = COUNTERS.c.window_start.in_({*starts.values()})
        counters = {(row.limit_id, row.window_start): row for row in connection.execute(select(COUNTERS).where(recent))}
    found = []
    for row in limits:
        counter = counters.get((row.id, starts[row.id]))
        spent, held = (counter.spent, counter.held) if counter else (0, 0)
        owner = names.get(row.owner_kind, {}).get(row.owner_id, row.owner_kind)
        found.append(
            Standing(
                row.id, row.owner_kind, owner, row.unit, row.window, row.amount, spent, held, starts[row.id],
                window_end(cast(Window, row.window), now), row.soft,
            )
        )  # fmt: skip
    return found


def limit_status(engine: Engine, now: datetime, within: frozenset[str] | None = None) -> list[LimitStatus]:
    """The limits that `standings` means, as the admin API shows them."""
    return [
        LimitStatus(
            owner_kind=found.owner_kind,
            owner=found.owner,
            unit=found.unit,
            window=found.window,
            amount=found.show(found.amount),
            spent=found.show(found.spent),
            held=found.show(found.held),
            left=found.show(max(0, found.amount - found.spent - found.held)),
            resets_at=found.resets_at,
            soft=found.soft,
        )
        for found in standings(engine, now, within)
    ]
