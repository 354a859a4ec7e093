"""A real Chromium without a window, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

PATIENCE = 60.0
"""Seconds until something that must happen is taken not to."""
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    *("--no-proxy-server", "--remote-debugging-port=0"),
)
KEYS = {"Enter": ("\r", 13), "Escape": ("", 27), "ArrowDown": ("", 40)}

TEXT = """(() => {
  const rows = document.querySelectorAll(".xterm-rows > div"), veil = document.getElementById("veil");
  if (!veil) return document.body.innerText;
  return veil.hidden ? [...rows].map((row) => row.textContent).join("\\n") : veil.innerText;
})()"""
"""What is to be read: the terminal's rows, or what lies over them, or a page without a terminal."""
PLACE = """(() => {
  for (const row of document.querySelectorAll(".xterm-rows > div")) {
    const text = row.textContent.replaceAll("\u00a0", " "), box = row.getBoundingClientRect();
    const start = text.indexOf(TEXT), sign = box.width / text.length;
    if (start >= 0) return [box.x + (start + TEXT.length / 2) * sign, box.y + box.height / 2];
  }
})()"""
"""Where a text is in the terminal, in pixels."""


class Page:
    """A tab."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser, self.target, self._session = browser, target, session
        self.messages: list[dict[str, Any]] = []
        """What the page logged, threw, or was forbidden."""

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """A command of the protocol."""
        return await self._browser.call(method, self._session, **parameters)

    async def go(self, url: str) -> None:
        """Open an address; one that differs in its fragment alone, too."""
        await self.call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """What a script gives, once it is there; to the browser, the user asked for it."""
        done = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    async def sees(self, *words: str) -> None:
        """Wait until all of it is on the page."""
        await self._until(lambda text: all(word in text for word in words), words)

    async def lacks(self, words: str) -> None:
        """Wait until it is nowhere on the page. A terminal takes an Escape and a key at once for one key: wait so."""
        await self._until(lambda text: words not in text, f"the end of {words}")

    async def reads(self, pattern: str) -> str:
        """Wait until something on the page matches; what does."""
        text = await self._until(lambda text: re.search(pattern, text) is not None, pattern)
        found = re.search(pattern, text)
        assert found is not None
        return found[0]

    async def _until(self, condition: Callable[[str], bool], what: object) -> str:
        text = ""
        for _ in range(int(PATIENCE / 0.1)):
            with contextlib.suppress(AssertionError):  # between two pages there is none to ask
                text = (await self.run(TEXT)).replace("\xa0", " ")
            if condition(text):
                return text
            await asyncio.sleep(0.1)
        raise AssertionError(f"never came: {what}\n{text}\n{self.messages}")

    async def type(self, text: str) -> None:
        """Type a text, sign by sign."""
        await self.press(*text)

    async def click(self, text: str) -> None:
        """Click on the middle of a text in the terminal."""
        x, y = await self.run(PLACE.replace("TEXT", json.dumps(text)))
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def press(self, *keys: str, modifiers: int = 0, commands: Sequence[str] = ()) -> None:
        """Press keys: signs, or names of `KEYS`; 2 is the modifier Ctrl.

        Args:
            keys: Which.
            modifiers: Held meanwhile.
            commands: What the browser makes of it, such as `paste`.
        """
        for key in keys:
            text, code = KEYS.get(key) or (key, ord(key.upper()) if key.isalnum() else 0)
            common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers, "commands": commands}
            typed = {} if modifiers else {"text": text}
            await self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **typed, **common)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def front(self) -> None:
        """Make it the tab that is seen: others are not drawn."""
        await self.call("Page.bringToFront")

    async def size(self, width: int, height: int) -> None:
        """Make the window so large, in pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def picture(self) -> bytes:
        """A screenshot, as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot"))["data"])


class Chromium:
    """The browser; made by `chromium`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """A command of the protocol."""
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": parameters}
        await self._socket.send(json.dumps({**command, **({"sessionId": session} if session else {})}))
        async with asyncio.timeout(PATIENCE):
            answer = await future
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    async def context(self, *, downloads: Path | None = None) -> str:
        """A new window without cookies; downloads go to a folder."""
        made: str = (await self.call("Target.createBrowserContext"))["browserContextId"]
        if downloads is not None:
            await self.call(
                "Browser.setDownloadBehavior", behavior="allow", browserContextId=made, downloadPath=str(downloads)
            )
        return made

    async def page(self, context: str) -> Page:
        """A new tab."""
        target = (await self.call("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = self._pages[session] = Page(self, target, session)
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        await page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        await page.size(1200, 700)
        return page

    async def listen(self) -> None:
        """Take what the browser says, until it is gone."""
        async for text in self._socket:
            message = json.loads(text)
            if (number := message.get("id")) in self._waiting:
                self._waiting.pop(number).set_result(message)
            elif message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self._pages[message["sessionId"]].messages.append(message["params"])


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Chromium]:
    """A browser with a profile of its own, for as long as the context lasts."""
    assert BROWSER is not None
    process = await asyncio.create_subprocess_exec(
        *(BROWSER, *FLAGS, f"--user-data-dir={profile}", "about:blank"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        port = profile / "DevToolsActivePort"
        async with asyncio.timeout(PATIENCE):
            while not port.exists() or port.read_text().count("\n") < 1:
                assert process.returncode is None, "Chromium did not start"
                await asyncio.sleep(0.05)
        number, path = port.read_text().split("\n")[:2]
        async with connect(f"ws://127.0.0.1:{number}{path}", proxy=None, max_size=None) as socket:
            browser = Chromium(socket)
            listening = asyncio.create_task(browser.listen())
            try:
                yield browser
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
