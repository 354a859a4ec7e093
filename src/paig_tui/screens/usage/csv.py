"""Totals as CSV."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

from paig_client.api.resources import UsageReport
from paig_client.spreadsheet import without_formula
from paig_tui.text import safe

FIGURES = (
    "requests",
    "errors",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost",
    "list_cost",
    "difference",
)


def to_csv(group: str, report: UsageReport) -> str:
    """A CSV line for each group; costs are US dollars. A name that a spreadsheet would run as a formula is quoted."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([group, *FIGURES])
    for item in report.items:
        name = without_formula(safe(item.group.get(group) or ""))
        writer.writerow([name, *(_plain(getattr(item, figure)) for figure in FIGURES)])
    return out.getvalue()


def _plain(figure: Decimal | int) -> str:
    """Digits alone: a small amount has no exponent."""
    return f"{figure:f}" if isinstance(figure, Decimal) else str(figure)
