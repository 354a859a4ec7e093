"""Branches before the entries of a tree."""

from __future__ import annotations

import pytest

from paig_client.trees import branches


@pytest.mark.parametrize(
    ("depths", "lines"),
    [
        ([], []),
        ([0], [""]),
        ([0, 1, 1], ["", "├─ ", "└─ "]),
        ([0, 1, 2, 2, 1, 2], ["", "├─ ", "│  ├─ ", "│  └─ ", "└─ ", "   └─ "]),
        ([0, 1, 2, 3, 1], ["", "├─ ", "│  └─ ", "│     └─ ", "└─ "]),
    ],
)
def test_branches(depths: list[int], lines: list[str]) -> None:
    assert branches(depths) == lines
