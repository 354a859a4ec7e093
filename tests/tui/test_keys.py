"""Keys, projects and users at a real gateway: every flow by its keys."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, ProjectSpec
from paig_tui.screens.forms import expiry
from paig_tui.screens.keys.created import KeyCreated
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import Hand, ask, at

pytestmark = pytest.mark.anyio


async def created(hand: Hand) -> KeyCreated:
    """The dialog that shows a new key."""
    await hand.until(lambda: isinstance(hand.app.screen, KeyCreated), "the key's dialog")
    screen = hand.app.screen
    assert isinstance(screen, KeyCreated)
    return screen


async def names(world: World) -> set[str]:
    """The names of all keys."""
    return {key.name for key in await world.admin.keys.list()}


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
        await hand.press("v")
        assert secret not in hand.text
        await hand.press("escape")
        await hand.sees("cannot be shown again", "[ ] Space I have stored it")
        await hand.press("space")
        await hand.sees("[x] Space I have stored it")
        await hand.press("escape")
        await hand.sees("ci-bot", "● active")
        assert dialog._secret == ""
        assert secret not in hand.text
        assert await ask(world, secret) == 200
        assert str((await world.admin.keys.get("ci-bot")).limits.daily) == "0.5"


async def test_a_wrong_amount_is_explained(world: World) -> None:
    """What cannot be is said in the dialog, which stays."""
    async with at(world) as hand:
        await hand.press("2", "n")
        await hand.fill(name="wrong", daily="much")
        await hand.press("enter")
        text = await hand.sees("✕ write an amount, such as 5 or 0.05")
        rows = text.splitlines()
        assert "✕" in rows[next(place for place, row in enumerate(rows) if "much" in row) + 1]
        await hand.fill(daily="", expires_at="soon")
        await hand.press("enter")
        await hand.sees("soon", "✕ write 30d")
        row = hand._row("name")
        assert row is not None
        assert row.input.value == "wrong"
        await hand.press("escape")
        assert "wrong" not in await names(world)


async def test_what_the_gateway_refuses_is_said_in_the_form(world: World) -> None:
    """A refusal leaves the form open, with the error in it and all that was typed; a corrected one is taken."""
    async with at(world) as hand:
        await hand.press("2", "n")
        await hand.fill(name="tester", daily="3", project="nowhere")
        await hand.press("enter")
        text = await hand.sees("✕", "nowhere", "tester")
        assert "new key" in text
        await hand.fill(project="")
        await hand.press("enter")
        text = await hand.sees("✕", "already")
        await hand.fill(name="tester-2")
        await hand.press("enter")
        await created(hand)
        assert (await world.admin.keys.get("tester-2")).limits.daily == 3


async def test_choices_are_picked_by_keys(world: World) -> None:
    """What is there to choose is listed below a field, fits what was typed, and is taken with Enter."""
    for name in ("alpha", "beta", "gamma"):
        await world.admin.projects.create(name, ProjectSpec())
    async with at(world) as hand:
        await hand.press("2")
        await hand.sees("projects 3")
        await hand.press("n", "tab")
        await hand.sees("alpha", "beta", "gamma")
        await hand.press(*"am")
        await hand.until(lambda: "gamma" in hand.text and "beta" not in hand.text)
        await hand.press("down", "enter")
        await hand.until(lambda: "new key" in hand.text and hand._row("project").input.value == "gamma")  # type: ignore[union-attr]
        await hand.press("escape")


async def test_caps_are_edited_and_the_change_taken_back(world: World) -> None:
    """A cap is set in the editor, which says what else binds; `u` takes it back."""
    await world.admin.projects.create("bound", ProjectSpec(limits=LimitsSpec.model_validate({"monthly": 9})))
    await world.admin.keys.create("capped", KeySpec(project="bound"))
    async with at(world) as hand:
        await hand.press("2")
        await hand.point("capped")
        await hand.press("c")
        await hand.sees("▲ may bind first: project bound's cap of $9 (monthly)")
        await hand.fill(daily="1.25", requests_per_minute="60")
        await hand.press("enter")
        await hand.sees("u Undo")
        limits = (await world.admin.keys.get("capped")).limits
        assert (str(limits.daily), limits.requests_per_minute) == ("1.25", 60)
        await hand.press("u")
        await hand.sees("Undone")
        limits = (await world.admin.keys.get("capped")).limits
        assert (limits.daily, limits.requests_per_minute) == (None, None)


async def test_caps_of_the_whole_gateway(fresh: World) -> None:
    """The caps that bind everybody are edited, bite, and are taken back."""
    async with at(fresh) as hand:
        await hand.press("2", "w")
        await hand.sees("caps of the whole gateway")
        await hand.fill(daily="0.000001")
        await hand.press("enter")
        await hand.sees("u Undo")
        assert await ask(fresh, fresh.key) == 400  # limit-too-small
        await hand.press("u")
        await hand.sees("Undone")
        assert (await fresh.admin.organisation()).limits.daily is None


async def test_a_key_is_edited_and_the_change_taken_back(world: World) -> None:
    """Project, user, models, routes and end are edited; `u` takes that back."""
    await world.make_key("edited")
    await world.admin.projects.create("edits", ProjectSpec())
    async with at(world) as hand:
        await hand.press("2")
        await hand.point("edited")
        await hand.press("e")
        await hand.fill(project="edits", models="gpt-5*, claude-*", expires_at="2030-01-31")
        await hand.press("enter")
        await hand.sees("edited changed")
        key = await world.admin.keys.get("edited")
        assert (key.project, key.models, key.routes) == ("edits", ["gpt-5*", "claude-*"], None)
        assert key.expires_at == datetime(2030, 1, 31, tzinfo=UTC)
        await hand.press("u")
        await hand.sees("Undone")
        key = await world.admin.keys.get("edited")
        assert (key.project, key.models, key.expires_at) == (None, None, None)


async def test_disable_and_undo(world: World) -> None:
    """A disabled key is refused and says so; undo enables it."""
    key = await world.make_key("switched")
    async with at(world) as hand:
        await hand.press("2", "slash", *"switched", "enter")
        await hand.point("switched")
        await hand.press("d")
        await hand.sees("○ disabled")
        assert await ask(world, key) == 403
        await hand.press("u")
        await hand.sees("● active")
        assert await ask(world, key) == 200


async def test_rotation_asks_first_with_cancel_as_default(world: World) -> None:
    """Enter alone does not rotate; choosing the button does, and shows the new secret."""
    key = await world.make_key("rotated")
    async with at(world) as hand:
        await hand.press("2")
        await hand.point("rotated")
        await hand.press("r")
        await hand.sees("rotate rotated?")
        await hand.press("enter")
        await hand.until(lambda: "rotate rotated?" not in hand.text, "the dialog's end")
        assert await ask(world, key) == 200
        await hand.press("r")
        await hand.sees("rotate rotated?")
        await hand.press("tab", "enter")
        dialog = await created(hand)
        await hand.sees("key rotated: rotated")
        assert dialog._secret != key
        assert await ask(world, key) == 401
        assert await ask(world, dialog._secret) == 200


async def test_delete_wants_the_name_typed(world: World) -> None:
    """A wrong name deletes nothing; the right one does."""
    await world.make_key("doomed")
    async with at(world) as hand:
        await hand.press("2")
        await hand.point("doomed")
        await hand.press("D")
        await hand.fill(name="doome")
        await hand.press("enter")
        await hand.sees("to confirm, or press Esc")
        assert "doomed" in await names(world)
        await hand.fill(name="doomed")
        await hand.press("enter")
        await hand.sees("doomed is deleted")
        assert "doomed" not in await names(world)


async def test_projects_and_users(world: World) -> None:
    """The same table shows and makes projects and users, with their caps; they are edited and deleted like keys."""
    async with at(world) as hand:
        await hand.press("2", "right", "n")
        await hand.fill(name="research", daily="5")
        await hand.press("enter")
        await hand.point("research")
        await hand.press("c")
        await hand.fill(daily="6")
        await hand.press("enter")
        await hand.sees("Caps of research changed")
        assert str((await world.admin.projects.get("research")).limits.daily) == "6"
        await hand.press("right", "n")
        await hand.fill(name="ada", total="50")
        await hand.press("enter")
        await hand.point("ada")
        await hand.press("D")
        await hand.fill(name="ada")
        await hand.press("enter")
        await hand.sees("ada is deleted")
        assert "ada" not in {user.name for user in await world.admin.users.list()}


async def test_a_project_is_disabled_by_its_keys(world: World) -> None:
    """Disabling a project asks first, disables its keys alone, and is taken back."""
    await world.admin.projects.create("paused", ProjectSpec())
    inside = (await world.admin.keys.create("inside", KeySpec(project="paused"))).key
    async with at(world) as hand:
        await hand.press("2", "right")
        await hand.point("paused")
        await hand.press("d")
        await hand.sees("disable every key of project paused?", "requests of 1 key are", "refused: inside")
        await hand.press("tab", "enter")
        await hand.sees("○ disabled")
        assert (await ask(world, inside), await ask(world, world.key)) == (403, 200)
        await hand.press("u")
        await hand.sees("Undone")
        assert await ask(world, inside) == 200


async def test_each_status_has_its_sign_and_word(world: World) -> None:
    """Active, expired, out of money, disabled and blocked keys are told apart without any colour."""
    assert await ask(world, await world.make_key("s-limit")) == 200
    await world.admin.keys.update("s-limit", {"limits": {"daily": "0.000001"}})
    await world.make_key("s-active")
    await world.make_key("s-off")
    await world.admin.keys.disable("s-off")
    await world.admin.keys.create("s-old", KeySpec(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
    await world.make_key("s-blocked")
    world.store.catalog.keys.set_state("s-blocked", "blocked", actor="test")
    async with at(world) as hand:
        await hand.press("2", "slash", "s", "minus", "enter")
        text = await hand.sees("filter: s-", "■ limit", "● active", "○ disabled", "◌ expired", "✕ blocked")
        lines = {line.split()[3]: line for line in text.splitlines() if " s-" in line and "filter" not in line}
        assert {name: line.split()[2] for name, line in lines.items()} == {
            **{"s-active": "active", "s-blocked": "blocked", "s-limit": "limit"},
            **{"s-off": "disabled", "s-old": "expired"},
        }
        await hand.point("s-blocked")
        await hand.press("d")
        await hand.sees("unblock s-blocked?")
        await hand.press("enter")
        assert (await world.admin.keys.get("s-blocked")).status == "blocked"


async def test_the_fullest_come_first_on_demand(world: World) -> None:
    """`o` sorts by the first column: the fullest caps come first."""
    key = await world.make_key("z-full", daily="0.001")
    await world.make_key("a-empty", daily="5")
    while await ask(world, key) == 200:
        pass
    async with at(world) as hand:
        await hand.press("2")
        await hand.sees("a-empty", "z-full")
        await hand.press("o")
        text = await hand.sees("status▲", "z-full")
        assert text.index("z-full") < text.index("a-empty")


async def test_a_key_goes_into_the_keyring_only_where_there_is_one(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is no keyring, the dialog says so and keeps the key."""
    monkeypatch.setenv("PAIG_HOME", str(tmp_path / "client"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    async with at(world) as hand:
        await hand.press("2", "n")
        await hand.fill(name="keyless")
        await hand.press("enter")
        dialog = await created(hand)
        await hand.press("s")
        await hand.sees("✕")
        assert dialog._secret


def test_an_end_is_a_span_or_a_date() -> None:
    """`30d`, `12h`, a date, a time, or never."""
    now = datetime(2026, 11, 12, 12, tzinfo=UTC)
    assert expiry("12h", now) == "2026-11-13T00:00:00+00:00"
    assert expiry("2026-12-31", now) == "2026-12-31T00:00:00+00:00"
    assert expiry("never", now) is None
    with pytest.raises(ValueError, match="write 30d"):
        expiry("tomorrow", now)


async def test_a_cap_is_raised_for_a_while(world: World) -> None:
    """By the row under the cursor; it ends by itself."""
    await world.admin.keys.create("hasty", KeySpec(limits=LimitsSpec(daily=1)))
    async with at(world) as hand:
        await hand.press("2")
        await hand.sees("hasty")
        await hand.press("slash", *"hasty", "enter", "m")
        await hand.sees("raise a cap of hasty")
        await hand.sees("daily: $1.00; $0 spent")
        await hand.fill(to="20", until="2h", why="release day")
        await hand.press("enter")
        await hand.sees("cap of hasty is $20")
    [raised] = await world.admin.raises()
    assert (raised.owner, raised.amount, raised.why) == ("hasty", Decimal(20), "release day")
