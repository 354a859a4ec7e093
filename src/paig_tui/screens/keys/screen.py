"""Keys, projects and users: their caps as bars, and the actions on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from paig_client.api.fields import Spec
from paig_client.api.resources import Key, NewKey, Owner, Project
from paig_client.api.specs import KeySpec, OwnerSpec, ProjectSpec
from paig_client.api.vocabulary import Permission
from paig_tui.app import Undo
from paig_tui.screens.keys.rows import COLUMNS, SINGULAR, KeyTableRow, Tab, about, columns, rows
from paig_tui.screens.tabbed import TabbedSection
from paig_tui.text import MUTED, safe
from paig_tui.widgets.chrome import Frame, Panel
from paig_tui.widgets.table import Table

SPECS: Mapping[Tab, type[Spec]] = {"keys": KeySpec, "projects": ProjectSpec, "users": OwnerSpec}


class KeysSection(TabbedSection[Tab]):
    """The section Keys."""

    NAME = "keys"
    TITLE_SHOWN = "Keys"
    CSS_PATH = "screen.tcss"
    TABS: Mapping[Tab, str] = {"keys": "keys", "projects": "projects", "users": "users"}
    CHANGING: ClassVar[Mapping[str, Permission]] = {
        **dict.fromkeys(("new", "caps", "edit", "switch", "rotate", "delete"), "keys:write"),
        "gateway_caps": "organisation:write",
        "raise": "limits:write",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New key, project or user"),
        Binding("c,enter", "caps", "Edit its caps"),
        Binding("e", "edit", "Edit all but the caps: project, user, models, routes, …"),
        Binding("d", "switch", "Disable or enable it; of a project or user, its keys"),
        Binding("r", "rotate", "Rotate the key: a new secret, the same caps"),
        Binding("D,delete", "delete", "Delete it"),
        Binding("w", "gateway_caps", "Caps and settings of the whole gateway"),
        Binding("m", "raise", "Raise one of its caps for a while: more for now"),
        Binding("right", "tab(1)", "Keys, projects, users"),
        Binding("left", "tab(-1)", "Users, projects, keys"),
        Binding("l", "requests", "Its requests"),
        Binding("a", "asks", "Requests for more of a limit: approve or decline"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._made_for: object = None
        self._made: Sequence[KeyTableRow] | None = None

    def body(self) -> Iterable[Widget]:
        """A table, and where there is room what is known of a row."""
        with Frame(id="frame"):
            yield Table(COLUMNS["keys"], lambda row: row.name, id="objects")
        yield Panel("about", id="about", classes="data")

    @property
    def table(self) -> Table[KeyTableRow]:
        return self.query_one("#objects", Table)

    def refusal(self, action: str) -> str | None:
        """Projects and users need other permissions than keys."""
        needed = self.CHANGING.get(action.partition("(")[0])
        if needed == "keys:write" and self.tab != "keys" and not self.state.may("owners:write"):
            return "Your token may not do that: it lacks owners:write."
        return super().refusal(action)

    def show(self) -> None:
        table = self.table
        table.empty = self.nothing(self.tab, f"No {self.tab} here. n makes one.")
        every = self._rows()
        shown = [row for row in every or () if self._wanted(row)]
        shown.sort(key=lambda row: row.name.casefold())
        table.show(shown)
        self._titles(len(shown), every)
        self._about()

    def _rows(self) -> Sequence[KeyTableRow] | None:
        """All of the kind; made once for each poll, not for each letter of a filter."""
        made_for = (self.state.fetches, self.state.stale, self.tab)
        if self._made_for != made_for:
            self._made_for, self._made = made_for, rows(self.state, self.tab)
            self.table.columns = columns(self.tab, self._made or ())
        return self._made

    def _wanted(self, row: KeyTableRow) -> bool:
        resource = row.resource
        if isinstance(resource, Key):
            return self.matches(resource.name, row.status, resource.project, resource.user, resource.hint)
        return self.matches(resource.name, row.status)

    def _titles(self, shown: int, every: Sequence[KeyTableRow] | None) -> None:
        frame = self.query_one("#frame", Frame)
        some = f" · {shown:,} shown" if every is not None and shown != len(every) else ""
        frame.border_title = Content.assemble(self.tabs_title(), (some, MUTED), self.asks_note(), self.filter_note)
        own = ("r rotate", "e edit") if self.tab == "keys" else ()
        frame.show_keys(self.hints("n new", "c caps", "d off/on", *own, "D delete", "m raise", "→ kind"))

    @on(Table.Moved, "#objects")
    def _about(self) -> None:
        panel = self.query_one("#about", Panel)
        row = self.table.current
        panel.title(f"about {safe(row.name)}" if row else "about")
        panel.paint(lambda *_: about(row, self.state.as_of) if row else Content(""))

    def action_requests(self) -> None:
        from paig_tui.screens.requests.list import Requests

        if (row := self.table.current) is not None:
            self.app.push_screen(Requests(f"{SINGULAR[self.tab]} {row.name}", {SINGULAR[self.tab]: row.name}))

    @on(Table.Chosen, "#objects")
    async def _chosen(self) -> None:
        await self.app.run_action("screen.caps")

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_new(self) -> None:
        """Make one; a key is then shown once."""
        from paig_tui.screens.forms import Form, checked, questions

        admin = self.paig.admin
        if self.tab == "keys":

            async def create_key(name: str, values: dict[str, object]) -> NewKey:
                return await admin.keys.create(name, checked(KeySpec, values))

            hint = "what will use it, such as ci-bot"
            key = await self.app.push_screen_wait(
                Form("new key", questions(KeySpec), self.state, create_key, name=hint)
            )
            if key is not None:
                self.paig.changed(f"Created {safe(key.name)}.")
                self.warn(key.warnings)
                self._show_secret(key, "created")
            return

        async def create_owner(name: str, values: dict[str, object]) -> Owner:
            if self.tab == "projects":
                return await admin.projects.create(name, checked(ProjectSpec, values))
            return await admin.users.create(name, checked(OwnerSpec, values))

        asked = questions(SPECS[self.tab])
        owner = await self.app.push_screen_wait(
            Form(f"new {SINGULAR[self.tab]}", asked, self.state, create_owner, name="such as research")
        )
        if owner is not None:
            self.paig.changed(f"Created {safe(owner.name)}.")

    def _show_secret(self, made: NewKey, word: str) -> None:
        from paig_tui.screens.keys.created import KeyCreated

        self.app.push_screen(KeyCreated(made, self.paig.admin.url, self.state.providers or (), word))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_caps(self) -> None:
        from paig_tui.screens.forms import questions
        from paig_tui.screens.limits.forms import cap_notes

        if (row := self.table.current) is not None:
            resource, name = row.resource, safe(row.name)
            notes, before = cap_notes(row.caps, self.state.clock()), resource.model_dump(mode="json")
            await self.edit(
                f"caps of {name}", questions(OwnerSpec), before, self._updater(resource), f"Caps of {name}",
                notes=notes, intro=self._also_binds(resource),
            )  # fmt: skip

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_gateway_caps(self) -> None:
        """Edit the caps and settings of the whole gateway; can be undone."""
        from paig_tui.screens.limits.forms import edit_gateway

        await edit_gateway(self)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_raise(self) -> None:
        """Raise a cap for a while; it ends by itself."""
        from paig_tui.screens.limits.forms import raise_limit

        if (row := self.table.current) is not None:
            mine = (SINGULAR[self.tab], row.name)
            await raise_limit(self, [one for one in self.state.limits or () if (one.owner_kind, one.owner) == mine])

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_edit(self) -> None:
        """Edit what it belongs to and may do; can be undone."""
        from paig_tui.screens.forms import questions

        if (row := self.table.current) is not None:
            resource, name = row.resource, safe(row.name)
            asked = questions(SPECS[self.tab], without=("limits", "secret"))
            if not asked:
                self.notify("A user has nothing but caps: press c.")
                return
            await self.edit(f"edit {name}", asked, resource.model_dump(mode="json"), self._updater(resource), name)

    def _updater(self, resource: Key | Owner) -> Callable[[Mapping[str, object], bool], Awaitable[object]]:
        """A function that changes the object; its second argument makes it fail if the object changed meanwhile."""
        admin = self.paig.admin

        async def update(changes: Mapping[str, object], first: bool) -> object:
            if isinstance(resource, Key):
                return await admin.keys.update(resource.id, changes, seen=resource if first else None)
            if isinstance(resource, Project):
                return await admin.projects.update(resource.id, changes, seen=resource if first else None)
            return await admin.users.update(resource.id, changes, seen=resource if first else None)

        return update

    def _also_binds(self, resource: Key | Owner) -> str:
        """The other caps that may refuse before these do."""
        from paig_tui.screens.limits.forms import also_binds

        caps = self.state.caps()
        owners = [("project", resource.project), ("user", resource.user)] if isinstance(resource, Key) else []
        return also_binds([
            limit
            for kind, name in (*owners, ("organisation", "organisation"))
            if name is not None
            for limit in caps.get((kind, name), {}).values()
        ])  # fmt: skip

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_switch(self) -> None:
        """Disable or enable; can be undone."""
        from paig_tui.screens.dialog import Confirm

        row = self.table.current
        if row is None:
            return
        name = safe(row.name)
        if isinstance(key := row.resource, Key):
            enable = key.status in ("disabled", "blocked")
            if key.status == "blocked":
                ask = Confirm(f"unblock {name}?", "The key was blocked for a reason: see the log.", do="Unblock")
                if not await self.app.push_screen_wait(ask):
                    return
            await self._set([key], enable=enable, what=name)
            return
        off = [key for key in row.keys if key.status == "disabled"]
        on = [key for key in row.keys if key.status not in ("disabled", "blocked")]
        if not on and off:
            await self._set(off, enable=True, what=f"{keys(len(off))} of {name}")
        elif on:
            some = ", ".join(safe(key.name) for key in on[:8]) + (" …" if len(on) > 8 else "")
            says = f"Until they are enabled again, requests of {keys(len(on))} are refused: {some}"
            ask = Confirm(f"disable every key of {SINGULAR[self.tab]} {name}?", says, do="Disable")
            if await self.app.push_screen_wait(ask):
                await self._set(on, enable=False, what=f"{keys(len(on))} of {name}")
        else:
            self.notify(f"{name} has no keys.")

    async def _set(self, keys: Sequence[Key], *, enable: bool, what: str) -> None:
        """Disable or enable keys, one after the other."""
        admin = self.paig.admin.keys

        async def switch(enable: bool) -> None:
            for key in keys:
                await (admin.enable(key.id) if enable else admin.disable(key.id))

        word = "enabled" if enable else "disabled"
        undo = Undo(f"{what} {word}", lambda: switch(not enable))
        await self.paig.changing(switch(enable), f"{what} {'is' if len(keys) == 1 else 'are'} {word}.", undo)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_rotate(self) -> None:
        """A new secret; the old one stops working, so ask first."""
        from paig_tui.screens.dialog import Confirm

        row = self.table.current
        if row is None or not isinstance(row.resource, Key):
            return
        says = "The old secret stops working at once. Caps and what is spent stay."
        if await self.app.push_screen_wait(Confirm(f"rotate {safe(row.name)}?", says, do="Rotate")):
            made = await self.paig.changing(
                self.paig.admin.keys.rotate(row.resource.id), f"{safe(row.name)} has a new secret."
            )
            if made is not None:
                self._show_secret(made, "rotated")

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_delete(self) -> None:
        from paig_tui.screens.dialog import Confirm

        row = self.table.current
        if row is None:
            return
        says = "This cannot be undone. Its rows in the ledger stay."
        title = f"delete {SINGULAR[self.tab]} {safe(row.name)}?"
        if not await self.app.push_screen_wait(Confirm(title, says, do="Delete", type_name=safe(row.name))):
            return
        admin = self.paig.admin
        if isinstance(row.resource, Key):
            done = admin.keys.delete(row.resource.id)
        else:
            delete = admin.projects.delete if self.tab == "projects" else admin.users.delete
            done = delete(row.resource.id)
        await self.paig.changing(done, f"{safe(row.name)} is deleted.")


def keys(count: int) -> str:
    """A number of keys, in words."""
    return f"{count:,} key{'s' if count != 1 else ''}"


SCREEN = KeysSection
