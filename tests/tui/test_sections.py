"""Usage, providers, routes and the log at a real gateway."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from paig_client.api.specs import KeySpec, MemberSpec, ProjectSpec, ProviderSpec, RouteSpec
from paig_gateway.config.model import BreakerSpec, ServerSpec
from paig_gateway.simulator.serve import running_simulator
from paig_tui.screens.dialog import Dialog
from paig_tui.screens.routes.dry_run import dry_run, share
from paig_tui.widgets.table import Table
from tests.gateway.end_to_end.conftest import World, running_world, simulated_providers
from tests.tui.conftest import ask, at

pytestmark = pytest.mark.anyio


def exported(folder: Path) -> list[dict[str, str]]:
    """The lines of the one CSV file there."""
    (file,) = folder.glob("*.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


async def test_usage_down_to_requests_and_out_as_csv(
    fresh: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spend by model, its course, the requests behind a row, and the CSV file add up to what was asked."""
    monkeypatch.chdir(tmp_path)
    await ask(fresh, fresh.key)
    await ask(fresh, fresh.key, model="gpt-4o-mini")
    async with at(fresh) as hand:
        await hand.press("3")
        await hand.sees("everything", "gpt-5", "gpt-4o-mini", "spend per hour", "trend", "█")
        await hand.press("e")
        await hand.sees("Exported")
        assert {(row["model"], row["requests"]) for row in exported(tmp_path)} == {("gpt-5", "1"), ("gpt-4o-mini", "1")}
        await hand.press("down")
        await hand.sees("spend per hour · last 24 hours · gpt-5")
        await hand.press("enter")
        await hand.sees("requests of model gpt-5 · 1", "● 200 ok")
        await hand.press("enter")
        await hand.sees("attempts (1)")
        await hand.press("escape", "escape", "s")
        await hand.sees("spend per day · last 7 days", "everything")


@pytest.fixture(scope="module")
async def plotted(world: World) -> World:
    """A request of a project and a user, and one of none."""
    await world.admin.projects.create("plotted", ProjectSpec())
    await world.admin.users.create("pat", ProjectSpec())
    key = await world.admin.keys.create("plotter", KeySpec(project="plotted", user="pat"))
    assert (await ask(world, key.key), await ask(world, world.key)) == (200, 200)
    return world


GROUPS = {"key": "plotter", "project": "plotted", "user": "pat", "provider": "openai", "route": "openai"}


@pytest.mark.parametrize("group", GROUPS)
async def test_usage_is_plotted_by_each_group(plotted: World, group: str) -> None:
    """Each group has its rows with their courses; the requests behind one are those alone, of none too."""
    mine, count = GROUPS[group], 2 if group in ("provider", "route") else 1
    async with at(plotted) as hand:
        await hand.press("3", *["right"] * (1 + list(GROUPS).index(group)))
        await hand.sees(f"[{group}]", "everything", mine)
        await hand.point(f"group {mine}")
        await hand.sees(f"spend per hour · last 24 hours · {mine}")
        await hand.press("enter")
        await hand.sees(f"requests of {group} {mine} · {count}")
        if group in ("project", "user"):
            await hand.press("escape")
            await hand.point("group ")
            await hand.press("enter")
            text = await hand.sees(f"requests of no {group} · 1")
            assert "tester" in text
            assert "plotter" not in text


async def test_a_provider_is_added_and_tested(world: World) -> None:
    """A provider comes in by the form; its test says that it answers; it goes after its name was typed."""
    async with at(world) as hand:
        await hand.press("4", "n")
        base = (await world.admin.providers.get("openai")).base_url
        await hand.fill(kind="openai", name="second", key="sk-of-the-second", base_url=base)
        await hand.press("enter")
        await hand.point("second")
        assert "sk-of-the-second" not in hand.text
        await hand.press("t")
        await hand.sees("● answers: second")
        await hand.press("c")
        await hand.sees("credential of second", "Now: ")
        await hand.fill(credential="env:PATH")
        await hand.press("enter")
        await hand.sees("env:PATH")
        await hand.until(lambda: not isinstance(hand.app.screen, Dialog), "the form closes")
        await hand.press("D")
        await hand.fill(name="second")
        await hand.press("enter")
        await hand.sees("second is deleted")


async def test_a_broken_provider_counts_down(environment: None, tmp_path: Path) -> None:
    """A breaker that opened is shown with its countdown, its reason and the credentials that are left."""
    server = ServerSpec(breaker=BreakerSpec(rest=40))  # on a busy machine five seconds are over before they are seen
    said = [{"role": "user", "content": "[sim:status=500] hi"}]
    body = {"model": "gpt-5", "messages": said, "max_completion_tokens": 20}
    async with (
        running_simulator() as base,
        running_world(tmp_path / "home", simulated_providers(base), server) as world,
        at(world, size=(140, 40)) as hand,
    ):
        openai = (await world.admin.providers.get("openai")).base_url
        spec = ProviderSpec(kind="openai", base_url=openai, credential="value:k", price_provider="openai")
        await world.admin.providers.create("shaky", spec)
        headers = {"authorization": f"Bearer {world.key}"}
        for _ in range(5):
            answer = await world.http.post("/proxy/shaky/chat/completions", headers=headers, json=body)
            assert answer.status_code == 500
        await hand.sees("✕ breaker shaky  half-open ")
        await hand.press("4")
        await hand.point("shaky")
        await hand.sees("0/1 half-open ", "500", "last error", "0.0%")


