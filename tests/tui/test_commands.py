"""Help and palette know every action with its key; the mouse does what keys do."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import Counter

import pytest
from textual.binding import Binding
from textual.dom import DOMNode

import paig_tui
from paig_tui.app import PaigApp
from paig_tui.commands import commands, everything
from paig_tui.screens.section import Section
from paig_tui.widgets.chrome import KEYS, SECTIONS
from paig_tui.widgets.table import Table
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import Hand, at
from tests.tui.scene import NOW, Still

pytestmark = pytest.mark.anyio


def ours() -> set[type[DOMNode]]:
    """All classes of ours that have keys."""
    found: set[type[DOMNode]] = set()
    for module in pkgutil.walk_packages(paig_tui.__path__, "paig_tui."):
        if ".web" in module.name:  # runs in a child process of its own
            continue
        for _, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if member.__module__.startswith("paig_tui.") and issubclass(member, DOMNode) and "BINDINGS" in vars(member):
                found.add(member)
    return found


async def test_help_lists_every_key() -> None:
    """No class of ours has a key that help does not list, word for word; none is hidden."""
    classes = ours()
    assert len(classes) >= len(SECTIONS) + 7
    app = PaigApp(Still(), clock=lambda: NOW)
    async with app.run_test(size=(100, 30)) as pilot:
        await Hand(app, pilot).sees("● live")
        listed = {(command.key, command.says) for command in everything(app)}
        for member in classes:
            for binding in vars(member)["BINDINGS"]:
                assert isinstance(binding, Binding), (member, binding)
                assert binding.show, (member, binding)
                key = " ".join(KEYS.get(key, key) for key in binding.key.split(","))
                assert (key, binding.description) in listed, (member, binding)


async def test_every_action_is_in_the_palette() -> None:
    """The palette offers each action of the app and its sections, with its key; and every action has a method."""
    app = PaigApp(Still(), clock=lambda: NOW)
    async with app.run_test(size=(100, 60)) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live")
        offered = commands(app)
        classes = [member for member in ours() if issubclass(member, (Section, PaigApp))]
        wanted = {binding.description for member in classes for binding in vars(member)["BINDINGS"]}
        assert wanted == {command.says for command in offered}
        await hand.press("ctrl+p", *"rotate")
        await hand.sees("r        Keys: Rotate the key")
        for command in offered:
            where, _, action = command.action.partition(".")
            owner: type = PaigApp
            if where == "screen":
                owner = Section
                if command.place:
                    owner = importlib.import_module(f"paig_tui.screens.{command.place}.screen").SCREEN
            assert hasattr(owner, f"action_{action.partition('(')[0]}"), command


def test_no_key_means_two_things() -> None:
    """Within a section, with what holds everywhere, each key has one meaning."""
    for name, *_ in SECTIONS:
        section = importlib.import_module(f"paig_tui.screens.{name}.screen").SCREEN
        bindings = [*PaigApp.BINDINGS, *Section.BINDINGS, *section.BINDINGS]
        keys = Counter(key for one in bindings if isinstance(one, Binding) for key in one.key.split(","))
        assert [key for key, count in keys.items() if count > 1] == [], name


def test_no_key_needs_ctrl() -> None:
    """Chords with ctrl clash with tmux and terminals: each action has a key without."""
    for member in ours():
        for binding in vars(member)["BINDINGS"]:
            assert any("ctrl" not in key for key in binding.key.split(",")), binding


async def test_help_is_searched_and_the_palette_runs(world: World) -> None:
    """Help finds an action by a word; the palette runs one of another section."""
    async with at(world) as hand:
        await hand.press("question_mark", *"csv")
        text = await hand.sees("Export as CSV")
        assert "Rotate" not in text
        await hand.press("escape", "colon", *"keys: new")
        await hand.sees("Keys: New key, project or user")
        await hand.press("enter", "enter")
        await hand.sees("new key", "$ per day")


async def test_the_palette_offers_a_name_before_scattered_letters() -> None:
    """`eval` names a key; in "Every limit, named limits, raises" its letters only follow one another somewhere."""
    app = PaigApp(Still(), clock=lambda: NOW)
    async with app.run_test(size=(100, 30)) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live")
        await hand.press("colon", *"eval")
        text = await hand.sees("Key eval-batch", "Limits: Every limit")
        assert text.index("Key eval-batch") < text.index("Limits: Every limit")


async def test_a_theme_is_chosen(world: World) -> None:
    """`T` lists the themes; the one chosen is there at once."""
    async with at(world) as hand:
        await hand.press("T", *"paig-light")
        await hand.sees("paig-light")
        await hand.press("enter", "enter")
        await hand.until(lambda: hand.app.theme == "paig-light", "the theme")


async def test_the_mouse_does_what_keys_do() -> None:
    """Sections, hints, tabs, rows and buttons can be clicked; the wheel scrolls."""
    app = PaigApp(Still(), clock=lambda: NOW)
    async with app.run_test(size=(140, 30), notifications=True) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live", "ci-bot")

        async def click(word: str) -> None:
            lines = hand.text.splitlines()
            y = next(number for number, line in enumerate(lines) if word in line)
            await pilot.click(offset=(lines[y].index(word) + 1, y))

        await click("2 Keys")
        await hand.sees("alice-dev")
        await click("projects 3")
        await hand.sees("[projects 3]")
        await click("keys 9")
        await hand.sees("[keys 9]")
        await click("bob-notebook")
        table = app.screen.query_one(Table)
        assert table.current_key == "bob-notebook"
        await click("bob-notebook")
        await hand.sees("caps of bob-notebook")
        await click("Cancel")
        await hand.until(lambda: "caps of bob" not in hand.text, "the dialog's end")
        await click("status")
        await hand.sees("status▲")
        await click("status▲")
        await hand.sees("status▼")
        await click("1 Dashboard")
        await hand.sees("● following")
        await click("p pause")
        await hand.sees("■ paused")
        await click("x errors")
        await hand.sees("errors only")
        await click("x all")
        tail = app.screen.query_one("#tail", Table)
        tail.scroll_down(animate=False)
        await hand.until(lambda: tail.scroll_offset.y > 0, "scrolling")
        await click("? Help")
        await hand.sees("type to search")
    assert app.failures == []
