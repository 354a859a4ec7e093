"""`paig tui` in a real terminal, tmux: typed into and read as a user would."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.gateway.end_to_end.conftest import ADMIN, World
from tests.tui.conftest import PATIENCE, ask

TMUX = shutil.which("tmux")
SHELL = ("/bin/sh", "-c", '"$@"; echo "left with $?"', "sh")
"""Runs a command and says how it ended: tmux 3.3 knows a pane's end at times, but not its status."""
SECRET = re.compile(r"paig_[\w-]{30,}")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(
        TMUX is None,
        reason="NO TMUX: paig tui was not tried in a real terminal; `apt-get install tmux` as root mends it",
    ),
]


@dataclass
class Tmux:
    """A tmux server of the test's own, with one pane; made by `tmux`."""

    name: str
    environment: Mapping[str, str]

    async def run(self, *words: str) -> str:
        """What a command of tmux prints; it must succeed."""
        assert TMUX is not None
        process = await asyncio.create_subprocess_exec(
            *(TMUX, "-u", "-L", self.name, "-f", os.devnull, *words),
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, trouble = await process.communicate()
        assert process.returncode == 0, f"tmux {words[0]}: {trouble.decode()}"
        return said.decode()

    async def text(self) -> str:
        """What is on the screen, and what was scrolled out of it."""
        return await self.run("capture-pane", "-p", "-S", "-")  # an app in full screen has none of the latter

    async def until(self, condition: Callable[[str], bool], what: str) -> str:
        """Wait until it holds of the screen."""
        end, text = asyncio.get_running_loop().time() + PATIENCE, await self.text()
        while not condition(text):
            assert asyncio.get_running_loop().time() < end, f"never came: {what}\n{text}"
            await asyncio.sleep(0.05)
            text = await self.text()
        return text

    async def sees(self, *words: str) -> str:
        """Wait until all of it is on the screen."""
        return await self.until(lambda text: all(word in text for word in words), " and ".join(words))

    async def lacks(self, words: str) -> str:
        """Wait until it is not on the screen. A terminal takes an Escape and a key at once for one key: wait so."""
        return await self.until(lambda text: words not in text, f"the end of {words}")

    async def press(self, *keys: str) -> None:
        """Press keys, by their names in tmux."""
        await self.run("send-keys", *keys)

    async def fill(self, label: str, text: str) -> None:
        """Type a text into the field that has the focus, and see it behind its label."""
        await self.run("send-keys", "-l", text)
        await self.until(lambda shown: re.search(f"{re.escape(label)} +{re.escape(text)} ", shown) is not None, text)


@asynccontextmanager
async def tmux(home: Path, size: tuple[int, int], *command: str) -> AsyncIterator[Tmux]:
    """A command in a terminal of that size; its server ends with the context, and what runs in it."""
    inherited = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    # A socket's path must be short, which `tmp_path` is not.
    with tempfile.TemporaryDirectory(prefix="paig-tmux-") as sockets:
        environment = {
            **inherited,
            **{"HOME": str(home), "SHELL": "/bin/sh", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"},
            **{"TMUX_TMPDIR": sockets, "PAIG_HOME": str(home), "PAIG_ADMIN_TOKEN": ADMIN},
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }
        terminal = Tmux(f"paig-{uuid4().hex}", environment)
        try:
            columns, rows = map(str, size)
            await terminal.run("new-session", "-d", "-x", columns, "-y", rows, *SHELL, *command,
                               ";", "set-option", "remain-on-exit", "on")  # fmt: skip
            yield terminal
        finally:
            await terminal.run("kill-server")


async def test_a_key_is_made_capped_used_and_refused(fresh: World, tmp_path: Path) -> None:
    """In a real terminal a key is made and capped, its requests arrive as they are sent, and its cap bites."""
    paig = str(Path(sys.executable).with_name("paig"))
    async with tmux(tmp_path, (80, 24), paig, "tui", "--url", fresh.origin) as terminal:
        await terminal.sees("● live", "first run", "Send the first request")

        # A key, by the form; its secret is on the screen only while it is asked for, and nowhere after.
        await terminal.press("2")
        await terminal.sees("keys 1", "tester")
        await terminal.press("n")
        await terminal.sees("new key", "$ per day")
        await terminal.fill("Name", "ci-bot")
        await terminal.press("Enter")
        text = await terminal.sees("key created: ci-bot", "••••")
        assert SECRET.search(text) is None
        await terminal.press("v")
        text = await terminal.until(lambda text: SECRET.search(text) is not None, "the secret")
        [secret] = SECRET.findall(text)
        await terminal.press("Space", "Escape")
        await terminal.lacks("key created")
        await terminal.sees("keys 2", "● active")
        assert secret not in await terminal.text()

        # Its cap, by the editor.
        await terminal.press("Home")
        await terminal.press("c")
        await terminal.sees("caps of ci-bot", "$ per day")
        await terminal.fill("$ per day", "0.002")
        await terminal.press("Enter")
        await terminal.sees("Caps of ci-bot changed")
        assert str((await fresh.admin.keys.get("ci-bot")).limits.daily) == "0.002"

        # A request arrives, with its key, model and cost; the guide of the first run goes.
        await terminal.press("1")
        await terminal.sees("live requests · ● following", "No request yet")
        assert await ask(fresh, secret) == 200
        text = await terminal.sees("● 200 ok")
        [row] = [line for line in text.splitlines() if "● 200 ok" in line]
        assert re.search(r"ci-bot +gpt-5\S* .* \$?0\.000\d+ ", row), row
        await terminal.lacks("first run")
        await terminal.sees("spend $/min", "closest to cap")

        # The cap bites: on the dashboard by the request, in the keys by what is left.
        statuses = [await ask(fresh, secret) for _ in range(4)]
        assert statuses == sorted(statuses)
        assert set(statuses) == {200, 402}
        text = await terminal.sees("■ 402 limit")
        assert all("ci-bot" in line for line in text.splitlines() if "402 limit" in line)
        [spent] = [limit for limit in await fresh.admin.limits() if limit.owner == "ci-bot"]
        assert 0.001 < float(spent.spent) <= 0.002
        await terminal.press("2")
        await terminal.sees("keys 2", "● active")
        await terminal.press("c")
        await terminal.sees("caps of ci-bot", "spent")
        await terminal.fill("$ per day", "0.001")
        await terminal.press("Enter")
        text = await terminal.sees("■ limit", "%!")
        [row] = [line for line in text.splitlines() if "■ limit" in line]
        assert re.search(r"■ limit +ci-bot .* 1\d\d%!", row), row

        # More room shows more.
        await terminal.press("1")
        text = await terminal.sees("■ 402 limit", "closest to cap")
        assert "providers · 5m" not in text
        assert max(map(len, text.splitlines())) <= 80
        await terminal.run("resize-window", "-x", "140", "-y", "40")
        text = await terminal.sees("providers · 5m", "provider", "tokens", "■ 402 limit")
        assert max(map(len, text.splitlines())) > 120

        # It leaves in good order.
        await terminal.press("q")
        assert secret not in await terminal.sees("left with 0")
