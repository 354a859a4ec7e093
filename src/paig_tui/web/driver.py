"""Textual's web driver, extended for downloads and for a server that ends."""

from __future__ import annotations

import os
import threading

from textual import messages
from textual.drivers.web_driver import WebDriver


class Driver(WebDriver):
    """Writes whole packets from any thread, and ends the app when the server is gone."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        lock = threading.Lock()

        def write(data: bytes) -> int:
            with lock:  # chunks of a download are written by the thread that reads the keys
                left = memoryview(data)
                while left:
                    left = left[os.write(self.fileno, left) :]
            return len(data)

        self._write = write  # type: ignore[assignment]

    def run_input_thread(self) -> None:
        """Read until the server closes the pipe, or dies: then there is no browser to show anything to."""
        super().run_input_thread()
        if not self.exit_event.is_set():
            self._app.post_message(messages.ExitApp())
