"""Every action with its key, for the command palette and the help; read from the bindings, so none is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from textual.binding import Binding, BindingType
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from paig_client.api.vocabulary import Permission
from paig_tui.text import MUTED, fitted, plain, safe
from paig_tui.widgets.chrome import KEYS, SECTIONS

if TYPE_CHECKING:
    from paig_tui.app import PaigApp
    from paig_tui.screens.section import Section

DIALOGS = {
    "in a table": "paig_tui.widgets.table:Table",
    "above a section": "paig_tui.screens.page:Page",
    "a request in full": "paig_tui.screens.requests.detail:RequestDetail",
    "requests of one key, model, …": "paig_tui.screens.requests.list:Requests",
    "requests for more": "paig_tui.screens.keys.asks:LimitRequests",
    "a session": "paig_tui.screens.sessions.detail:SessionDetail",
    "a new key": "paig_tui.screens.keys.created:KeyCreated",
    "dry run": "paig_tui.screens.routes.dry_run:DryRun",
    "a form": "paig_tui.screens.dialog:Dialog",
    "a field": "paig_tui.screens.dialog:FieldRow",
    "help": "paig_tui.screens.help:Help",
}
"""Other places with keys of their own; the palette leaves these out, since they work only there."""


@dataclass(frozen=True)
class PaletteCommand:
    """An action that has a key.

    Attributes:
        place: The section or dialog where it works; None if it works everywhere.
        key: Its key, as people write it.
        action: Its name in Textual.
    """

    place: str | None
    key: str
    says: str
    action: str
    needs: Permission | None


def _key(binding: Binding) -> str:
    return " ".join(KEYS.get(key, key) for key in binding.key.split(","))


def commands(app: PaigApp) -> list[PaletteCommand]:
    """The actions of the sections that the user may do: those that work everywhere, then section by section."""
    from paig_tui.screens.section import Section

    found = [*_commands(None, app.BINDINGS, "app", {}), *_commands(None, Section.BINDINGS, "screen", {})]
    for name, *_ in SECTIONS:
        screen: type[Section] = _named(f"paig_tui.screens.{name}.screen:SCREEN")
        found += _commands(name, screen.BINDINGS, "screen", screen.CHANGING)
    return [c for c in found if c.needs is None or (not app.read_only and app.state.may(c.needs))]


def everything(app: PaigApp) -> list[PaletteCommand]:
    """The actions of the sections and of all dialogs."""
    found = commands(app)
    for place, where in DIALOGS.items():
        found += _commands(place, _named(where).BINDINGS, "screen", {})
    return found


def _commands(
    place: str | None, bindings: Iterable[BindingType], where: str, needs: Mapping[str, Permission]
) -> Iterator[PaletteCommand]:
    for binding in bindings:
        if isinstance(binding, Binding) and binding.show:
            needed = needs.get(binding.action.partition("(")[0])
            yield PaletteCommand(place, _key(binding), binding.description, f"{where}.{binding.action}", needed)


def _named(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


async def run(app: PaigApp, command: PaletteCommand) -> None:
    """Go to the command's section and run it."""
    _leave_pages(app)
    if command.place is not None and app.current_mode != command.place:
        await app.switch_mode(command.place)
    await app.run_action(command.action)


def _leave_pages(app: PaigApp) -> None:
    """Back to the section that a list or a session was opened above."""
    from paig_tui.screens.page import Page

    while isinstance(app.screen, Page):
        app.pop_screen()


OBJECTS = {
    "keys": "Key", "projects": "Project", "users": "User", "providers": "Provider", "routes": "Route", "named": "Limit",
    "sessions": "Session",
}  # fmt: skip
"""What the palette finds by name: the part of the state, and the word for one of its objects."""
MOST_SCORE = 1000.0
"""More than a command can score."""
MOST_OBJECTS = 30
"""Objects that the palette offers at once."""


def objects(app: PaigApp, query: str) -> Iterator[tuple[str, str]]:
    """The objects whose name has all words of a query: the part of the state, and the name."""
    words, found = query.casefold().split(), 0
    for part in OBJECTS:
        for resource in getattr(app.state, part) or ():
            name = resource.session if part == "sessions" else resource.name
            if all(word in f"{OBJECTS[part]} {name}".casefold() for word in words):
                yield part, name
                found += 1
                if found == MOST_OBJECTS:
                    return


async def go_to(app: PaigApp, part: str, name: str) -> None:
    """Go to an object: its section, with the cursor on it."""
    from paig_tui.screens.drawing import draw_later
    from paig_tui.screens.sessions.detail import SessionDetail
    from paig_tui.widgets.table import Table

    _leave_pages(app)
    if part == "sessions":
        await app.push_screen(SessionDetail(name))
        return
    section = {"providers": "providers", "routes": "routes", "named": "limits"}.get(part, "keys")
    if app.current_mode != section:
        await app.switch_mode(section)
    screen = cast("Section", app.screen)
    screen.action_clear_filter()
    if section in ("keys", "limits"):
        await screen.run_action(f"show_tab('{part}')")

    def point() -> None:
        table = screen.query(Table).first()
        screen.redraw(force=True)
        table.point_at(name)
        table.focus()

    draw_later(screen, point)


class PaletteProvider(Provider):
    """The palette's entries."""

    def _all(self) -> Iterator[tuple[PaletteCommand, str]]:
        for command in commands(cast("PaigApp", self.app)):
            place = f"{command.place.capitalize()}: " if command.place else ""
            yield command, f"{place}{command.says}"

    def _shown(self, command: PaletteCommand, text: Content) -> Content:
        return Content.assemble(fitted(Content.styled(command.key, "bold $primary"), 9), text)

    async def discover(self) -> Hits:
        """All commands, before anything is typed."""
        for command, text in self._all():
            place, _, says = text.rpartition(": ") if command.place else ("", "", text)
            shown = Content.assemble((f"{place}: " if place else "", MUTED), says)
            yield DiscoveryHit(self._shown(command, shown), partial(run, cast("PaigApp", self.app), command), text=text)

    async def search(self, query: str) -> Hits:
        matcher, words = self.matcher(query), query.casefold().split()
        for command, text in self._all():
            if (score := matcher.match(f"{text} {command.key}")) > 0:
                if not all(word in text.casefold() for word in words):
                    score /= MOST_SCORE  # its letters are scattered over the text: below whatever has the name
                shown = self._shown(command, matcher.highlight(text))
                yield Hit(score, shown, partial(run, cast("PaigApp", self.app), command), text=text)
        app = cast("PaigApp", self.app)
        for part, name in objects(app, query):
            text = f"{OBJECTS[part]} {safe(name)}"
            shown = Content.assemble(fitted(Content.styled("go to", MUTED), 9), plain(text))
            whole = name.casefold() == query.casefold().strip()
            yield Hit(MOST_SCORE if whole else 2.0, shown, partial(go_to, app, part, name), text=text)
