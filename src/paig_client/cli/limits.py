"""Limits: how they are shown, and `paig limits`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from paig_client.api.limits import SPENDING
from paig_client.cli.commands import Commands
from paig_client.cli.options import Csv, Json, Profile, Sort, Url, connected, text_option
from paig_client.cli.output import Cell, Table, ahead, bar, narrow, print_json, show, usd
from paig_client.cli.values import did_you_mean

if TYPE_CHECKING:
    from paig_client.api.resources import LimitStatus

WINDOWS = tuple(row.window for row in SPENDING)
"""The windows of the caps on money: a column each."""
OWNERS = ("organisation", "project", "user", "key")
COLUMNS = ("limit of", "window", "amount", "spent", "held", "left", "used", "resets")

app = Commands(no_args_is_help=True, help="Limits, and how much of each is used.")


@app.command("list", example="paig limits list --sort -used")
def list_limits(
    owner: Annotated[
        str | None, text_option("--of", "Only those of organisation, project, user or key.", "KIND[:NAME]")
    ] = None,
    json: Json = False,
    csv: Csv = False,
    sort: Sort = None,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """List every limit, with what is spent, held and left."""
    kind, _, name = (owner or "").partition(":")
    if owner and kind not in OWNERS:
        import typer

        raise typer.BadParameter(f"{kind!r} has no limits.{did_you_mean(kind, OWNERS)}", param_hint="--of")
    with connected(url, profile) as admin:
        found = [limit for limit in admin.limits() if kind in ("", limit.owner_kind) and name in ("", limit.owner)]
    if json:
        return print_json(found)
    empty = "There are no limits yet: `paig keys update NAME --daily USD` sets one."
    show(table(found, empty), csv=csv, sort=sort)


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
            usd(money[window].spent).value,
        )
        if window in money
        else ""
        for window in WINDOWS
    ]


def table(limits: Sequence[LimitStatus], empty: str = "") -> Table:
    """Limits with what is spent, held and left of each."""
    right, spare = ("amount", "spent", "held", "left"), ("held", "left", "resets")
    return Table(COLUMNS, [_row(limit) for limit in limits], empty, right, spare)


def print_limits(limits: Sequence[LimitStatus]) -> None:
    """The table of limits below an object's facts; nothing, if there are none."""
    if limits:
        print()
        show(table(limits))


def _row(limit: LimitStatus) -> list[str]:
    amounts = [
        usd(value) if limit.unit == "usd" else Cell(value, usd(value).value)
        for value in (limit.amount, limit.spent, limit.held, limit.left)
    ]
    window = limit.window if limit.unit == "usd" else f"{limit.unit}/{limit.window}"
    owner = limit.owner_kind if limit.owner_kind == "organisation" else f"{limit.owner_kind} {limit.owner}"
    amount, spent = usd(limit.amount).value, usd(limit.spent).value
    used = Cell(bar(limit.spent, limit.amount), spent / amount if amount else 1)
    return [owner, window, *amounts, used, Cell(ahead(limit.resets_at), limit.resets_at)]
