"""What the commands print: tables, bars, JSON, CSV. Names come from outside: they are never parsed as markup."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from paig_client.spreadsheet import without_formula

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPE_COLUMNS = 200
"""Width of tables that do not go to a terminal."""
NARROW = 110
"""Columns below which bars are short."""
FOLDED = 36
"""Columns that a text is folded to before another column is left out; in wide terminals, a third of all."""
MIN_CUT = 8
"""Columns below which a text is folded rather than cut."""
_PAD = "\ue000"
"""A private character that stands for a space until the table is set: rich drops spaces at the end of a cell."""
_MONEY = re.compile(r"-?\$[\d,]+\.(\d+)")


class Cell(str):
    """A cell's text, and the value behind it: what `--sort` compares and `--csv` prints."""

    value: Any

    def __new__(cls, text: str, value: object) -> Cell:
        cell = super().__new__(cls, text)
        cell.value = value
        return cell


@dataclass(frozen=True, slots=True)
class PrintedTable:
    """Rows to print.

    Attributes:
        columns: Their headings.
        rows: A cell for each column.
        empty: The text if there are no rows.
        right: The columns that are aligned right; money in them is aligned at its point.
        spare: The columns that are left out of a narrow terminal, in this order.
        cut: The column that is cut to fit a narrow terminal.
        gauges: The columns that draw a value as a gauge; CSV leaves them out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str = ""
    right: Sequence[str] = ()
    spare: Sequence[str] = ()
    cut: str = ""
    gauges: Sequence[str] = ()

    def sorted_by(self, wanted: str) -> PrintedTable:
        """The same rows in another order: by a column, `-COLUMN` for the largest first; empty cells come last.

        Raises:
            typer.BadParameter: There is no such column.
        """
        name, reverse = wanted.removeprefix("-"), wanted.startswith("-")
        sort_field(wanted, self.columns, {})
        at = list(self.columns).index(name)
        full = [row for row in self.rows if _value(row[at]) not in ("", None)]
        rest = [row for row in self.rows if _value(row[at]) in ("", None)]
        full.sort(key=lambda row: _order(_value(row[at])), reverse=reverse)
        return replace(self, rows=[*full, *rest])


def sort_field(wanted: str, columns: Sequence[str], fields: Mapping[str, str]) -> str:
    """What `--sort` is in the API: the column as `fields` names it, `-` in front as it was.

    Raises:
        typer.BadParameter: There is no such column.
    """
    import typer

    from paig_client.cli.values import did_you_mean

    name = wanted.removeprefix("-")
    if name not in columns:
        known = [column for column in columns if column]
        raise typer.BadParameter(
            f"there is no column {name!r}.{did_you_mean(name, known)} Columns: {', '.join(known)}", param_hint="--sort"
        )
    return ("-" if wanted.startswith("-") else "") + fields.get(name, name)


def _value(cell: str) -> Any:
    return cell.value if isinstance(cell, Cell) else cell


def _order(value: Any) -> tuple[int, Any]:
    """A key that orders numbers, times and texts apart from one another."""
    if isinstance(value, datetime):
        return 1, value.timestamp()
    return (0, Decimal(value)) if isinstance(value, (int, float, Decimal)) else (2, str(value).casefold())


def plain(text: str) -> str:
    """The text without control characters, which could drive the terminal."""
    return "".join("�" if unicodedata.category(char) in ("Cc", "Cf", "Cs") else char for char in text)


def say(text: str) -> None:
    """Print one line for a person, on standard error: standard output is for what was asked for."""
    print(plain(text), file=sys.stderr)


def print_json(value: object) -> None:
    """Print a model, models or plain values as JSON."""
    print(json.dumps(value, indent=2, default=_jsonable))


def _jsonable(value: object) -> object:
    if (dump := getattr(value, "model_dump", None)) is not None:
        return dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    if isinstance(value, (Decimal, datetime)):
        return f"{value:f}" if isinstance(value, Decimal) else value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def with_more(found: Iterable[Any], more: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """Models as JSON objects, each with further members: what a table shows beside them."""
    return [{**item.model_dump(mode="json"), **extra} for item, extra in zip(found, more, strict=True)]


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print CSV; a text that a spreadsheet would take for a formula is quoted."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(columns)
    for row in rows:
        out.writerow([without_formula(plain(value)) if isinstance(value, str) else value for value in row])


def show(table: PrintedTable, *, csv: bool = False, sort: str | None = None) -> None:
    """Print a table, as CSV if that is wanted: there, values stand behind what the cells show."""
    table = table.sorted_by(sort) if sort else table
    if csv:
        kept = [number for number, name in enumerate(table.columns) if name not in table.gauges]
        columns = [table.columns[number] for number in kept]
        return print_csv(columns, ([_csv_value(row[number]) for number in kept] for row in table.rows))
    print_table(table.columns, table.rows, empty=table.empty, right=table.right, spare=table.spare, cut=table.cut)


def _csv_value(cell: str) -> object:
    value = _value(cell)
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, datetime) else "" if value is None else value


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    empty: str = "",
    right: Iterable[str] = (),
    spare: Iterable[str] = (),
    cut: str = "",
) -> None:
    """Print a table as `PrintedTable` describes it. Columns that are empty in every row are left out."""
    from rich.cells import cell_len
    from rich.table import Table as RichTable
    from rich.text import Text

    flush = set(right)
    cells = [[plain(cell) for cell in row] for row in rows]
    if not cells:
        return say(empty) if empty else None
    for number, name in enumerate(columns):
        if name in flush:
            _align(cells, number)
    longest = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    shown = [number for number, length in enumerate(longest) if length]
    needed = [
        max(length if name in flush else min(length, max(FOLDED, width() // 3)), cell_len(name))
        for name, length in zip(columns, longest, strict=True)
    ]
    for name in spare:
        if sum(needed[number] + 2 for number in shown) - 2 > width():
            shown = [number for number in shown if columns[number] != name]
    if cut and narrow():
        last = list(columns).index(cut)
        room = width() - sum(max(longest[number], cell_len(columns[number])) + 2 for number in shown if number != last)
        for row in cells:
            row[last] = _cut(row[last], room) if room >= MIN_CUT else row[last]
    table = RichTable(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for number in shown:
        is_flush = columns[number] in flush
        table.add_column(
            Text(columns[number]), justify="right" if is_flush else "left", overflow="fold", no_wrap=is_flush
        )
    for row in cells:
        table.add_row(*(_painted(Text(row[number])) for number in shown))
    terminal = console()
    with terminal.capture() as captured:
        terminal.print(table)
    for line in captured.get().splitlines():
        print(line.replace(_PAD, " ").rstrip())


def _painted(text: Text) -> Text:
    """A cell with its colour, on a terminal that has colours: what a bar, a mark or an error says already."""
    word = text.plain
    if "░" in word or word.rstrip("!▲").endswith("%"):
        text.stylize("red" if word.endswith("!") else "yellow" if word.endswith("▲") else "green")
    elif word and not set(word) - set(" ▁▂▃▄▅▆▇█"):
        text.stylize("cyan")
    elif word.startswith(("■", "✕")):
        text.stylize("red")
    elif word.startswith("▲"):
        text.stylize("yellow")
    elif word.startswith("●"):
        text.stylize("green")
    return text


def _align(cells: list[list[str]], column: int) -> None:
    """Pad amounts of money on the right, so that their decimal points align."""
    digits = [len(match[1]) if (match := _MONEY.fullmatch(row[column])) else 0 for row in cells]
    for row, own in zip(cells, digits, strict=True):
        if own:
            row[column] += _PAD * (max(digits) - own)


def _cut(text: str, room: int) -> str:
    from rich.text import Text

    found = Text(text)
    found.truncate(room, overflow="ellipsis")
    return found.plain


def print_facts(facts: Mapping[str, str]) -> None:
    """Print labelled values, without those that are empty."""
    print_table(["", ""], [(label, value) for label, value in facts.items() if value])


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


def bar(spent: Decimal, amount: Decimal, width: int = 8) -> str:
    """How much of a cap is spent, as a bar and per cent; only a cap that is spent looks full."""
    share = spent / amount if amount else Decimal(1)
    full = min(width, int(share * width))
    mark = "!" if share >= 1 else "▲" if share >= Decimal("0.9") else ""
    return f"{'█' * full}{'░' * (width - full)} {int(share * 100):>3d}%{mark}"


def sparkline(values: Sequence[Decimal]) -> str:
    """One column for each value, the tallest for the largest; empty for zero."""
    top = max(values, default=Decimal(0))
    if not top:
        return ""
    return "".join(" ▁▂▃▄▅▆▇█"[math.ceil(value / top * 8)] for value in values)


def gauge(value: float | None, least: float, most: float) -> str:
    """A value as one column between two bounds, each step of which is the same factor; nothing for zero."""
    if not value or value <= 0:
        return ""
    place = math.log(max(value, least) / least) / math.log(most / least) * 8
    return "▁▂▃▄▅▆▇█"[min(7, int(place))]


def cost_gauge(cost: Decimal) -> str:
    """The cost of a request as a gauge: from a hundredth of a cent up to a dollar."""
    return gauge(float(cost), 0.0001, 1.0)


def usd(amount: Decimal) -> Cell:
    """Dollars with at least cents, and no digit dropped."""
    value = amount.normalize()
    exponent = value.as_tuple().exponent
    places = max(2, -exponent if isinstance(exponent, int) else 2)
    text = f"{abs(value):,.{places}f}"
    return Cell(f"-${text}" if value < 0 else f"${text}", amount)


def number(value: int) -> Cell:
    """A count, with separators."""
    return Cell(f"{value:,}", value)


def milliseconds(value: float | None) -> Cell:
    """A time in milliseconds, or in seconds from one second on."""
    text = "–" if value is None else f"{value:.0f}ms" if value < 1000 else f"{value / 1000:.2f}s"
    return Cell(text, value)


def when(time: datetime | None, *, short: bool = False) -> Cell:
    """A time in the reader's own zone, to the second; a short one without year and seconds."""
    text = time.astimezone().strftime("%m-%d %H:%M" if short else "%Y-%m-%d %H:%M:%S") if time else ""
    return Cell(text, time)


def ahead(time: datetime | None) -> str:
    """How long until then, in its two largest units."""
    if time is None:
        return ""
    seconds = max(0, int((time - datetime.now(UTC)).total_seconds()))
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    first = next((number for number, (count, _) in enumerate(parts) if count), 3)
    return "in " + " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count or first == 3)
