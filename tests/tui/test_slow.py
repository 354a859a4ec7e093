"""A gateway that answers slowly, or not any more: the header says so, what has come is shown, changes say they wait."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import paig_tui.app
from paig_tui.app import PaigApp
from paig_tui.data.state import AppState, ConnectionState
from paig_tui.widgets.chrome import link_status
from tests.tui.conftest import Hand
from tests.tui.scene import NOW, Still

pytestmark = pytest.mark.anyio


class Slow(Still):
    """A gateway some of whose answers wait until the test lets them go."""

    def __init__(self, *waits: str) -> None:
        super().__init__()
        self.waits = waits
        self.go = asyncio.Event()

    async def send(self, call: Any, /) -> Any:
        """The scene's answer, sooner or later."""
        if call.method != "GET" or call.path in self.waits:
            await self.go.wait()
        return await super().send(call)


async def test_what_has_come_is_shown_before_the_rest() -> None:
    """The keys are there while the limits are still on their way."""
    admin = Slow("limits")
    app = PaigApp(admin, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        hand = Hand(app, pilot)
        await hand.press("2")
        await hand.sees("◌ connecting", "[keys 9]", "eval-batch")
        admin.go.set()
        await hand.sees("● live")


def test_the_header_says_that_no_answer_comes() -> None:
    """A green `live` would be a lie while the gateway owes an answer."""
    state = AppState(lambda: NOW)
    state.link = ConnectionState("live", NOW - timedelta(seconds=50))
    assert link_status(state, NOW).plain == "● live 50s"
    state.link.asked_at = NOW - timedelta(seconds=2)
    assert link_status(state, NOW).plain == "● live 50s"
    state.link.asked_at = NOW - timedelta(seconds=45)
    assert link_status(state, NOW).plain == "▲ slow · no answer for 45s"
    state.link.state = "connecting"
    assert link_status(state, NOW).plain == "◌ connecting · no answer for 45s"


async def test_a_change_that_waits_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is done or refused."""
    monkeypatch.setattr(paig_tui.app, "SLOW_CHANGE", 0.05)
    admin = Slow()
    app = PaigApp(admin, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live")
        await hand.press("2", "d")
        await hand.sees("Waiting for the gateway")
        admin.down = True
        admin.go.set()
        text = await hand.sees("Not done")
        assert "Waiting" not in text
