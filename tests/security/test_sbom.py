"""`make sbom`: every locked package is in the bill of materials, with its hashes and licence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_bill_lists_what_is_locked(tmp_path: Path) -> None:
    """Name, version and hashes of each, and nothing else; twice the same."""
    out = tmp_path / "sbom.json"
    lock = ROOT / "requirements/gateway.txt"
    command = [sys.executable, str(ROOT / "scripts/sbom.py"), str(lock), str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    first = out.read_bytes()
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert out.read_bytes() == first
    bill = json.loads(first)
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "paig")
    pinned = re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;]+)", lock.read_text("utf-8"), re.M)
    listed = [(one["name"], one["version"]) for one in bill["components"]]
    assert listed == [(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in pinned]
    assert len(listed) > 30
    hashes = [one["externalReferences"][0]["hashes"] for one in bill["components"]]
    assert all(hashes)
    assert sum(map(len, hashes)) == lock.read_text("utf-8").count("--hash=sha256:")
    licensed = {one["name"]: one["licenses"][0]["license"]["name"] for one in bill["components"] if "licenses" in one}
    assert {"cryptography", "fastapi", "sqlmodel", "uvicorn"} <= licensed.keys()
    said = (tmp_path / "licences.md").read_text("utf-8")
    assert all(f"{name} {version}" in said for name, version in listed)
    assert "MIT" in said
    assert not re.search(r"(?<!L)GPL", said), "a package's licence would bind those who pass the gateway on"
