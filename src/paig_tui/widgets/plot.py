"""Values over time as blocks: a column chart with its axes, and a sparkline. No widget, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.content import Content

from paig_tui.text import MUTED, lines

BLOCKS = " ▁▂▃▄▅▆▇█"
FADE = ("$primary", "$primary 85%", "$primary 70%", "$primary 60%")
"""The columns' colour, from their tops down: it repeats the height, and tells nothing more."""
APART = 4
"""Cells for a value from which on there is a gap between two."""
AXIS = 6
"""Lines of a chart from which on it has axes."""


def resampled(values: Sequence[float], width: int) -> list[float]:
    """The values spread over `width` columns: each the mean of the time that it covers."""
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
    """What is drawn of the values: where there is room for gaps, each of them."""
    return values if not values or width // len(values) >= APART else resampled(values, width)


def _columns(sizes: Sequence[float], width: int, height: int) -> list[str]:
    if not sizes or width < 1 or height < 1:
        return [" " * max(0, width)] * max(0, height)
    wide, top = width // len(sizes), max(sizes) or 1.0
    found = []
    for line in range(height - 1, -1, -1):
        blocks = (_block(size / top * height * 8 - line * 8, line == 0 and size > 0) for size in sizes)
        found.append("".join(block * (wide - 1) + " " if wide >= APART else block for block in blocks).ljust(width))
    return found


def _block(eighths: float, visible: bool) -> str:
    """One cell; the smallest value that is not zero shows at least a line."""
    return BLOCKS[max(1 if visible else 0, min(8, round(eighths)))]


def spark(values: Sequence[float], width: int) -> str:
    """Values in one line, a little lower than that, so that they stand apart from the line above."""
    sizes = resampled(values, width) if values else []
    top = max(sizes, default=0.0) or 1.0
    return "".join(_block(size / top * 7, size > 0) for size in sizes)


def chart(
    values: Sequence[float], width: int, height: int, *, ticks: Sequence[str], unit: Callable[[float], str]
) -> Content:
    """A column chart; where there is room, with the peak at its left and the ticks, evenly spread, below it.

    Args:
        values: Oldest first.
        width: In cells.
        height: In lines.
        ticks: Words for the times, oldest first; the last one is the present.
        unit: How a value is written.
    """
    if height < AXIS:
        return lines(_faded(columns(values, width, height)))
    gutter = len(unit(max(values, default=0.0))) + 2
    room = max(1, width - gutter)
    sizes = _sizes(values, room)
    peak, last = max(sizes, default=0.0), height - 2
    marks = {last: unit(0.0)} | ({0: unit(peak), last // 2: unit(peak / 2)} if peak else {})
    drawn = []
    for number, line in enumerate(_faded(_columns(sizes, room, height - 1))):
        mark = marks.get(number, "")[: gutter - 2]
        drawn.append(Content.assemble((f"{mark:>{gutter - 2}} {'┤' if mark else '│'}", MUTED), line))
    return lines([*drawn, Content.styled(" " * gutter + spread(ticks, room - room % max(1, len(sizes))), MUTED)])


def _faded(rows: Sequence[str]) -> list[Content]:
    return [Content.styled(row, FADE[number * len(FADE) // len(rows)]) for number, row in enumerate(rows)]


def spread(words: Sequence[str], width: int) -> str:
    """Words in one line, evenly apart from the left edge to the right one; those without room are left out."""
    line = [" "] * width
    last = len(words) - 1
    for place, word in sorted(enumerate(words), key=lambda found: found[0] not in (0, last)):
        centre = place * width // last if last else 0
        begins = max(0, min(width - len(word), centre - len(word) // 2))
        around = line[max(0, begins - 1) : begins + len(word) + 1]
        if len(word) <= width and not "".join(around).strip():
            line[begins : begins + len(word)] = word
    return "".join(line)
