"""The themes can be read, and what they say is there without them."""

from __future__ import annotations

from itertools import combinations

import pytest
from textual.color import Color

from paig_tui.app import PaigApp
from paig_tui.themes import ALIASES, DEFAULT, OURS
from paig_tui.widgets.table import Table
from tests.tui.conftest import Hand
from tests.tui.scene import NOW, Still

pytestmark = pytest.mark.anyio
STATES = ("success", "warning", "error")
MATRICES = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}
"""What eyes without red or green cones see of a colour (Machado, Oliveira and Fernandes, 2009)."""


def linear(value: float) -> float:
    """A channel's light."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def light(colour: str) -> tuple[float, float, float]:
    """A colour's light by channel."""
    red, green, blue = Color.parse(colour).normalized
    return linear(red), linear(green), linear(blue)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, as WCAG has it."""
    first, second = (0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (light(one), light(other)))
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


@pytest.mark.parametrize("theme", OURS, ids=lambda theme: theme.name)
def test_every_colour_can_be_read(theme: object) -> None:
    """Each colour that words are written in stands out from every ground, by 4.5 to 1."""
    (found,) = [one for one in OURS if one is theme]
    for name in ("foreground", "primary", "secondary", "accent", *STATES):
        for ground in ("background", "surface"):
            ratio = contrast(getattr(found, name), getattr(found, ground))
            assert ratio >= 4.5, f"{name} on {ground}: {ratio:.1f}"


@pytest.mark.parametrize("eyes", MATRICES)
def test_good_and_bad_are_told_apart_by_all_eyes(eyes: str) -> None:
    """In the colour-blind theme good, warning and bad differ also without red or without green cones."""
    theme = next(one for one in OURS if one.name == ALIASES["colour-blind"])
    seen = {}
    for name in STATES:
        channels = light(str(getattr(theme, name)))
        seen[name] = [sum(k * c for k, c in zip(row, channels, strict=True)) for row in MATRICES[eyes]]
    for one, other in combinations(STATES, 2):
        apart = sum((a - b) ** 2 for a, b in zip(seen[one], seen[other], strict=True)) ** 0.5
        assert apart > 0.3, f"{one} and {other}: {apart:.2f}"


@pytest.mark.parametrize(("wanted", "found"), [*ALIASES.items(), ("nord", "nord"), ("no-such-theme", DEFAULT)])
async def test_the_theme_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch, wanted: str, found: str) -> None:
    """`PAIG_THEME` is one of our short names or one of Textual's; any other is ours."""
    monkeypatch.setenv("PAIG_THEME", wanted)
    assert PaigApp(None).theme == found


async def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR nothing has a hue, and the cursor is still to be seen."""
    monkeypatch.setenv("NO_COLOR", "1")
    app = PaigApp(Still(), clock=lambda: NOW)
    async with app.run_test(size=(110, 30)) as pilot:
        hand = Hand(app, pilot)
        await hand.press("2")
        await hand.sees("alice-dev", "● live")
        table = app.screen.query_one(Table)
        row = table.render_line(1)
        assert all(segment.style is not None and segment.style.reverse for segment in row if segment.text.strip())
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                for colour in (segment.style and segment.style.color, segment.style and segment.style.bgcolor):
                    if colour is not None and colour.triplet is not None:
                        red, green, blue = colour.triplet
                        assert max(red, green, blue) - min(red, green, blue) <= 2, segment


async def test_ansi_uses_the_terminals_own_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ansi theme no colour is ours."""
    monkeypatch.setenv("PAIG_THEME", "ansi")
    app = PaigApp(Still(), clock=lambda: NOW)
    async with app.run_test(size=(110, 30)) as pilot:
        hand = Hand(app, pilot)
        await hand.sees("● live", "● 200 ok")
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                for colour in (segment.style and segment.style.color, segment.style and segment.style.bgcolor):
                    assert colour is None or colour.triplet is None, segment
