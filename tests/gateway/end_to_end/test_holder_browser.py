"""The page of a key's holder in a real Chromium: light and dark, on a phone and a desktop."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.agents import play
from tests.gateway.end_to_end.conftest import World
from tests.tui.web.chromium import BROWSER, Chromium, Page, chromium

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="NO BROWSER: the page of a key's holder was not looked at in one"),
]
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}


@pytest.fixture(scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chromium]:
    """A browser for all tests here."""
    async with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


async def opened(browser: Chromium, world: World, key: str, scheme: str, size: tuple[int, int]) -> Page:
    """The page, after the key was shown in its form."""
    page = await browser.page(await browser.context())
    await page.size(*size)
    await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    await page.go(f"{world.origin}/me")
    await page.sees("Gateway key")
    await page.run("document.getElementById('key').focus()")
    await page.type(key)
    await page.press("Enter")
    await page.sees("Spent today", "Latest requests")
    return page


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_and_is_readable(
    simulated: World, simulator: Simulator, browser: Chromium, tmp_path: Path, scheme: str, size: str
) -> None:
    """Nothing is wider than the window, the policy forbids nothing of its own, text stands out from its ground."""
    key = await simulated.make_key(f"dev-{scheme}-{size}", daily=5, monthly="0.12", requests_per_minute=600)
    await play(simulated.http, key)
    await play(simulated.http, key, "0193a1b2-second")
    page = await opened(browser, simulated, key, scheme, SIZES[size])
    assert page.messages == []
    assert await page.run("document.documentElement.scrollWidth <= window.innerWidth")
    await page.run("document.querySelectorAll('details').forEach((one, place) => { one.open = place < 3 })")
    assert await page.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert await page.run(CONTRAST) >= 4.5
    assert await page.run("getComputedStyle(document.querySelector('rect.bar')).fill") != "rgb(0, 0, 0)"
    tree = (await page.call("Accessibility.getFullAXTree"))["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if "role" in node}
    assert ("heading", f"dev-{scheme}-{size}") in named
    assert {("heading", "Limits"), ("heading", "Cost by day"), ("button", "Leave")} <= named
    assert any(role in ("image", "img", "graphics-document") and "in 14 days" in name for role, name in named)
    height = await page.run("document.documentElement.scrollHeight")
    await page.size(SIZES[size][0], height)
    folder = Path(os.environ.get("PAIG_PICTURES", tmp_path))
    (folder / f"me-{scheme}-{size}.png").write_bytes(await page.picture())
    await page.run("document.querySelector('form[action=\"/me/leave\"] button').click()")
    await page.sees("Gateway key")
    assert await page.run("document.cookie") == ""


CONTRAST = """(() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!color.endsWith(", 0)") && color !== "transparent") return color;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = document.querySelectorAll("h1, h2, p, span, td, th, dt, dd, li, button, summary, code");
  const ratios = [...texts].map((one) => {
    const [a, b] = [light(getComputedStyle(one).color), light(ground(one))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
  return Math.min(...ratios);
})()"""
"""The least contrast of any text on the page."""
