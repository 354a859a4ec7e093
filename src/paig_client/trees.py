"""A tree as lines of text: the branches before each entry."""

from __future__ import annotations

from collections.abc import Sequence


def branches(depths: Sequence[int]) -> list[str]:
    """The lines before each entry of a tree, parents before their children: `├─ `, `│  └─ `.

    Args:
        depths: Each entry's depth; 0 for the root.
    """
    last: dict[int, bool] = {}
    found: list[str] = []
    for place in range(len(depths) - 1, -1, -1):  # from below, it is known whether a sibling follows
        depth = depths[place]
        is_last = last.get(depth, True)
        stem = "".join("   " if last.get(level, True) else "│  " for level in range(1, depth))
        found.append(stem + ("└─ " if is_last else "├─ ") if depth else "")
        last = {level: gone for level, gone in last.items() if level < depth} | {depth: False}
    return found[::-1]
