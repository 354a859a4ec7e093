"""Audit the locked dependencies: hashes, installed versions, licences, known faulty versions, and published advisories.

Run as `python scripts/audit.py [--lock LOCK] [--pip-audit PROGRAM]`. All but the last check work offline. Exit codes:
0, everything was looked up and nothing found; 1, something was found; 3, nothing was found, but the advisory database
could not be asked.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.version import Version
from sbom import ROOT, components, licence_of

FOUND, NOT_ASKED = 1, 3
_COPYLEFT = re.compile(r"(?<!L)GPL|(?<!Lesser )General Public License")
"""In a licence that would bind those who pass the gateway on."""
_SECONDS = 300


def offline(lock: str, faulty: str) -> Iterator[str]:
    """What is wrong with a lock file, as far as this machine knows."""
    first_good = {name: (Version(version), advisory) for name, version, advisory in _rows(faulty)}
    listed = list(components(lock))
    if not listed:
        yield "the lock file lists nothing"
    for line in lock.splitlines():
        if re.match(r"[A-Za-z0-9]", line) and "==" not in line:
            yield f"'{line.strip()}' has no pinned version"
    for one in listed:
        name, version = str(one["name"]), str(one["version"])
        [files] = one["externalReferences"]  # type: ignore[misc]
        if not files["hashes"]:  # type: ignore[has-type]
            yield f"{name} {version} has no hashes"
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = version  # for another system
        if installed != version:
            yield f"{name} {installed} is installed, but {version} is locked"
        if _COPYLEFT.search(licence_of(name) or ""):
            yield f"{name} {version} has the licence {licence_of(name)}"
        good, advisory = first_good.get(name, (Version("0"), ""))
        if Version(version) < good:
            yield f"{name} {version} has a known fault ({advisory}): take {good} or newer"


def online(program: Path, lock: Path) -> Sequence[str] | None:
    """What the advisory database says of a lock file; None if it could not be asked, with the reason printed."""
    command = [str(program), "--strict", "--disable-pip", "--require-hashes", "--format", "json", "--requirement"]
    try:
        done = subprocess.run([*command, str(lock)], capture_output=True, text=True, timeout=_SECONDS)
        answer = json.loads(done.stdout)["dependencies"]
        if not answer:
            raise ValueError("no dependency is in the answer")
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as error:
        why = error if isinstance(error, (OSError, subprocess.TimeoutExpired)) else done.stderr.strip()[-300:]
        print(f"The advisory database was not asked: {why or 'pip-audit gave no answer'}", file=sys.stderr)
        return None
    skipped = [f"{one['name']} was not looked up: {one['skip_reason']}" for one in answer if "skip_reason" in one]
    return skipped + [
        f"{one['name']} {one.get('version', '')} has the advisory {fault['id']}"
        for one in answer
        for fault in one.get("vulns", ())
    ]


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong; returns the exit code."""
    parser = argparse.ArgumentParser(description="Audit the locked dependencies.")
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements/gateway.txt")
    parser.add_argument("--pip-audit", type=Path, default=ROOT / ".cache/audit/bin/pip-audit")
    given = parser.parse_args(arguments)
    lock = given.lock.read_text("utf-8")
    wrong = list(offline(lock, (ROOT / "scripts/faulty.txt").read_text("utf-8")))
    looked_up = online(given.pip_audit, given.lock)
    wrong += looked_up or ()
    for line in wrong:
        print(line)
    many = len(list(components(lock)))
    print(f"{many} packages: hashes, versions, licences and known faulty versions checked, {len(wrong)} found.")
    if looked_up is None:
        print("NOT looked up in the advisory database: run `make audit` again where it answers.")
    if wrong:
        print("Take newer versions with `make lock ARGS=--upgrade`.")
        return FOUND
    return NOT_ASKED if looked_up is None else 0


def _rows(faulty: str) -> Iterator[list[str]]:
    for line in faulty.splitlines():
        if line and not line.startswith("#"):
            yield line.split()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
