"""Charts as inline SVG, without scripts or styles, and with a text for screen readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

COLUMN, GAP, HEIGHT, FOOT, HEAD = 30, 8, 130, 24, 16
GUTTER = 62
"""Room for the axis's labels, at the left of the columns."""


@dataclass(frozen=True, slots=True)
class Value:
    """One column of a chart.

    Attributes:
        label: The text below it.
        size: How high it is, in any unit.
        text: The value in words, shown where the pointer rests.
    """

    label: str
    size: float
    text: str


def rounded_up(value: float) -> float:
    """The next larger number that is easy to read on an axis: 1, 2, 2.5 or 5 times a power of ten."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999999)


def column_chart(values: Sequence[Value], title: str, summary: str, unit: Callable[[float], str], *, id: str) -> str:
    """Values as columns over an axis, each with its label below; the last one is marked as the present.

    Args:
        values: From left to right.
        title: What is shown.
        summary: A description of the chart, for screen readers.
        unit: How a value is written at the axis.
        id: The prefix of its elements' ids; unique on the page.
    """
    top = rounded_up(max((value.size for value in values), default=0.0))
    width, foot = GUTTER + len(values) * (COLUMN + GAP), HEAD + HEIGHT
    parts = [
        f'<svg class="columns" viewBox="0 0 {width} {foot + FOOT}" role="img" aria-labelledby="{id}-t {id}-d">'
        f'<title id="{id}-t">{escape(title)}</title><desc id="{id}-d">{escape(summary)}</desc>'
    ]
    for share in (0.0, 0.5, 1.0) if top else (0.0,):
        at = foot - share * HEIGHT
        parts.append(
            f'<line class="{"grid" if share else "axis"}" x1="{GUTTER - 6}" x2="{width}" y1="{at:g}" y2="{at:g}"/>'
            f'<text class="tick" x="{GUTTER - 10}" y="{at + 4:g}">{escape(unit(share * top))}</text>'
        )
    for number, value in enumerate(values):
        high = max(2.0, value.size / top * HEIGHT) if top and value.size > 0 else 0.0
        left, last = GUTTER + number * (COLUMN + GAP) + GAP / 2, number == len(values) - 1
        off = "" if (len(values) - 1 - number) % 2 == 0 else ' class="second"'
        parts.append(
            f'<g><title>{escape(value.text)}</title><rect class="hit" x="{left:g}" y="{HEAD}" width="{COLUMN}" '
            f'height="{HEIGHT}"/><rect class="bar{" now" if last else ""}" x="{left:g}" y="{foot - high:.1f}" '
            f'width="{COLUMN}" height="{high:.1f}" rx="3"/><text{off} x="{left + COLUMN / 2:g}" y="{foot + 17}">'
            f"{escape(value.label)}</text></g>"
        )
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart.

    Attributes:
        name: What it is; escaped.
        size: How long it is, in any unit.
        amount: The value in words; escaped.
        more: What stands behind that; escaped.
        below: What stands below it; escaped.
    """

    name: str
    size: float
    amount: str
    more: str = ""
    below: str = ""


def bar_chart(bars: Sequence[Bar]) -> str:
    """Values as bars from left to right, all of one scale, each with its name before it and its amount behind it."""
    most = max((bar.size for bar in bars), default=0.0)
    rows = (
        f'<li class="barrow"><span class="name">{bar.name}</span>{share_bar(bar.size / most if most else 0.0)}'
        f'<span class="amount">{bar.amount} <span class="soft">{bar.more}</span></span>{bar.below}</li>'
        for bar in bars
    )
    return f'<ul class="plain bars">{"".join(rows)}</ul>'


def share_bar(share: float, *, kind: str = "", held: float = 0.0) -> str:
    """A share as a bar; the text beside it has the same value.

    Args:
        share: From 0 to 1.
        kind: A class of the style sheet: `full`, `near` or none.
        held: The held amount, shown as a paler piece after it.
    """
    drawn, more = max(0.0, min(share, 1.0)) * 200, max(0.0, min(share + held, 1.0)) * 200
    return (
        f'<svg class="share {kind}" viewBox="0 0 200 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="ground" width="200" height="8" rx="4"/><rect class="held" width="{more:.1f}" height="8" rx="4"/>'
        f'<rect class="bar" width="{drawn:.1f}" height="8" rx="4"/></svg>'
    )
