"""Routes: their members with priority and weight, and a dry run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget

from paig_client.api.resources import Route
from paig_client.api.specs import MemberSpec, RouteSpec
from paig_client.api.vocabulary import Permission
from paig_tui.app import Undo
from paig_tui.screens.providers.health import ProviderStatus, provider_statuses
from paig_tui.screens.routes.dry_run import share
from paig_tui.screens.section import Section
from paig_tui.text import GOOD, MUTED, NOT_YET, WARN, bar, plain, safe
from paig_tui.widgets.chrome import Frame
from paig_tui.widgets.table import Column, Table


@dataclass(frozen=True)
class MemberTableRow:
    """A member of the chosen route."""

    place: int
    member: MemberSpec
    share: float | None
    status: ProviderStatus | None


def _part(row: MemberTableRow) -> Content:
    if not row.member.active:
        return Content.styled("○ off", MUTED)
    if row.share is None:
        return Content.styled("◌ standby", WARN)
    return Content.styled("● first", GOOD)


def _share(row: MemberTableRow, width: int) -> Content:
    if row.share is None:
        return Content.styled("—", MUTED)
    return Content.assemble(bar(row.share, max(1, width - 5), "$primary"), f" {row.share:>4.0%}")


def _state(row: MemberTableRow) -> Content:
    if row.status is None:
        return Content.styled("◌ idle", MUTED)
    return Content.styled(row.status.word, row.status.style)


def _members(route: Route) -> Content:
    return Content(str(len(route.members)))


def _member_names(route: Route) -> Content:
    return plain(", ".join(member.provider for member in route.members), MUTED)


ROUTES: tuple[Column[Route], ...] = (
    Column("route", 0, lambda route: plain(route.name), sort=lambda route: route.name.casefold()),
    Column("members", 7, _members, right=True, below=50, sort=lambda route: len(route.members)),
    Column("members", 0, _member_names, least=50, sort=lambda route: len(route.members)),
)
MEMBERS: tuple[Column[MemberTableRow], ...] = (
    Column("part", 10, _part),
    Column("provider", 0, lambda row: plain(row.member.provider), sort=lambda row: row.member.provider.casefold()),
    Column("pri", 4, lambda row: Content(str(row.member.priority)), right=True, sort=lambda row: row.member.priority),
    Column("weight", 6, lambda row: Content(str(row.member.weight)), right=True, sort=lambda row: row.member.weight),
    Column("share", 11, wide=_share, least=60, most=45, sort=lambda row: row.share),
    Column("share", 5, lambda row: Content("—" if row.share is None else f"{row.share:.0%}"), right=True, below=60),
    Column("state", 9, _state),
    Column("renames", 0, lambda row: plain(renames(row.member.models)), least=84),
)


def renames(models: Mapping[str, str]) -> str:
    """The model names that the member replaces, in words."""
    return ", ".join(f"{asked}→{sent}" for asked, sent in models.items())


class RoutesSection(Section):
    """The section Routes."""

    NAME = "routes"
    TITLE_SHOWN = "Routes"
    CSS_PATH = "screen.tcss"
    CHANGING: ClassVar[Mapping[str, Permission]] = dict.fromkeys(
        ("new", "edit", "switch", "weigh", "delete"), "routing:write"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New route; among members, a new member"),
        Binding("e", "edit", "Edit the route, or the member under the cursor"),
        Binding("enter", "members", "Go to the route's members; there, edit one"),
        Binding("space", "switch", "Switch the member off or on"),
        Binding("plus", "weigh(1)", "More weight for the member"),
        Binding("minus", "weigh(-1)", "Less weight for the member"),
        Binding("d", "dry_run", "Dry run: where 100 requests would go"),
        Binding("D,delete", "delete", "Delete the route, or the member under the cursor"),
        Binding("right,left,tab", "other", "Routes or members"),
    ]

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="both"):
            with Frame(id="left"):
                yield Table(ROUTES, lambda route: route.name, id="routes")
            with Frame(id="right"):
                yield Table(MEMBERS, lambda row: str(row.place), id="members", empty="No route is chosen.")

    @property
    def route(self) -> Route | None:
        found: Route | None = self.query_one("#routes", Table).current
        return found

    @property
    def row(self) -> MemberTableRow | None:
        found: MemberTableRow | None = self.query_one("#members", Table).current
        return found

    def stamp(self) -> object:
        return self.state.fetches

    def show(self) -> None:
        routes = self.state.routes
        table = self.query_one("#routes", Table)
        table.empty = self.nothing("routes", "None. n adds one.")
        table.show([route for route in routes or () if self.matches(route.name, *(m.provider for m in route.members))])
        count = len(routes) if routes is not None else NOT_YET
        left = self.query_one("#left", Frame)
        left.border_title = Content.assemble(f"routes {count}", self.filter_note)
        left.show_keys(self.hints("n new", "e edit", "D delete"))
        self._members()

    @on(Table.Moved, "#routes")
    def _members(self) -> None:
        route = self.route
        found = provider_statuses(self.state)
        members = route.members if route else []
        rows = [
            MemberTableRow(place, member, share(member, members), found.get(member.provider))
            for place, member in enumerate(members)
        ]
        rows.sort(key=lambda row: (not row.member.active, -row.member.priority, -row.member.weight, row.place))
        self.query_one("#members", Table).show(rows)
        frame = self.query_one("#right", Frame)
        frame.border_title = Content(f"members of {safe(route.name)}" if route else "members")
        frame.show_keys(self.hints("n add", "e edit", "d dry run", "Space off/on", "+ more", "- less"))

    def action_other(self) -> None:
        routes, members = self.query_one("#routes", Table), self.query_one("#members", Table)
        (routes if members.has_focus else members).focus()

    def action_dry_run(self) -> None:
        from paig_tui.screens.routes.dry_run import DryRun

        if (route := self.route) is not None:
            self.app.push_screen(DryRun(route))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_new(self) -> None:
        """Make a route; among the members, add one."""
        from paig_tui.screens.forms import Form, checked, questions

        if self._at_members and (route := self.route) is not None:
            return await self._add_member(route)
        routes = self.paig.admin.routes

        async def create(name: str, values: dict[str, object]) -> Route:
            names = values.get("members")
            members = [{"provider": member} for member in names] if isinstance(names, list) else []
            return await routes.create(name, checked(RouteSpec, {**values, "members": members}))

        made = await self.app.push_screen_wait(
            Form("new route", questions(RouteSpec), self.state, create, name="such as fast")
        )
        if made is not None:
            self.paig.changed(f"Created route {safe(made.name)}.")

    async def _add_member(self, route: Route) -> None:
        from paig_tui.screens.forms import Form, checked, questions

        async def add(_: str, values: dict[str, object]) -> list[MemberSpec]:
            members = [*route.members, checked(MemberSpec, values)]
            await self.paig.admin.routes.update(route.id, {"members": _json(members)}, seen=route)
            return members

        title = f"new member of {safe(route.name)}"
        form = Form(title, questions(MemberSpec, of="member"), self.state, add, do="Add")
        if await self.app.push_screen_wait(form) is not None:
            self.paig.changed(f"Route {safe(route.name)} changed.", self._undo(route))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_edit(self) -> None:
        """Edit the route, or the member under the cursor; can be undone."""
        from paig_tui.screens.forms import questions

        if (route := self.route) is None:
            return
        name, routes = safe(route.name), self.paig.admin.routes
        row = self.row if self._at_members else None
        if row is None:

            async def update(changes: Mapping[str, object], first: bool) -> object:
                return await routes.update(route.id, changes, seen=route if first else None)

            before = route.model_dump(mode="json")
            await self.edit(f"edit {name}", questions(RouteSpec, without=("members",)), before, update, f"Route {name}")
            return

        async def update_member(changes: Mapping[str, object], first: bool) -> object:
            given = {name: _without_nulls(value) for name, value in changes.items()}  # a member is sent whole
            member = MemberSpec.model_validate({**row.member.model_dump(), **given})
            members = _json(self._with(row, **member.model_dump()))
            return await routes.update(route.id, {"members": members}, seen=route if first else None)

        before = row.member.model_dump(mode="json")
        title = f"member {safe(row.member.provider)} of {name}"
        await self.edit(title, questions(MemberSpec, of="member"), before, update_member, f"Route {name}")

    @property
    def _at_members(self) -> bool:
        return self.query_one("#members", Table).has_focus

    @on(Table.Chosen, "#members")
    async def _chosen(self) -> None:
        await self.app.run_action("screen.edit")

    @on(Table.Chosen, "#routes")
    def action_members(self) -> None:
        self.query_one("#members", Table).focus()

    async def _change(self, route: Route, members: list[MemberSpec]) -> None:
        change = self.paig.admin.routes.update(route.id, {"members": _json(members)}, seen=route)
        await self.paig.changing(change, f"Route {safe(route.name)} changed.", self._undo(route))

    def _undo(self, route: Route) -> Undo:
        """Undo: set the route's members to what they are now."""
        routes, before = self.paig.admin.routes, {"members": _json(route.members)}
        return Undo(f"members of {safe(route.name)}", lambda: routes.update(route.id, before))

    def _with(self, row: MemberTableRow, **changes: object) -> list[MemberSpec]:
        assert self.route is not None
        members = list(self.route.members)
        members[row.place] = row.member.model_copy(update=changes)
        return members

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_switch(self) -> None:
        """Switch the member off or on; can be undone."""
        if self.route is not None and (row := self.row) is not None:
            await self._change(self.route, self._with(row, active=not row.member.active))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_weigh(self, step: int) -> None:
        """Change the member's weight; can be undone."""
        if self.route is not None and (row := self.row) is not None and row.member.weight + step >= 0:
            await self._change(self.route, self._with(row, weight=row.member.weight + step))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_delete(self) -> None:
        """Delete the route, after its name was typed; among members, the one under the cursor, which can be undone."""
        from paig_tui.screens.dialog import Confirm

        route = self.route
        if route is None:
            return
        if self._at_members:
            if (row := self.row) is None:
                return
            if len(route.members) == 1:
                self.notify("A route needs a member. Press Tab, then D to delete the route.", severity="warning")
                return
            await self._change(route, [member for place, member in enumerate(route.members) if place != row.place])
            return
        name = safe(route.name)
        ask = Confirm(f"delete route {name}?", "Requests to it are refused from then on.", do="Delete", type_name=name)
        if await self.app.push_screen_wait(ask):
            await self.paig.changing(self.paig.admin.routes.delete(route.id), f"Route {name} is deleted.")


def _without_nulls(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {name: one for name, one in value.items() if one is not None}


def _json(members: Iterable[MemberSpec]) -> list[dict[str, object]]:
    return [member.model_dump(mode="json") for member in members]


SCREEN = RoutesSection
