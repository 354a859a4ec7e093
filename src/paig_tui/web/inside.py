"""What runs in the child process: the terminal UI, told by its standard input whom to ask.

Neither arguments nor environment hold the token: both can be read from outside while the process runs.
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
    """So many bytes and not one more, for the rest is the driver's."""
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            raise EOFError("the server closed the pipe before it said whom to ask")
        data += part
    return data


if __name__ == "__main__":
    sys.exit(main())
