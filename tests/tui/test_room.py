"""Nothing is cut that has room: names, notes and amounts in wide terminals."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from textual.content import Content

from paig_client.api.resources import Key, LimitStatus
from paig_tui.app import PaigApp
from paig_tui.screens.dialog import Dialog
from paig_tui.screens.limits.rows import counted
from paig_tui.screens.usage.screen import _shortened
from tests.tui.conftest import Hand
from tests.tui.scene import NOW, Still, keys, limits

pytestmark = pytest.mark.anyio
LONG = "a-very-long-key-name-for-the-nightly-evaluation-of-agents"


class LongNames(Still):
    """A gateway with a key of a long name, which has each kind of limit, and a session's counter."""

    async def send(self, call: Any, /) -> Any:
        """Both lists with more in them."""
        if call.method != "GET" or call.path not in ("keys", "limits"):
            return await super().send(call)
        key = keys()[0].model_copy(update={"name": LONG})
        if call.path == "keys":
            return [key, *keys()]
        return [*self._caps(key), *limits()]

    def _caps(self, key: Key) -> Iterable[LimitStatus]:
        first = limits()[0]
        for window in ("monthly", "weekly", "total", "daily"):
            yield first.model_copy(update={"owner": key.name, "window": window})
        yield first.model_copy(
            update={"owner": key.name, "window": "minute", "unit": "tokens", "amount": Decimal(200_000)}
            | {"spent": Decimal(0), "left": Decimal(200_000)}
        )
        yield first.model_copy(
            update={"owner_kind": "limit", "owner": "agents", "member": "nightly", "window": "total"}
            | {"spent": Decimal("0.99")}
        )


async def test_long_names_and_large_counts_are_whole() -> None:
    """At 200 columns a key's name, what binds it, a token limit and a session's counter are not cut."""
    app = PaigApp(LongNames(), clock=lambda: NOW)
    async with app.run_test(size=(200, 50)) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live", "agents nightly")
        await hand.press("7")
        [line] = [one for one in (await hand.sees("tokens/min")).splitlines() if "tokens/min" in one]
        assert f"key {LONG}" in line
        assert line.count("200,000") == 2
        assert "…" not in line
        await hand.press("2")
        text = await hand.sees(f"about {LONG}")
        assert "of $40 " in text
        about = text[text.index("about ") :]
        places = [about.index(word) for word in ("daily ", "weekly ", "monthly ", "total ")]
        assert places == sorted(places)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_forms_use_the_screen(size: tuple[int, int]) -> None:
    """A form shows as many fields as the screen has room for, the first time too, and no note is cut."""
    app = PaigApp(Still(), clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live")
        await hand.press("2", "n")
        await hand.sees("new key", "$ per day")
        assert isinstance(app.screen, Dialog)
        box, fields = app.screen.query_one("#box"), app.screen.query_one("#fields")
        whole = fields.size.height == fields.virtual_size.height
        assert whole or box.outer_size.height == size[1], (box.outer_size, fields.size)
        assert app.screen.query_one("#buttons").region.bottom <= box.content_region.bottom
        await hand.press("escape", "7", "w")
        await hand.sees("caps of the whole gateway", "for the one address")


def test_a_count_ends_where_dollars_have_their_point() -> None:
    """Unless it is too long for that; it is never cut."""
    assert [counted(Decimal(value), 6) for value in (600, 200_000, 1_000_000_000)] == [
        "600       ",
        "200,000     ",
        "1,000,000,000",
    ]


def test_a_legend_cuts_the_longest_names_only() -> None:
    """Each keeps what all have room for."""
    named = [(Content(name), Decimal(1)) for name in ("claude-sonnet-4-5", "gpt-5", "gemini-2.5-flash")]
    assert [name.plain for name, _ in _shortened(named, 200)] == [name.plain for name, _ in named]
    cut = [name.plain for name, _ in _shortened(named, 60)]
    assert cut[1] == "gpt-5"
    assert len(cut[0]) == len(cut[2]) < 16
