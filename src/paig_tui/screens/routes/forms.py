"""The dialogs of routes: members as text, and the dry run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from paig_client.api.resources import Route
from paig_client.api.specs import MemberSpec, RouteSpec
from paig_tui.screens.dialog import Dialog, Field
from paig_tui.screens.keys.forms import checked
from paig_tui.screens.routes.dry_run import DRAWS, dry_run
from paig_tui.text import MUTED, bar, lines, plain, safe


def written(members: Sequence[MemberSpec]) -> str:
    """Members as one line: `groq 10/2, anthropic 0/1, openai 0/1 off`."""
    return ", ".join(f"{m.provider} {m.priority}/{m.weight}{'' if m.active else ' off'}" for m in members)


def read(text: str, before: Sequence[MemberSpec]) -> list[dict[str, object]]:
    """Members from such a line; what it does not say (renamed models) stays as it was.

    Raises:
        ValueError: It is not written so.
    """
    models = {member.provider: member.models for member in before}
    found: list[dict[str, object]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        words = part.split()
        active = words[-1] != "off"
        provider, numbers = words[0], (words[1:] if active else words[1:-1]) or ["0/1"]
        priority, _, weight = numbers[0].partition("/")
        if len(numbers) > 1 or not priority.lstrip("-").isdigit() or not (weight or "1").isdigit():
            raise ValueError(f"members: {part!r} is not written `provider priority/weight`")
        found.append(
            {
                **{"provider": provider, "priority": int(priority), "weight": int(weight or 1), "active": active},
                "models": models.get(provider, {}),
            }
        )
    return found


class RouteForm(Dialog[tuple[str, RouteSpec]]):
    """A route's members; of a new one the name too."""

    def __init__(self, route: Route | None, providers: Sequence[str]) -> None:
        self.route = route
        fields = [] if route else [Field("name", "Name", hint="such as fast")]
        fields.append(Field("members", "Members", written(route.members) if route else "", "groq 10/2, openai 0/1"))
        intro = lines(
            [
                "Each: provider priority/weight. The highest priority is tried first, weight",
                "shares among equals; `off` at the end switches one off.",
                Content.assemble(("Providers: ", MUTED), plain(", ".join(providers))),
                "",
            ]
        )
        super().__init__(f"members of {safe(route.name)}" if route else "new route", fields, intro=intro)

    def answer(self) -> tuple[str, RouteSpec]:
        """Name and members."""
        name = self.route.name if self.route else self.value("name")
        if not name:
            raise ValueError("name: give the route a name")
        members = read(self.value("members"), self.route.members if self.route else [])
        return name, checked(RouteSpec, {"members": members})


class DryRun(ModalScreen[None]):
    """A hundred draws; again with `d`."""

    CSS_PATH = "forms.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close"),
        Binding("d", "again", "Draw again"),
    ]

    def __init__(self, route: Route, seed: int | None = None) -> None:
        super().__init__()
        self.route = route
        self.seed = seed

    def compose(self) -> ComposeResult:
        """A box."""
        with VerticalScroll(id="box") as box:
            box.border_title = Content(f"dry run of {safe(self.route.name)}: {DRAWS} draws")
            box.border_subtitle = Content("d again · Esc close")
            yield Static("", markup=False, id="text")

    def on_mount(self) -> None:
        """Draw."""
        self.action_again()

    def action_again(self) -> None:
        """Draw again."""
        places = dry_run(self.route.members, seed=self.seed)
        shown: list[Content | str] = ["Nothing is sent; the order is drawn as the gateway draws it.", ""]
        for number, counts in enumerate(places, 1):
            shown.append(Content.styled("tried first" if number == 1 else f"if {number - 1} failed", "bold"))
            for provider, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
                name = plain(provider).truncate(20, ellipsis=True)
                name = name.pad_right(20 - name.cell_length)
                shown.append(Content.assemble("  ", name, f" {count:>3} ", bar(count / DRAWS, 25, "$primary")))
        if not places:
            shown.append("Every member is off: requests to this route are refused.")
        self.query_one("#text", Static).update(lines(shown))
