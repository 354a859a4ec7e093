"""The README's picture that moves is valid, harmless and light, and shows what the demo prints."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from scripts.moving_picture import record

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "demo.svg"
SVG = "{http://www.w3.org/2000/svg}"


def plain(line: str) -> str:
    """A line without colours, numbers and white space: what stays the same from one run to the next."""
    return re.sub(r"[\d.]+", "#", re.sub(r"\s+", "", re.sub(r"\x1b\[[\d;]*m", "", line)))


def test_it_is_light_and_harmless() -> None:
    """An SVG of elements that draw alone: no script, no link, nothing of another file or address."""
    text = PICTURE.read_text("utf-8")
    assert len(text.encode()) < 300_000
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    allowed = {"svg", "title", "style", "defs", "clipPath", "g", "rect", "circle", "text"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= allowed
    names = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on") or "href" in name}
    clips = {f"#{element.get('id')}" for element in root.iter(f"{SVG}clipPath")}
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= clips
    assert "@import" not in text
    assert "docs/images/demo.svg" in (ROOT / "README.md").read_text("utf-8")


def test_it_moves_and_can_rest() -> None:
    """Each animation that is used is defined, and none plays for people who ask for less motion."""
    text = PICTURE.read_text("utf-8")
    used, defined = (set(re.findall(rule, text)) for rule in (r"animation: ([a-z]+\d*) ", r"@keyframes ([a-z]+\d*) "))
    assert used == defined | {"none"}
    assert {"demo", "screen0", "scroll"} < used
    assert "@media (prefers-reduced-motion: reduce) { * { animation: none !important } }" in text


@pytest.mark.slow
def test_it_shows_what_the_demo_prints() -> None:
    """Every line of the demo is in the picture, in order, but for numbers and times; `make screenshot` renews it."""
    root = ElementTree.parse(PICTURE).getroot()
    [demo] = [group for group in root.iter(f"{SVG}g") if group.get("class") == "scene demo"]
    lines = [group for group in demo.iter(f"{SVG}g") if (group.get("class") or "").startswith("line")]
    shown = [plain("".join(group.itertext())) for group in lines]
    printed = [line for _, text in record() if (line := plain(text))]
    assert list(dict.fromkeys(shown[1:])) == list(dict.fromkeys(printed))
    assert shown[0] == "$paigdemo"
