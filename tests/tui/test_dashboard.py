"""The dashboard at a real gateway."""

from __future__ import annotations

import pytest

from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import ask, at

pytestmark = pytest.mark.anyio


async def test_a_request_appears_as_it_finishes(world: World) -> None:
    """A request shows up in the live tail with its cost, and the figures count it."""
    async with at(world) as hand:
        assert await ask(world, world.key) == 200
        text = await hand.sees("● 200 ok", "gpt-5", "tester", "$0.00")
        assert "● following" in text
        await hand.sees("● none")


async def test_pause_filter_and_errors_only(world: World) -> None:
    """The tail stops, is filtered, and shows errors only."""
    key = await world.make_key("second")
    async with at(world) as hand:
        await ask(world, world.key)
        await ask(world, key, say="[sim:status=500] no")
        await hand.sees("● 200 ok", "✕ 500")
        await hand.press("x")
        await hand.sees("errors only")
        assert "● 200 ok" not in hand.text
        await hand.press("x", "slash", *"tester", "enter")
        await hand.sees("filter: tester", "● 200 ok")
        assert "✕ 500" not in hand.text
        await hand.press("escape", "p")
        await hand.sees("■ paused")
        await ask(world, key)
        await hand.sees("1 new")
        await hand.press("p")
        await hand.sees("● following")


async def test_a_request_in_full(world: World) -> None:
    """Enter on a request shows attempts, usage, and how its cost is known."""
    async with at(world, size=(140, 40)) as hand:
        await ask(world, world.key)
        await hand.sees("● 200 ok")
        await hand.press("enter")
        await hand.sees(
            "exact: the provider's own usage", "attempts (1)", "output", "1. openai · ", "gpt-5 · $0.0", "req_"
        )


async def test_the_fullest_caps_come_first(world: World) -> None:
    """The cap that bites is shown as full, or nearly."""
    key = await world.make_key("small", daily="0.001")
    async with at(world) as hand:
        assert await ask(world, key) == 200
        while await ask(world, key) == 200:
            pass
        await hand.sees("■ 402", "small", "50%")


async def test_the_first_run_is_guided(world: World) -> None:
    """A gateway that was never asked says what to do next, until the first request has come."""
    async with at(world) as hand:
        await hand.sees("first run", "✓ done", "▶ next", "Send the first request")
        await ask(world, world.key)
        await hand.until(lambda: "first run" not in hand.text, "the end of the guide")
