"""Text that a spreadsheet shows as it is, for CSV of the command line and of the terminal UI."""

from __future__ import annotations

import re

_FORMULA = re.compile(r"(?:^|(?<=;))(?=[=+\-@])")
"""Where a spreadsheet would begin a formula; where commas are decimal points, a semicolon begins a cell."""


def without_formula(text: str) -> str:
    """The text with a quote before each place where a spreadsheet would begin a formula.

    Args:
        text: A cell, without control characters.
    """
    return _FORMULA.sub("'", text)
