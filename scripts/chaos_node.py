"""`paig`, with a clock that somebody else sets: `python scripts/chaos_node.py OFFSET_FILE serve …`.

The file holds the seconds by which this process's clock is wrong; it is read again as soon as it changes.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

LOOK_SECONDS = 0.1

_true, _monotonic = time.time, time.monotonic
_FILE = ""
_state = {"look": 0.0, "ahead": 0.0}


def _now() -> float:
    """Seconds since the epoch, as the file would have them."""
    if _monotonic() >= _state["look"]:
        _state["look"] = _monotonic() + LOOK_SECONDS
        with open(_FILE, encoding="ascii") as file:
            _state["ahead"] = float(file.read() or 0)
    return _true() + _state["ahead"]


def _utc_now() -> datetime:
    """The present, in UTC, by that clock."""
    return datetime.fromtimestamp(_now(), UTC)


if __name__ == "__main__":
    _FILE = sys.argv.pop(1)
    time.time = _now
    from paig_gateway.database import engine

    engine.utc_now = _utc_now
    from paig_client.cli import main

    sys.argv[0] = "paig"
    main()
