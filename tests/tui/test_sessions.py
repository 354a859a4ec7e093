"""Sessions of agents in the terminal UI, and the way to any object by its name."""

from __future__ import annotations

from decimal import Decimal

import pytest
from textual.widgets import Input

from paig_client.admin import Conflict
from paig_client.api.specs import MatchSpec, NamedLimitSpec, ProjectSpec
from paig_tui.widgets.table import Table
from tests.gateway.end_to_end.agents import SESSION, STEPS, play
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import Hand, at

pytestmark = pytest.mark.anyio


async def by_session(hand: Hand) -> None:
    """Usage by session."""
    await hand.press("3")
    await hand.sees("by [model]")
    await hand.press("left")
    await hand.sees("[session]", SESSION[:20])


async def test_a_session_is_shown_as_its_tree_and_stopped(world: World) -> None:
    """From the sum of a session to its agents; stopped with one key, and taken back with another."""
    key = await world.make_key("coder")
    await play(world.http, key)
    async with at(world, size=(160, 30)) as hand:
        await by_session(hand)
        await hand.point(f"group {SESSION}")
        await hand.press("enter")
        text = await hand.sees("main", "├─ Explore", "│  └─ Explore", "└─ Test", "key coder", "claude-haiku-4-5")
        assert "100%" in text
        await hand.press("x")
        await hand.sees("■ stopped by token:admin")
        assert (await play(world.http, key, steps=STEPS[:1]))[0].status_code == 429
        await hand.press("x")
        await hand.until(lambda: "stopped by" not in hand.text, "the session goes on")
        assert (await play(world.http, key, steps=STEPS[:1]))[0].status_code == 200
        await hand.press("l")
        await hand.sees(f"requests of session {SESSION}", "claude-haiku", "429 loop")
        await hand.press("escape", "escape")
        await hand.sees("[session]")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_the_tree_fits_every_size(world: World, size: tuple[int, int]) -> None:
    """Names of agents and their costs are whole, whatever the width."""
    await play(world.http, await world.make_key(f"coder-{size[0]}"), f"fits-{size[0]}")
    async with at(world, size=size) as hand:
        await hand.press("3")
        await hand.sees("by [model]")
        await hand.press("left")
        await hand.point(f"group fits-{size[0]}")
        await hand.press("enter")
        text = await hand.sees("│  └─ Explore", "└─ Test", "with below")
        digger = next(line for line in text.splitlines() if "│  └─ Explore" in line)
        assert "$0.0" in digger
        assert "…" not in digger


async def test_a_viewer_cannot_stop_sessions(world: World) -> None:
    await play(world.http, await world.make_key("looked-at"), "looked-at", STEPS[:1])
    async with at(world, read_only=True) as hand:
        await hand.press("3")
        await hand.sees("by [model]")
        await hand.press("left")
        await hand.point("group looked-at")
        await hand.press("enter")
        text = await hand.sees("session looked-at", "main")
        assert "x stop" not in text
        await hand.press("x")
        await hand.sees("This is read-only")
    assert (await world.admin.session("looked-at")).stopped_by is None


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("key palette-key", "[keys"),
        ("project palette-p", "[projects"),
        ("provider groq", "groq"),
        ("palette-k", "[keys"),
    ],
)
async def test_the_palette_goes_to_an_object_by_its_name(world: World, typed: str, seen: str) -> None:
    for make in (world.make_key("palette-key"), world.admin.projects.create("palette-project", ProjectSpec())):
        try:
            await make
        except Conflict:  # made by another of these tests
            continue
    async with at(world) as hand:
        known = lambda: any(key.name == "palette-key" for key in hand.app.state.keys or ())  # noqa: E731
        await hand.until(known, "the key is known")
        await hand.press("colon")
        await hand.until(lambda: bool(hand.app.screen.query("CommandInput")), "the palette")
        hand.app.screen.query_one("CommandInput", Input).value = typed
        await hand.sees("go to")
        await hand.press("enter")
        name = {"key palette-key": "palette-key", "palette-k": "palette-key", "provider groq": "groq"}.get(typed)
        await hand.until(lambda: bool(hand.app.screen.query(Table)), "the palette is closed")
        await hand.sees(seen)
        table = hand.app.screen.query(Table).first()
        await hand.until(lambda: table.current_key == (name or "palette-project"), "the cursor is there")


async def test_the_section_says_what_is_wrong_and_what_to_do(world: World) -> None:
    """A loop, a budget that is used up and a stop are words in the list, and sentences below it."""
    key = await world.make_key("budgeted")
    spec = NamedLimitSpec(match=MatchSpec(key="budgeted"), per="session", total=Decimal("0.035"))
    await world.admin.named_limits.create("agents", spec)
    await play(world.http, key, "over-budget")
    await play(world.http, await world.make_key("circling"), "in-circles", [STEPS[0]] * 20)
    await play(world.http, await world.make_key("halted"), "halted-session", STEPS[:2])
    await world.admin.stop_session("halted-session")
    async with at(world, size=(120, 40)) as hand:
        await hand.press("8")
        await hand.sees("sessions", "■ limit", "▲ loop", "■ stopped")
        await hand.point("circling in-circles")
        await hand.sees("It sent the same request 20 times", "to stop it: paig sessions stop")
        await hand.point("budgeted over-budget")
        await hand.sees("A spending limit had no room for it.", "of $0.0350 in 'agents'")
        await hand.press("enter")
        await hand.sees("session over-budget", "├─ Explore", "of $0.0350 in 'agents'", "from caches")
        await hand.press("escape")
        await hand.point("halted halted-session")
        await hand.sees("Stopped by token:admin", "x resume")
        await hand.press("x")
        await hand.sees("The session is resumed.")
        assert (await world.admin.session("halted-session")).stopped_by is None
        await hand.press("u")
        await hand.sees("Undone")
        assert (await world.admin.session("halted-session")).stopped_by == "token:admin"
        await hand.press("colon")
        await hand.pilot.pause()
        hand.app.screen.query_one(Input).value = "session in-circles"
        await hand.sees("Session in-circles")
        await hand.press("down", "enter")
        await hand.sees("session in-circles", "agents: what each spent")
    await world.admin.named_limits.delete("agents")
