"""The page of bounds is in step with the formats that there are."""

from __future__ import annotations

import re
from pathlib import Path

from paig_gateway.formats.registry import FORMATS

PAGE = (Path(__file__).parents[3] / "docs" / "bounds.md").read_text("utf-8")


def test_every_format_has_a_row_and_no_row_is_of_none() -> None:
    """The first column of the table names exactly the formats of the registry."""
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == {fmt.name for fmt in FORMATS}
