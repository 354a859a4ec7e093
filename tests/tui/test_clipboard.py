"""A secret is copied by the desktop's own program, else by the terminal; it is in no argument, and nothing keeps it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from paig_tui import clipboard
from paig_tui.app import PaigApp
from tests.tui.scene import NOW, Still

pytestmark = pytest.mark.anyio
SECRET = "paig_a-secret-of-the-test"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No desktop, and no SSH connection."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)


def program(folder: Path, name: str, last: str) -> None:
    """A program of that name that writes down its arguments and what it is given."""
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\ncat > {folder}/given\n{last}\n', "utf-8")
    path.chmod(0o700)


async def copied(monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """What is said of a copy, and what goes to the terminal for it."""
    app = PaigApp(Still(), clock=lambda: NOW)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert app._driver is not None
        written: list[str] = []
        monkeypatch.setattr(app._driver, "write", written.append)
        said = clipboard.copy(app, SECRET)
        assert app.clipboard == ""
        return said, [text for text in written if "]52;" in text]


async def test_the_desktops_program_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is one it gets the secret by its standard input, and the terminal gets none."""
    program(tmp_path, "xclip", "exit 0")
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    said, terminal = await copied(monkeypatch)
    assert (said, terminal) == ("✓ copied (xclip)", [])
    assert (tmp_path / "given").read_text("utf-8") == SECRET
    assert SECRET not in (tmp_path / "arguments").read_text("utf-8")


@pytest.mark.parametrize("why", ["none", "fails", "afar"])
async def test_else_the_terminal_does_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str) -> None:
    """Without such a program, if it fails, and from afar, the terminal is asked (OSC 52)."""
    if why != "none":
        program(tmp_path, "xclip", "exit 1" if why == "fails" else "exit 0")
        monkeypatch.setenv("DISPLAY", ":9")
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    if why == "afar":
        monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22")
    said, terminal = await copied(monkeypatch)
    assert said.startswith("✓ sent to the terminal's clipboard")
    assert [base64.b64encode(SECRET.encode()).decode() in text for text in terminal] == [True]
    assert (tmp_path / "given").exists() == (why == "fails")
