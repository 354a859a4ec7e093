"""Screens that are closed at any moment after they were opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from textual.screen import Screen

from paig_client.endpoints import ApiCall
from paig_tui.app import PaigApp
from paig_tui.screens.dialog import Confirm, Dialog
from paig_tui.screens.keys.asks import LimitRequests
from paig_tui.screens.page import Framed
from paig_tui.screens.requests.detail import RequestDetail
from paig_tui.screens.requests.list import Requests
from paig_tui.screens.sessions.detail import SessionDetail
from tests.tui.scene import NOW, SESSION, Still, requests

pytestmark = pytest.mark.anyio
T = TypeVar("T")
SCREENS: dict[str, Callable[[], Screen[Any]]] = {
    "list": lambda: Requests("everyone", {}),
    "request": lambda: RequestDetail(requests()[0]),
    "session": lambda: SessionDetail(SESSION),
    "asks": LimitRequests,
    "dialog": lambda: Confirm("delete it?", "It is gone then.", do="Delete"),
}


class Late(Still):
    """A gateway whose answers take a number of turns of the event loop."""

    turns = 0

    async def send(self, call: ApiCall[T], /) -> T:
        await turn(self.turns)
        return await super().send(call)


async def turn(times: int) -> None:
    """Let the event loop turn."""
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.mark.parametrize("name", SCREENS)
async def test_a_screen_may_be_closed_at_any_moment(name: str) -> None:
    """Nothing that waits for a drawing or for the gateway looks for widgets of a closed screen."""
    gateway = Late()
    app = PaigApp(gateway, clock=lambda: NOW)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        for turns in range(4, 16):
            gateway.turns = turns // 2
            screen = SCREENS[name]()
            app.push_screen(screen)
            await turn(turns)
            screen.dismiss(None)
            await pilot.pause()
        assert isinstance(app.screen, Framed)
        assert app.failures == []


async def test_an_answer_that_comes_after_a_dialog_was_closed_closes_nothing_else() -> None:
    """The work of a dialog ends with it: it does not close the screen below."""
    begun, goes = asyncio.Event(), asyncio.Event()

    class Slow(Dialog[bool]):
        async def answer(self) -> bool:
            begun.set()
            await goes.wait()
            return True

    app = PaigApp(None, clock=lambda: NOW)
    async with app.run_test(size=(100, 30)) as pilot:
        below, dialog = LimitRequests(), Slow("slow")
        await app.push_screen(below)
        await app.push_screen(dialog)
        await pilot.press("tab", "enter")
        await asyncio.wait_for(begun.wait(), 20)
        goes.set()
        dialog.dismiss(None)
        await pilot.pause()
        await pilot.pause()
        assert app.screen is below
        assert app.failures == []
