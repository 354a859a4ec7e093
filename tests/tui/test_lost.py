"""When the gateway goes away, or does not take the token: what was known stays, and says how old it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from paig_client.admin import AsyncAdminClient
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.server import running_gateway
from paig_gateway.simulator.serve import running_simulator
from paig_tui.app import PaigApp
from tests.gateway.end_to_end.conftest import ADMIN, World, running_world, simulated_providers
from tests.tui.conftest import Hand, ask, at
from tests.tui.scene import NOW, Still

pytestmark = pytest.mark.anyio


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
            text = await hand.sees("✕ lost · retry in", "· as of", "● 200")
            assert "$0.000" in text
            assert app.screen.has_class("-stale")
            await hand.press("2")
            await hand.sees("✕ lost", "· as of", "tester", "● active")
            await hand.press("3")
            await hand.sees("✕ lost", "· as of")
        finally:
            await context.__aexit__(None, None, None)
        assert app.failures == []


async def test_it_comes_back_by_itself(environment: None, tmp_path: Path) -> None:
    """Once a gateway answers there again, all is live, and what happened meanwhile is there."""
    async with running_simulator() as base:
        specs = simulated_providers(base)
        async with running_world(tmp_path / "home", specs) as world:
            port = int(world.origin.rpartition(":")[2])
            app = PaigApp(AsyncAdminClient(world.origin, token=ADMIN))
            context = app.run_test(size=(120, 30), notifications=True)
            hand = Hand(app, await context.__aenter__())
            await hand.sees("● live")
        try:
            await hand.sees("✕ lost")
            again = Gateway(OpenDatabase.open(tmp_path / "home"))
            async with running_gateway(again, port=port) as origin:
                async with httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60) as http:
                    assert await ask(replace(world, http=http), world.key) == 200
                await hand.press("R")
                await hand.sees("● live", "● 200 ok")
                assert not app.screen.has_class("-stale")
        finally:
            await context.__aexit__(None, None, None)
        assert app.failures == []


async def test_every_section_is_dated_and_without_zeros() -> None:
    """Lost, each section shows its last figures dimmed, under one line that says since when; none turns to nothing."""
    admin, now = Still(), [NOW]
    app = PaigApp(admin, clock=lambda: now[0])
    async with app.run_test(size=(120, 34)) as pilot:
        hand = Hand(app, pilot)
        known = {}
        for key in "123456":
            await hand.press(key)
            await hand.until(lambda: not any(word in hand.text for word in ("Loading", "–\n")), "all of it")
            await hand.sees("● live")
            known[key] = await hand.settled()
        admin.down = True
        now[0] += timedelta(hours=2)
        await hand.press("R")
        await hand.sees("✕ lost · retry in 1s · as of 12:04:31, 2h ago")
        for key in "123456":
            await hand.press(key)
            await hand.sees("· as of 12:04:31, 2h ago")
            assert (await hand.settled()).splitlines()[1:] == known[key].splitlines()[1:]
            assert app.screen.has_class("-stale")
            table = app.screen.query("Table").first()
            assert table.visual_style.dim


async def test_never_connected_is_not_shown_as_zero() -> None:
    """Without any answer there are dashes, not zeros, and the reason in the header."""
    admin = Still()
    admin.down = True
    app = PaigApp(admin, clock=lambda: NOW)
    async with app.run_test(size=(100, 30)) as pilot:
        hand = Hand(app, pilot)
        text = await hand.sees("✕ lost · retry in 1s · nothing fetched yet")
        assert "$0" not in text
        assert "0.0%" not in text
        assert "first run" not in text
        await hand.press("2")
        await hand.sees("[keys –]", "✕ No gateway answers at")
        assert "Loading" not in hand.text


async def test_a_wrong_token_is_said(world: World) -> None:
    """A token that the gateway refuses is no lost connection, and shows no figures."""
    app = PaigApp(AsyncAdminClient(world.origin, token="wrong"))
    async with app.run_test(size=(100, 30)) as pilot:
        hand = Hand(app, pilot)
        text = await hand.sees("✕ token refused")
        assert "$0" not in text
        await hand.press("2")
        await hand.sees("✕ The gateway refuses the token: run `paig login http", "--admin`, or set")


async def test_a_small_terminal_is_told(world: World) -> None:
    """Below 80×24 the app says so instead of showing half of itself, and comes back when it is made larger."""
    async with at(world, size=(79, 24), live=False) as hand:
        text = await hand.sees("This terminal is 79×24", "80×24")
        assert "spend" not in text
        await hand.pilot.resize_terminal(80, 23)
        await hand.sees("This terminal is 80×23")
        await hand.pilot.resize_terminal(80, 24)
        await hand.sees("spend today", "live requests")
