"""What it costs to import the client and to start the command line, each in a fresh interpreter.

    python benchmarks/imports.py [--times 20]

Prints the median and the worst of the milliseconds, the interpreter's own start taken off.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

MEASURED = {
    "import paig_client": "import paig_client",
    "… errors and tags": "import paig_client; paig_client.from_exception, paig_client.tags",
    "… the admin client": "import paig_client; paig_client.AdminClient",
    "paig --version": "import paig_client.cli; paig_client.cli.main(['--version'])",
    "paig --help": "import paig_client.cli; paig_client.cli.main(['--help'])",
}


def milliseconds(code: str, times: int) -> list[float]:
    """How long a fresh interpreter takes for `code`, several times."""
    found = []
    for _ in range(times + 1):  # the first fills the caches
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        found.append((time.perf_counter() - before) * 1000)
    return found[1:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    bare = statistics.median(milliseconds("pass", times))
    print(f"{'':28}{'median':>10}{'worst':>10}")
    for name, code in MEASURED.items():
        taken = milliseconds(code, times)
        print(f"{name:28}{statistics.median(taken) - bare:7.1f} ms{max(taken) - bare:7.1f} ms")


if __name__ == "__main__":
    main()
