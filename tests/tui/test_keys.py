"""Keys, projects and users at a real gateway: every flow by its keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from paig_tui.screens.key_created import KeyCreated
from paig_tui.widgets.table import Table
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import Hand, ask, at

pytestmark = pytest.mark.anyio
HOSTILE = ("a[/b]c", "[@click=app.quit]x[/]", "日本語キー", "e\u0301\u0327clair", "\u202eevil", "[bold red]")


async def created(hand: Hand) -> KeyCreated:
    """The dialog that shows a new key."""
    await hand.until(lambda: isinstance(hand.app.screen, KeyCreated), "the key's dialog")
    screen = hand.app.screen
    assert isinstance(screen, KeyCreated)
    return screen


async def test_a_key_is_made_and_shown_once(world: World) -> None:
    """A new key is masked, revealed on demand, works, has its cap, and is wiped when the dialog goes."""
    async with at(world) as hand:
        await hand.press("2", "n")
        await hand.fill(name="ci-bot", daily="0.50")
        await hand.press("enter")
        dialog = await created(hand)
        secret = dialog._secret
        await hand.sees("key created: ci-bot", "••••")
        assert secret not in hand.text
        await hand.press("v")
        await hand.sees(secret)
        await hand.press("c")
        await hand.sees("✓")
        assert hand.app.clipboard == ""
        await hand.press("escape")
        await hand.sees("cannot be shown again")
        await hand.press("space", "escape")
        await hand.sees("ci-bot", "● active")
        assert dialog._secret == ""
        assert secret not in hand.text
        assert await ask(world, secret) == 200
        assert str((await world.admin.keys.get("ci-bot")).limits.daily) == "0.5"


async def test_a_wrong_amount_is_explained(world: World) -> None:
    """What cannot be is said in the dialog, which stays."""
    async with at(world) as hand:
        await hand.press("2", "n")
        await hand.fill(name="x", daily="much")
        await hand.press("enter")
        await hand.sees("✕ daily: an amount of US dollars")
        await hand.press("escape")
        assert [key.name for key in await world.admin.keys.list()] == ["tester"]


async def test_caps_are_edited_and_the_change_taken_back(world: World) -> None:
    """A cap is set in the editor; `u` takes it back."""
    async with at(world) as hand:
        await hand.press("2")
        await hand.sees("tester")
        await hand.press("c")
        await hand.fill(daily="1.25")
        await hand.press("enter")
        await hand.sees("u Undo")
        assert str((await world.admin.keys.get("tester")).limits.daily) == "1.25"
        await hand.press("u")
        await hand.sees("Taken back")
        assert (await world.admin.keys.get("tester")).limits.daily is None


async def test_disable_and_undo(world: World) -> None:
    """A disabled key is refused and says so; undo enables it."""
    async with at(world) as hand:
        await hand.press("2")
        await hand.sees("tester")
        await hand.press("d")
        await hand.sees("○ disabled")
        await hand.press("u")
        await hand.sees("● active")


async def test_rotation_asks_first_with_cancel_as_default(world: World) -> None:
    """Enter alone does not rotate; choosing the button does, and shows the new secret."""
    async with at(world) as hand:
        await hand.press("2")
        await hand.sees("tester")
        await hand.press("r")
        await hand.sees("rotate tester?")
        await hand.press("enter")
        await hand.until(lambda: "rotate tester?" not in hand.text, "the dialog's end")
        assert await ask(world, world.key) == 200
        await hand.press("r")
        await hand.sees("rotate tester?")
        await hand.press("tab", "enter")
        dialog = await created(hand)
        await hand.sees("key rotated: tester")
        assert dialog._secret != world.key


async def test_delete_wants_the_name_typed(world: World) -> None:
    """A wrong name deletes nothing; the right one does."""
    async with at(world) as hand:
        await hand.press("2")
        await hand.sees("tester")
        await hand.press("D")
        await hand.fill(name="teste")
        await hand.press("enter")
        await hand.sees("to go on, or press Esc")
        assert len(await world.admin.keys.list()) == 1
        await hand.fill(name="tester")
        await hand.press("enter")
        await hand.sees("is deleted")
        assert await world.admin.keys.list() == []


async def test_projects_and_users(world: World) -> None:
    """The same table shows and makes projects and users."""
    async with at(world) as hand:
        await hand.press("2", "right")
        await hand.sees("[projects 0]")
        await hand.press("n")
        await hand.fill(name="research", daily="5")
        await hand.press("enter")
        await hand.sees("research", "[projects 1]")
        await hand.press("right", "n")
        await hand.fill(name="ada")
        await hand.press("enter")
        await hand.sees("[users 1]", "ada")


async def test_read_only_changes_nothing(world: World) -> None:
    """Without permission the keys that change something do nothing."""
    async with at(world, read_only=True) as hand:
        await hand.sees("read-only")
        await hand.press("2")
        await hand.sees("tester")
        await hand.press("d", "n", "c", "D", "enter")
        assert (await world.admin.keys.get("tester")).status == "active"
        assert "new key" not in hand.text


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_names_are_only_text(world: World, name: str) -> None:
    """A name made to be parsed, to hide or to turn around is shown as text, everywhere."""
    key = await world.make_key(name, daily="1")
    async with at(world, size=(140, 40)) as hand:
        assert await ask(world, key) == 200
        await hand.sees("● 200")
        await hand.press("enter")
        await hand.sees("attempts (1)")
        await hand.press("escape", "2")
        await hand.sees("tester")
        hand.app.screen.query_one(Table).point_at(name)
        await hand.press("d")
        await hand.sees("○ disabled")
        await hand.press("D")
        await hand.sees("This cannot be undone")
        assert "\u202e" not in hand.text
        await hand.press("escape", "3", "right")
        await hand.sees("[key]")
        await hand.press("6")
        await hand.sees("audit")
        if name.isascii():
            await hand.press("2")
            await hand.sees(name)


async def test_a_key_goes_into_the_keyring_only_where_there_is_one(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is no keyring, the dialog says so and keeps the key."""
    monkeypatch.setenv("PAIG_HOME", str(tmp_path / "client"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    async with at(world) as hand:
        await hand.press("2", "n")
        await hand.fill(name="x")
        await hand.press("enter")
        dialog = await created(hand)
        await hand.press("s")
        await hand.sees("✕")
        assert dialog._secret
