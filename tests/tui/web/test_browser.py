"""The terminal UI in a real Chromium: what its user sees, and what a hostile page in it cannot do."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from paig_tui.web.serve import listen, serving
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import ask
from tests.tui.web.chromium import BROWSER, Chromium, chromium
from tests.tui.web.conftest import Site, site_at

pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: paig tui --web was not tried in one; `apt-get install chromium` as root mends it",
    ),
]


@pytest.fixture(scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chromium]:
    """A browser for all tests here; each has a context of its own in it."""
    async with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


async def downloaded(folder: Path) -> list[dict[str, str]]:
    """The rows of the CSV file that the browser puts there."""
    for _ in range(1200):
        if found := sorted(folder.glob("*.csv")):  # noqa: ASYNC240 it is our own folder
            return list(csv.DictReader(found[0].read_text("utf-8").splitlines()))
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was downloaded")


async def test_a_day_in_a_browser(world: World, site: Site, browser: Chromium, tmp_path: Path) -> None:
    """From the link through sections, a key that is copied and pasted, a download, the mouse, to quitting and back."""
    await ask(world, world.key)
    context = await browser.context(downloads=tmp_path)
    page = await browser.page(context)
    link = f"{site.origin}/login#{site.logins.link()}"
    await page.go(link)
    await page.sees("● live", "spend today", "tester", "1 Dash")
    assert await page.run("location.href") == f"{site.origin}/"
    assert await page.run("document.cookie") == ""
    assert "HeadlessChrome" in site.told[0]

    await page.press("2", "n")
    await page.sees("new key")
    await page.type("from-chromium")
    await page.press("Enter")
    await page.sees("Shown once", "paig_•")
    await page.press("c")
    await page.sees("✓ sent to the browser's clipboard")
    await page.press("v")
    secret = await page.reads(r"paig_[\w-]{20,}")
    assert (await ask(world, secret)) == 200
    await page.press("Escape")
    await page.sees("It cannot be shown again")
    await page.press("Escape")
    await page.lacks(secret)
    await page.press("/")
    await page.sees("Esc clears it")
    await page.press("v", modifiers=2, commands=["paste"])
    await page.sees(secret)
    await page.press("Escape")
    await page.lacks(secret)

    await page.click("4 Prov")
    await page.sees("providers 7")
    await page.press("3")
    await page.sees("everything", "gpt-5")
    await page.press("e")
    await page.sees("Exported")
    assert {row["model"] for row in await downloaded(tmp_path)} == {"gpt-5"}

    await page.size(700, 450)
    await page.press("1")
    await page.sees("closest to cap")
    await page.size(400, 300)
    await page.sees("80×24")
    await page.size(1900, 1000)
    await page.sees("providers · 5m")

    await page.press("q")
    await page.sees("The session has ended.")
    await page.press("Enter")
    await page.sees("● live")
    assert page.messages == []

    other = await browser.page(await browser.context())
    await other.go(link)
    await other.sees("used already", "press Enter where")
    await other.go(f"{site.origin}/")
    await other.sees("You are not logged in.")
    await page.front()
    await page.press("3")
    await page.sees("everything")

    site.logins.leave()
    await page.sees("You are not logged in.")

    # A cookie without its proof, as where the page's storage was emptied: one try, and the way in is told.
    await page.go(f"{site.origin}/login#{site.logins.link()}")
    await page.sees("● live")
    await page.run("localStorage.clear()")
    await page.go(f"{site.origin}/")
    await page.sees("You are not logged in.")
    assert len([line for line in site.told if "was the cookie stolen?" in line]) == 1


async def test_a_server_that_comes_back(world: World, browser: Chromium) -> None:
    """A page says that the connection is lost, tries again, and goes on by itself."""
    async with site_at(world.origin) as site:
        page = await browser.page(await browser.context())
        await page.go(f"{site.origin}/login#{site.logins.link()}")
        await page.sees("● live")
        port = int(site.origin.rpartition(":")[2])
    await page.sees("The connection is lost. Trying again in")
    async with serving(site.app, listen("127.0.0.1", port)):
        await page.sees("● live")


ATTACKS = {
    "a terminal": """new Promise(done => {
        const socket = new WebSocket("ws://HOST/terminal");
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
    })""",
    "the page": """fetch("http://HOST/", { credentials: "include" }).then(() => "read", () => "refused")""",
    "its text": """fetch("http://HOST/", { credentials: "include", mode: "no-cors" })
        .then(() => "got", () => "refused")""",
    "a login": """fetch("http://HOST/login", { method: "POST", body: "TOKEN", mode: "no-cors" })
        .then(() => "sent", () => "refused")""",
    "a logout": """fetch("http://HOST/logout", { method: "POST", credentials: "include", mode: "no-cors" })
        .then(() => "sent", () => "refused")""",
    "a script": """new Promise(done => {
        const script = document.createElement("script");
        script.src = "http://HOST/static/terminal.js";
        script.onload = () => done("run");
        script.onerror = () => done("refused");
        document.body.append(script);
    })""",
    "a frame": """new Promise(done => {
        const frame = document.createElement("iframe");
        frame.src = "http://HOST/";
        frame.onload = () => done("refused");  // so the browser says below; a page may not know
        document.body.append(frame);
    })""",
    "a window": """new Promise(done => {
        const other = window.open("http://HOST/");
        setTimeout(() => done(other.closed ? "refused" : "held"), 500);
    })""",
}


@asynccontextmanager
async def neighbour(seen: list[str]) -> AsyncIterator[str]:
    """A server on another port of this machine, as any other user may run; it keeps what browsers send it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        body = b"<!doctype html><title>elsewhere</title><body>elsewhere"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_hostile_page_gets_nowhere(world: World, site: Site, browser: Chromium) -> None:
    """A page of another port, to which the browser even sends our cookie, opens, reads, ends and frames nothing."""
    context = await browser.context()
    page = await browser.page(context)
    await page.go(f"{site.origin}/login#{site.logins.link()}")
    await page.sees("● live")
    seen: list[str] = []
    async with neighbour(seen) as elsewhere:
        hostile = await browser.page(context)
        await hostile.go(elsewhere)
        await hostile.sees("elsewhere")
        assert site.app.cookie in seen[0]  # cookies know no ports: why the page has a proof of its own
        assert await hostile.run("localStorage.getItem('paig-proof')") is None
        token = site.logins.link()
        for name, script in ATTACKS.items():
            assert await hostile.run(script.replace("HOST", site.app.host).replace("TOKEN", token)) == "refused", name
        assert "frame-ancestors" in str(hostile.messages) or "X-Frame-Options" in str(hostile.messages)
    assert any(f"a terminal was refused to {elsewhere}" in line for line in site.told)
    assert site.app.terminals == 1
    assert (await site.log_in(token)).status_code == 200
    await page.front()
    await page.press("2")
    await page.sees("tester")
