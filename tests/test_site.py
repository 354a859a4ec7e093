"""The documentation as a reader sees it: built strictly, in a real Chromium, in light, in dark, and on a phone."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tui.web.chromium import BROWSER, Page, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium"),
]

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / ".cache" / "site"
"""Where the pictures are put that a person may want to look at."""
PAGES = sorted(
    (page.parent if page.stem == "index" else page.with_suffix("")).relative_to(ROOT / "docs").as_posix()
    for page in (ROOT / "docs").rglob("*.md")
)
SHOWN = {"home": ".", "start": "quickstart", "guide": "caps", "reference": "settings"}
"""The pages of which pictures are taken, by the names of the pictures."""
SIZES = {"desk": (1280, 900), "phone": (375, 812)}
"""Width and height of the window, in pixels."""

FAULTS = """(() => {
  const width = document.documentElement.clientWidth, found = [];
  const article = document.querySelector("article");
  const name = (node) => (node.textContent || "").trim().slice(0, 60);
  if (document.documentElement.scrollWidth > width) found.push("the page scrolls sideways");
  const scrolls = (node) => {
    for (; node && node !== document.body; node = node.parentElement)
      if (["auto", "scroll", "hidden"].includes(getComputedStyle(node).overflowX)) return true;
    return false;
  };
  const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT), range = document.createRange();
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const parent = text.parentElement;
    if (!parent.getClientRects().length || parent.closest("svg, .headerlink, .md-clipboard")) continue;
    for (const word of text.data.matchAll(/[\\p{L}\\p{N}_]+/gu)) {
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      const boxes = [...range.getClientRects()].filter((box) => box.width > 0);
      if (!boxes.length) continue;
      if (Math.max(...boxes.map((box) => box.right)) > width + 1 && !scrolls(parent))
        found.push(`beyond the edge: ${word[0]} in ${name(parent)}`);
      const lines = new Set(boxes.map((box) => Math.round(box.top / 4))).size;
      if (lines > 1) found.push(`broken inside: ${word[0]} in ${name(parent)}`);
    }
  }
  return found;
})()"""
"""What a reader would stumble over: text beyond the edge, and words that are broken inside."""

CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const parse = (colour) => {
    if (!known.has(colour)) known.set(colour, drawn(colour));
    return known.get(colour);
  };
  const drawn = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const behind = (node) => {
    const layers = [];
    for (; node; node = node.parentElement) layers.push(parse(getComputedStyle(node).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const worst = {};
  for (const node of document.querySelectorAll("article *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.getClientRects().length || node.closest(".headerlink, svg, .md-clipboard")) continue;
    const under = behind(node), text = over(parse(getComputedStyle(node).color), under);
    const [high, low] = [light(text), light(under)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    const seen = `${ratio.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`;
    if (ratio < LEAST) worst[`${node.tagName}.${node.className}`] = seen;
  }
  return worst;
})()"""
"""Text whose colour is too near to what is behind it, by WCAG's formula."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the documentation, built strictly."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    command = [Path(sys.executable).parent / "zensical", "build", "--clean", "--strict"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    handler = functools.partial(_Quiet, directory=str(folder / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
async def tab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    """A tab of a browser."""
    async with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield await browser.page(await browser.context())


async def opened(tab: Page, url: str, size: str, scheme: str = "light") -> None:
    """Open a page, and wait until it is there with its pictures."""
    await tab.size(*SIZES[size])
    await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    await tab.go("about:blank")
    await tab.go(url)
    await tab.run(
        f"""(async () => {{
          while (location.href !== {url!r} || document.readyState !== "complete")
            await new Promise((wake) => setTimeout(wake, 10));
          await document.fonts.ready;
        }})()"""
    )


def address(site: str, page: str) -> str:
    return f"{site}/" if page == "." else f"{site}/{page}/"


@pytest.mark.parametrize(("size", "scheme"), [("desk", "dark"), ("phone", "light")])
async def test_every_page_can_be_read(site: str, tab: Page, size: str, scheme: str) -> None:
    """No word is broken or beyond the edge, and all text stands out from what is behind it, as WCAG's level AA asks."""
    faults: dict[str, Any] = {}
    for page in PAGES:
        await opened(tab, address(site, page), size, scheme)
        assert await tab.run("document.querySelector('article h1') !== null"), page
        shown = await tab.run("document.body.dataset.mdColorScheme")
        assert shown == {"light": "default", "dark": "slate"}[scheme]
        found = [await tab.run(FAULTS), await tab.run(CONTRAST.replace("LEAST", "4.5"))]
        if any(found):
            faults[page] = found
    assert faults == {}


async def test_a_fault_is_seen(site: str, tab: Page) -> None:
    """What the test above looks for is found where it is put into a page."""
    await opened(tab, address(site, "faq"), "phone")
    assert await tab.run(FAULTS) == []
    await tab.run(
        "document.querySelector('article h1').insertAdjacentHTML('afterend', "
        "'<p style=\"white-space:nowrap\">' + 'wide '.repeat(40) + '</p>'"
        " + '<p style=\"word-break:break-all\">' + 'broken'.repeat(5) + 'inside'.repeat(8) + '</p>'"
        " + '<p style=\"color:#bbb\">pale</p>')"
    )
    found = await tab.run(FAULTS)
    assert {fault.partition(":")[0] for fault in found} == {
        "the page scrolls sideways",
        "beyond the edge",
        "broken inside",
    }
    assert list(await tab.run(CONTRAST.replace("LEAST", "4.5"))) == ["P."]


async def test_pages_ask_no_other_host(site: str, tab: Page) -> None:
    """The documentation can be read without the internet."""
    for page in SHOWN.values():
        await opened(tab, address(site, page), "desk")
        loaded = await tab.run("performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert [url for url in loaded if not url.startswith(site)] == []


async def test_pictures(site: str, tab: Page) -> None:
    """Pictures of four pages in light, in dark and on a phone, for a person to look at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, page in SHOWN.items():
        for picture, size, scheme in (
            ("light", "desk", "light"),
            ("dark", "desk", "dark"),
            ("phone", "phone", "light"),
        ):
            await opened(tab, address(site, page), size, scheme)
            drawn = await tab.picture()
            assert drawn.startswith(b"\x89PNG")
            (PICTURES / f"{name}-{picture}.png").write_bytes(drawn)
