"""Upstream accounts: how they do, what they are, whether they answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from paig_client.admin import NotFound
from paig_client.schema import Permission, Provider
from paig_tui.panels import doing
from paig_tui.recent import ProviderFigures
from paig_tui.screens.section import Section
from paig_tui.text import MUTED, NOT_YET, lines, plain, safe, took
from paig_tui.widgets.chrome import Panel
from paig_tui.widgets.table import Column, Table


@dataclass(frozen=True)
class Row:
    """A provider, and how it did in the last five minutes."""

    provider: Provider
    figures: ProviderFigures | None


def _state(row: Row) -> Content:
    if row.figures is None:
        return Content.styled("◌ idle", MUTED)
    style, word = doing(row.figures)
    return Content.styled(word, style)


def _figure(row: Row, name: str) -> Content:
    figures = row.figures
    if figures is None or getattr(figures, name) is None:
        return Content.styled("—", MUTED)
    value = getattr(figures, name)
    return Content(f"{value:.1%}" if name == "good" else took(value) if name == "p95" else f"{value:,}")


COLUMNS: tuple[Column[Row], ...] = (
    Column("state", 8, _state),
    Column("provider", 0, lambda row: plain(row.provider.name)),
    Column("kind", 16, lambda row: plain(row.provider.kind)),
    Column("5m ok", 7, lambda row: _figure(row, "good"), right=True),
    Column("p95", 7, lambda row: _figure(row, "p95"), right=True),
    Column("429s", 5, lambda row: _figure(row, "throttled"), right=True),
    Column("tries", 6, lambda row: _figure(row, "attempts"), right=True),
    Column("address", 34, lambda row: plain(row.provider.base_url), least=116),
)


class Providers(Section):
    """The section."""

    NAME = "providers"
    TITLE_SHOWN = "Providers"
    CSS_PATH = "providers.tcss"
    CHANGING: ClassVar[Mapping[str, Permission]] = dict.fromkeys(
        ("new", "credential", "delete", "test"), "routing:write"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New provider"),
        Binding("c", "credential", "Change its credential"),
        Binding("t", "test", "Test whether it answers"),
        Binding("D,delete", "delete", "Delete it"),
        Binding("l", "requests", "Its requests"),
    ]

    def body(self) -> Iterable[Widget]:
        """A table over a panel."""
        with Vertical(classes="frame", id="frame"):
            yield Table(COLUMNS, lambda row: row.provider.name, id="rows")
        yield Panel("about", id="about", classes="data")

    @property
    def table(self) -> Table[Row]:
        """The table."""
        return self.query_one("#rows", Table)

    def show(self) -> None:
        """Fill the table."""
        providers = self.state.providers
        figures = self.state.provider_figures()
        table = self.table
        table.empty = self.nothing("providers", "No provider here. n adds one.")
        rows = [
            Row(found, figures.get(found.name)) for found in providers or () if self.matches(found.name, found.kind)
        ]
        table.show(rows)
        frame = self.query_one("#frame", Vertical)
        count = len(providers) if providers is not None else NOT_YET
        frame.border_title = Content.assemble(f"providers {count}", self.filter_note)
        frame.border_subtitle = self.hints("n new", "c credential", "t test", "D delete", "l requests", "/ filter")
        self._about()

    @on(Table.Moved, "#rows")
    def _about(self) -> None:
        panel = self.query_one("#about", Panel)
        row = self.table.current
        if row is None:
            panel.update("")
            return
        provider = row.provider
        panel.title(f"about {safe(provider.name)}")
        options = ", ".join(f"{name} = {value}" for name, value in provider.options.items() if value is not None)
        routes = [
            route.name
            for route in self.state.routes or ()
            if any(member.provider == provider.name for member in route.members)
        ]
        facts = {
            "address": provider.base_url,
            "credential": provider.references,
            "options": options or "the kind's own",
            "in routes": ", ".join(routes) or "its own only",
            "changed": f"{provider.updated_at:%Y-%m-%d %H:%M} UTC",
        }
        panel.update(lines(Content.assemble((f"{name:<12}", MUTED), plain(value)) for name, value in facts.items()))

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_new(self) -> None:
        """Add one."""
        from paig_tui.screens.provider_forms import NewProvider

        wanted = await self.app.push_screen_wait(NewProvider())
        if wanted is not None:
            name, spec = wanted
            await self.paig.changing(self.paig.admin.providers.create(name, spec), f"{safe(name)} is there.")

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_credential(self) -> None:
        """Another credential."""
        from paig_tui.screens.provider_forms import Credential

        row = self.table.current
        if row is None:
            return
        reference = await self.app.push_screen_wait(Credential(row.provider))
        if reference is not None:
            fields = {"credential": reference, "credentials": None}
            change = self.paig.admin.providers.update(row.provider.id, fields, seen=row.provider)
            await self.paig.changing(change, f"{safe(row.provider.name)} has another credential.")

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_test(self) -> None:
        """Ask the gateway to try it."""
        row = self.table.current
        if row is None:
            return
        name = row.provider.name
        self.notify(f"Testing {safe(name)} …", markup=False)
        try:
            check = await self.paig.admin.providers.test(name)
        except NotFound:
            self.notify("This gateway has no test of providers.", severity="warning", markup=False)
            return
        title = f"{'● answers' if check.ok else '✕ fails'}: {safe(name)}"
        severity: Literal["information", "error"] = "information" if check.ok else "error"
        self.notify(safe(check.message), title=title, severity=severity, markup=False, timeout=12)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_delete(self) -> None:
        """Delete it, after its name was typed."""
        from paig_tui.screens.dialog import Confirm

        row = self.table.current
        if row is None:
            return
        name = row.provider.name
        ask = Confirm(
            f"delete provider {safe(name)}?", "Its credential is forgotten.", do="Delete", type_name=safe(name)
        )
        if await self.app.push_screen_wait(ask):
            await self.paig.changing(self.paig.admin.providers.delete(row.provider.id), f"{safe(name)} is deleted.")

    @on(Table.Chosen, "#rows")
    def action_requests(self) -> None:
        """Its requests."""
        from paig_tui.screens.requests import Requests

        if (row := self.table.current) is not None:
            self.app.push_screen(Requests(f"provider {row.provider.name}", {"provider": row.provider.name}))


SCREEN = Providers
