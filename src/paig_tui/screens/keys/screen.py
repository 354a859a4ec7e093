"""Keys, projects and users: their caps as bars, and everything that can be done to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from paig_client.api.resources import Key, NewKey, Owner, Project
from paig_client.api.specs import LimitsSpec, OwnerSpec, Permission
from paig_tui.app import Undo
from paig_tui.screens.keys.rows import COLUMNS, KINDS, ONE, Kind, Row, about, rows
from paig_tui.screens.section import Section
from paig_tui.text import MUTED, NOT_YET, safe
from paig_tui.widgets.chrome import Panel, tabs
from paig_tui.widgets.table import Table


class Keys(Section):
    """The section."""

    NAME = "keys"
    TITLE_SHOWN = "Keys"
    CSS_PATH = "screen.tcss"
    CHANGING: ClassVar[Mapping[str, Permission]] = {
        **dict.fromkeys(("new", "caps", "edit", "switch", "rotate", "delete"), "keys:write"),
        "gateway_caps": "organisation:write",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New key, project or user"),
        Binding("c,enter", "caps", "Edit its caps"),
        Binding("e", "edit", "Edit the key: project, user, models, routes, end"),
        Binding("d", "switch", "Disable or enable it; of a project or user, its keys"),
        Binding("r", "rotate", "Rotate the key: a new secret, the same caps"),
        Binding("D,delete", "delete", "Delete it"),
        Binding("w", "gateway_caps", "Caps of the whole gateway"),
        Binding("o", "order", "Order by name, or fullest cap first"),
        Binding("right", "kind(1)", "Keys, projects, users"),
        Binding("left", "kind(-1)", "Users, projects, keys"),
        Binding("l", "requests", "Its requests"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.kind: Kind = "keys"
        self.fullest_first = False

    def body(self) -> Iterable[Widget]:
        """A table, and where there is room what is known of a row."""
        with Vertical(classes="frame", id="frame"):
            yield Table(COLUMNS["keys"], lambda row: row.name, id="objects")
        yield Panel("about", id="about", classes="data")

    @property
    def table(self) -> Table[Row]:
        """The table."""
        return self.query_one("#objects", Table)

    def refusal(self, action: str) -> str | None:
        """Projects and users need another permission than keys."""
        needed = self.CHANGING.get(action.partition("(")[0])
        if needed == "keys:write" and self.kind != "keys" and not self.state.may("owners:write"):
            return "Your token may not do that: it lacks owners:write."
        return super().refusal(action)

    def stamp(self) -> object:
        """What it depends on: not on single requests."""
        return self.state.fetches, self.kind, self.fullest_first

    def show(self) -> None:
        """Fill the table."""
        table = self.table
        table.columns = COLUMNS[self.kind]
        table.empty = self.nothing(self.kind, f"No {self.kind} here. n makes one.")
        every = rows(self.state, self.kind)
        shown = [row for row in every or () if self._wanted(row)]
        shown.sort(key=lambda row: (-row.fullest, row.name.casefold()) if self.fullest_first else row.name.casefold())
        table.show(shown)
        self._titles(len(shown), every)
        self._about()

    def _wanted(self, row: Row) -> bool:
        thing = row.thing
        if isinstance(thing, Key):
            return self.matches(thing.name, row.status, thing.project, thing.user, thing.hint)
        return self.matches(thing.name, row.status)

    def _titles(self, shown: int, every: Sequence[Row] | None) -> None:
        frame = self.query_one("#frame", Vertical)
        words = []
        for kind in KINDS:
            found = getattr(self.state, kind)
            count = NOT_YET if found is None else f"{len(found):,}"
            words.append((f"{kind} {count}", kind == self.kind, f"screen.show_kind('{kind}')"))
        some = f" · {shown:,} shown" if every is not None and shown != len(every) else ""
        order = " · fullest first" if self.fullest_first else ""
        frame.border_title = Content.assemble(tabs(words), (some + order, MUTED), self.filter_note)
        own = ("r rotate", "e edit") if self.kind == "keys" else ()
        frame.border_subtitle = self.hints("n new", "c caps", "d off/on", *own, "D delete", "o order", "→ kind")

    @on(Table.Moved, "#objects")
    def _about(self) -> None:
        panel = self.query_one("#about", Panel)
        row = self.table.current
        panel.title(f"about {safe(row.name)}" if row else "about")
        panel.paint(lambda *_: about(row, self.state.as_of) if row else Content(""))

    def action_kind(self, step: int) -> None:
        """Another kind."""
        self.action_show_kind(KINDS[(KINDS.index(self.kind) + step) % len(KINDS)])

    def action_show_kind(self, kind: Kind) -> None:
        """That kind."""
        self.kind = kind
        self.table.set_reactive(Table.cursor, 0)
        self.draw(force=True)

    def action_order(self) -> None:
        """Another order."""
        self.fullest_first = not self.fullest_first
        self.draw(force=True)

    def action_requests(self) -> None:
        """The requests of the row under the cursor."""
        from paig_tui.screens.requests.list import Requests

        if (row := self.table.current) is not None:
            self.app.push_screen(Requests(f"{ONE[self.kind]} {row.name}", {ONE[self.kind]: row.name}))

    @on(Table.Chosen, "#objects")
    async def _chosen(self) -> None:
        await self.app.run_action("screen.caps")

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_new(self) -> None:
        """Make one; a key is then shown once."""
        from paig_tui.screens.keys.forms import NewKeyForm, NewOwnerForm

        admin = self.paig.admin
        if self.kind == "keys":
            wanted = await self.app.push_screen_wait(NewKeyForm(self.state.clock()))
            if wanted is None:
                return
            made = await self.paig.changing(admin.keys.create(wanted.name, wanted.spec), "Created.")
            self._show_secret(made, "created")
            return
        owner = await self.app.push_screen_wait(NewOwnerForm(ONE[self.kind]))
        if owner is not None:
            make = admin.projects.create if self.kind == "projects" else admin.users.create
            await self.paig.changing(make(owner.name, owner.spec), f"Created {safe(owner.name)}.")

    def _show_secret(self, made: NewKey | None, word: str) -> None:
        from paig_tui.screens.keys.created import KeyCreated

        if made is not None:
            self.app.push_screen(KeyCreated(made, self.paig.admin.url, self.state.providers or (), word))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_caps(self) -> None:
        """Edit the caps; can be undone."""
        from paig_tui.screens.keys.forms import CapsForm

        row = self.table.current
        if row is None:
            return
        form = CapsForm(row.name, row.thing.limits, row.caps, self.state.clock(), self._also_binds(row.thing))
        changes = await self.app.push_screen_wait(form)
        if not changes:
            return
        before = row.thing.limits.model_dump(mode="json")
        back = {name: before[name] for name in changes}
        name = row.name
        undo = Undo(f"caps of {safe(name)}", lambda: self._update(row.thing, {"limits": back}))
        await self.paig.changing(
            self._update(row.thing, {"limits": changes}, seen=True), f"Caps of {safe(name)} changed.", undo
        )

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_gateway_caps(self) -> None:
        """Edit the caps that bind everybody; can be undone."""
        from paig_tui.screens.keys.forms import CapsForm

        admin = self.paig.admin
        limits = (await admin.organisation()).limits
        standing = self.state.caps().get(("organisation", "organisation"), {})
        changes = await self.app.push_screen_wait(CapsForm("the whole gateway", limits, standing, self.state.clock()))
        if changes:
            wanted = LimitsSpec.model_validate({**limits.model_dump(mode="json"), **changes})
            undo = Undo("caps of the whole gateway", lambda: admin.set_organisation(OwnerSpec(limits=limits)))
            change = admin.set_organisation(OwnerSpec(limits=wanted))
            await self.paig.changing(change, "Caps of the whole gateway changed.", undo)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_edit(self) -> None:
        """Edit what a key belongs to and may do; can be undone."""
        from paig_tui.screens.keys.forms import EditKeyForm

        row = self.table.current
        if row is None or not isinstance(key := row.thing, Key):
            return
        changes = await self.app.push_screen_wait(EditKeyForm(key, self.state.clock()))
        if not changes:
            return
        before = key.model_dump(mode="json")
        back = {name: before[name] for name in changes}
        undo = Undo(f"changes of {safe(key.name)}", lambda: self._update(key, back))
        await self.paig.changing(self._update(key, changes, seen=True), f"{safe(key.name)} is changed.", undo)

    async def _update(self, thing: Key | Owner, changes: Mapping[str, object], *, seen: bool = False) -> object:
        admin = self.paig.admin
        if isinstance(thing, Key):
            return await admin.keys.update(thing.id, changes, seen=thing if seen else None)
        if isinstance(thing, Project):
            return await admin.projects.update(thing.id, changes, seen=thing if seen else None)
        return await admin.users.update(thing.id, changes, seen=thing if seen else None)

    def _also_binds(self, thing: Key | Owner) -> str:
        """What else may refuse before these caps do."""
        caps = self.state.caps()
        owners = [("project", thing.project), ("user", thing.user)] if isinstance(thing, Key) else []
        found = [
            f"{kind} {safe(name)}'s cap of ${limit.amount} ({limit.window})"
            for kind, name in owners
            if name is not None
            for limit in caps.get((kind, name), {}).values()
        ]
        found += [f"the gateway's ${one.amount} ({one.window})" for one in caps.get(("organisation",) * 2, {}).values()]
        return "▲ may bind first: " + ", ".join(found) if found else ""

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_switch(self) -> None:
        """Disable or enable; can be undone."""
        from paig_tui.screens.dialog import Confirm

        row = self.table.current
        if row is None:
            return
        name = safe(row.name)
        if isinstance(key := row.thing, Key):
            forth = key.status in ("disabled", "blocked")
            if key.status == "blocked":
                ask = Confirm(f"unblock {name}?", "Somebody blocked this key for a reason: see the log.", do="Unblock")
                if not await self.app.push_screen_wait(ask):
                    return
            await self._set([key], enable=forth, what=name)
            return
        off = [key for key in row.keys if key.status == "disabled"]
        on = [key for key in row.keys if key.status not in ("disabled", "blocked")]
        if not on and off:
            await self._set(off, enable=True, what=f"{keys(len(off))} of {name}")
        elif on:
            some = ", ".join(safe(key.name) for key in on[:8]) + (" …" if len(on) > 8 else "")
            says = f"Until they are enabled again, requests of {keys(len(on))} are refused: {some}"
            ask = Confirm(f"disable every key of {ONE[self.kind]} {name}?", says, do="Disable")
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
        if row is None or not isinstance(row.thing, Key):
            return
        says = "The old secret stops working at once. Caps and what is spent stay."
        if await self.app.push_screen_wait(Confirm(f"rotate {safe(row.name)}?", says, do="Rotate")):
            made = await self.paig.changing(
                self.paig.admin.keys.rotate(row.thing.id), f"{safe(row.name)} has a new secret."
            )
            self._show_secret(made, "rotated")

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_delete(self) -> None:
        """Delete, after its name was typed."""
        from paig_tui.screens.dialog import Confirm

        row = self.table.current
        if row is None:
            return
        says = "This cannot be undone. Its rows in the ledger stay."
        title = f"delete {ONE[self.kind]} {safe(row.name)}?"
        if not await self.app.push_screen_wait(Confirm(title, says, do="Delete", type_name=safe(row.name))):
            return
        admin = self.paig.admin
        if isinstance(row.thing, Key):
            done = admin.keys.delete(row.thing.id)
        else:
            delete = admin.projects.delete if self.kind == "projects" else admin.users.delete
            done = delete(row.thing.id)
        await self.paig.changing(done, f"{safe(row.name)} is deleted.")


def keys(count: int) -> str:
    """So many keys."""
    return f"{count:,} key{'s' if count != 1 else ''}"


SCREEN = Keys
