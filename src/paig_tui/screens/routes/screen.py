"""Routes: who is asked first, who stands by, and a dry run that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget

from paig_client.api.resources import Route
from paig_client.api.specs import MemberSpec, Permission, RouteSpec
from paig_tui.app import Undo
from paig_tui.screens.providers.health import ProviderStatus, fares
from paig_tui.screens.routes.dry_run import share
from paig_tui.screens.section import Section
from paig_tui.text import GOOD, MUTED, NOT_YET, WARN, bar, plain, safe
from paig_tui.widgets.table import Column, Table


@dataclass(frozen=True)
class Row:
    """A member of the route that is looked at."""

    place: int
    member: MemberSpec
    share: float | None
    fare: ProviderStatus | None


def _part(row: Row) -> Content:
    if not row.member.active:
        return Content.styled("○ off", MUTED)
    if row.share is None:
        return Content.styled("◌ standby", WARN)
    return Content.styled("● first", GOOD)


def _share(row: Row) -> Content:
    if row.share is None:
        return Content.styled("—", MUTED)
    return Content.assemble(bar(row.share, 6, "$primary"), f" {row.share:>4.0%}")


def _state(row: Row) -> Content:
    if row.fare is None:
        return Content.styled("◌ idle", MUTED)
    return Content.styled(row.fare.word, row.fare.style)


ROUTES: tuple[Column[Route], ...] = (
    Column("route", 0, lambda route: plain(route.name)),
    Column("members", 7, lambda route: Content(str(len(route.members))), right=True),
)
MEMBERS: tuple[Column[Row], ...] = (
    Column("part", 10, _part),
    Column("provider", 0, lambda row: plain(row.member.provider)),
    Column("pri", 4, lambda row: Content(str(row.member.priority)), right=True),
    Column("weight", 6, lambda row: Content(str(row.member.weight)), right=True),
    Column("share", 11, _share, least=60),
    Column("share", 5, lambda row: Content("—" if row.share is None else f"{row.share:.0%}"), right=True, below=60),
    Column("state", 9, _state),
    Column("renames", 24, lambda row: plain(renames(row.member.models)), least=84),
)


def renames(models: Mapping[str, str]) -> str:
    """The model names that are changed on the way."""
    return ", ".join(f"{asked}→{sent}" for asked, sent in models.items())


class Routes(Section):
    """The section."""

    NAME = "routes"
    TITLE_SHOWN = "Routes"
    CSS_PATH = "screen.tcss"
    CHANGING: ClassVar[Mapping[str, Permission]] = dict.fromkeys(
        ("new", "edit", "switch", "weigh", "delete"), "routing:write"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New route"),
        Binding("e,enter", "edit", "Edit the route's members"),
        Binding("space", "switch", "Switch the member off or on"),
        Binding("plus", "weigh(1)", "More weight for the member"),
        Binding("minus", "weigh(-1)", "Less weight for the member"),
        Binding("d", "dry_run", "Dry run: whom 100 requests go to"),
        Binding("D,delete", "delete", "Delete the route"),
        Binding("right,left,tab", "other", "Routes or members"),
    ]

    def body(self) -> Iterable[Widget]:
        """Two tables side by side."""
        with Horizontal(id="both"):
            with Vertical(classes="frame", id="left"):
                yield Table(ROUTES, lambda route: route.name, id="routes")
            with Vertical(classes="frame", id="right"):
                yield Table(MEMBERS, lambda row: str(row.place), id="members", empty="No route is chosen.")

    @property
    def route(self) -> Route | None:
        """The route that is looked at."""
        found: Route | None = self.query_one("#routes", Table).current
        return found

    @property
    def row(self) -> Row | None:
        """The member under the cursor."""
        found: Row | None = self.query_one("#members", Table).current
        return found

    def stamp(self) -> object:
        """What it depends on."""
        return self.state.fetches

    def show(self) -> None:
        """Fill both tables."""
        routes = self.state.routes
        table = self.query_one("#routes", Table)
        table.empty = self.nothing("routes", "None. n adds one.")
        table.show([route for route in routes or () if self.matches(route.name, *(m.provider for m in route.members))])
        count = len(routes) if routes is not None else NOT_YET
        left = self.query_one("#left", Vertical)
        left.border_title = Content.assemble(f"routes {count}", self.filter_note)
        left.border_subtitle = self.hints("n new", "D delete")
        self._members()

    @on(Table.Moved, "#routes")
    def _members(self) -> None:
        route = self.route
        found = fares(self.state)
        members = route.members if route else []
        rows = [
            Row(place, member, share(member, members), found.get(member.provider))
            for place, member in enumerate(members)
        ]
        rows.sort(key=lambda row: (not row.member.active, -row.member.priority, -row.member.weight, row.place))
        self.query_one("#members", Table).show(rows)
        frame = self.query_one("#right", Vertical)
        frame.border_title = Content(f"members of {safe(route.name)}" if route else "members")
        frame.border_subtitle = self.hints("e edit", "Space off/on", "+ more", "- less", "d dry run")

    def action_other(self) -> None:
        """To the other table."""
        routes, members = self.query_one("#routes", Table), self.query_one("#members", Table)
        (routes if members.has_focus else members).focus()

    def action_dry_run(self) -> None:
        """Draw a hundred times."""
        from paig_tui.screens.routes.forms import DryRun

        if (route := self.route) is not None:
            self.app.push_screen(DryRun(route))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_new(self) -> None:
        """Make one."""
        from paig_tui.screens.routes.forms import RouteForm

        wanted = await self.app.push_screen_wait(RouteForm(None, [found.name for found in self.state.providers or ()]))
        if wanted is not None:
            name, spec = wanted
            await self.paig.changing(self.paig.admin.routes.create(name, spec), f"Route {safe(name)} is there.")

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_edit(self) -> None:
        """Edit the members; can be undone."""
        from paig_tui.screens.routes.forms import RouteForm

        route = self.route
        if route is None:
            return
        wanted = await self.app.push_screen_wait(RouteForm(route, [found.name for found in self.state.providers or ()]))
        if wanted is not None:
            await self._change(route, wanted[1].members)

    @on(Table.Chosen)
    async def _chosen(self) -> None:
        await self.app.run_action("screen.edit")

    async def _change(self, route: Route, members: list[MemberSpec]) -> None:
        routes = self.paig.admin.routes
        before = RouteSpec(members=route.members)
        undo = Undo(f"members of {safe(route.name)}", lambda: routes.update(route.id, before))
        change = routes.update(route.id, RouteSpec(members=members), seen=route)
        await self.paig.changing(change, f"Route {safe(route.name)} changed.", undo)

    def _with(self, row: Row, **changes: object) -> list[MemberSpec]:
        """The members, with one changed."""
        assert self.route is not None
        members = list(self.route.members)
        members[row.place] = row.member.model_copy(update=changes)
        return members

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_switch(self) -> None:
        """The member off or on; can be undone."""
        if self.route is not None and (row := self.row) is not None:
            await self._change(self.route, self._with(row, active=not row.member.active))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_weigh(self, step: int) -> None:
        """More or less weight; can be undone."""
        if self.route is not None and (row := self.row) is not None and row.member.weight + step >= 0:
            await self._change(self.route, self._with(row, weight=row.member.weight + step))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_delete(self) -> None:
        """Delete it, after its name was typed."""
        from paig_tui.screens.dialog import Confirm

        route = self.route
        if route is None:
            return
        name = safe(route.name)
        ask = Confirm(f"delete route {name}?", "Requests to it are refused from then on.", do="Delete", type_name=name)
        if await self.app.push_screen_wait(ask):
            await self.paig.changing(self.paig.admin.routes.delete(route.id), f"Route {name} is deleted.")


SCREEN = Routes
