"""How every screen looks: pictures of a fixed scene, compared with those that were accepted.

`SNAPSHOTS=write make test ARGS=tests/tui/test_snapshots.py` accepts what is drawn now.
"""

from __future__ import annotations

import difflib
import html
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from textual.screen import Screen
from textual.widgets import Input

import paig_tui.data.poller
from paig_client.api.resources import NewKey
from paig_tui.app import PaigApp
from paig_tui.screens.keys.created import KeyCreated
from paig_tui.screens.sessions.detail import SessionDetail
from paig_tui.widgets.table import Table
from scripts.screenshot import tidy
from tests.tui.conftest import Hand
from tests.tui.scene import NOW, SESSION, Still, providers

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("SNAPSHOTS") == "write"
STILL = 8
"""Looks in a row, some 0.05 s apart, at which a picture that stays the same is what there is to see."""
DIFFERENT = Path(__file__).parents[2] / ".cache" / "snapshots"
SMALL, LARGE, HUGE = (80, 24), (120, 40), (200, 50)
SECTIONS = ("dashboard", "keys", "usage", "providers", "routes", "log", "limits", "sessions")

# Look, size, and what the environment says.
LOOKS: Mapping[str, tuple[tuple[int, int], Mapping[str, str]]] = {
    "80x24": (SMALL, {}),
    "120x40": (LARGE, {}),
    "200x50": (HUGE, {}),
    "light": (SMALL, {"PAIG_THEME": "light"}),
    "colour-blind": (SMALL, {"PAIG_THEME": "colour-blind"}),
    "ansi": (SMALL, {"PAIG_THEME": "ansi"}),
    "no-color": (SMALL, {"NO_COLOR": "1"}),
    "empty": (SMALL, {}),
    "stale": (SMALL, {}),
}
# In which section, what to press, and what is seen then.
DIALOGS: Mapping[str, tuple[int, tuple[str, ...], str]] = {
    "new-key": (2, ("n",), "new key"),
    "caps": (2, ("down", "down", "down", "c"), "caps of ci-bot"),
    "delete": (2, ("D",), "delete key alice-dev?"),
    "request": (1, ("down", "enter"), "request req_"),
    "help": (1, ("question_mark",), "help"),
}
# What opens over the limits, or is another kind of them, in each size: what to press there, and what is seen then.
SIZES = ("80x24", "120x40", "200x50")
OPENED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "named-limits": (("right",), "gpt-per-customer"),
    "raises": (("right",), "release day"),
    "asks": (("a",), "a long refactoring"),
    "session": ((), "├─ Test"),
}
NAMES = {f"{section}-{look}" for section in SECTIONS for look in LOOKS} | {*DIALOGS, "key-created"}
NAMES |= {f"{opened}-{size}" for opened in OPENED for size in SIZES}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests are run in, the app is told nothing."""
    for name in ("NO_COLOR", "PAIG_THEME", "PAIG_TRACE_URL"):
        monkeypatch.delenv(name, raising=False)


class Album:
    """Compares pictures with those that were accepted; what differs is told at the end, all of it."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    async def compare(self, name: str, hand: Hand) -> None:
        """Compare what is on the screen, at the latest when it moves no more."""
        file = HERE / f"{name}.svg"
        accepted = file.read_text("utf-8") if file.exists() and not WRITE else ""
        taken = await settled(hand, accepted)
        if WRITE:
            file.parent.mkdir(exist_ok=True)
            file.write_text(taken, "utf-8")
        elif taken != accepted:
            DIFFERENT.mkdir(parents=True, exist_ok=True)
            (DIFFERENT / file.name).write_text(taken, "utf-8")
            diff = [*difflib.unified_diff(lines(accepted), lines(taken), "accepted", "now", n=0, lineterm="")]
            said = "\n".join(diff[:40]) or "the text is the same; styles or places differ"
            self.problems.append(f"{file.name} differs; now it is .cache/snapshots/{file.name}\n{said}")


@pytest.fixture
def album() -> Iterator[Album]:
    """An album; fails the test if anything differed."""
    made = Album()
    yield made
    if made.problems:
        pytest.fail("\n\n".join(made.problems), pytrace=False)