async def test_routes_are_weighed_and_taken_back(world: World) -> None:
    """A member's weight changes by a key, and goes back by another; a dry run shows what comes of it."""
    members = [MemberSpec(provider="groq", priority=10, weight=2), MemberSpec(provider="openai", priority=10)]
    await world.admin.routes.create("fast", RouteSpec(members=members))
    async with at(world) as hand:
        await hand.press("5")
        await hand.sees("fast", "67%", "33%")
        await hand.press("tab", "plus")
        await hand.sees("75%")
        await hand.press("u")
        await hand.sees("67%")
        await hand.press("space")
        await hand.sees("○ off")
        await hand.press("u")
        await hand.sees("67%")
        await hand.press("d")
        await hand.sees("dry run of fast: 100 draws", "tried first", "if 1 failed")


async def test_a_route_is_made_edited_and_deleted(world: World) -> None:
    """A route is made of picked members; a wrong one is marked; its members are added, edited, removed, taken back."""
    async with at(world) as hand:
        await hand.press("5", "n")
        await hand.fill(name="made", members="groq, nobody")
        await hand.press("enter")
        text = await hand.sees("✕", "nobody", "new route")
        rows = text.splitlines()
        assert "✕" in rows[next(place for place, row in enumerate(rows) if "groq, nobody" in row) + 1]
        await hand.fill(members="groq")
        await hand.press("enter")
        await hand.point("made")
        await hand.sees("● first", "100%")
        await hand.press("enter", "n")
        await hand.fill(provider="openai", priority="-5", models="fast=gpt-5, slow=gpt-4.1")
        await hand.press("enter")
        await hand.sees("● first", "◌ standby")
        route = await world.admin.routes.get("made")
        assert [(m.provider, m.priority, m.models) for m in route.members] == [
            ("groq", 0, {}), ("openai", -5, {"fast": "gpt-5", "slow": "gpt-4.1"}),
        ]  # fmt: skip
        await hand.press("down", "e")
        await hand.fill(priority="0", weight="1")
        await hand.press("enter")
        await hand.sees("50%")
        await hand.press("u")
        await hand.sees("◌ standby")
        await hand.press("end", "D")
        await hand.until(lambda: "standby" not in hand.text, "the member is removed")
        await hand.press("u")
        await hand.sees("◌ standby")
        await hand.press("tab", "e")
        await hand.fill(choice="latency", deadline="2m")
        await hand.press("enter")
        await hand.until(lambda: not isinstance(hand.app.screen, Dialog), "the form closes")
        route = await world.admin.routes.get("made")
        assert (route.choice, route.timeouts.deadline) == ("latency", 120)
        await hand.press("D")
        await hand.fill(name="made")
        await hand.press("enter")
        await hand.sees("Route made is deleted")


async def test_everything_of_a_provider_is_edited(world: World) -> None:
    """Address, prices and timeouts are changed in one form, marked where the gateway refuses them, and taken back."""
    base = (await world.admin.providers.get("openai")).base_url
    await world.admin.providers.create("edited", ProviderSpec(kind="openai", base_url=base, credential="value:k"))
    async with at(world) as hand:
        await hand.press("4")
        await hand.point("edited")
        await hand.press("e")
        await hand.fill(price_factor="0.8", idle="30s", on_disconnect="never")
        await hand.press("enter")
        await hand.sees("edit edited", "✕")
        await hand.fill(on_disconnect="cancel")
        await hand.press("enter")
        await hand.sees("edited changed")
        options = (await world.admin.providers.get("edited")).options
        assert (float(options["price_factor"]), options["on_disconnect"], options["timeouts"]["idle"]) == (
            0.8,
            "cancel",
            30,
        )
        await hand.press("u")
        await hand.sees("Undone")
        options = (await world.admin.providers.get("edited")).options
        assert (options.get("price_factor"), options["on_disconnect"]) == (None, "drain")


async def test_the_log_shows_what_changed(fresh: World) -> None:
    """The audit log shows the actor, the action and each field's change; it also lists requests."""
    await fresh.make_key("alice-dev", daily="1")
    await fresh.admin.keys.update("alice-dev", {"limits": {"daily": "2"}})
    async with at(fresh) as hand:
        await hand.press("6")
        await hand.sees("+ create", "~ update", "alice-dev", "limits.daily", "- 1", "+ 2")
        await ask(fresh, fresh.key)
        await hand.press("right")
        await hand.sees("[requests 1]", "● 200 ok", "known how")
        await hand.press("enter")
        await hand.sees("attempts (1)")


async def test_the_log_goes_back_page_by_page(fresh: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`m` brings earlier entries behind those that are there, none twice."""
    monkeypatch.setattr("paig_tui.screens.log.screen.PAGE", 3)
    for number in range(7):
        await fresh.make_key(f"k{number}")
    async with at(fresh) as hand:
        await hand.press("6")
        await hand.sees("[audit 3]", "k6")
        await hand.press("m")
        await hand.sees("[audit 6]", "k1")
        names = [entry.name for entry in hand.app.screen.query_one("#rows", Table).rows]
        assert names == [f"k{number}" for number in range(6, 0, -1)]


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
