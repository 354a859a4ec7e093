"""The app: the section that is shown, the connection to the gateway, and undo."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from textual import work
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from paig_client.admin import AdminError, AsyncAdminClient
from paig_client.api.vocabulary import Permission
from paig_tui.data.poller import Poller
from paig_tui.data.state import AppState
from paig_tui.text import safe
from paig_tui.themes import ALIASES, DEFAULT, OURS
from paig_tui.widgets.chrome import SECTIONS, Messages, Notice

if TYPE_CHECKING:
    from textual.command import Provider

T = TypeVar("T")

CHANGES: tuple[Permission, ...] = (
    "keys:write", "owners:write", "routing:write", "organisation:write", "limits:write",
)  # fmt: skip
"""Permissions of which at least one is needed to change anything here."""
FLUSH = 0.25
"""Seconds between two drawings."""
SHOWN, SHOWN_LONGER = 6.0, 12.0
"""Seconds that a message stays, and one that says what went wrong."""
SLOW_CHANGE = 2.0
"""Seconds after which a message says that a change is not done yet."""
MOST_NOTICES = 3
"""The most messages shown at once; older ones are dropped."""


def _screen(name: str) -> Callable[[], Screen[Any]]:
    """A section's screen, imported when it is first shown."""

    def make() -> Screen[Any]:
        module = import_module(f"paig_tui.screens.{name}.screen")
        made: Screen[Any] = module.SCREEN()
        return made

    return make


def _commands() -> type[Provider]:
    from paig_tui.commands import PaletteProvider

    return PaletteProvider


@dataclass(frozen=True)
class Undo:
    """How to undo a change.

    Attributes:
        label: The change, for people.
    """

    label: str
    back: Callable[[], Awaitable[object]]


