"""Terminals: real child processes at a real gateway, seen through the WebSocket as a page sees them."""

from __future__ import annotations

import asyncio
import csv
import os
from pathlib import Path

import pytest

from paig_tui.web import app as server
from paig_tui.web import child, terminal
from paig_tui.web.child import Child, Opening, environment
from tests.gateway.end_to_end.conftest import ADMIN, World
from tests.tui.conftest import ask
from tests.tui.web.conftest import Site, alive, children, gone, readable, site_at

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes in /proc, as Linux has it"),
]


async def test_a_terminal_is_used_and_quit(world: World, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys arrive, sizes too; nothing secret can be read of the process; quitting ends it, and the WebSocket."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:proxy-password@127.0.0.1:9")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-else")
    await ask(world, world.key)
    await site.enter()
    async with site.terminal() as page:
        await page.sees("paig", "● live", "spend today", "tester")
        [process] = children(os.getpid())
        for secret in (ADMIN, "proxy-password", "sk-somebody-else", "test-secret-key", site.proof, site.cookie):
            assert secret not in readable(process)
        await page.press("2")
        await page.sees("keys 1", "paig_")
        await page.socket.send('{"size": [60, 20]}')
        await page.sees("80×24")
        await page.socket.send('{"size": [120, 40]}')
        await page.socket.send('{"focus": false}')
        await page.press("3")
        await page.sees("everything")
        await page.press("q")
        assert await page.closed() == 1000
    await gone(process)
    assert site.app.terminals == 0
    assert [line for line in site.told if line.startswith("✕")] == []


async def test_a_closed_page_ends_its_process_and_no_other(site: Site) -> None:
    """Of two terminals the one whose connection is cut ends, without a zombie; and there is a bound on their number."""
    await site.enter()
    async with site.terminal() as kept:
        await kept.sees("● live")
        [first] = children(os.getpid())
        async with site.terminal() as other:
            await other.sees("● live")
            [second] = set(children(os.getpid())) - {first}
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(server, "MAX_TERMINALS", 2)
                async with site.terminal() as third:
                    assert await third.closed() == 4002
            other.socket.transport.abort()  # as where a machine falls asleep: no goodbye
            await gone(second)
        assert alive(first)
        await kept.press("4")
        await kept.sees("openai")
        # Logged out, whoever did it: from the terminal that the server runs in, all at once.
        assert site.logins.leave() == 1
        assert await kept.closed() == 4001
        await gone(first)


async def test_usage_is_downloaded(world: World, site: Site) -> None:
    """The CSV file of a browser's terminal is a download that works once, for a browser that is logged in."""
    await ask(world, world.key, model="gpt-4o-mini")
    await site.enter()
    async with site.terminal() as page:
        await page.sees("● live")
        await page.press("3")
        await page.sees("export CSV")
        while not page.said:
            await page.press("e")
            await page.read(lambda: bool(page.said) or "fetched yet" in page.shown)
            page.screen = ""
        [said] = page.said
        path = f"/download/{said['download']}"
        assert (await site.http.get(path, headers={"cookie": "x=y"})).status_code == 401
        reading = asyncio.create_task(page.sees("Exported"))  # the page goes on while it downloads
        answer = await site.http.get(path)
        await reading
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''paig-usage-by-model-")
        assert answer.headers["content-type"] == "application/octet-stream"
        rows = {row["model"]: row["requests"] for row in csv.DictReader(answer.text.splitlines())}
        assert rows["gpt-4o-mini"] == "1"
        assert (await site.http.get(path)).status_code == 404


async def test_read_only_is_passed_on(world: World) -> None:
    """A server that was started read-only has terminals that change nothing."""
    async with site_at(world.origin, read_only=True) as site:
        await site.enter()
        async with site.terminal() as page:
            await page.sees("● live", "read-only")


@pytest.mark.parametrize("said", ['{"size": "big"}', b"\xff\xfe"])
async def test_nonsense_ends_a_terminal(site: Site, said: str | bytes) -> None:
    """A page that speaks another language is cut off, and its process ended."""
    await site.enter()
    async with site.terminal() as page:
        await page.sees("paig")
        [process] = children(os.getpid())
        await page.socket.send(said)
        assert await page.closed() == 4000
        await gone(process)


async def test_a_browser_that_takes_nothing_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not taken is not piled up: the process waits, and is ended after a while."""
    monkeypatch.setattr(terminal, "STALL_SECONDS", 0.3)
    sends = 0

    async def receive() -> dict[str, object]:
        return await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, object]) -> None:
        nonlocal sends
        sends += 1
        await asyncio.get_running_loop().create_future()

    said = await terminal.run(Opening(world.origin, ADMIN), (80, 24), asyncio.Event(), {}, receive, send)
    assert (said, sends) == ("", 1)
    assert children(os.getpid()) == []


async def test_a_child_ends_in_every_case(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process ends in good order, a stopped one all the same, one that does not start with its last words told."""
    running = await Child.start(Opening(world.origin, ADMIN), (80, 24))
    await running.close()
    assert running.returncode == 0

    monkeypatch.setattr(child, "GRACE_SECONDS", 0.2)
    running = await Child.start(Opening(world.origin, ADMIN), (80, 24))
    os.kill(running.pid, 19)  # SIGSTOP: it can react to nothing
    await running.close()
    assert running.returncode == -9

    monkeypatch.setattr(child, "COMMAND", (*child.COMMAND[:-1], "paig_tui.nowhere"))
    with pytest.raises(child.ChildFailed, match=r"it did not start\. .*No module named paig_tui\.nowhere"):
        await Child.start(Opening(world.origin, ADMIN), (80, 24))
    assert children(os.getpid()) == []


def test_environment_is_a_short_list() -> None:
    """Of our environment a child has what is named, and the size of its terminal."""
    ours = {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "PAIG_THEME": "light",
        "PAIG_ADMIN_TOKEN": "t",
        "AWS_SECRET_ACCESS_KEY": "s",
    }
    ours |= {"HTTPS_PROXY": "http://u:p@proxy", "LD_PRELOAD": "x.so", "PYTHONSTARTUP": "x.py"}
    assert environment(ours, (100, 30)) == {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "PAIG_THEME": "light",
        "TEXTUAL_DRIVER": "paig_tui.web.driver:Driver",
        "TEXTUAL_COLOR_SYSTEM": "truecolor",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "COLUMNS": "100",
        "ROWS": "30",
    }
