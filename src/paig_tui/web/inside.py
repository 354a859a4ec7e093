"""Runs in the child process: the terminal UI; its gateway and token come through standard input.

Arguments and environment must not hold the token: other processes can read both.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> int:
    """Read the opening message, then run the terminal UI on what follows it."""
    opening = json.loads(_exactly(int.from_bytes(_exactly(4), "big")))
    os.environ.update(opening.pop("environment"))
    from paig_tui.app import main as run

    return run(**opening)


def _exactly(size: int) -> bytes:
    """Read exactly `size` bytes: the rest belongs to the driver."""
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            raise EOFError("the server closed the pipe before the opening message was complete")
        data += part
    return data


if __name__ == "__main__":
    sys.exit(main())
