"""What the commands print: tables, bars, JSON. Names come from outside: they are never parsed as markup."""

from __future__ import annotations

import json
import math
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

PIPE_COLUMNS = 200
"""Width of tables that nobody looks at: a pipe or a file has none of its own."""
NARROW = 110
"""Columns below which bars are short."""
MIN_CUT = 8
"""Columns below which a text is folded rather than cut."""


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
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    empty: str,
    right: Iterable[str] = (),
    spare: Iterable[str] = (),
    cut: str = "",
) -> None:
    """Print a table, or `empty` if it has no rows. Columns without a word in any row are left out.

    Args:
        columns: Their headings.
        rows: A cell for each column.
        empty: What to say where there are no rows.
        right: The columns that are set flush right.
        spare: The columns that a narrow terminal does without, the first to go first.
        cut: The column that has to do with what a narrow terminal leaves it.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = [[plain(cell) for cell in row] for row in rows]
    if not cells:
        return say(empty)
    longest = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    shown = [number for number, length in enumerate(longest) if length]
    for name in spare:
        if sum(max(longest[number], cell_len(columns[number])) + 2 for number in shown) - 2 > width():
            shown = [number for number in shown if columns[number] != name]
    if cut and narrow():
        last = columns.index(cut)
        room = width() - sum(max(longest[number], cell_len(columns[number])) + 2 for number in shown if number != last)
        for row in cells:
            row[last] = _cut(row[last], room) if room >= MIN_CUT else row[last]
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for number in shown:
        flush = columns[number] in right
        table.add_column(Text(columns[number]), justify="right" if flush else "left", overflow="fold", no_wrap=flush)
    for row in cells:
        table.add_row(*(Text(row[number]) for number in shown))
    terminal = console()
    with terminal.capture() as captured:
        terminal.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def _cut(text: str, room: int) -> str:
    from rich.text import Text

    found = Text(text)
    found.truncate(room, overflow="ellipsis")
    return found.plain


def print_facts(facts: Mapping[str, str]) -> None:
    """Print labelled values, those that are empty left out."""
    print_table(["", ""], [(label, value) for label, value in facts.items() if value], empty="")


def console() -> Console:
    """Standard output, through rich."""
    from rich.console import Console

    terminal = Console(markup=False, highlight=False, emoji=False)
    return terminal if terminal.is_terminal else Console(markup=False, highlight=False, emoji=False, width=PIPE_COLUMNS)


def width() -> int:
    """How many columns there are to fill."""
    return console().width


def narrow() -> bool:
    """Whether the terminal has no room for all that a wide one shows."""
    return width() < NARROW


def bar(spent: str, amount: str, width: int = 8) -> str:
    """How much of a cap is spent, as a bar and per cent; only a cap that is spent looks full."""
    cap, used = Decimal(amount), Decimal(spent)
    share = used / cap if cap else Decimal(1)
    full = min(width, int(share * width))
    mark = "!" if share >= 1 else "▲" if share >= Decimal("0.9") else ""
    return f"{'█' * full}{'░' * (width - full)} {int(share * 100):>3d}%{mark}"


def sparkline(values: Sequence[Decimal]) -> str:
    """One column for each value, the tallest for the largest; nothing at all for zero."""
    top = max(values, default=Decimal(0))
    if not top:
        return ""
    return "".join(" ▁▂▃▄▅▆▇█"[math.ceil(value / top * 8)] for value in values)


def usd(amount: str) -> str:
    """Dollars with at least cents, and no digit dropped."""
    value = Decimal(amount).normalize()
    exponent = value.as_tuple().exponent
    places = max(2, -exponent if isinstance(exponent, int) else 2)
    return f"${value:,.{places}f}"


def when(time: datetime | None, *, short: bool = False) -> str:
    """A time in the reader's own zone, to the second; a short one without year and seconds."""
    return time.astimezone().strftime("%m-%d %H:%M" if short else "%Y-%m-%d %H:%M:%S") if time else ""


def ahead(time: datetime | None) -> str:
    """How long until then, in its two largest units."""
    if time is None:
        return ""
    seconds = max(0, int((time - datetime.now(UTC)).total_seconds()))
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    first = next((number for number, (count, _) in enumerate(parts) if count), 3)
    return "in " + " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count or first == 3)


def _jsonable(value: object) -> object:
    if (dump := getattr(value, "model_dump", None)) is not None:
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form")
