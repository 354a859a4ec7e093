"""Values over time as text: a column chart with axes, and a sparkline. No widget, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from textual.content import Content

from paig_tui.text import MUTED, lines

BLOCKS = " ▁▂▃▄▅▆▇█"
FADE = ("$primary", "$primary 85%", "$primary 70%", "$primary 60%")
"""The columns' colours from their tops down; they only repeat the height."""
APART = 4
"""The columns' width in cells from which there are gaps between them."""
AXIS = 6
"""The height in lines from which a chart has axes."""
SHADES = (("█", "$primary"), ("▒", "$accent"), ("▓", "$secondary"), ("░", "$primary"), ("·", "$foreground 60%"))
"""The shades and colours of a chart's series; shades alone tell them apart."""


def resampled(values: Sequence[float], width: int) -> list[float]:
    """The values resampled to `width` columns: each is the mean of the time that it covers."""
    count = len(values)
    found = []
    for column in range(width):
        begins, ends = column * count / width, (column + 1) * count / width
        total = 0.0
        place = int(begins)
        while place < min(ends, count):
            total += values[place] * (min(ends, place + 1) - max(begins, place))
            place += 1
        found.append(total / (ends - begins))
    return found


def columns(values: Sequence[float], width: int, height: int) -> list[str]:
    """Values as columns of blocks, newest at the right, in `height` lines; the highest value fills them."""
    return _columns(_sizes(values, width), width, height)


def _sizes(values: Sequence[float], width: int) -> Sequence[float]:
    """The heights of the columns: one for each value if there is room for gaps, else resampled."""
    return values if not values or width // len(values) >= APART else resampled(values, width)


def _columns(sizes: Sequence[float], width: int, height: int) -> list[str]:
    if not sizes or width < 1 or height < 1:
        return [" " * max(0, width)] * max(0, height)
    top, widths = max(sizes) or 1.0, _widths(len(sizes), width)
    found = []
    for line in range(height - 1, -1, -1):
        blocks = (_block(size / top * height * 8 - line * 8, line == 0 and size > 0) for size in sizes)
        found.append("".join(_cells(block, wide) for block, wide in zip(blocks, widths, strict=True)).ljust(width))
    return found


def _widths(count: int, width: int) -> list[int]:
    """The width of each of `count` columns; together they fill the width."""
    edges = [place * width // count for place in range(count + 1)]
    return [end - begin for begin, end in pairwise(edges)]


def _cells(sign: str, wide: int) -> str:
    """One line of a column, followed by a gap if there is room."""
    return sign * (wide - 1) + " " if wide >= APART else sign * wide


def _block(eighths: float, visible: bool) -> str:
    """One cell; a value above zero shows at least a line."""
    return BLOCKS[max(1 if visible else 0, min(8, round(eighths)))]


def spark(values: Sequence[float], width: int) -> str:
    """A sparkline; its columns are a little lower than a line, to keep apart from the line above."""
    sizes = resampled(values, width) if values else []
    top = max(sizes, default=0.0) or 1.0
    return "".join(_block(size / top * 7, size > 0) for size in sizes)


def chart(
    values: Sequence[float], width: int, height: int, *, ticks: Sequence[str], unit: Callable[[float], str]
) -> Content:
    """A column chart; if there is room, with the peak at its left and evenly spread ticks below it.

    Args:
        ticks: The times as text, oldest first; the last one is the present.
        unit: Formats a value.
    """
    if height < AXIS:
        return lines(_faded(columns(values, width, height)))
    gutter = len(unit(max(values, default=0.0))) + 2
    room = max(1, width - gutter)
    sizes = _sizes(values, room)
    drawn = _faded(_columns(sizes, room, height - 1))
    return _with_axes(drawn, max(sizes, default=0.0), gutter, room, ticks, unit)


def _with_axes(
    drawn: Sequence[Content],
    peak: float,
    gutter: int,
    room: int,
    ticks: Sequence[str],
    unit: Callable[[float], str],
) -> Content:
    """The lines of a chart with the peak at their left, and the ticks below."""
    last = len(drawn) - 1
    marks = {last: unit(0.0)} | ({0: unit(peak), last // 2: unit(peak / 2)} if peak else {})
    found = []
    for number, line in enumerate(drawn):
        mark = marks.get(number, "")[: gutter - 2]
        found.append(Content.assemble((f"{mark:>{gutter - 2}} {'┤' if mark else '│'}", MUTED), line))
    return lines([*found, Content.styled(" " * gutter + spread(ticks, room), MUTED)])


def stacked(
    series: Sequence[Sequence[float]], width: int, height: int, *, ticks: Sequence[str], unit: Callable[[float], str]
) -> Content:
    """A stacked column chart; each series has its shade and colour of `SHADES`.

    Args:
        series: The series, the lowest first, at most as many as `SHADES`; each oldest first, all of one length.
        height: The height in lines, the axis included.
        ticks: The times as text, oldest first; the last one is the present.
        unit: Formats a value.
    """
    totals = [sum(values) for values in zip(*series, strict=True)]
    gutter = len(unit(max(totals, default=0.0))) + 2
    room = max(1, width - gutter)
    if room < len(totals):
        series = [resampled(values, room) for values in series]
        totals = [sum(values) for values in zip(*series, strict=True)]
    peak, widths, high = max(totals, default=0.0), _widths(len(totals), room), height - 1
    drawn = []
    for line in range(high):
        level = peak * (high - line - 0.5) / high
        parts = []
        for values, total, wide in zip(zip(*series, strict=True), totals, widths, strict=True):
            shade = _shade(values, level)
            if shade is None and line == high - 1 and total > 0:  # a value above zero shows at least a line
                shade = max(range(len(values)), key=values.__getitem__)
            sign, style = (" ", "") if shade is None else SHADES[shade]
            parts.append((_cells(sign, wide), style))
        drawn.append(Content.assemble(*parts))
    return _with_axes(drawn, peak, gutter, room, ticks, unit)


def _shade(values: Sequence[float], level: float) -> int | None:
    """The index of the stacked value at a height."""
    for place, value in enumerate(values):
        if (level := level - value) < 0:
            return place
    return None


def _faded(rows: Sequence[str]) -> list[Content]:
    return [Content.styled(row, FADE[number * len(FADE) // len(rows)]) for number, row in enumerate(rows)]


def spread(words: Sequence[str], width: int) -> str:
    """Words in one line, evenly spaced from edge to edge; words without room are left out."""
    line = [" "] * width
    last = len(words) - 1
    for place, word in sorted(enumerate(words), key=lambda found: found[0] not in (0, last)):
        centre = place * width // last if last else 0
        begins = max(0, min(width - len(word), centre - len(word) // 2))
        around = line[max(0, begins - 1) : begins + len(word) + 1]
        if len(word) <= width and not "".join(around).strip():
            line[begins : begins + len(word)] = word
    return "".join(line)
