"""Which modules of paig one streamed chat runs: a figure for how many files a reader has to know.

    python scripts/modules_run.py

A gateway and a simulated provider serve a few streamed chats; printed are the modules of which code ran in every one,
and how many they are. What runs beside requests (polling, health) is not in every one, and so is not counted.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent.parent
SRC = str(HERE / "src") + os.sep
ROUNDS = 6
BODY = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}], "stream": True}

ran: set[str] = set()
watching = False


def note(frame: FrameType, event: str, argument: object) -> None:
    """Remember the file of a function that is called."""
    if watching and event == "call" and (name := frame.f_code.co_filename).startswith(SRC):
        ran.add(name.removeprefix(SRC).removesuffix(".py").replace(os.sep, "."))


async def chats(home: Path, tools: Any) -> set[str]:
    """The modules that every one of several chats ran."""
    global watching
    from paig_gateway.simulator import Simulator
    from paig_gateway.simulator.serve import running_simulator

    common: set[str] | None = None
    async with (
        running_simulator(Simulator()) as base,
        tools.running_world(home, tools.simulated_providers(base)) as world,
    ):
        for number in range(ROUNDS):
            await asyncio.sleep(0.3)
            ran.clear()
            watching = number > 0
            headers = {"authorization": f"Bearer {world.key}"}
            async with world.http.stream(
                "POST", "/proxy/openai/chat/completions", json=BODY, headers=headers
            ) as answer:
                await answer.aread()
                assert answer.status_code == 200, answer.text
            await asyncio.sleep(0.3)  # for the settlement, which follows the answer
            watching = False
            if number:
                common = set(ran) if common is None else common & ran
    found = common or set()
    return {
        name for name in found if name.startswith("paig_gateway") and ".simulator" not in name and ".admin" not in name
    }


def main() -> None:
    """Print them, and their number."""
    sys.path.insert(0, str(HERE))
    threading.setprofile(note)
    sys.setprofile(note)
    with tempfile.TemporaryDirectory() as folder:
        tools = import_module("tests.gateway.end_to_end.conftest")
        os.environ |= {"PAIG_SECRET_KEY": "a-secret-key-for-counting-0123456789", "PAIG_ADMIN_TOKEN": tools.ADMIN}
        found = asyncio.run(chats(Path(folder), tools))
    print("\n".join(sorted(found)))
    print(f"{len(found)} modules")


if __name__ == "__main__":
    main()