def lines(svg: str) -> list[str]:
    """The text of a picture by lines."""
    rows: dict[float, list[str]] = {}
    for y, text in re.findall(r'<text class="t-r\d+"[^>]* y="(\S+)"[^>]*>([^<]*)</text>', svg):
        rows.setdefault(float(y), []).append(html.unescape(text).replace("\N{NO-BREAK SPACE}", " "))
    return ["".join(rows[y]).rstrip() for y in sorted(rows)]


async def settled(hand: Hand, wanted: str) -> str:
    """The picture: the wanted one as soon as it is there, else the one that stays."""
    last, same = "", 0
    for _ in range(300):
        for field in hand.app.screen.query(Input):
            field.cursor_blink = False
        await hand.pilot.pause(0.05)
        taken = tidy(hand.app.export_screenshot())
        same, last = (same + 1 if taken == last else 0), taken
        if taken == wanted or same >= STILL:
            return taken
    raise AssertionError(f"it never stands still\n{hand.text}")


@asynccontextmanager
async def still() -> AsyncIterator[Hand]:
    """The app at the scene."""
    app = PaigApp(Still(), profile="prod", clock=lambda: NOW)
    async with app.run_test(size=SMALL) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live")
        yield hand
    assert app.failures == []


async def go(hand: Hand, number: int, *, empty: bool = False) -> None:
    """To a section, until all of it is there."""
    await hand.press(str(number))
    name = SECTIONS[number - 1]

    def there() -> bool:
        screen = hand.app.screen
        return getattr(screen, "NAME", "") == name and (empty or all(table.rows for table in screen.query(Table)))

    await hand.until(there, name)


@pytest.mark.parametrize("look", LOOKS)
async def test_sections_look_as_accepted(look: str, album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each section is drawn as it was accepted: in every size, theme and state."""
    size, environment = LOOKS[look]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(paig_tui.data.poller, "PAUSES", (15,))  # so that no second try says another time
    admin, now = Still(empty=look == "empty"), [NOW]
    app = PaigApp(admin, profile="prod", clock=lambda: now[0])
    async with app.run_test(size=size) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live")
        if look == "stale":
            for number in range(1, len(SECTIONS) + 1):
                await go(hand, number)
            admin.down = True
            now[0] += timedelta(minutes=12)
            await hand.press("R")
            await hand.sees("✕ lost")
        for number, section in enumerate(SECTIONS, 1):
            await go(hand, number, empty=admin.empty)
            await album.compare(f"{section}-{look}", hand)
        await go(hand, SECTIONS.index("limits") + 1, empty=admin.empty)
        for opened, (keys, seen) in OPENED.items() if look in SIZES else ():
            await hand.press(*keys)
            if opened == "session":
                await app.push_screen(SessionDetail(SESSION))
            await hand.sees(seen)
            await album.compare(f"{opened}-{look}", hand)
            if len(app.screen_stack) > 1:
                await hand.press("escape")
    assert app.failures == []


@pytest.mark.parametrize("name", DIALOGS)
async def test_dialogs_look_as_accepted(name: str, album: Album) -> None:
    """What opens over a section is drawn as it was accepted."""
    number, keys, seen = DIALOGS[name]
    async with still() as hand:
        await go(hand, number)
        await hand.press(*keys)
        await hand.sees(seen)
        await album.compare(name, hand)


async def test_key_created_looks_as_accepted(album: Album) -> None:
    """The dialog that shows a key once shows it masked."""
    secret = "paig_" + "7Zk2" * 8
    async with still() as hand:
        screen: Screen[None] = KeyCreated(NewKey(id="key_x", name="night-jobs", key=secret), hand.app.root, providers())
        await hand.app.push_screen(screen)
        await hand.sees("night-jobs", "paig_•")
        await album.compare("key-created", hand)


def test_every_picture_belongs_to_a_test() -> None:
    """No picture is left of what is no longer drawn; none names an address, and all are small."""
    if WRITE:
        for file in HERE.glob("*.svg"):
            if file.stem not in NAMES:
                file.unlink()
        return
    files = sorted(HERE.glob("*.svg"))
    assert {file.stem for file in files} == NAMES
    assert sum(file.stat().st_size for file in files) < 2_000_000
    for file in files:
        assert re.findall(r"https?://\S+?\"", file.read_text("utf-8")) == ['http://www.w3.org/2000/svg"'], file.name
