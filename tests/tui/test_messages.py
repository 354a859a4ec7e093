"""Messages have a place of their own: they cover no row, no key and no dialog, and nothing typed is lost."""

from __future__ import annotations

import pytest
from textual.content import Content

from paig_tui.screens.requests.list import Requests
from paig_tui.widgets.chrome import Footer, Frame, Messages
from paig_tui.widgets.table import Table
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import Hand, ask, at

pytestmark = pytest.mark.anyio


def places(hand: Hand) -> tuple[int, int, int, int]:
    """Where the frame ends, where the messages begin and end, where the last line is."""
    screen = hand.app.screen
    frame, messages = screen.query_one(Frame).region, screen.query_one(Messages).region
    return frame.bottom, messages.y, messages.bottom, screen.query_one(Footer).region.y


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_message_covers_no_row(world: World, size: tuple[int, int]) -> None:
    """In a section and in a list above it: the table gets shorter, and its last row stays in sight."""
    for number in range(30):
        await world.make_key(f"covered-{size[0]}-{number:02}")
    async with at(world, size=size) as hand:
        await hand.press("2")
        await hand.sees(f"covered-{size[0]}-00")
        await hand.press("end", "d")
        await hand.sees("is disabled.", "u undoes it")
        frame, begins, ends, footer = places(hand)
        assert frame <= begins < ends <= footer
        assert hand.app.screen.query_one(Table).current is not None
        await hand.press("u")
        await hand.sees("Undone")
        await hand.press("l")
        await hand.until(lambda: isinstance(hand.app.screen, Requests), "the list")
        hand.app.notify("Something was said.", severity="warning")
        await hand.sees("▲ Something was said.")
        frame, begins, ends, footer = places(hand)
        assert frame <= begins < ends <= footer


async def test_a_messages_time_does_not_pass_behind_a_dialog(world: World) -> None:
    """What was said while a form is open is shown once it is closed."""
    async with at(world) as hand:
        await hand.press("2", "n")
        await hand.sees("new key")
        hand.app.notify("Said meanwhile.", timeout=0.01)
        await hand.settled()
        assert hand.app.notices[0].until is None
        await hand.press("escape")
        await hand.until(lambda: not hand.app.notices, "it was shown, and its time is over")


async def test_what_was_typed_is_not_thrown_away_by_one_escape(world: World) -> None:
    async with at(world) as hand:
        await hand.press("2", "n")
        await hand.sees("new key")
        await hand.fill(name="half-done", daily="5")
        await hand.press("escape")
        await hand.sees("Not saved yet", "half-done")
        await hand.fill(daily="6")
        await hand.press("escape")
        await hand.sees("Not saved yet")
        await hand.press("enter")
        await hand.sees("key created: half-done")
        await hand.press("space", "escape")
        await hand.press("n")
        await hand.sees("new key")
        await hand.press("escape")  # nothing was typed: it closes at once
        await hand.until(lambda: "new key" not in hand.text, "the form is closed")
    assert str((await world.admin.keys.get("half-done")).limits.daily) == "6"


async def test_keys_without_room_are_left_out_whole(world: World) -> None:
    """A hint is never cut in the middle of its word, at any width."""
    for width in (80, 96, 140):
        async with at(world, size=(width, 24)) as hand:
            for number in "12345678":
                await hand.press(number)
                await hand.settled()
                for frame in hand.app.screen.query(Frame):
                    said = Content.from_markup(frame.border_subtitle).plain
                    assert "…" not in said
                    assert len(said) <= frame.size.width


async def test_a_sections_number_leads_back_from_a_list(world: World) -> None:
    """From the requests of a key to another section, and back to where the list is; its own number closes it."""
    key = await world.make_key("looked-into")
    assert await ask(world, key) == 200
    async with at(world) as hand:
        await hand.press("2")
        await hand.point("looked-into")
        await hand.press("l")
        await hand.sees("requests of key looked-into · 1", "● live", "Esc back")
        await hand.press("4")
        await hand.sees("providers")
        await hand.press("2")
        await hand.sees("requests of key looked-into")
        await hand.press("2")
        await hand.sees("[keys")
