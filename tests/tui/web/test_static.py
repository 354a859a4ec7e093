"""The files that browsers get."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

STATIC = files("paig_tui.web") / "static"


def test_xterm_is_what_was_looked_at() -> None:
    """Every file of xterm.js is byte for byte the one whose digest was written down, and its licence is beside it."""
    folder = STATIC / "xterm"
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text("ascii").splitlines())
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    assert {name: found.get(name) for name in sums} == sums
    assert set(found) - set(sums) == {"LICENSE", "README.md", "SHA256SUMS"}
    assert (folder / "LICENSE").read_text("utf-8").count("Permission is hereby granted, free of charge") == 3


def test_pages_hold_no_script_and_name_no_other_server() -> None:
    """Everything is a file of our own: the policy would stop anything else, and the page would be broken."""
    for file in STATIC.iterdir():
        if file.is_file():
            text = file.read_text("utf-8")
            assert not re.search(r"(?:src|href|url\(|from |import\()\s*=?\s*[\"']?(?:https?:)?//", text), file.name
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|<style|\sstyle=|innerHTML|\beval\b", text), file.name
