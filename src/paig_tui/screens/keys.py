"""Keys, projects and users: their caps as bars, and everything that can be done to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from paig_client.schema import Key, LimitStatus, NewKey, Owner, Project
from paig_tui.app import Undo
from paig_tui.screens.section import Section
from paig_tui.state import used
from paig_tui.text import MUTED, NOT_YET, cap_cell, plain, safe, status
from paig_tui.widgets.table import Column, Table

Kind = Literal["keys", "projects", "users"]
KINDS: tuple[Kind, ...] = ("keys", "projects", "users")
ONE = {"keys": "key", "projects": "project", "users": "user"}


@dataclass(frozen=True)
class Row:
    """A key, a project or a user, with where its caps stand."""

    thing: Key | Owner
    caps: Mapping[str, LimitStatus] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name."""
        return self.thing.name

    @property
    def fullest(self) -> float:
        """The share of its fullest cap."""
        return max((used(limit) for limit in self.caps.values()), default=-1.0)


def _cap(window: str) -> Column[Row]:
    title = {"daily": "day", "weekly": "week", "monthly": "month", "total": "total"}[window]

    def cell(row: Row) -> Content:
        return cap_cell(used(row.caps[window]) if window in row.caps else None)

    return Column(title, 11, cell, least=104 if window == "weekly" else 0)


def _belongs(row: Row) -> Content:
    thing = row.thing
    if not isinstance(thing, Key):
        return Content("")
    return plain(" / ".join(name for name in (thing.project, thing.user) if name) or NOT_YET)


CAPS = tuple(_cap(window) for window in ("daily", "weekly", "monthly", "total"))
COLUMNS: Mapping[Kind, Sequence[Column[Row]]] = {
    "keys": (
        Column("status", 10, lambda row: status(row.thing.status if isinstance(row.thing, Key) else "active")),
        Column("name", 0, lambda row: plain(row.name)),
        Column("key", 13, lambda row: plain(f"{row.thing.hint}…" if isinstance(row.thing, Key) else "", MUTED)),
        Column("project / user", 22, _belongs, least=120),
        *CAPS,
    ),
    "projects": (Column("name", 0, lambda row: plain(row.name)), *CAPS),
    "users": (Column("name", 0, lambda row: plain(row.name)), *CAPS),
}


