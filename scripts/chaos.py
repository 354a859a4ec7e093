"""Break the gateway in every way, and compare its books afterwards with the provider's and with what it had said.

    python scripts/chaos.py [--write] [--minutes 30] [--kills 120] [--only SUBSTRING] [--keep]

First the matrix of faults (`fault_matrix`): whole gateways under load. Then the kills (`ledger_kills`): ledgers that
die at every step of their transactions. What does not fit into the time is left out, and said to be. Results are kept
in .cache/chaos.json, so that a run may be made in pieces with --only and --keep; --write puts all of them into
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fault_matrix
import ledger_kills
from fault_matrix import Cell

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs/reliability.md", ROOT / ".cache/chaos.json"
CELL_SECONDS, KILL_SECONDS = 90.0, 1.5
"""What a cell, and a kill, are reckoned to take at most."""


def main() -> None:
    """Break, compare, report; ends with 1 where anything is lost, free or wrong."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", action="store_true", help="put the tables into docs/reliability.md")
    options.add_argument("--minutes", type=float, default=30, help="how long it may take in all")
    options.add_argument("--kills", type=int, default=120, help="kills of ledgers in all, half on each database")
    options.add_argument("--only", default="", help="only cells whose name has this, or `kills`")
    options.add_argument("--keep", action="store_true", help="keep the results of earlier runs")
    given = options.parse_args()
    until = time.monotonic() + given.minutes * 60
    if not given.keep:
        RESULTS.unlink(missing_ok=True)
    RESULTS.parent.mkdir(exist_ok=True)
    failed = False
    for fault, database, nodes in fault_matrix.cells():
        name = Cell(fault, database, nodes).name
        if given.only not in name or time.monotonic() + CELL_SECONDS > until:
            continue
        cell = asyncio.run(fault_matrix.run_cell(fault, database, nodes))
        failed |= not cell.good
        _keep({"cells": {name: cell.plain()}})
        print(f"{name}: {cell.plain()}", flush=True)
    if given.only in ("", "kills"):
        kills = min(given.kills, int((until - time.monotonic()) / KILL_SECONDS))
        if kills > 0:
            tables, wrong = ledger_kills.tables(kills)
            failed |= wrong
            _keep({"kills": tables})
            print(tables)
    kept = _kept()
    found = [
        Cell(**kept["cells"][name]) for place in fault_matrix.cells() if (name := Cell(*place).name) in kept["cells"]
    ]
    matrix = fault_matrix.table(found)
    missing = [name for place in fault_matrix.cells() if (name := Cell(*place).name) not in kept["cells"]]
    if missing:
        matrix += f"\n\nNot run in the time that there was: {', '.join(missing)}."
    notes = [f"- {cell.name}: {note}" for cell in found for note in cell.notes]
    if notes:
        matrix += "\n\n" + "\n".join(notes)
    print(matrix)
    if given.write:
        page = _replaced(PAGE.read_text("utf-8"), "matrix", matrix)
        PAGE.write_text(_replaced(page, "kills", kept["kills"]) if kept["kills"] else page, "utf-8")
    raise SystemExit(failed)


def _kept() -> dict[str, Any]:
    """The results so far."""
    found: dict[str, Any] = {"cells": {}, "kills": ""}
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else found


def _keep(found: Mapping[str, Any]) -> None:
    """Add to the results, which another run may be adding to as well."""
    with RESULTS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = _kept()
        kept["cells"] |= found.get("cells", {})
        kept["kills"] = found.get("kills", kept["kills"])
        RESULTS.write_text(json.dumps(kept))


def _replaced(page: str, name: str, text: str) -> str:
    """A page with another text between its markers of that name."""
    head, _, rest = page.partition(f"<!-- {name} -->\n")
    return f"{head}<!-- {name} -->\n{text}\n<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"


if __name__ == "__main__":
    main()
