"""Limits: the state of each, named limits and their settings, and limits that are raised for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from paig_client.api.resources import NamedLimit
from paig_client.api.specs import NamedLimitSpec
from paig_client.api.vocabulary import Permission
from paig_tui.screens.limits.rows import (
    COLUMNS,
    LimitTab,
    LimitTableRow,
    NamedLimitTableRow,
    RaiseTableRow,
    about,
    limit_rows,
    matched,
    named_rows,
    owner,
    raise_rows,
    window,
)
from paig_tui.screens.tabbed import TabbedSection
from paig_tui.text import safe
from paig_tui.widgets.chrome import Frame, Panel
from paig_tui.widgets.table import Table

ROWS = {"limits": limit_rows, "named": named_rows, "raises": raise_rows}
EMPTY = {
    "limits": "Nothing is limited. c among the keys sets a cap, n here makes a named limit.",
    "named": "No named limit. n makes one, such as 5 dollars a day for each customer's tag.",
    "raises": "No limit is raised. m raises one for a while.",
}


class LimitsSection(TabbedSection[LimitTab]):
    """The section Limits."""

    NAME = "limits"
    TITLE_SHOWN = "Limits"
    CSS_PATH = "screen.tcss"
    TABS: Mapping[LimitTab, str] = {"limits": "every limit", "named": "named", "raises": "raises"}
    CHANGING: ClassVar[Mapping[str, Permission]] = {
        **dict.fromkeys(("new", "edit", "delete", "raise", "end_raise"), "limits:write"),
        "gateway": "organisation:write",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New named limit"),
        Binding("e,enter", "edit", "Edit the named limit; of another limit, go to its owner"),
        Binding("m", "raise", "Raise the limit for a while"),
        Binding("x", "end_raise", "End the raise now"),
        Binding("D,delete", "delete", "Delete the named limit"),
        Binding("w", "gateway", "Caps and settings of the whole gateway"),
        Binding("a", "asks", "Requests for more: approve or decline"),
        Binding("right", "tab(1)", "Every limit, named limits, raises"),
        Binding("left", "tab(-1)", "Raises, named limits, every limit"),
    ]

    def body(self) -> Iterable[Widget]:
        """A table, and where there is room what is known of a row."""
        with Frame(id="frame"):
            yield Table(COLUMNS["limits"], lambda row: row.key, id="rows")
        yield Panel("about", id="about", classes="data")

    @property
    def table(self) -> Table[Any]:
        return self.query_one("#rows", Table)

    def show(self) -> None:
        table = self.table
        table.columns = COLUMNS[self.tab]
        table.empty = self.nothing(self.tab, EMPTY[self.tab])
        every: Sequence[Any] | None = ROWS[self.tab](self.state)
        table.show([row for row in every or () if self.matches(*_words(row))])
        frame = self.query_one("#frame", Frame)
        frame.border_title = Content.assemble(self.tabs_title(), self.asks_note(), self.filter_note)
        own = {"limits": ("m raise",), "named": ("e edit", "D delete"), "raises": ("x end",)}[self.tab]
        frame.show_keys(self.hints("n new", *own, "w gateway", "a asks", "→ kind", "/ filter"))
        self._about()

    @on(Table.Moved, "#rows")
    def _about(self) -> None:
        row, panel = self.table.current, self.query_one("#about", Panel)
        name = row.key if isinstance(row, NamedLimitTableRow) else ""
        if isinstance(row, LimitTableRow):
            name = f"{window(row.limit)} of {owner(row.limit)}"
        elif isinstance(row, RaiseTableRow):
            name = f"{window(row.one)} of {owner(row.one)}"
        panel.title(f"about {safe(name)}" if name else "about")
        panel.paint(lambda *_: about(row))

    @on(Table.Chosen, "#rows")
    async def _chosen(self) -> None:
        await self.app.run_action("screen.edit")

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_new(self) -> None:
        from paig_tui.screens.forms import Form, checked, questions

        limits = self.paig.admin.named_limits

        async def create(name: str, values: dict[str, object]) -> NamedLimit:
            return await limits.create(name, checked(NamedLimitSpec, values))

        asked = questions(NamedLimitSpec, of="limit")
        form = Form("new named limit", asked, self.state, create, name="such as gpt-per-customer")
        if (made := await self.app.push_screen_wait(form)) is not None:
            self.paig.changed(f"Created the limit {safe(made.name)}.")
            self.action_show_tab("named")

    @property
    def _named(self) -> NamedLimit | None:
        """The named limit under the cursor, or the one whose counter is."""
        row = self.table.current
        if isinstance(row, NamedLimitTableRow):
            return row.resource
        about = row.limit if isinstance(row, LimitTableRow) else row.one if isinstance(row, RaiseTableRow) else None
        if about is None or about.owner_kind != "limit":
            return None
        return next((one for one in self.state.named or () if one.name == about.owner), None)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_edit(self) -> None:
        """Edit the named limit, which can be undone; for another limit, go to its owner."""
        from paig_tui.commands import go_to
        from paig_tui.screens.forms import questions
        from paig_tui.screens.limits.forms import edit_gateway

        named, row = self._named, self.table.current
        if named is not None:
            limits, name = self.paig.admin.named_limits, safe(named.name)

            async def update(changes: Mapping[str, object], first: bool) -> object:
                return await limits.update(named.id, changes, seen=named if first else None)

            before = named.model_dump(mode="json")
            intro = f"It binds {safe(matched(named))}. If that changes, or what it counts apart, it counts from zero."
            asked = questions(NamedLimitSpec, of="limit")
            await self.edit(f"edit limit {name}", asked, before, update, f"Limit {name}", intro=intro)
        elif isinstance(row, LimitTableRow | RaiseTableRow):
            about = row.limit if isinstance(row, LimitTableRow) else row.one
            if about.owner_kind == "organisation":
                await edit_gateway(self)
            else:
                await go_to(self.paig, f"{about.owner_kind}s", about.owner)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_raise(self) -> None:
        """Raise the limit under the cursor for a while; for a named limit, the form asks which cap."""
        from paig_tui.screens.limits.forms import raise_limit

        row = self.table.current
        if isinstance(row, LimitTableRow):
            await raise_limit(self, [row.limit])
        elif isinstance(row, NamedLimitTableRow):
            whole = [one.model_copy(update={"member": None}) for one in row.counters]
            await raise_limit(self, whole)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_end_raise(self) -> None:
        if isinstance(row := self.table.current, RaiseTableRow):
            message = f"The {window(row.one)} limit of {safe(owner(row.one))} is what it was."
            await self.paig.changing(self.paig.admin.end_raise(row.one.id), message)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_gateway(self) -> None:
        """Edit the caps and settings of the whole gateway."""
        from paig_tui.screens.limits.forms import edit_gateway

        await edit_gateway(self)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_delete(self) -> None:
        """Delete the named limit, after its name was typed."""
        from paig_tui.screens.dialog import Confirm

        if (named := self._named) is None:
            return
        name = safe(named.name)
        ask = Confirm(f"delete limit {name}?", "It binds nothing from then on.", do="Delete", type_name=name)
        if await self.app.push_screen_wait(ask):
            await self.paig.changing(self.paig.admin.named_limits.delete(named.id), f"Limit {name} is deleted.")


def _words(row: LimitTableRow | NamedLimitTableRow | RaiseTableRow) -> tuple[object, ...]:
    if isinstance(row, NamedLimitTableRow):
        return row.resource.name, matched(row.resource), row.resource.per
    about = row.limit if isinstance(row, LimitTableRow) else row.one
    return owner(about), window(about)


SCREEN = LimitsSection
