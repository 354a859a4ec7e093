"""Every action with its key, for the palette and for help: read from the bindings, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, cast

from textual.binding import Binding, BindingType
from textual.command import DiscoveryHit, Hit, Hits, Provider

from paig_tui.widgets.chrome import SECTIONS

if TYPE_CHECKING:
    from paig_tui.app import PaigApp
    from paig_tui.screens.section import Section

NAMES = {"question_mark": "?", "colon": ":", "slash": "/", "escape": "Esc", "left": "←", "right": "→", "enter": "Enter"}


@dataclass(frozen=True)
class Command:
    """Something that can be done.

    Attributes:
        section: Where; None everywhere.
        key: The key for it, as people read it.
        says: What it does.
        action: Textual's name of it.
        changes: Whether it changes something at the gateway.
    """

    section: str | None
    key: str
    says: str
    action: str
    changes: bool


def _key(binding: Binding) -> str:
    return " ".join(NAMES.get(key, key) for key in binding.key.split(","))


def commands(app: PaigApp) -> list[Command]:
    """All of them: everywhere first, then section by section."""
    from paig_tui.screens.section import Section

    found = [*_commands(None, app.BINDINGS, "app", {"undo"}), *_commands(None, Section.BINDINGS, "screen", set())]
    for name, _ in SECTIONS:
        screen = _class(name)
        found += _commands(name, screen.BINDINGS, "screen", screen.CHANGING)
    return [command for command in found if not (app.read_only and command.changes)]


def _commands(
    section: str | None, bindings: Iterable[BindingType], where: str, changing: Collection[str]
) -> Iterator[Command]:
    for binding in bindings:
        if isinstance(binding, Binding) and binding.show:
            action = f"{where}.{binding.action}"
            yield Command(section, _key(binding), binding.description, action, binding.action in changing)


def _class(name: str) -> type[Section]:
    return cast("type[Section]", import_module(f"paig_tui.screens.{name}").SCREEN)


async def run(app: PaigApp, command: Command) -> None:
    """Do it, where it is done."""
    if command.section is not None and app.current_mode != command.section:
        await app.switch_mode(command.section)
    await app.run_action(command.action)


class Commands(Provider):
    """The palette's entries."""

    def _all(self) -> Iterator[tuple[Command, str]]:
        app = cast("PaigApp", self.app)
        for command in commands(app):
            where = f"{command.section.capitalize()}: " if command.section else ""
            yield command, f"{where}{command.says}  ({command.key})"

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for command, text in self._all():
            yield DiscoveryHit(text, partial(run, cast("PaigApp", self.app), command), text=text)

    async def search(self, query: str) -> Hits:
        """Those that fit."""
        matcher = self.matcher(query)
        for command, text in self._all():
            if (score := matcher.match(text)) > 0:
                yield Hit(score, matcher.highlight(text), partial(run, cast("PaigApp", self.app), command), text=text)
