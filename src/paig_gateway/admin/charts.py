"""Charts as inline SVG, without scripts or styles, and with a text for screen readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLUMN, GAP, HEIGHT, FOOT = 30, 8, 120, 22


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


def column_chart(values: Sequence[Value], summary: str) -> str:
    """Values as columns, each with its label below; the highest fills the height.

    Args:
        values: From left to right.
        summary: The chart's content as text, for screen readers.
    """
    top = max((value.size for value in values), default=0.0)
    width = len(values) * (COLUMN + GAP)
    parts = [
        f'<svg class="columns" viewBox="0 0 {width} {HEIGHT + FOOT}" role="img" aria-label="{escape(summary)}">',
        f'<line class="axis" x1="0" x2="{width}" y1="{HEIGHT}" y2="{HEIGHT}"/>',
    ]
    for number, value in enumerate(values):
        high = max(2.0, value.size / top * (HEIGHT - 8)) if top and value.size > 0 else 0.0
        left = number * (COLUMN + GAP) + GAP / 2
        parts.append(
            f'<g><title>{escape(value.text)}</title><rect class="hit" x="{left:g}" y="0" width="{COLUMN}" '
            f'height="{HEIGHT}"/><rect class="bar" x="{left:g}" y="{HEIGHT - high:.1f}" width="{COLUMN}" '
            f'height="{high:.1f}" rx="3"/><text x="{left + COLUMN / 2:g}" y="{HEIGHT + 15}">'
            f"{escape(value.label)}</text></g>"
        )
    return "".join([*parts, "</svg>"])


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
