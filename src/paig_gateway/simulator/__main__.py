"""`python -m paig_gateway.simulator` runs the simulator as a server."""

from __future__ import annotations

import argparse

import uvicorn

from .app import Simulator
from .serve import MOUNTS


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m paig_gateway.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8788)
    parser.add_argument("--chunks", type=int, default=8, help="text deltas in a stream (default: 8)")
    parser.add_argument("--keep", type=int, default=500, help="requests to show at /sim/requests (default: 500)")
    options = parser.parse_args()
    base = f"http://{options.host}:{options.port}"
    for name, path in MOUNTS.items():
        print(f"{base}{path:<18} {name}")
    print(f"{base}{'/sim/requests':<18} what came in\n{base}{'/sim/served':<18} what was billed", flush=True)
    uvicorn.run(
        Simulator(chunks=options.chunks, keep=options.keep),
        host=options.host,
        port=options.port,
        access_log=False,
        log_level="warning",
        server_header=False,
    )


if __name__ == "__main__":
    main()
