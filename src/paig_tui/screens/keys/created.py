"""Shows a new key once: masked, to be copied or stored, then wiped from memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from paig_client.addresses import PROXY
from paig_client.api.resources import NewKey, Provider
from paig_tui.clipboard import copy
from paig_tui.screens.dashboard.first_request import line
from paig_tui.text import BAD, GOOD, MUTED, WARN, safe
from paig_tui.widgets.chrome import hints, joined


class KeyCreated(ModalScreen[None]):
    """The dialog of a new key.

    Args:
        root: The gateway's address, for the export lines.
        providers: The providers that are set up, for a first request.
        word: `created` or `rotated`.
    """

    CSS_PATH = "created.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "Copy the key"),
        Binding("v", "reveal", "Reveal or mask it"),
        Binding("s", "store", "Store it in the keyring"),
        Binding("e", "env", "Copy the environment's lines"),
        Binding("l", "line", "Copy a line that sends a first request"),
        Binding("space", "stored", "I have stored it"),
        Binding("escape,q", "close", "Close"),
    ]

    def __init__(self, made: NewKey, root: str, providers: Sequence[Provider], word: str = "created") -> None:
        super().__init__()
        self.providers = providers
        self.key_name, self.root, self.word = made.name, root, word
        self._secret = made.key
        self._revealed = False
        self._stored = False
        self._asked = False

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = Content(f"key {self.word}: {safe(self.key_name)}")
            box.border_subtitle = joined(hints(self.BINDINGS, "Esc close, asks first"))
            yield Static(Content.styled("Shown once. Only a hash is kept.", MUTED), markup=False)
            yield Static("", id="secret", markup=False)
            yield self._hints("c copy it", "v reveal", "s into this machine's keyring")
            yield self._hints("e copy env lines", "l copy a first request")
            yield Static("", id="said", markup=False)
            yield Static("", id="done", markup=False)

    def on_mount(self) -> None:
        self._draw()
        self.set_focus(None)

    def _draw(self) -> None:
        masked = self._secret[:5] + "•" * 24
        self.query_one("#secret", Static).update(Content(self._secret if self._revealed else masked))
        ticked = Content("[x] " if self._stored else "[ ] ")  # a sign, not only a colour
        stored = joined(hints(self.BINDINGS, "Space I have stored it"))
        self.query_one("#done", Static).update(Content.assemble(ticked, stored))

    def _hints(self, *wanted: str) -> Static:
        return Static(joined(hints(self.BINDINGS, *wanted)), markup=False)

    def say(self, text: str) -> None:
        style = {"✓": GOOD, "✕": BAD, "▲": WARN}.get(text[:1], MUTED)
        self.query_one("#said", Static).update(Content.styled(safe(text), style))

    @property
    def lines(self) -> str:
        """What a program's environment needs."""
        return (
            f"export PYDANTIC_AI_GATEWAY_API_KEY={self._secret}\n"
            f"export PYDANTIC_AI_GATEWAY_BASE_URL={self.root}{PROXY}\n"
        )

    def action_copy(self) -> None:
        self.say(copy(self.app, self._secret))

    def action_env(self) -> None:
        """The environment's lines into the clipboard."""
        self.say(copy(self.app, self.lines) + ": two export lines")

    def action_line(self) -> None:
        """A first request into the clipboard; the key is not in it."""
        self.say(copy(self.app, line(self.root, self.providers)) + ": a curl line for after the export lines")

    def action_reveal(self) -> None:
        self._revealed = not self._revealed
        self._draw()

    @work(exclusive=True, exit_on_error=False)
    async def action_store(self) -> None:
        """Into this machine's keyring, where `paig run` and the client find it."""
        from paig_client import profiles
        from paig_client.keychain import KeyringError

        if self.app.is_web:
            self.say("✕ not from a browser: the keyring would be the server's, not yours")
            return
        self.say("◌ asking the keyring …")
        try:
            await asyncio.to_thread(profiles.put, self.root, "key", self._secret, "keyring")
        except (KeyringError, profiles.ProfilesError) as error:
            self.say(f"✕ {error}")
        else:
            self.say("✓ stored in the keyring: `paig run` and the client on this machine find it")

    def action_stored(self) -> None:
        self._stored = not self._stored
        self._draw()

    def action_close(self) -> None:
        """Close; if the box is not ticked, ask once."""
        if not self._stored and not self._asked:
            self._asked = True
            self.say("▲ It cannot be shown again. Press Esc once more if you have it.")
            return
        self.wipe()
        self.dismiss(None)

    def wipe(self) -> None:
        self._secret = ""
        self.query_one("#secret", Static).update("")

    def on_unmount(self) -> None:
        """Wipe the secret, however the dialog was closed."""
        self._secret = ""
