"""A dry run of a route: which members a hundred requests would try first, second and so on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from paig_client.api.resources import Route
from paig_client.api.specs import MemberSpec
from paig_tui.text import bar, lines, plain, safe

DRAWS = 100


def order(members: Sequence[MemberSpec], chance: random.Random) -> list[MemberSpec]:
    """The order in which one request tries the members: by priority, then at random by weight.

    A member of weight 0 comes after the others of its priority.
    """
    found: list[MemberSpec] = []
    active = sorted((member for member in members if member.active), key=lambda member: -member.priority)
    for _, equals in groupby(active, key=lambda member: member.priority):
        left = list(equals)
        while left:
            weights = [member.weight for member in left]
            drawn = chance.choices(left, weights)[0] if sum(weights) else left[0]
            left.remove(drawn)
            found.append(drawn)
    return found


def dry_run(members: Sequence[MemberSpec], draws: int = DRAWS, seed: int | None = None) -> list[Counter[str]]:
    """How often each provider comes first, second and so on in a number of draws."""
    chance = random.Random(seed)
    places: list[Counter[str]] = [Counter() for member in members if member.active]
    for _ in range(draws):
        for place, member in enumerate(order(members, chance)):
            places[place][member.provider] += 1
    return places


def share(member: MemberSpec, members: Sequence[MemberSpec]) -> float | None:
    """The share of requests that a member gets first; None for a standby member."""
    active = [other for other in members if other.active]
    top = max((other.priority for other in active), default=None)
    if not member.active or member.priority != top:
        return None
    weights = sum(other.weight for other in active if other.priority == top)
    return member.weight / weights if weights else None


class DryRun(ModalScreen[None]):
    """The dialog of a dry run; `d` draws again."""

    CSS_PATH = "dry_run.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close"),
        Binding("d", "again", "Draw again"),
    ]

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.route = route

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box") as box:
            box.border_title = Content(f"dry run of {safe(self.route.name)}: {DRAWS} draws")
            box.border_subtitle = Content("d again · Esc close")
            yield Static("", markup=False, id="text")

    def on_mount(self) -> None:
        self.action_again()

    def action_again(self) -> None:
        places = dry_run(self.route.members)
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
