"""docs/security.md names a test for each line, and each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| `([^`|]+)::([^`|]+)` \|$")


def rows() -> list[tuple[str, str]]:
    """The table's lines: each one's file and test."""
    section = (ROOT / "docs/security.md").read_text("utf-8").partition("## What is defended")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    found = [_ROW.match(line) for line in lines]
    assert [line for line, match in zip(lines, found, strict=True) if match is None] == []
    return [(match[4], match[5]) for match in found if match is not None]


def test_each_line_names_a_test_that_exists() -> None:
    """The file is there, and so is a test of that name in it."""
    known: dict[str, set[str]] = {}
    missing = []
    for path, name in rows():
        if path not in known:
            file = ROOT / "tests" / path
            tree = ast.parse(file.read_text("utf-8")) if file.is_file() else ast.Module([], [])
            known[path] = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        if name not in known[path]:
            missing.append(f"{path}::{name}")
    assert missing == []
    assert len(rows()) > 40


def test_each_attack_is_named() -> None:
    """Each file of attacks in this folder shows at least one line of the page."""
    named = {path for path, _ in rows()}
    here = {f"security/{file.name}" for file in Path(__file__).parent.glob("test_*.py")}
    assert here - named == {"security/test_security_page.py"}