class PaigApp(App[None]):
    """The terminal UI over the admin API.

    Args:
        admin: The admin API's client; None fetches nothing.
        profile: The profile of the gateway; empty if its address did not come from a profile.
        read_only: Whether changes are refused.
    """

    TITLE = "paig"
    CSS_PATH = "app.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {name: _screen(name) for name, *_ in SECTIONS}
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_commands}
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (136, "-vast")]  # noqa: RUF012 as Textual has it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"section('{name}')", f"Go to {name}") for number, (name, *_) in enumerate(SECTIONS, 1)),
        Binding("question_mark,f1", "help", "Help: every key"),
        Binding("colon,ctrl+p", "command_palette", "Every command"),
        Binding("u", "undo", "Undo the last change"),
        Binding("R", "retry", "Ask the gateway again now"),
        Binding("T", "change_theme", "Choose a theme"),
        Binding("q,ctrl+c", "quit", "Quit"),
    ]

    def __init__(
        self,
        admin: AsyncAdminClient | None,
        *,
        profile: str = "",
        read_only: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__()
        self.admin_client = admin
        self.profile = profile
        self.host = urlsplit(admin.url).netloc if admin else "nowhere"
        self.read_only = read_only
        self.state = AppState(clock)
        self.poller = Poller(admin, self.state) if admin else None
        self.failures: list[str] = []
        self.notices: list[Notice] = []
        self._undo: list[Undo] = []
        for theme in OURS:
            self.register_theme(theme)
        wanted = os.environ.get("PAIG_THEME", DEFAULT)
        wanted = ALIASES.get(wanted, wanted)
        self.theme = wanted if wanted in self.available_themes else DEFAULT

    @property
    def admin(self) -> AsyncAdminClient:
        if self.admin_client is None:
            raise AdminError("There is no connection to a gateway.")
        return self.admin_client

    @property
    def root(self) -> str:
        return self.admin_client.url if self.admin_client else ""

    @property
    def role(self) -> str:
        """The name of the user, and `read-only` if nothing may be changed."""
        who = self.state.identity
        name = "" if who is None else safe(who.name.removeprefix("admin:").removeprefix("token:"))
        changes = who is None or any(self.state.may(needed) for needed in CHANGES)
        looks = "" if changes and not self.read_only else "read-only"
        return " · ".join(filter(None, (name, looks)))

    def on_mount(self) -> None:
        self.switch_mode("dashboard")
        if self.poller is not None:
            self.ask()
            self.listen()
        self.set_interval(FLUSH, self.flush)

    @work(exclusive=True, group="ask", exit_on_error=False)
    async def ask(self) -> None:
        """Fetch the state again and again."""
        assert self.poller is not None
        await self.poller.ask()

    @work(exclusive=True, group="listen", exit_on_error=False)
    async def listen(self) -> None:
        """Receive the gateway's events."""
        assert self.poller is not None
        await self.poller.listen()

    def flush(self) -> None:
        """Draw what changed since the last time."""
        from paig_tui.screens.page import Framed

        if self.poller is not None and self.poller.take():
            self.state.changed()
        stack = self.screen_stack  # empty until the first section is there
        if stack and not self._suspended:
            for screen in stack:  # behind a dialog the screen below it is seen too
                if isinstance(screen, Framed):
                    screen.redraw(force=False)
            self.show_messages()

    def show_messages(self) -> None:
        """Show the messages, if the screen has a place for them: their time does not run behind a dialog."""
        now = time.monotonic()
        places = list(self.screen.query(Messages))
        if places:
            self.notices = [one for one in self.notices if one.until is None or one.until > now]
            for one in self.notices:
                one.until = one.until or now + one.seconds
        for place in places:
            place.show(self.notices)

    @property
    def _suspended(self) -> bool:
        return self._driver is None or not self._running

    # Actions of every section

    def action_section(self, name: str) -> None:
        """Go to a section; from a list or a session above it, back to it."""
        from paig_tui.screens.page import Page

        if self.current_mode != name:
            self.switch_mode(name)
            return
        while isinstance(self.screen, Page):
            self.pop_screen()

    def pop_screen(self) -> AwaitComplete:
        """Close the screen on top, and cancel its work: an answer that came now would find no widgets."""
        closed = self.screen
        closing = super().pop_screen()
        self.workers.cancel_node(closed)
        return closing

    def action_help(self) -> None:
        from paig_tui.screens.help import Help

        self.push_screen(Help())

    async def run_action(
        self,
        action: str | tuple[str, str, tuple[object, ...]],
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run an action; if it is not allowed, show the reason instead."""
        from paig_tui.screens.section import Section

        target, name, _ = self._parse_action(action, default_namespace or self, namespaces)
        if isinstance(target, Section) and (refusal := target.refusal(name)) is not None:
            self.notify(refusal, title="Not done", severity="warning")
            return True
        return await super().run_action(action, default_namespace, namespaces)

    def action_retry(self) -> None:
        if self.poller is not None:
            self.poller.again()

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a message above the footer; it is never parsed as markup."""
        shown = " ".join(map(safe, message.splitlines()))
        whole = f"{safe(title)}: {shown}" if title else shown
        seconds = timeout or (SHOWN if severity == "information" else SHOWN_LONGER)
        self.notices = [*(one for one in self.notices if one.text != whole), Notice(whole, severity, seconds)][
            -MOST_NOTICES:
        ]
        if self.screen_stack:
            self.show_messages()

    async def changing(self, work: Awaitable[T], message: str, undo: Undo | None = None) -> T | None:
        """Make a change at the gateway and show the outcome; returns None if the gateway refuses it.

        Args:
            message: Shown when it is done.
        """
        try:
            done = await self._watched(work)
        except AdminError as error:
            self.notify(str(error), title="Not done", severity="error", timeout=10)
            return None
        self.changed(message, undo)
        return done

    async def _watched(self, work: Awaitable[T]) -> T:
        """Await a change; a message says that it is not done yet, if it takes long."""
        waiting = Notice("Waiting for the gateway: it is not done yet.", "information", SHOWN_LONGER)
        timer = self.set_timer(SLOW_CHANGE, lambda: self.notices.append(waiting))
        try:
            return await work
        finally:
            timer.stop()
            self.notices = [one for one in self.notices if one is not waiting]

    def changed(self, message: str, undo: Undo | None = None) -> None:
        """Show that something was changed, remember how to undo it, and fetch again."""
        if undo is not None:
            self._undo.append(undo)
        hint = " · u undoes it" if undo else ""
        self.notify(message + hint)
        self.action_retry()

    @property
    def undo_label(self) -> str | None:
        return self._undo[-1].label if self._undo else None

    @work(exclusive=True, group="change", exit_on_error=False)
    async def action_undo(self) -> None:
        if not self._undo:
            self.notify("There is nothing to undo.")
            return
        last = self._undo.pop()
        await self.changing(last.back(), f"Undone: {last.label}")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show an error of a background task, and keep it to print when the app ends."""
        if event.state is WorkerState.ERROR and (error := event.worker.error) is not None:
            self.failures.append("".join(traceback.format_exception(error)))
            known = isinstance(error, AdminError)
            title = "Not done" if known else "A bug in paig; details when it ends"
            said = str(error) if known else f"{type(error).__name__}: {error}"
            self.notify(said, title=title, severity="error", timeout=15)

    async def on_unmount(self) -> None:
        if self.admin_client is not None:
            await self.admin_client.aclose()


def main(*, url: str, token: str, profile: str = "", read_only: bool = False) -> int:
    """Run the terminal UI.

    Args:
        url: The gateway's root address.
        profile: The profile of the gateway; empty if its address did not come from a profile.
        read_only: Whether changes are refused.

    Returns:
        The exit code.
    """
    from paig_client.tls import verification

    app = PaigApp(AsyncAdminClient(url, token=token, verify=verification(url)), profile=profile, read_only=read_only)
    app.run()
    for failure in app.failures:
        print(failure, file=sys.stderr)
    return app.return_code or (1 if app.failures else 0)
