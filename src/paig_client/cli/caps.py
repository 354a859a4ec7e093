"""Caps: the options that set them, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from paig_client.cli.output import ahead, bar, narrow, print_table, usd

if TYPE_CHECKING:
    from paig_client.api.resources import LimitStatus

WINDOWS = ("daily", "weekly", "monthly", "total")


def dollars(text: str) -> str:
    """An amount of US dollars as an option has it, or `none`.

    Raises:
        typer.BadParameter: It is not one that a cap can have.
    """
    from pydantic import TypeAdapter, ValidationError

    from paig_client.api.fields import Usd

    if text.lower() == "none":
        return "none"
    try:
        return str(TypeAdapter(Usd).validate_python(Decimal(text.strip().removeprefix("$"))))
    except (InvalidOperation, ValidationError):
        raise typer.BadParameter(
            f"{text!r} is no amount of US dollars that a cap can have; write it like 5 or 0.05"
        ) from None


def count(text: str) -> str:
    """A whole number as an option has it, or `none`.

    Raises:
        typer.BadParameter: It is neither.
    """
    if text.lower() != "none" and not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is no whole number")
    return text.lower()


def _cap(name: str, what: str, kind: str = "USD") -> typer.models.OptionInfo:
    parser = dollars if kind == "USD" else count
    option: typer.models.OptionInfo = typer.Option(
        name, metavar=kind, help=what, parser=parser, show_default=False, rich_help_panel="Limits"
    )
    return option


Daily = Annotated[str | None, _cap("--daily", "Cap on a UTC day; 'none' lifts it.")]
Weekly = Annotated[str | None, _cap("--weekly", "Cap on a week, Monday to Sunday.")]
Monthly = Annotated[str | None, _cap("--monthly", "Cap on a calendar month.")]
Total = Annotated[str | None, _cap("--total", "Cap for good.")]
RequestsPerMinute = Annotated[str | None, _cap("--requests-per-minute", "Rate of requests.", "N")]
TokensPerMinute = Annotated[str | None, _cap("--tokens-per-minute", "Rate of tokens.", "N")]
Soft = Annotated[
    bool | None,
    typer.Option(
        "--soft/--hard",
        help="Soft caps reserve nothing, and refuse once they are spent.",
        show_default=False,
        rich_help_panel="Limits",
    ),
]


def limits(
    daily: str | None,
    weekly: str | None,
    monthly: str | None,
    total: str | None,
    requests_per_minute: str | None,
    tokens_per_minute: str | None,
    soft: bool | None,
) -> dict[str, str | int | None]:
    """The limits that were given, as the admin API takes them: None lifts a limit."""
    caps = {"daily": daily, "weekly": weekly, "monthly": monthly, "total": total}
    rates = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute}
    given: dict[str, str | int | None] = {name: value for name, value in caps.items() if value}
    given |= {name: value if value == "none" else int(value) for name, value in rates.items() if value}
    found = {name: None if value == "none" else value for name, value in given.items()}
    return found if soft is None else {**found, "soft": soft}


def of_owner(limits: Iterable[LimitStatus], kind: str, name: str) -> list[LimitStatus]:
    """The limits of one owner."""
    return [limit for limit in limits if (limit.owner_kind, limit.owner) == (kind, name)]


def cells(limits: Iterable[LimitStatus]) -> list[str]:
    """A cell for each of `WINDOWS`: how much of the cap on money is spent."""
    money = {limit.window: limit for limit in limits if limit.unit == "usd"}
    size, of = (4, " ") if narrow() else (8, " of ")
    return [
        f"{bar(money[window].spent, money[window].amount, size)}{of}{usd(money[window].amount)}"
        if window in money
        else ""
        for window in WINDOWS
    ]


def print_limits(limits: Sequence[LimitStatus]) -> None:
    """A table of limits and where they stand; nothing, if there are none."""
    if limits:
        print()
        columns = ["limit of", "window", "amount", "spent", "held", "left", "", "resets"]
        right = ["amount", "spent", "held", "left"]
        print_table(columns, map(_row, limits), empty="", right=right, spare=["held", "left", "resets"])


def _row(limit: LimitStatus) -> list[str]:
    show = usd if limit.unit == "usd" else str
    amounts = [show(value) for value in (limit.amount, limit.spent, limit.held, limit.left)]
    window = limit.window if limit.unit == "usd" else f"{limit.unit}/{limit.window}"
    owner = limit.owner_kind if limit.owner_kind == "organisation" else f"{limit.owner_kind} {limit.owner}"
    return [owner, window, *amounts, bar(limit.spent, limit.amount), ahead(limit.resets_at)]
