"""Where limits stand. It blocks: call it in a thread."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from sqlalchemy import Engine, and_, or_, select

from paig_client.api.limits import Unit, Window
from paig_client.api.resources import LimitStatus
from paig_client.api.vocabulary import OwnerKind
from paig_gateway.domain.limits import Limit, window_end, window_start
from paig_gateway.domain.money import format_usd
from paig_gateway.ledger.reports import owner_names
from paig_gateway.ledger.statements import TABLES

COUNTERS, LIMITS = (TABLES[name] for name in ("counters", "limits"))


@dataclass(frozen=True, slots=True)
class LimitBalance:
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


def current_balances(
    engine: Engine,
    now: datetime,
    within: frozenset[str] | None = None,
    *,
    percent: int = 0,
    owners: Collection[tuple[str, str]] = (),
) -> list[LimitBalance]:
    """Where limits stand in `now`'s window.

    Args:
        engine: The database.
        now: The present.
        within: Only limits of these projects (by id) and of their keys; None for all.
        percent: Only limits of which so much is spent; one that lacks a trifle of it may be among them.
        owners: Whose limits (by kind and name) are among them all the same.
    """
    windows: tuple[Window, ...] = get_args(Window)
    begun = or_(*(and_(LIMITS.c.window == w, COUNTERS.c.window_start == window_start(w, now)) for w in windows))
    counted = LIMITS.outerjoin(COUNTERS, and_(COUNTERS.c.limit_id == LIMITS.c.id, begun))
    wanted = (
        select(LIMITS, COUNTERS.c.spent, COUNTERS.c.held)
        .select_from(counted)
        .order_by(LIMITS.c.owner_kind, LIMITS.c.owner_id, LIMITS.c.id)
    )
    if within is not None:
        keys = TABLES["keys"]
        of_project = and_(LIMITS.c.owner_kind == "project", LIMITS.c.owner_id.in_(within))
        owned = select(keys.c.id).where(keys.c.project_id.in_(within))
        wanted = wanted.where(or_(of_project, and_(LIMITS.c.owner_kind == "key", LIMITS.c.owner_id.in_(owned))))
    with engine.connect() as connection:
        names = owner_names(connection)
        if percent:
            # Divided first: amounts are large, and the product must not be larger than the database counts.
            enough = COUNTERS.c.spent >= LIMITS.c.amount // 100 * percent
            named = [id for kind, found in names.items() for id, name in found.items() if (kind, name) in owners]
            nameless = {kind for kind, _ in owners} - names.keys()  # the organisation
            wanted = wanted.where(or_(enough, LIMITS.c.owner_id.in_(named), LIMITS.c.owner_kind.in_(nameless)))
        rows = connection.execute(wanted).all()
    return [
        LimitBalance(
            limit_id=row.id,
            owner_kind=row.owner_kind,
            owner=names.get(row.owner_kind, {}).get(row.owner_id, row.owner_kind),
            unit=row.unit,
            window=row.window,
            amount=row.amount,
            spent=row.spent or 0,
            held=row.held or 0,
            window_start=window_start(row.window, now),
            resets_at=window_end(row.window, now),
            soft=row.soft,
        )
        for row in rows
    ]


def balances_of(engine: Engine, limits: Sequence[Limit], now: datetime) -> list[LimitBalance]:
    """Where these limits stand in `now`'s window, in their order."""
    wanted = {(limit.id, window_start(limit.window, now)) for limit in limits}
    read = select(COUNTERS.c.limit_id, COUNTERS.c.window_start, COUNTERS.c.spent, COUNTERS.c.held)
    with engine.connect() as connection:
        rows = connection.execute(read.where(COUNTERS.c.limit_id.in_({id for id, _ in wanted}))).all()
    counted = {(row.limit_id, row.window_start): (row.spent, row.held) for row in rows}
    found: list[LimitBalance] = []
    for limit in limits:
        start = window_start(limit.window, now)
        spent, held = counted.get((limit.id, start), (0, 0))
        owner_kind = "key" if limit.owner_kind == "run" else limit.owner_kind
        found.append(
            LimitBalance(
                limit.id, owner_kind, limit.owner, limit.unit, limit.window, limit.amount, spent, held, start,
                window_end(limit.window, now), limit.soft,
            )
        )  # fmt: skip
    return found


def limit_balances(engine: Engine, now: datetime, within: frozenset[str] | None = None) -> list[LimitStatus]:
    """The limits that `current_balances` means, as the admin API shows them."""
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
        for found in current_balances(engine, now, within)
    ]
