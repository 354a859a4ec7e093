"""Hold the repository clean: no path of one machine, no package registry's address, no file grown out of hand.

Run as `python scripts/check_files.py`; reads what git tracks and what it would track, prints each offence and exits
with 1 if there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

MAX_LINES = 800  # of a file under src/
# Longer files, each with the reason why it is better whole.
LONG_FILES: dict[str, str] = {
    "src/paig_gateway/ledger/transitions.py": "every transition of money in one place, to be read as one",
}

# The patterns are spelt so that they do not match this file.
FORBIDDEN: dict[str, re.Pattern[str]] = {
    "a path of one machine": re.compile(
        r"(?<![\w./-])/(?:root|work|(?:home|Users|tmp)/[\w.-]+)/|\bfile:[/]{3}",
    ),
    "a package registry's address": re.compile(
        r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.org|yarnpkg\.com)\b|/simple[/]|\"resolved\": \"http",
    ),
    "a choice of package index": re.compile(r"\bindex[-_]url\b|--find[-]links\b", re.IGNORECASE),
}


def tracked(root: Path) -> list[str]:
    """The files that git tracks under `root`, with those it would track at the next `git add`; paths from `root`."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted(name for name in set(names) if name and (root / name).is_file())


def problems(root: Path, names: Iterable[str]) -> Iterator[str]:
    """Every offence in these files, as lines to print; files that are not text are passed over."""
    for name in names:
        try:
            lines = (root / name).read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            yield from (f"{name}:{number}: {what}" for what, pattern in FORBIDDEN.items() if pattern.search(line))
        if name.startswith("src/") and name.endswith(".py") and name not in LONG_FILES and len(lines) > MAX_LINES:
            yield f"{name}: {len(lines)} lines; split it, or list it in LONG_FILES with the reason"


def main(root: Path) -> int:
    """Print the offences in the repository at `root`; the exit status says whether there were any."""
    names = tracked(root)
    found = list(problems(root, names))
    print("\n".join(found) or f"files: {len(names)} without offence")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parent.parent))
