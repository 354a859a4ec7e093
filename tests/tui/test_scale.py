"""Ten thousand keys and two hundred requests a second: what is done is counted, not timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import paig_tui.app
import paig_tui.data.poller
from paig_client.api.resources import Key, LimitStatus, Request
from paig_tui.app import PaigApp
from paig_tui.data.recent import TAIL, Window
from paig_tui.screens.dashboard.screen import DashboardSection
from paig_tui.screens.keys.screen import KeysSection
from paig_tui.widgets.table import Table
from tests.tui.conftest import Hand
from tests.tui.scene import NOW, Still, keys, limits, requests

pytestmark = pytest.mark.anyio

MANY = 10_000
PER_FLUSH = 50
"""Two hundred a second, at four flushes a second."""


class Crowd(Still):
    """A gateway with very many keys."""

    def __init__(self) -> None:
        super().__init__()
        key, limit = keys()[0], limits()[0]
        self.many = [key.model_copy(update={"id": f"k{n}", "name": f"key-{n:05}"}) for n in range(MANY)]
        self.caps = [limit.model_copy(update={"owner": one.name}) for one in self.many]

    async def send(self, call: Any, /) -> Any:
        """The keys are too many to be written out and read each time."""
        found: dict[str, list[Key] | list[LimitStatus]] = {"keys": self.many, "limits": self.caps}
        return [*found[call.path]] if call.path in found and call.method == "GET" else await super().send(call)


def finished(count: int, first: int) -> Iterator[Request]:
    """So many requests that have just ended."""
    some = requests()
    for number in range(first, first + count):
        one = some[number % len(some)]
        yield one.model_copy(update={"id": f"new{number}", "time": NOW, "key": f"key-{number % 700:05}"})


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts of rows drawn, of sections filled, and of samples counted in or out."""
    counts: Counter[str] = Counter()

    def counted(owner: type, name: str) -> None:
        plain: Callable[..., Any] = getattr(owner, name)

        def count(*args: Any, **kwargs: Any) -> Any:
            counts[f"{owner.__name__}.{name}"] += 1
            return plain(*args, **kwargs)

        monkeypatch.setattr(owner, name, count)

    counted(Table, "_row")
    counted(KeysSection, "show")
    counted(DashboardSection, "show")
    counted(Window, "_count")
    return counts


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app is drawn when the test says so, not four times a second, and asks the gateway only once."""
    assert paig_tui.app.FLUSH == 0.25
    monkeypatch.setattr(paig_tui.app, "FLUSH", 3600)
    monkeypatch.setattr(paig_tui.data.poller, "EVERY", 3600)


async def test_ten_thousand_keys_cost_as_much_as_are_in_sight(
    work: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only rows in sight are drawn; a step of the cursor draws two; requests that come in draw no key at all."""
    monkeypatch.setattr(paig_tui.data.poller, "EVERY", 3600)  # what is asked again draws them again
    app = PaigApp(Crowd(), clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        hand = Hand(app, pilot)
        await hand.press("2")
        await hand.sees("● live", "[keys 10,000]", "key-00000")
        await hand.settled()
        assert work["Table._row"] < 300
        work.clear()
        await hand.press("down")
        await hand.until(lambda: app.screen.query_one(Table).cursor == 1, "the cursor")
        assert work["Table._row"] <= 4
        assert work["KeysSection.show"] == 0
        work.clear()
        await hand.press("end")
        await hand.sees("key-09999")
        assert work["Table._row"] < 100
        assert app.poller is not None
        work.clear()
        app.poller.pending += finished(500, 0)
        await hand.until(lambda: app.poller is not None and not app.poller.pending, "a flush")
        await hand.pilot.pause()
        assert (work["KeysSection.show"], work["Table._row"]) == (0, 0)
        assert len(app.state.recent.tail) == TAIL
        await hand.press("slash", *"777", "enter")
        await hand.sees("key-00777", "19 shown")
        await hand.press("o", "escape", "home")
        await hand.sees("status▲")
        assert app.screen.query_one(Table).cursor == 0


async def test_two_hundred_a_second_are_drawn_four_times(work: Counter[str], by_hand: None) -> None:
    """However many requests come between two flushes, the dashboard is filled once, and draws the rows in sight."""
    app = PaigApp(Crowd(), clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        hand = Hand(app, pilot)
        await hand.until(lambda: app.state.keys is not None, "the first answers")
        app.flush()
        await hand.sees("● 200 ok")
        assert app.poller is not None
        tail = app.screen.query_one("#tail", Table)
        await pilot.pause(0.2)  # the drawings that follow a first layout
        for number in range(20):
            work.clear()
            app.poller.pending += finished(PER_FLUSH, number * PER_FLUSH)
            await pilot.pause()
            assert work["DashboardSection.show"] == work["Table._row"] == 0
            app.flush()
            await pilot.pause()
            assert work["DashboardSection.show"] == 1
            assert 0 < work["Table._row"] <= tail.size.height
            assert work["Window._count"] == PER_FLUSH
        assert len(app.state.recent.tail) == len(tail.rows) == TAIL
        work.clear()
        app.flush()
        await pilot.pause()
        assert (work["DashboardSection.show"], work["Table._row"]) == (0, 0)


async def test_a_row_that_was_drawn_is_not_drawn_again(work: Counter[str], by_hand: None) -> None:
    """One request more draws one row more, and the cursor's: the others are moved."""
    app = PaigApp(Still(), clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        hand = Hand(app, pilot)
        await hand.until(lambda: app.state.keys is not None, "the first answers")
        app.flush()
        await hand.sees("● 200 ok")
        assert app.poller is not None
        work.clear()
        app.poller.pending += finished(1, 7)
        app.flush()
        await hand.sees("key-00007")
        assert work["Table._row"] <= 3


async def test_the_flush_is_four_times_a_second() -> None:
    """The one timer that draws runs every quarter of a second."""
    app = PaigApp(Still(), clock=lambda: NOW)
    async with app.run_test(size=(80, 24)):
        drawing = [timer for timer in app._timers if timer._callback == app.flush]
        assert [timer._interval for timer in drawing] == [0.25]
