"""Copying to the clipboard: by the desktop's own program if there is one, else by the terminal (OSC 52)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from textual.app import App

NATIVE: tuple[tuple[str, tuple[str, ...], Callable[[], bool]], ...] = (
    ("pbcopy", (), lambda: sys.platform == "darwin"),
    ("clip.exe", (), lambda: sys.platform == "win32" or "WSL_DISTRO_NAME" in os.environ),
    ("wl-copy", (), lambda: bool(os.environ.get("WAYLAND_DISPLAY"))),
    ("xclip", ("-selection", "clipboard"), lambda: bool(os.environ.get("DISPLAY"))),
    ("xsel", ("--clipboard", "--input"), lambda: bool(os.environ.get("DISPLAY"))),
)
"""Each program, its arguments, and whether it works here. The text goes to its standard input, never its arguments."""
BOUND = 2.0
"""Seconds that a program may take."""


def copy(app: App[object] | App[None], text: str) -> str:
    """Copy a text; returns the message for the user."""
    if not app.is_web and "SSH_CONNECTION" not in os.environ:  # there the clipboard would be another machine's
        for program, arguments, works in NATIVE:
            path = shutil.which(program) if works() else None
            if path and _run([path, *arguments], text):
                return f"✓ copied ({program})"
    app.copy_to_clipboard(text)
    app._clipboard = ""  # Textual keeps a copy for its own paste; a secret must not stay there
    whose = "browser" if app.is_web else "terminal"
    return f"✓ sent to the {whose}'s clipboard (empty? reveal it, and copy by hand)"


def _run(command: list[str], text: str) -> bool:
    try:
        done = subprocess.run(
            command, input=text.encode(), timeout=BOUND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
