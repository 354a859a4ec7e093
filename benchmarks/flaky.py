"""Two simulated providers, of which one fails a fifth of its requests: `python benchmarks/flaky.py PORT`."""

from __future__ import annotations

import asyncio
import random
import sys

from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.faults import Faults
from paig_gateway.simulator.serve import running_simulator
from paig_gateway.simulator.traffic import Received

SHARE = 0.2
FAULTS = (
    *(Faults(status=500), Faults(status=503), Faults(status=529), Faults(status=502), Faults(status=504)),
    *(Faults(reset=True), Faults(reset=True), Faults(error_first=True), Faults(error_first=True), Faults(delay=30)),
)
"""Each as likely as another."""


def simulator(seed: int = 1) -> Simulator:
    """Providers of which the mount `openai-flaky` fails as often as `SHARE` says."""
    draw = random.Random(seed)

    def fault(received: Received) -> Faults | None:
        if received.path.startswith("/openai-flaky/") and draw.random() < SHARE:
            return draw.choice(FAULTS)
        return None

    return Simulator(faults=fault, keep=1)


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    async with running_simulator(simulator(), port=port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
