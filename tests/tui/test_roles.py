"""What one may not do is not done, and said why; what one may not see is no lost connection."""

from __future__ import annotations

import pytest

from paig_client.admin import AsyncAdminClient
from paig_client.api.specs import AdminSpec, GrantSpec, KeySpec, ProjectSpec, TokenSpec
from paig_tui.app import PaigApp
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import Hand, ask, at

pytestmark = pytest.mark.anyio


async def client(world: World, name: str, *grants: GrantSpec) -> AsyncAdminClient:
    """The admin API's client for an admin with these roles."""
    await world.admin.admins.create(name, AdminSpec(grants=list(grants)))
    made = await world.admin.tokens.create("here", TokenSpec(admin=name))
    return AsyncAdminClient(world.origin, token=made.token)


async def test_read_only_changes_nothing(world: World) -> None:
    """With --read-only no key changes anything, the hints leave them out, and a press says why."""
    async with at(world, read_only=True) as hand:
        await hand.sees("read-only")
        await hand.press("2")
        text = await hand.sees("tester", "→ kind")
        assert "n new" not in text
        for key in ("d", "n", "c", "e", "r", "w", "D", "enter"):
            await hand.press(key)
            assert hand.app.screen is hand.app.screen_stack[0], key
        await hand.sees("This is read-only: paig was started with --read-only.")
        for section, keys in (("4", "nctD"), ("5", ("n", "e", "space", "plus", "minus", "D"))):
            await hand.press(section)
            for key in keys:
                await hand.press(key)
                assert hand.app.screen is hand.app.screen_stack[0], key
        assert (await world.admin.keys.get("tester")).status == "active"
        await hand.press("colon", *"new key")
        await hand.sees("No matches")


async def test_a_viewer_is_told_what_is_missing(world: World) -> None:
    """A token without permission is named in the header as read-only, and a press says which permission it lacks."""
    app = PaigApp(await client(world, "vera", GrantSpec(role="viewer")))
    async with app.run_test(size=(110, 30), notifications=True) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live", "vera/here · read-only")
        await hand.press("2", "n")
        await hand.sees("Not done", "it lacks keys:write")
        await hand.press("5", "n")
        await hand.sees("it lacks routing:write")
    assert app.failures == []


async def test_an_editor_makes_keys_and_no_providers(world: World) -> None:
    """What is allowed works beside what is not."""
    app = PaigApp(await client(world, "edith", GrantSpec(role="editor")))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live")
        await hand.press("4", "n")
        await hand.sees("it lacks routing:write")
        await hand.press("2", "n")
        await hand.fill(name="edited-in")
        await hand.press("enter")
        await hand.sees("key created: edited-in")
    assert app.failures == []


async def test_a_role_in_one_project_sees_that_alone(world: World) -> None:
    """Who may see one project has its keys and requests; what is not theirs says that it is not, and all is live."""
    await world.admin.projects.create("theirs", ProjectSpec())
    key = await world.admin.keys.create("inside", KeySpec(project="theirs"))
    app = PaigApp(await client(world, "petra", GrantSpec(role="editor", project="theirs")))
    async with app.run_test(size=(110, 30), notifications=True) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live")
        assert await ask(world, key.key) == 200
        await hand.press("R")
        await hand.sees("inside", "● 200 ok")
        await hand.press("2")
        text = await hand.sees("[keys 1]", "inside")
        assert "tester" not in text
        await hand.press("4")
        await hand.sees("✕ not allowed", "● live")
        await hand.press("3")
        await hand.sees("everything", "gpt-5")
        await hand.press("5", "6")
        await hand.sees("● live", "audit")
    assert app.failures == []
