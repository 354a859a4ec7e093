"""An operator's night with the terminal UI alone: what spends, why is it refused, stop it, and let the others go on."""

from __future__ import annotations

import pytest

from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import ask, at

pytestmark = pytest.mark.anyio


async def until(world: World, key: str, wanted: int) -> None:
    """Ask until an answer has that status."""
    for _ in range(100):
        if await ask(world, key) == wanted:
            return
    raise AssertionError(f"never {wanted}")


async def test_the_night(world: World) -> None:
    """By keys alone, from the first look to the last."""
    runaway = await world.make_key("night-runaway", daily="0.01")
    deploy = await world.make_key("night-deploy", daily="0.0012")
    await until(world, runaway, 402)
    await until(world, deploy, 402)
    async with at(world, size=(120, 36)) as hand:
        # Which key spends? Usage by key, the most expensive first.
        await hand.press("3", "right")
        text = await hand.sees("night-runaway", "night-deploy")
        assert text.index("night-runaway") < text.index("night-deploy")

        # Why was a request refused? The key's requests, and the latest of them in full.
        await hand.press("2")
        await hand.point("night-deploy")
        await hand.press("l")
        await hand.sees("402")
        await hand.press("enter")
        await hand.sees("limit-exceeded", "daily")
        await hand.press("escape", "escape")

        # Stop the one.
        await hand.point("night-runaway")
        await hand.press("d")
        await hand.sees("○ disabled")
        await until(world, runaway, 403)

        # Let the other go on: its cap is raised, and taken back with one key when the morning comes.
        await hand.point("night-deploy")
        await hand.press("c")
        await hand.fill(daily="1")
        await hand.press("enter")
        await hand.sees("u Undo")
        await until(world, deploy, 200)
        await hand.press("u")
        await hand.sees("Undone")
        assert str((await world.admin.keys.get("night-deploy")).limits.daily) == "0.0012"
