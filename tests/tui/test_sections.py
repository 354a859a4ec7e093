"""Usage, providers, routes, log, palette, and a lost connection, at a real gateway."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from paig_client.admin import AsyncAdminClient
from paig_client.schema import MemberSpec, RouteSpec
from paig_gateway.simulator.serve import running_simulator
from paig_tui.app import PaigApp
from paig_tui.draw import dry_run, share
from tests.gateway.end_to_end.conftest import ADMIN, World, running_world, simulated_providers
from tests.tui.conftest import Hand, ask, at

pytestmark = pytest.mark.anyio


def exported(folder: Path) -> list[dict[str, str]]:
    """The lines of the one CSV file there."""
    (file,) = folder.glob("*.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


async def test_usage_down_to_requests_and_out_as_csv(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spend by model, the requests behind a row, and the CSV file add up to what was asked."""
    monkeypatch.chdir(tmp_path)
    await ask(world, world.key)
    await ask(world, world.key, model="gpt-4o-mini")
    async with at(world) as hand:
        await hand.press("3")
        await hand.sees("everything", "gpt-5", "gpt-4o-mini", "spend per hour")
        await hand.press("e")
        await hand.sees("Exported")
        assert {(row["model"], row["requests"]) for row in exported(tmp_path)} == {("gpt-5", "1"), ("gpt-4o-mini", "1")}
        await hand.press("down", "enter")
        await hand.sees("requests of model gpt-5 · 1", "● 200")


async def test_a_provider_is_added_and_tested(world: World) -> None:
    """A provider comes in by the form; its test says that it answers."""
    async with at(world) as hand:
        await hand.press("4", "n")
        base = (await world.admin.providers.get("openai")).base_url
        await hand.fill(kind="openai", name="second", secret="sk-of-the-second", base_url=base)
        await hand.press("enter")
        await hand.sees("providers 8", "second")
        assert "sk-of-the-second" not in hand.text
        await hand.press("end", "t")
        await hand.sees("● answers: second")


async def test_routes_are_weighed_and_taken_back(world: World) -> None:
    """A member's weight changes by a key, and goes back by another."""
    members = [MemberSpec(provider="groq", priority=10, weight=2), MemberSpec(provider="openai", priority=10)]
    await world.admin.routes.create("fast", RouteSpec(members=members))
    async with at(world) as hand:
        await hand.press("5")
        await hand.sees("fast", "67%", "33%")
        await hand.press("tab", "plus")
        await hand.sees("75%")
        await hand.press("u")
        await hand.sees("67%")
        await hand.press("d")
        await hand.sees("dry run of fast: 100 draws", "tried first", "if 1 failed")


async def test_the_log_shows_what_changed(world: World) -> None:
    """The audit log names who did what, and what became of each field."""
    await world.make_key("alice-dev", daily="1")
    async with at(world) as hand:
        await hand.press("6")
        await hand.sees("+ create", "alice-dev", "limits")
        await ask(world, world.key)
        await hand.press("right")
        await hand.sees("[requests 1]", "● 200")


async def test_palette_and_help_know_every_action(world: World) -> None:
    """Help finds an action by a word; the palette runs one of another section."""
    async with at(world) as hand:
        await hand.press("question_mark", *"csv")
        text = await hand.sees("Export as CSV")
        assert "Rotate" not in text
        await hand.press("escape", "colon", *"keys: new")
        await hand.sees("Keys: New key, project or user")
        await hand.press("enter", "enter")
        await hand.sees("new key", "Cap per day")


async def test_a_lost_connection_leaves_what_was_known(environment: None, tmp_path: Path) -> None:
    """When the gateway goes, its figures stay, dated; nothing becomes zero."""
    async with running_simulator() as base:
        async with running_world(tmp_path / "home", simulated_providers(base)) as world:
            await ask(world, world.key)
            app = PaigApp(AsyncAdminClient(world.origin, token=ADMIN))
            context = app.run_test(size=(120, 30), notifications=True)
            pilot = await context.__aenter__()
            hand = Hand(app, pilot)
            await hand.sees("● live", "● 200", "$0.000")
        try:
            text = await hand.sees("✕ lost · as of", "ago · retry in", "● 200")
            assert "$0.000" in text
            assert app.screen.has_class("-stale")
        finally:
            await context.__aexit__(None, None, None)
        assert app.failures == []


async def test_a_wrong_token_is_said(world: World) -> None:
    """A token that the gateway refuses is no lost connection, and shows no figures."""
    app = PaigApp(AsyncAdminClient(world.origin, token="wrong"))
    async with app.run_test(size=(100, 30)) as pilot:
        text = await Hand(app, pilot).sees("✕ token refused")
        assert "$0" not in text


async def test_a_small_terminal_is_told(world: World) -> None:
    """Below 80×24 the app says so instead of showing half of itself."""
    async with at(world, size=(60, 20), live=False) as hand:
        await hand.sees("This terminal is 60×20", "80×24")


def test_dry_run_follows_priority_and_weight() -> None:
    """The highest priority comes first, by weight; what is off or only stands by does not."""
    members = [
        MemberSpec(provider="a", priority=10, weight=3),
        MemberSpec(provider="b", priority=10, weight=1),
        MemberSpec(provider="c", priority=0),
        MemberSpec(provider="d", priority=20, active=False),
    ]
    places = dry_run(members, draws=2000, seed=1)
    assert 0.70 < places[0]["a"] / 2000 < 0.80
    assert places[2] == Counter({"c": 2000})
    assert [share(member, members) for member in members] == [0.75, 0.25, None, None]
