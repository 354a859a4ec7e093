"""`make audit`: faults of the locked dependencies are found offline, an unasked database is not called success."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HASH = "    --hash=sha256:" + "0" * 64


def audit(tmp_path: Path, answer: object, lock: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A run of the script whose database gives that answer; None for one that does not answer."""
    program = tmp_path / "pip-audit"
    said = f"echo '{json.dumps(answer)}'" if answer is not None else "echo 'connection failed' >&2"
    program.write_text(f"#!/bin/sh\n{said}\nexit 1\n", "utf-8")
    program.chmod(0o700)
    lock = lock or ROOT / "requirements/gateway.txt"
    command = [sys.executable, str(ROOT / "scripts/audit.py"), "--pip-audit", str(program), "--lock", str(lock)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_what_is_locked_passes_and_an_unasked_database_is_no_success(tmp_path: Path) -> None:
    """0 only if the database was asked; 3 if it was not, with all the rest checked."""
    passed = audit(tmp_path, {"dependencies": [{"name": "h11", "version": "0.16.0", "vulns": []}]})
    assert (passed.returncode, passed.stderr) == (0, "")
    assert ", 0 found." in passed.stdout
    unasked = audit(tmp_path, None)
    assert unasked.returncode == 3
    assert "connection failed" in unasked.stderr
    assert ", 0 found." in unasked.stdout
    assert "NOT looked up" in unasked.stdout
    assert audit(tmp_path, {"dependencies": []}).returncode == 3
    (tmp_path / "pip-audit").unlink()
    command = [sys.executable, str(ROOT / "scripts/audit.py"), "--pip-audit", str(tmp_path / "pip-audit")]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 3


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        (f"urllib3==1.26.0 \\\n{HASH}\n", "urllib3 1.26.0 has a known fault (CVE-2025-66418): take 2.6.0 or newer"),
        ("no-such-package==1.0\n", "no-such-package 1.0 has no hashes"),
        (f"no-such-package>=1.0 \\\n{HASH}\n", "has no pinned version"),
        (f"pytest==0.1 \\\n{HASH}\n", "is installed, but 0.1 is locked"),
        ("# nothing\n", "the lock file lists nothing"),
    ],
)
def test_what_is_wrong_is_found_offline(tmp_path: Path, lock: str, says: str) -> None:
    """A fault counts even where the database does not answer."""
    file = tmp_path / "lock.txt"
    file.write_text(lock, "utf-8")
    done = audit(tmp_path, None, file)
    assert done.returncode == 1
    assert says in done.stdout


def test_an_advisory_is_a_finding(tmp_path: Path) -> None:
    """What the database lists is named."""
    listed = [{"name": "h11", "version": "0.16.0", "vulns": [{"id": "PYSEC-1"}]}]
    done = audit(tmp_path, {"dependencies": listed})
    assert done.returncode == 1
    assert "h11 0.16.0 has the advisory PYSEC-1" in done.stdout


def test_a_package_that_was_skipped_is_a_finding(tmp_path: Path) -> None:
    """It may have any fault."""
    done = audit(tmp_path, {"dependencies": [{"name": "h11", "skip_reason": "not found"}]})
    assert done.returncode == 1
    assert "h11 was not looked up: not found" in done.stdout


@pytest.mark.parametrize(
    ("licence", "code"),
    [
        ("GNU General Public License v3 (GPLv3)", 1),
        ("GNU Affero General Public License v3", 1),
        ("GNU Lesser General Public License v3 (LGPLv3)", 3),
    ],
)
def test_licences_that_bind_who_passes_the_gateway_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, licence: str, code: int
) -> None:
    """By their names in words, too."""
    about = tmp_path / "some_thing-1.0.dist-info" / "METADATA"
    about.parent.mkdir()
    classifier = f"License :: OSI Approved :: {licence}"
    about.write_text(f"Metadata-Version: 2.1\nName: some-thing\nVersion: 1.0\nClassifier: {classifier}\n", "utf-8")
    file = tmp_path / "lock.txt"
    file.write_text(f"some-thing==1.0 \\\n{HASH}\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = audit(tmp_path, None, file)
    assert (done.returncode, licence in done.stdout) == (code, code == 1)
