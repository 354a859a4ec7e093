"""Names, models and errors made to be parsed, to hide, to turn around or to move the cursor are nothing but text."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeVar
from zlib import crc32

import pytest
from rich.cells import cell_len

from paig_client.admin import AdminError, GatewayUnreachable
from paig_client.admin_errors import Invalid
from paig_client.api.resources import Problem
from paig_client.endpoints import ApiCall
from paig_tui.app import PaigApp
from paig_tui.widgets.table import Table
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import Hand, ask, at
from tests.tui.scene import NOW, Still

pytestmark = pytest.mark.anyio
T = TypeVar("T")

HOSTILE = (
    "a[/b]c",
    "[@click=app.quit]x[/]",
    "[bold red]",
    "日本語キー",
    "e\u0301\u0327clair",
    "\u202eevil",
    "x\x1b[2J\x1b]52;c;aGk=\x07\ny\tz",
    "\N{FAMILY}\u200d\N{FAMILY}" + "ﷺ" * 3,
)
FREE = {
    *("key", "project", "user", "model", "error", "reason", "last_error", "reference", "credential", "base_url"),
    *("hint", "actor", "price", "run", "name", "owner", "kind", "action", "detail"),
}
"""Fields that hold what people or providers wrote, or could."""


def evil(value: str) -> str:
    """A word with one of the hostile ones before it, always the same."""
    return f"{HOSTILE[crc32(value.encode()) % len(HOSTILE)]}{value}"


def poisoned(value: Any, where: str = "") -> Any:
    """An answer with hostile words in every field that is not ours to choose."""
    if isinstance(value, Mapping):
        if where in ("tags", "raw_usage", "options"):
            return {word: word for word in HOSTILE}
        if where in ("before", "after"):
            return {word: {word: [word, where]} for word in HOSTILE}
        if where == "failures":
            return dict.fromkeys(HOSTILE, 1)
        return {name: poisoned(found, name) for name, found in value.items()}
    if isinstance(value, list):
        return [*HOSTILE] if where in ("models", "routes") else [poisoned(found, where) for found in value]
    return evil(value) if isinstance(value, str) and where in FREE else value


class Poisoned(Still):
    """A gateway whose every name is hostile."""

    async def send(self, call: ApiCall[T], /) -> T:
        """The scene's answer, poisoned; each change is refused in hostile words."""
        if call.method != "GET":
            detail = " ".join(HOSTILE)
            raise Invalid(Problem(type="about:blank", title="No", status=422, detail=detail, code="invalid"))
        if self.down:
            raise GatewayUnreachable(self.url, HOSTILE[1])
        answer = json.loads(json.dumps(self._answer(call.path, call.query or {})))
        return call.read(json.dumps(poisoned(answer)).encode())


def check(hand: Hand) -> None:
    """What is on the screen keeps to it, and nothing remote is a sign of control or a link."""
    width, height = hand.app.size
    strips = hand.app.screen._compositor.render_strips()
    assert len(strips) == height
    for strip in strips:
        text = "".join(segment.text for segment in strip)
        assert cell_len(text) == width, text
        assert not [sign for sign in text if unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign != "\u200d"], (
            text
        )
        for segment in strip:
            action = (segment.style.meta if segment.style else {}).get("@click", "")
            assert "quit" not in str(action)


WALK: tuple[tuple[str, ...], ...] = (
    ("1",), ("enter",), ("escape",), ("x",), ("x",), ("p",), ("p",),
    ("2",), ("c",), ("escape",), ("e",), ("escape",), ("d",), ("r",), ("escape",), ("D",), ("escape",), ("l",),
    ("escape",), ("o",), ("o",), ("right",), ("d",), ("escape",), ("c",), ("escape",), ("D",), ("escape",), ("right",),
    ("n",), ("escape",), ("right",), ("n",), ("escape",), ("w",), ("escape",),
    ("3",), ("down",), ("right",), ("right",), ("down", "enter"), ("enter",), ("escape",), ("escape",), ("s",),
    ("4",), ("down",), ("e",), ("escape",), ("n",), ("escape",), ("c",), ("escape",), ("D",), ("escape",), ("t",),
    ("l",), ("escape",), ("5",), ("tab",), ("plus",), ("space",), ("d",), ("d",), ("escape",), ("e",), ("escape",),
    ("n",), ("escape",), ("tab",), ("e",), ("escape",), ("n",), ("escape",), ("D",), ("escape",),
    ("6",), ("down",), ("right",), ("enter",), ("escape",), ("question_mark",), ("escape",),
)  # fmt: skip
"""Every screen and dialog, and what is refused there."""


SCREENS = {
    *("DashboardSection", "KeysSection", "UsageSection", "ProvidersSection", "RoutesSection", "LogSection"),
    *("Requests", "RequestDetail", "DryRun", "Help", "Confirm", "Form"),
}


@pytest.mark.parametrize("size", [(80, 24), pytest.param((140, 40), marks=pytest.mark.slow)], ids=["80x24", "140x40"])
async def test_every_screen_bears_it(size: tuple[int, int]) -> None:
    """Walked through from the first to the last dialog, nothing breaks, runs, hides or sticks out."""
    admin = Poisoned()
    app = PaigApp(admin, clock=lambda: NOW, profile=HOSTILE[0])
    async with app.run_test(size=size, notifications=True) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live")
        seen = set()
        for keys in WALK:
            await hand.press(*keys)
            await hand.until(lambda: "Loading" not in hand.text, "all of it")
            check(hand)
            seen.add(type(app.screen).__name__)
        assert seen >= SCREENS
        admin.down = True
        await hand.press("R")
        await hand.sees("✕ lost")
        check(hand)
    assert app.failures == []
    assert app.return_code in (None, 0)


@pytest.mark.parametrize("name", HOSTILE[:6])
async def test_hostile_names_at_a_real_gateway(world: World, name: str) -> None:
    """A key with such a name, made at a gateway, is used, found, disabled, edited and shown as what it is called."""
    key = await world.make_key(name, daily="1")
    async with at(world, size=(140, 40)) as hand:
        assert await ask(world, key) == 200
        await hand.sees("● 200 ok")
        await hand.press("enter")
        await hand.sees("attempts (1)")
        await hand.press("escape", "2")
        await hand.point(name)
        await hand.press("d")
        await hand.sees("○ disabled")
        await hand.press("D")
        await hand.sees("This cannot be undone")
        assert "\u202e" not in hand.text
        await hand.press("escape", "slash", *name[:1], "enter")
        assert hand.app.screen.query_one(Table).rows
        await hand.press("3", "right")
        await hand.sees("[key]")
        await hand.press("6")
        await hand.sees("audit")
        if name.isascii():
            await hand.press("2")
            await hand.sees(name)
        check(hand)


async def test_errors_in_hostile_words_are_shown_as_they_are(world: World) -> None:
    """What a gateway says no to is shown, markup and all, and stays text."""
    async with at(world) as hand:
        error = AdminError("[@click=app.quit]a[/b]c \x1b[2J")

        async def refuse() -> None:
            raise error

        await hand.app.changing(refuse(), "never said")
        await hand.sees("[@click=app.quit]a[/b]c")
        check(hand)
