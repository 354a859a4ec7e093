"""What the commands print: tables, bars, JSON. Names come from outside: they are never parsed as markup."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

PIPE_COLUMNS = 200
"""Width of tables that nobody looks at: a pipe or a file has none of its own."""


def plain(text: str) -> str:
    """The text without control characters, which could drive the terminal."""
    return "".join("�" if unicodedata.category(char) in ("Cc", "Cf", "Cs") else char for char in text)


def say(text: str) -> None:
    """Print one line for a person, on standard error: standard output is for what was asked for."""
    print(plain(text), file=sys.stderr)


def print_json(value: BaseModel | Sequence[BaseModel] | object) -> None:
    """Print a model, models or plain values as JSON."""
    print(json.dumps(value, indent=2, default=_jsonable))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str, right: Iterable[str] = ()
) -> None:
    """Print a table, or `empty` if it has no rows; columns named in `right` are set flush right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(
            Text(column), justify="right" if column in right else "left", overflow="fold", no_wrap=column in right
        )
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    if table.row_count:
        console().print(table)
    else:
        say(empty)


def print_facts(facts: Mapping[str, str]) -> None:
    """Print labelled values, those that are empty left out."""
    print_table(["", ""], [(label, value) for label, value in facts.items() if value], empty="")


def console() -> Console:
    """Standard output, through rich."""
    from rich.console import Console

    terminal = Console(markup=False, highlight=False, emoji=False)
    return terminal if terminal.is_terminal else Console(markup=False, highlight=False, emoji=False, width=PIPE_COLUMNS)


def bar(spent: str, amount: str, width: int = 8) -> str:
    """How much of a cap is spent, as a bar and per cent; only a cap that is spent looks full."""
    cap, used = Decimal(amount), Decimal(spent)
    share = used / cap if cap else Decimal(1)
    full = min(width, int(share * width))
    mark = "!" if share >= 1 else "▲" if share >= Decimal("0.9") else ""
    return f"{'█' * full}{'░' * (width - full)} {int(share * 100):>3d}%{mark}"


def usd(amount: str) -> str:
    """Dollars with at least cents, and no digit dropped."""
    value = Decimal(amount).normalize()
    exponent = value.as_tuple().exponent
    places = max(2, -exponent if isinstance(exponent, int) else 2)
    return f"${value:,.{places}f}"


def when(time: datetime | None) -> str:
    """A time in the reader's own zone, to the second."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def _jsonable(value: object) -> object:
    if (dump := getattr(value, "model_dump", None)) is not None:
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form")