class Keys(Section):
    """The section."""

    NAME = "keys"
    TITLE_SHOWN = "Keys"
    CSS_PATH = "keys.tcss"
    CHANGING = frozenset({"new", "caps", "switch", "rotate", "delete"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New key, project or user"),
        Binding("c,enter", "caps", "Edit its caps"),
        Binding("d", "switch", "Disable or enable the key"),
        Binding("r", "rotate", "Rotate the key: a new secret, the same caps"),
        Binding("D,delete", "delete", "Delete it"),
        Binding("o", "order", "Order by name, or fullest cap first"),
        Binding("right", "kind(1)", "Keys, projects, users"),
        Binding("left", "kind(-1)", "Users, projects, keys", show=False),
        Binding("l", "requests", "Its requests"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.kind: Kind = "keys"
        self.fullest_first = False

    def body(self) -> Iterable[Widget]:
        """A table."""
        with Vertical(classes="frame", id="frame"):
            yield Table(COLUMNS["keys"], lambda row: row.name, id="objects")

    @property
    def table(self) -> Table[Row]:
        """The table."""
        return self.query_one("#objects", Table)

    def stamp(self) -> object:
        """What it depends on."""
        return self.state.version, self.kind, self.fullest_first

    def show(self) -> None:
        """Fill the table."""
        things: Sequence[Key | Owner] | None = getattr(self.state, self.kind)
        table = self.table
        table.columns = COLUMNS[self.kind]
        table.empty = "Loading …" if things is None else f"No {self.kind} here. n makes one."
        caps = self.state.caps()
        owner = ONE[self.kind]
        rows = [Row(thing, caps.get((owner, thing.name), {})) for thing in things or () if self._wanted(thing)]
        rows.sort(key=lambda row: (-row.fullest, row.name.casefold()) if self.fullest_first else row.name.casefold())
        table.show(rows)
        self._titles(len(rows), things)

    def _wanted(self, thing: Key | Owner) -> bool:
        if isinstance(thing, Key):
            return self.matches(thing.name, thing.status, thing.project, thing.user, thing.hint)
        return self.matches(thing.name)

    def _titles(self, shown: int, things: Sequence[Key | Owner] | None) -> None:
        frame = self.query_one("#frame", Vertical)
        parts = []
        for kind in KINDS:
            found = getattr(self.state, kind)
            count = NOT_YET if found is None else f"{len(found):,}"
            parts.append(f"[{kind} {count}]" if kind == self.kind else f"{kind} {count}")
        some = f" · {shown:,} shown" if things is not None and shown != len(things) else ""
        order = " · fullest first" if self.fullest_first else ""
        frame.border_title = Content("  ".join(parts) + some + order + self.filter_note)
        own = " · d disable · r rotate" if self.kind == "keys" else ""
        changes = "" if self.paig.read_only else f"n new · c caps{own} · D delete · "
        frame.border_subtitle = Content(f"{changes}o order · ← → kind")

    def action_kind(self, step: int) -> None:
        """Another kind."""
        self.kind = KINDS[(KINDS.index(self.kind) + step) % len(KINDS)]
        self.table.set_reactive(Table.cursor, 0)
        self.draw(force=True)

    def action_order(self) -> None:
        """Another order."""
        self.fullest_first = not self.fullest_first
        self.draw(force=True)

    def action_requests(self) -> None:
        """The requests of the row under the cursor."""
        from paig_tui.screens.requests import Requests

        if (row := self.table.current) is not None:
            self.app.push_screen(Requests(f"{ONE[self.kind]} {row.name}", {ONE[self.kind]: row.name}))

    @on(Table.Chosen, "#objects")
    def _chosen(self) -> None:
        if not self.paig.read_only:
            self.action_caps()

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_new(self) -> None:
        """Make one; a key is then shown once."""
        from paig_tui.screens.key_forms import NewKeyForm, NewOwnerForm

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
        from paig_tui.screens.key_created import KeyCreated

        if made is not None:
            self.app.push_screen(KeyCreated(made, self.paig.admin.url, word))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_caps(self) -> None:
        """Edit the caps; can be undone."""
        from paig_tui.screens.key_forms import CapsForm

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

    async def _update(self, thing: Key | Owner, changes: Mapping[str, object], *, seen: bool = False) -> object:
        admin = self.paig.admin
        if isinstance(thing, Key):
            return await admin.keys.update(thing.id, changes, seen=thing if seen else None)
        if isinstance(thing, Project):
            return await admin.projects.update(thing.id, changes, seen=thing if seen else None)
        return await admin.users.update(thing.id, changes, seen=thing if seen else None)

    def _also_binds(self, thing: Key | Owner) -> str:
        """What else may refuse before these caps do."""
        if not isinstance(thing, Key):
            return ""
        caps = self.state.caps()
        owners = [("project", thing.project), ("user", thing.user)]
        found = [
            f"{kind} {safe(name)}'s cap of ${limit.amount} ({limit.window})"
            for kind, name in owners
            if name is not None
            for limit in caps.get((kind, name), {}).values()
        ]
        return "▲ may bind first: " + ", ".join(found) if found else ""

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_switch(self) -> None:
        """Disable or enable; can be undone."""
        row = self.table.current
        if row is None or not isinstance(row.thing, Key):
            return
        keys, name, key_id = self.paig.admin.keys, row.name, row.thing.id
        disabled = row.thing.status == "disabled"
        forth, back = (keys.enable, keys.disable) if disabled else (keys.disable, keys.enable)
        word = "enabled" if disabled else "disabled"
        undo = Undo(f"{safe(name)} {word}", lambda: back(key_id))
        await self.paig.changing(forth(key_id), f"{safe(name)} is {word}.", undo)

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


SCREEN = Keys
