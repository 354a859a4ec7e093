"""Limits: how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from paig_client.api.windows import SPENDING, member_words
from paig_client.cli.output import Cell, PrintedTable, ahead, bar, narrow, show, usd

if TYPE_CHECKING:
    from paig_client.api.resources import LimitStatus

WINDOWS = tuple(row.window for row in SPENDING)
"""The windows of the caps on money: a column each."""
OWNERS = ("organisation", "project", "user", "key", "limit")
REACHED = "used up"
"""When a limit is used up at today's pace."""
DAYS = "7 days"
"""What a limit's owner spent on each of them."""
COLUMNS = ("limit of", "window", "amount", "spent", "held", "left", "used", "resets")


def of_owner(limits: Iterable[LimitStatus], kind: str, name: str) -> list[LimitStatus]:
    """The limits of one owner."""
    return [limit for limit in limits if (limit.owner_kind, limit.owner) == (kind, name)]


def cells(limits: Iterable[LimitStatus]) -> list[str]:
    """A cell for each of `WINDOWS`: how much of the cap on money is spent."""
    money = {limit.window: limit for limit in limits if limit.unit == "usd"}
    size, of = (4, " ") if narrow() else (8, " of ")
    return [
        Cell(
            f"{bar(money[window].spent, money[window].amount, size)}{of}{usd(money[window].amount)}",
            money[window].spent,
        )
        if window in money
        else ""
        for window in WINDOWS
    ]


def table(limits: Sequence[LimitStatus], empty: str = "", days: Sequence[str] = ()) -> PrintedTable:
    """Limits with what is spent, held and left of each.

    Args:
        empty: What is said if there are none.
        days: For each, what its owner spent on the last days, as a sparkline.
    """
    columns, rows = list(COLUMNS), [_row(limit) for limit in limits]
    spare = ["held", "left", "resets"]
    if any(limit.reached_at for limit in limits):
        columns.append(REACHED)
        rows = [[*row, Cell(ahead(one.reached_at), one.reached_at)] for row, one in zip(rows, limits, strict=True)]
        spare.insert(2, REACHED)
    if days:
        columns.append(DAYS)
        rows = [[*row, line] for row, line in zip(rows, days, strict=True)]
        spare.insert(0, DAYS)
    return PrintedTable(columns, rows, empty, ("amount", "spent", "held", "left"), spare)


def print_limits(limits: Sequence[LimitStatus]) -> None:
    """The table of limits below an object's facts; nothing, if there are none."""
    if limits:
        print()
        show(table(limits))


def _row(limit: LimitStatus) -> list[str]:
    amounts = [
        usd(value) if limit.unit == "usd" else Cell(f"{value:,f}", value)
        for value in (limit.amount, limit.spent, limit.held, limit.left)
    ]
    window = limit.window if limit.unit == "usd" else f"{limit.unit}/{limit.window}"
    owner = limit.owner_kind if limit.owner_kind == "organisation" else f"{limit.owner_kind} {limit.owner}"
    owner += "" if limit.member is None else f" ({member_words(limit.member)})"
    used = Cell(bar(limit.spent, limit.amount), limit.spent / limit.amount if limit.amount else 1)
    return [owner, window, *amounts, used, Cell(ahead(limit.resets_at), limit.resets_at)]
